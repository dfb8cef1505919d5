package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/state"
	"github.com/tkgfix/tkgfix/internal/state/mem"
	"github.com/tkgfix/tkgfix/plugins"
)

// save plans and keeps the plan as a file would.
func save(t *testing.T, e *engine.Engine, spec string) []byte {
	t.Helper()
	req := begin(t, e, spec)
	p, err := e.Plan(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(e.Save(req, p))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestSavedPlan runs exactly the plan that was kept: the digest that was shown then is the one to approve.
func TestSavedPlan(t *testing.T) {
	t.Parallel()
	g := newGarden("a", "b")
	data := save(t, gardener(g, mem.New()), eachFence(""))
	saved, err := engine.ReadSaved("p", data)
	if err != nil {
		t.Fatal(err)
	}
	e := gardener(g, mem.New())
	if err := e.CreateSaved(t.Context(), "r", saved); err != nil {
		t.Fatal(err)
	}
	r := run(t, e, engine.Waiting)
	if got, want := r.PendingGates(e.Now())[0].Digest, saved.Plan.Gates[0].Digest; got != want {
		t.Errorf("the gate shows %s, the kept plan %s", got, want)
	}
	agree(t, e, r)
	run(t, e, engine.Done)
	if diff := cmp.Diff([]int{1, 1}, g.times()); diff != "" {
		t.Errorf("how often painted (-want, +got):\n%s", diff)
	}
}

// TestSavedPlanOfOtherGround is kept, and then a fence is painted pink: the run goes back to the gate and says which field moved.
func TestSavedPlanOfOtherGround(t *testing.T) {
	t.Parallel()
	g := newGarden("a", "b")
	saved, err := engine.ReadSaved("p", save(t, gardener(g, mem.New()), eachFence("")))
	if err != nil {
		t.Fatal(err)
	}
	g.colour["a"] = "pink"
	e := gardener(g, mem.New())
	if err := e.CreateSaved(t.Context(), "r", saved); err != nil {
		t.Fatal(err)
	}
	agree(t, e, run(t, e, engine.Waiting))
	r := run(t, e, engine.Waiting)
	want := map[string][]string{"paint[0]": {"Fence a spec.colour moved from grey to pink"}}
	if diff := cmp.Diff(want, r.Moved); diff != "" {
		t.Errorf("what moved (-want, +got):\n%s", diff)
	}
	if g.times()[0] != 0 {
		t.Error("acted on a plan of other ground")
	}
}

// TestAlteredSavedPlan is refused, whatever was altered.
func TestAlteredSavedPlan(t *testing.T) {
	t.Parallel()
	data := string(save(t, gardener(newGarden("a"), mem.New()), eachFence("")))
	for name, tc := range map[string]struct {
		reason, old, new, want string
	}{
		"Change":   {"another object", `"uid":"u-a"`, `"uid":"u-b"`, "the changes of step paint are not those of its digest"},
		"Workflow": {"another workflow", `"source":"apiVersion`, `"source":"apiversion`, "its workflow is not the one that was planned"},
		"Format":   {"a later format", "saved-plan/v1alpha1", "saved-plan/v9", `format "tkgfix.dev/saved-plan/v9"`},
		"NoGate":   {"no gate", `"gates":[{"step":"paint"`, `"gates":[{"step":"other"`, "step paint has changes and no gate"},
		"Cut":      {"half a file", data[len(data)/2:], "", "not a saved plan"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			altered := strings.Replace(data, tc.old, tc.new, 1)
			if altered == data {
				t.Fatalf("%s: nothing was altered: %s", tc.reason, tc.old)
			}
			_, err := engine.ReadSaved("p", []byte(altered))
			if err == nil || !strings.Contains(err.Error(), tc.want) || plugins.HintOf(err) == "" {
				t.Errorf("%s: got %v with hint %q, want %q", tc.reason, err, plugins.HintOf(err), tc.want)
			}
		})
	}
}

// TestUnlock breaks the lock of an engine that is in the middle of an act. That engine can write nothing more and begins
// nothing more; the other one goes on, and nothing is done twice.
func TestUnlock(t *testing.T) {
	t.Parallel()
	g := newGarden("a", "b")
	store := mem.New()
	held := gardener(g, store)
	begin(t, held, eachFence(""))
	agree(t, held, run(t, held, engine.Waiting))
	asleep, wake := make(chan struct{}), make(chan struct{})
	g.painting = func(context.Context, string) error {
		close(asleep)
		<-wake
		return nil
	}
	woken := make(chan error)
	go func() {
		_, err := held.Run(t.Context(), "r")
		woken <- err
	}()
	<-asleep

	other := gardener(g, store)
	other.Me.Host = "other"
	if _, err := other.Run(t.Context(), "r"); !isLocked(err, "jump") {
		t.Errorf("the second engine: got %v, want that jump holds the run", err)
	}
	was, err := other.Unlock(t.Context(), "r", "jump is off")
	if err != nil || was.Host != "jump" {
		t.Fatalf("unlock: %v, held by %v", err, was)
	}
	g.mu.Lock()
	g.painting = nil
	g.mu.Unlock()
	r := run(t, other, engine.Done)
	if len(r.Broken) != 1 || r.Broken[0].Reason != "jump is off" || r.Broken[0].Was.Host != "jump" {
		t.Errorf("the journal says of the broken lock: %+v", r.Broken)
	}
	before := r.Seq

	close(wake)
	if err := <-woken; !errors.Is(err, state.ErrConflict) {
		t.Errorf("the engine that woke: got %v, want ErrConflict", err)
	}
	if diff := cmp.Diff([]int{1, 1}, g.times()); diff != "" {
		t.Errorf("how often painted (-want, +got):\n%s", diff)
	}
	if r, err := other.Load(t.Context(), "r"); err != nil || r.Seq != before {
		t.Errorf("the journal grew from %d to %d (%v) by the engine that woke", before, r.Seq, err)
	}
	if _, err := other.Unlock(t.Context(), "r", ""); err == nil {
		t.Error("unlocked what is not locked")
	}
}

func isLocked(err error, host string) bool {
	locked, ok := errors.AsType[*state.LockedError](err)
	return ok && locked.Holder.Host == host
}
