package ui_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/approval"
	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/plan"
	"github.com/tkgfix/tkgfix/internal/ui"
	"github.com/tkgfix/tkgfix/plugins"
)

func TestAsk(t *testing.T) {
	t.Parallel()
	change := plan.Step{ID: "s", Changes: []plugins.PlannedChange{{Target: plugins.Target{Kind: "K", Namespace: "team-a", Name: "dev1"}}}}
	for name, tc := range map[string]struct {
		reason      string
		interactive bool
		effect      plugins.Effect
		typed       string
		want        bool
	}{
		"Yes":         {"a change takes yes", true, plugins.Change, "yes\n", true},
		"Spaces":      {"space around it is no other answer", true, plugins.Change, "  yes \n", true},
		"Y":           {"y is not yes", true, plugins.Change, "y\n", false},
		"Nothing":     {"return alone approves nothing", true, plugins.Change, "\n", false},
		"EOF":         {"the end of input approves nothing", true, plugins.Change, "", false},
		"DestroyYes":  {"yes destroys nothing", true, plugins.Destroy, "yes\n", false},
		"DestroyName": {"the name typed out does", true, plugins.Destroy, "dev1\n", true},
		"OtherName":   {"another name does not", true, plugins.Destroy, "dev2\n", false},
		"NoTerminal":  {"without a terminal nobody is asked", false, plugins.Change, "yes\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := &ui.UI{In: strings.NewReader(tc.typed), Err: io.Discard, Interactive: tc.interactive, Now: time.Now}
			g := plan.Gate{Step: "s", Effect: tc.effect, Digest: "sha256:1", Message: "m"}
			d, asked, err := u.Ask(t.Context(), approval.Identity{Name: "ann"}, g, change)
			if err != nil || asked != tc.want {
				t.Fatalf("%s: asked %t, %v; want %t", tc.reason, asked, err, tc.want)
			}
			if asked && (!d.Approved || d.Digest != "sha256:1" || d.By.Name != "ann") {
				t.Errorf("%s: %+v", tc.reason, d)
			}
		})
	}
}

func TestAskEndsWithItsContext(t *testing.T) {
	t.Parallel()
	in, _ := io.Pipe()
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	cancel(gone)
	u := &ui.UI{In: in, Err: io.Discard, Interactive: true, Now: time.Now}
	_, asked, err := u.Ask(ctx, approval.Identity{}, plan.Gate{}, plan.Step{})
	if asked || !errors.Is(err, gone) {
		t.Errorf("asked %t, %v", asked, err)
	}
}

// TestHostileWords lets an error carry what a node could say, and wants that it can neither drive the terminal nor pass
// for a line of tkgfix's own.
func TestHostileWords(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	u := &ui.UI{Err: &out, Now: time.Now}
	u.Error(plugins.Hint(errors.New("node said: \x1b[2Jx\r\ntkgfix: hint: rm -rf /\u202e"), "tkgfix resume r"))
	want := "tkgfix: error: node said:  [2Jx \n  tkgfix: hint: rm -rf / \ntkgfix: hint: tkgfix resume r\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("said (-want, +got):\n%s", diff)
	}
}

func TestProgressIsNotRepeated(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	now := time.Unix(0, 0)
	u := &ui.UI{Err: &out, Now: func() time.Time { return now }}
	for _, e := range []struct {
		at   int
		text string
	}{{0, "waits for a"}, {2, "waits for a"}, {20, "waits for a"}, {21, "waits for b"}, {22, "waits for b"}} {
		now = time.Unix(int64(e.at), 0)
		u.Watch(engine.Event{Kind: engine.EventProgress, ID: "s", Text: e.text})
	}
	want := "tkgfix: s: waits for a\ntkgfix: s: waits for a (20s so far)\ntkgfix: s: waits for b\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("said (-want, +got):\n%s", diff)
	}
}
