package cli

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/plugins"
)

func TestSettle(t *testing.T) {
	t.Parallel()
	n := plugins.Nodes{KnownHosts: "/k", IdentityFile: "id", Jump: "ann@bastion"}
	if err := settle(&n); err != nil {
		t.Fatal(err)
	}
	here, err := filepath.Abs("id")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(plugins.Nodes{KnownHosts: "/k", IdentityFile: here, Jump: "ann@bastion"}, n); diff != "" {
		t.Errorf("a step has another working folder: want absolute paths (-want, +got):\n%s", diff)
	}
	if err := settle(&plugins.Nodes{Jump: "a b"}); err == nil || !strings.Contains(err.Error(), "connections.nodes.jump") {
		t.Errorf("a jump host that is none must be told before a run begins, got %v", err)
	}
}

func TestNeedsAgent(t *testing.T) {
	t.Parallel()
	with := plugins.Connections{Nodes: &plugins.Nodes{Agent: true}}
	cases := map[string]struct {
		reason string
		conns  plugins.Connections
		step   string
		want   bool
	}{
		"Nodes":   {"a shipped step that reaches nodes", with, "verify-node-cert", true},
		"Silent":  {"the connection does not say so", plugins.Connections{Nodes: &plugins.Nodes{}}, "verify-node-cert", false},
		"None":    {"there is no such connection", plugins.Connections{}, "verify-node-cert", false},
		"Command": {"a shipped step that runs the user's command and reaches no node", with, "exec", false},
		"Foreign": {"a step that is not shipped", with, "http-check", false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := needsAgent(c.conns, c.step); got != c.want {
				t.Errorf("%s: want %v, got %v", c.reason, c.want, got)
			}
		})
	}
}
