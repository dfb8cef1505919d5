package encoding

import (
	"strings"
	"testing"

	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
)

// Values that are made to be slow to read, or to be shown at length, are neither. The test ends by itself if one is not quadratic.
func TestHostileValues(t *testing.T) {
	t.Parallel()
	ca, _ := newCA(t, "Corp Root CA\n\x1b[2J"+strings.Repeat("n", 1000))
	fill := func(s string) string { return strings.Repeat(s, (200<<10)/len(s)) }
	for name, content := range map[string]string{
		"begins":       fill("-----BEGIN CERTIFICATE-----\n"),
		"words":        fill("BEGIN CERTIFICATE "),
		"keys":         fill("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
		"empty blocks": fill("-----BEGIN X-----\n-----END X-----\n"),
		"dashes":       "-----BEGIN CERTIFICATE-----" + fill("- - "),
		"sequences":    fill("\x30\x80"),
		"zeros":        "0\x80" + fill("\x00"),
		"white space":  fill(" \n"),
		"bundle":       strings.Repeat(string(ca), (200<<10)/len(ca)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := judgeOne(declaredOf(tkg.Encode([]byte(content), 1), 2))
			if e.OK {
				t.Error("it is taken for right")
			}
			if len(e.Findings) > 40 || len(e.Problem) > 16<<10 || strings.Contains(e.Problem, "\x1b") {
				t.Errorf("%d findings, %d bytes: %.200q", len(e.Findings), len(e.Problem), e.Problem)
			}
			ev := evidenceOf(e)
			if len(ev.Text) > 64<<10 || strings.Contains(ev.Text, "\x1b") {
				t.Errorf("%d bytes of evidence: %.200q", len(ev.Text), ev.Text)
			}
		})
	}
}

// A leaked key is evidence of its own kind, so that a report can put it first.
func TestPrivateKeyEvidence(t *testing.T) {
	t.Parallel()
	_, key := newCA(t, "Corp Root CA")
	ev := evidenceOf(judgeOne(declaredOf(tkg.Encode(key, 1), 1)))
	if ev.Check != "private-key" || ev.Verdict != plugins.Bad || !strings.Contains(ev.Text, "leaked") {
		t.Errorf("%+v", ev)
	}
	s := declaredOf(tkg.Encode(key, 1), 1)
	s.Where, s.Name = "TSC\n", "../../x\x1b[2J"
	if ev := evidenceOf(judgeOne(s)); strings.ContainsAny(ev.Subject, "\n\x1b") {
		t.Errorf("names: %q", ev.Subject)
	}
}
