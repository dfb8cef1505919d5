package controller

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// TestHint makes the commands in hints those of a run in a cluster.
func TestHint(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ reason, text, want string }{
		"Resume": {"the run is a controller's", "when it holds: tkgfix resume desk-1", "when it holds: tkgfix resume --state kube:team-a desk-1"},
		"Two":    {"each command", "tkgfix resolve r x done, then: tkgfix resume r", "tkgfix resolve --state kube:team-a r x done, then: tkgfix resume --state kube:team-a r"},
		"Other":  {"a command that is about no run", "tkgfix probe registry:443", "tkgfix probe registry:443"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := hint("team-a", tc.text); got != tc.want {
				t.Errorf("%s: %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
}

// TestCut bounds a text without cutting a character in two.
func TestCut(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "short", strings.Repeat("ä", 600), strings.Repeat("世", 400), strings.Repeat("x", 1025)} {
		got := cut(text, maxMessage)
		if len(got) > maxMessage || !utf8.ValidString(got) || len(text) <= maxMessage && got != text {
			t.Errorf("%d bytes were cut to %d: valid %t", len(text), len(got), utf8.ValidString(got))
		}
	}
}
