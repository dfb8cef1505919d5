package nodecert

import (
	"strings"
	"testing"
	"unicode"

	"github.com/tkgfix/tkgfix/internal/handshake/registrytest"
	"github.com/tkgfix/tkgfix/internal/nodelook"
	"github.com/tkgfix/tkgfix/internal/tkg"
)

// FuzzJudge gives a trust file and a declared value any content.
func FuzzJudge(f *testing.F) {
	ca := registrytest.NewRoot(f, "Corp Root CA")
	text := ca.PEM()
	f.Add([]byte(tkg.Encode(text, 1)), text)
	f.Add([]byte(tkg.Encode(text, 2)), []byte(tkg.Encode(text, 1)))
	f.Add(text, python(text))
	f.Add([]byte("%%%"), ca.Cert.Raw)
	f.Add([]byte(""), []byte("-----BEGIN \x1b[2J-----\nAAAA\n-----END \x1b[2J-----\n"))
	f.Fuzz(func(t *testing.T, stored, data []byte) {
		for _, declared := range [][]tkg.Declared{as(string(stored)), {secretly(string(stored))}} {
			wanted := declarations(declared...)
			look := newView(nodelook.Look{Files: []nodelook.File{goFile(photon, data)}})
			row, found := look.judge(wanted[0], before)
			found = append(found, look.runtimeFindings(wanted, nil)...)
			found = append(found, question{wanted: wanted, now: started}.unjoined(tkg.Node{Name: "a"})...)
			bad := false
			for _, one := range found {
				known(t, one)
				bad = bad || one.Bad && one.ID != NotJoined
				if strings.IndexFunc(one.Text, func(r rune) bool { return !unicode.IsPrint(r) }) >= 0 {
					t.Errorf("a text that speaks to the terminal: %q", one.Text)
				}
			}
			if row.State != present && !bad {
				t.Errorf("the state %s and no finding that is bad: %+v", row.State, found)
			}
		}
	})
}
