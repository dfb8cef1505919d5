package sshsig_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/sshsig"
)

func TestMessage(t *testing.T) {
	t.Parallel()
	good := sshsig.Statement{Run: "r", Gate: "recreate[0]", Digest: "sha256:ab", Decision: sshsig.Approve, Reason: "維護窗口 — ok"}
	with := func(change func(*sshsig.Statement)) sshsig.Statement {
		s := good
		change(&s)
		return s
	}
	cases := map[string]struct {
		reason    string
		statement sshsig.Statement
		want      string
		err       string
	}{
		"approve":     {reason: "the text that is signed", statement: good, want: "tkgfix approval v1\nrun: r\ngate: recreate[0]\ndigest: sha256:ab\ndecision: approve\nreason: 維護窗口 — ok\n"},
		"no reason":   {reason: "it may be left out, its line may not", statement: with(func(s *sshsig.Statement) { s.Decision, s.Reason = sshsig.Reject, "" }), want: "tkgfix approval v1\nrun: r\ngate: recreate[0]\ndigest: sha256:ab\ndecision: reject\nreason: \n"},
		"decision":    {reason: "there are two", statement: with(func(s *sshsig.Statement) { s.Decision = "Approve" }), err: `the decision is "Approve"`},
		"no run":      {reason: "of which run?", statement: with(func(s *sshsig.Statement) { s.Run = "" }), err: "the run is empty"},
		"no gate":     {reason: "of which gate?", statement: with(func(s *sshsig.Statement) { s.Gate = "" }), err: "the gate is empty"},
		"no digest":   {reason: "of what?", statement: with(func(s *sshsig.Statement) { s.Digest = "" }), err: "the digest is empty"},
		"line end":    {reason: "a reason that forges a line", statement: with(func(s *sshsig.Statement) { s.Reason = "no\ndecision: approve" }), err: "the reason holds U+000A"},
		"in the run":  {reason: "each field", statement: with(func(s *sshsig.Statement) { s.Run = "r\r" }), err: "the run holds U+000D"},
		"separator":   {reason: "a line end to some readers", statement: with(func(s *sshsig.Statement) { s.Gate = "a\u2028b" }), err: "the gate holds U+2028"},
		"direction":   {reason: "reads otherwise than it stands", statement: with(func(s *sshsig.Statement) { s.Reason = "\u202eevorppa" }), err: "the reason holds U+202E"},
		"not UTF-8":   {reason: "reads as anything", statement: with(func(s *sshsig.Statement) { s.Digest = "\xff" }), err: "the digest is not UTF-8"},
		"long reason": {reason: "bounded", statement: with(func(s *sshsig.Statement) { s.Reason = strings.Repeat("a", 1025) }), err: "the reason has 1025 bytes"},
		"long run":    {reason: "bounded", statement: with(func(s *sshsig.Statement) { s.Run = strings.Repeat("a", 257) }), err: "the run has 257 bytes"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := tc.statement.Message()
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Fatalf("%s: got %q, %v, want %q", tc.reason, got, err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatalf("%s: %v", tc.reason, err)
			}
			if diff := cmp.Diff(tc.want, string(got)); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
