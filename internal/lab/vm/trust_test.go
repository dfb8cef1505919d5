package vm

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/lab/ca"
)

func TestRenderTrust(t *testing.T) {
	t.Parallel()
	root, system := newPEM(t, "Root"), newPEM(t, "System")
	once := base64.StdEncoding.EncodeToString(root)
	twice := base64.StdEncoding.EncodeToString([]byte(once))
	cases := map[string]struct {
		reason string
		entry  Trust
		want   []byte // nil: no file
		trusts bool
	}{
		"Once":     {"base64 once is the right form: the file is the PEM", Trust{"a", once}, root, true},
		"Twice":    {"one layer too many leaves base64 text, which Go ignores", Trust{"a", twice}, []byte(once), false},
		"Wrapped":  {"newlines within base64 are dropped", Trust{"a", once[:76] + "\n" + once[76:]}, root, true},
		"NotBase":  {"wrong padding writes nothing", Trust{"a", "abcde"}, nil, false},
		"BadName":  {"a name that would leave the folder writes nothing", Trust{"x/../../../../evil", once}, nil, false},
		"EmptyPEM": {"empty data is an empty file", Trust{"a", ""}, []byte{}, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := newRoot(t)
			if err := renderTrust(dir, Photon, system, []Trust{tc.entry}); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(filepath.Join(dir, certsDir, "tkg-a.pem"))
			if (err != nil) != (tc.want == nil) {
				t.Fatalf("%s: reading the file: %v", tc.reason, err)
			}
			if diff := cmp.Diff(string(tc.want), string(got)); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", tc.reason, diff)
			}
			bundle, err := os.ReadFile(filepath.Join(dir, photonBundle))
			if err != nil {
				t.Fatal(err)
			}
			if want := append(bytes.Clone(system), got...); !bytes.Equal(want, bundle) {
				t.Errorf("%s: the bundle is not what the files hold:\n%s", tc.reason, bundle)
			}
			if diff := cmp.Diff(tc.trusts, trusts(t, dir, root)); diff != "" {
				t.Errorf("%s: trusted (-want, +got):\n%s", tc.reason, diff)
			}
			if !trusts(t, dir, system) {
				t.Errorf("%s: the system's own roots are lost", tc.reason)
			}
		})
	}
}

func TestRoots(t *testing.T) {
	t.Parallel()
	a, b := newPEM(t, "A"), newPEM(t, "B")
	cases := map[string]struct {
		reason string
		files  map[string][]byte
		link   [2]string
		a, b   bool
	}{
		"Folder":     {"each file of the folder counts", map[string][]byte{"etc/ssl/certs/x": a, "etc/pki/tls/certs/y": b}, [2]string{}, true, true},
		"FirstOnly":  {"only the first bundle that exists counts", map[string][]byte{photonBundle: a, "etc/ssl/ca-bundle.pem": b}, [2]string{}, true, false},
		"Garbage":    {"a file that does not parse is nothing", map[string][]byte{"etc/ssl/certs/x": []byte("LS0t"), "etc/ssl/certs/y": b}, [2]string{}, false, true},
		"SubFolder":  {"folders are not entered", map[string][]byte{"etc/ssl/certs/sub/x": a}, [2]string{}, false, false},
		"OtherDir":   {"a link to another folder counts", map[string][]byte{"usr/local/x.crt": a}, [2]string{"../../../usr/local/x.crt", "etc/ssl/certs/x.pem"}, true, false},
		"Escape":     {"a link out of the node is not followed", nil, [2]string{"/proc/self/environ", "etc/ssl/certs/x.pem"}, false, false},
		"Everything": {"nothing there", nil, [2]string{}, false, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := newRoot(t)
			for file, data := range tc.files {
				path := filepath.Join(dir, file)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, data, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if tc.link[0] != "" {
				if err := os.Symlink(tc.link[0], filepath.Join(dir, tc.link[1])); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff([]bool{tc.a, tc.b}, []bool{trusts(t, dir, a), trusts(t, dir, b)}); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestLookup(t *testing.T) {
	t.Parallel()
	dir := newRoot(t)
	if err := os.WriteFile(filepath.Join(dir, "etc/hosts"), []byte("127.0.0.9 Registry.lab reg # not.this\n# 1.1.1.1 comment.lab\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	n := &Node{spec: Spec{Name: "n", Root: dir}}
	cases := map[string]struct {
		reason, name, want string
	}{
		"Name":    {"a name of the file", "registry.lab", "127.0.0.9"},
		"Alias":   {"another name of the line, with a dot at its end", "reg.", "127.0.0.9"},
		"Address": {"an address is its own", "10.0.0.1", "10.0.0.1"},
		"Comment": {"what is commented out is not there", "comment.lab", ""},
		"Trailer": {"nor is what follows a hash", "not.this", ""},
		"Unknown": {"the host's own names are unknown to a node", "localhost", ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := n.Lookup(tc.name)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", tc.reason, diff)
			}
			if (err != nil) != (tc.want == "") {
				t.Errorf("%s: %v", tc.reason, err)
			}
		})
	}
}

func FuzzTrustDecode(f *testing.F) {
	f.Add("LS0tLS1CRUdJTg==")
	f.Add("a=b=c")
	f.Add("====")
	f.Fuzz(func(t *testing.T, data string) {
		out, ok := Trust{Name: "x", Data: data}.decode()
		if ok && len(out) > len(data) {
			t.Errorf("decoding %q grew it", data)
		}
	})
}

func newRoot(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, sub := range []string{certsDir, filepath.Dir(photonBundle), "usr/local"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func newPEM(t *testing.T, name string) []byte {
	t.Helper()
	authority, err := ca.NewRoot(name, ca.ECDSA, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return authority.PEM()
}

// trusts says whether the node's roots hold exactly this certificate.
func trusts(t *testing.T, dir string, data []byte) bool {
	t.Helper()
	block, _ := pem.Decode(data)
	with := Roots(dir)
	without := with.Clone()
	with.AppendCertsFromPEM(pem.EncodeToMemory(block))
	return with.Equal(without)
}
