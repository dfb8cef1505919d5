package engine_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/approval"
	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/state/mem"
	"github.com/tkgfix/tkgfix/plugins"
)

const oneFence = `
  steps:
    - id: raze
      uses: raze
      with: {name: a}
`

const policy = oneFence + `      approval:
        message: razes a
        %s
`

// TestPolicy has people decide on a gate, each with what becomes of it.
func TestPolicy(t *testing.T) {
	t.Parallel()
	person := func(name string) approval.Decision { return approval.Decision{By: approval.Identity{Name: name}} }
	signed := func(principal string) approval.Decision {
		return approval.Decision{By: approval.Identity{Name: "x@y"}, Signature: "signed by " + principal}
	}
	for name, tc := range map[string]struct {
		reason    string
		policy    string
		signers   bool
		decisions []approval.Decision
		want      []error // of each decision
		open      bool
	}{
		"Anybody":         {"one approval by the requester is enough for a confirmation", "required: 1", false, []approval.Decision{person("ann@jump")}, []error{nil}, true},
		"OneOfTwo":        {"one of two is not enough", "required: 2", false, []approval.Decision{person("bob@desk")}, []error{nil}, false},
		"TwoOfTwo":        {"two people are", "required: 2", false, []approval.Decision{person("bob@desk"), person("cyd@desk")}, []error{nil, nil}, true},
		"OneTwice":        {"one person is one", "required: 2", false, []approval.Decision{person("bob@desk"), person("bob@desk")}, []error{nil, approval.ErrTwice}, false},
		"Requester":       {"who began the run is not one of two", "required: 2", false, []approval.Decision{person("ann@jump")}, []error{approval.ErrRequester}, false},
		"RequesterMoved":  {"nor from another machine", "required: 2", false, []approval.Decision{person("ANN@desk")}, []error{approval.ErrRequester}, false},
		"RequesterMay":    {"unless the policy says so", "required: 2, requester: allowed", false, []approval.Decision{person("ann@jump"), person("bob@desk")}, []error{nil, nil}, true},
		"RequesterMayNot": {"one approval, by somebody else", "requester: excluded", false, []approval.Decision{person("ann@jump"), person("bob@desk")}, []error{approval.ErrRequester, nil}, true},
		"Unsigned":        {"with signers a word is not enough", "approvers: [bob@corp, cyd@corp]", true, []approval.Decision{person("bob@corp")}, []error{approval.ErrUnsigned}, false},
		"Signed":          {"a signature is", "approvers: [bob@corp, cyd@corp]", true, []approval.Decision{signed("bob@corp")}, []error{nil}, true},
		"Forged":          {"one that does not verify is not", "approvers: [bob@corp, cyd@corp]", true, []approval.Decision{signed("nobody")}, []error{errForged}, false},
		"Stranger":        {"a signer who is no approver is not", "approvers: [bob@corp, cyd@corp]", true, []approval.Decision{signed("dan@corp")}, []error{approval.ErrApprover}, false},
		"OneKeyTwoNames":  {"one key is one person", "approvers: [bob@corp, cyd@corp]\n        required: 2", true, []approval.Decision{signed("bob@corp"), signed("cyd@corp as bob@corp")}, []error{nil, approval.ErrTwice}, false},
		"OwnSignature":    {"the requester's own key is the requester's", "approvers: [ann@corp, cyd@corp]", true, []approval.Decision{signed("ann@corp")}, []error{approval.ErrRequester}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGarden("a")
			e := gardener(g, mem.New())
			e.Signer, e.File = signer, func(string) (string, error) { return "f1", nil }
			spec := strings.Replace(policy, "%s", strings.ReplaceAll(tc.policy, ", r", "\n        r"), 1)
			if tc.signers {
				spec = "  approvals: {allowedSigners: /signers}" + spec
			}
			begin(t, e, spec)
			gate := run(t, e, engine.Waiting).PendingGates(e.Now())[0]
			for i, d := range tc.decisions {
				d.Gate, d.Digest, d.Approved, d.At = "raze", gate.Digest, true, e.Now()
				if _, err := e.Decide(t.Context(), "r", d); !errors.Is(err, tc.want[i]) {
					t.Errorf("%s: decision %d: got %v, want %v", tc.reason, i, err, tc.want[i])
				}
			}
			r, err := e.Run(t.Context(), "r")
			if open := g.times()[0] == 1; err != nil || open != tc.open || open != (r.Status == engine.Done) {
				t.Errorf("%s: acted %t, status %s (%v), want %t", tc.reason, open, r.Status, err, tc.open)
			}
		})
	}
}

var errForged = errors.New("the signature does not match")

// signer is a verifier whose signatures say who made them.
func signer(_, _ string, d approval.Decision) (approval.Identity, error) {
	name, ok := strings.CutPrefix(d.Signature, "signed by ")
	if !ok || name == "nobody" {
		return approval.Identity{}, errForged
	}
	name, key, ok := strings.Cut(name, " as ")
	if !ok {
		key = name
	}
	return approval.Identity{Name: name, Verified: true, Key: "SHA256:" + key}, nil
}

// TestSignatureIsVerifiedAgain gives a signed approval and then takes the signer off the list, without the file's digest telling: what the
// journal holds is not believed.
func TestSignatureIsVerifiedAgain(t *testing.T) {
	t.Parallel()
	g := newGarden("a")
	e := gardener(g, mem.New())
	e.Signer, e.File = signer, func(string) (string, error) { return "f1", nil }
	begin(t, e, "  approvals: {allowedSigners: /signers}"+strings.Replace(policy, "%s", "approvers: [bob@corp]", 1))
	gate := run(t, e, engine.Waiting).PendingGates(e.Now())[0]
	d := approval.Decision{Gate: "raze", Digest: gate.Digest, Approved: true, Signature: "signed by bob@corp", At: e.Now()}
	if _, err := e.Decide(t.Context(), "r", d); err != nil {
		t.Fatal(err)
	}
	e.Signer = func(string, string, approval.Decision) (approval.Identity, error) {
		return approval.Identity{}, errForged
	}
	if run(t, e, engine.Waiting); g.times()[0] != 0 {
		t.Error("acted on a signature that does not verify")
	}
}

// TestOtherSignersVoidTheApproval changes the file of allowed signers.
func TestOtherSignersVoidTheApproval(t *testing.T) {
	t.Parallel()
	g := newGarden("a")
	e := gardener(g, mem.New())
	digest := "f1"
	e.Signer, e.File = signer, func(string) (string, error) { return digest, nil }
	begin(t, e, "  approvals: {allowedSigners: /signers}"+strings.Replace(policy, "%s", "approvers: [bob@corp]", 1))
	gate := run(t, e, engine.Waiting).PendingGates(e.Now())[0]
	d := approval.Decision{Gate: "raze", Digest: gate.Digest, Approved: true, Signature: "signed by bob@corp", At: e.Now()}
	if _, err := e.Decide(t.Context(), "r", d); err != nil {
		t.Fatal(err)
	}
	digest = "f2"
	if run(t, e, engine.Waiting); g.times()[0] != 0 {
		t.Error("acted on an approval that was judged by other signers")
	}
}

// TestExpiry lets a gate's time pass, before and after it was approved.
func TestExpiry(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		reason  string
		approve bool
	}{
		"Undecided": {"an expired gate is a rejected one", false},
		"Approved":  {"what was approved for yesterday is not done today", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGarden("a")
			e := gardener(g, mem.New())
			begin(t, e, strings.Replace(policy, "%s", "expiresAfter: 1h", 1))
			r := run(t, e, engine.Waiting)
			gate := r.PendingGates(e.Now())[0]
			if tc.approve {
				agree(t, e, r)
			}
			clock := e.Now
			e.Now = func() time.Time { return clock().Add(time.Hour) }
			d := approval.Decision{Gate: "raze", Digest: gate.Digest, Approved: true, By: approval.Identity{Name: "cyd@desk"}}
			if _, err := e.Decide(t.Context(), "r", d); !errors.Is(err, approval.ErrExpired) {
				t.Errorf("%s: a late approval: got %v, want ErrExpired", tc.reason, err)
			}
			r, err := e.Run(t.Context(), "r")
			if r.Status != engine.Rejected || err == nil || !strings.Contains(err.Error(), "expired") || g.times()[0] != 0 {
				t.Errorf("%s: status %s, %v", tc.reason, r.Status, err)
			}
		})
	}
}

// TestExpiryAfterTheActBegan does not strand a step that was begun in time.
func TestExpiryAfterTheActBegan(t *testing.T) {
	t.Parallel()
	g := newGarden("a")
	e := gardener(g, mem.New())
	begin(t, e, strings.Replace(policy, "%s", "expiresAfter: 1h", 1))
	agree(t, e, run(t, e, engine.Waiting))
	g.painting = failing("a")
	run(t, e, engine.Failed)
	g.painting = nil
	clock := e.Now
	e.Now = func() time.Time { return clock().Add(time.Hour) }
	run(t, e, engine.Done)
}

// TestAutoApprove says which gates --auto-approve opens.
func TestAutoApprove(t *testing.T) {
	t.Parallel()
	change := strings.ReplaceAll(oneFence, "raze", "paint")
	for name, tc := range map[string]struct {
		reason string
		auto   plugins.Effect
		spec   string
		want   engine.Status
	}{
		"Change":          {"a change", plugins.Change, change, engine.Done},
		"NotDestroy":      {"not what cannot be undone", plugins.Change, oneFence, engine.Waiting},
		"Destroy":         {"unless it is said", plugins.Destroy, oneFence, engine.Done},
		"SomebodyElse":    {"not a gate that wants somebody else", plugins.Destroy, strings.Replace(policy, "%s", "requester: excluded", 1), engine.Waiting},
		"OneOfTwo":        {"its own word is one of two", plugins.Destroy, strings.Replace(policy, "%s", "required: 2\n        requester: allowed", 1), engine.Waiting},
		"WithoutTheOrder": {"nothing by itself", "", change, engine.Waiting},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := gardener(newGarden("a"), mem.New())
			e.AutoApprove = tc.auto
			begin(t, e, tc.spec)
			r := run(t, e, tc.want)
			for _, d := range r.Decisions {
				if !d.Auto || d.By != e.Me.Identity {
					t.Errorf("%s: the journal does not say that it was approved ahead: %+v", tc.reason, d)
				}
			}
		})
	}
}

// TestResolve settles an effect of which nobody can tell by a person's word.
func TestResolve(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		reason  string
		outcome engine.Outcome
		want    []int
	}{
		"Done":   {"it happened: it is not done again", engine.Happened, []int{1}},
		"Absent": {"it did not: it is done", engine.Absent, []int{2}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGarden("a")
			e := gardener(g, mem.New())
			begin(t, e, strings.Replace(policy, "%s", "required: 1", 1))
			agree(t, e, run(t, e, engine.Waiting))
			g.doubt["a"] = true
			for range 2 { // it does not get better by itself
				r := run(t, e, engine.Failed)
				if want := "look at a; then say what happened: tkgfix resolve r raze/paint done|absent, then: tkgfix resume r"; r.Hint != want {
					t.Errorf("%s: hint %q, want %q", tc.reason, r.Hint, want)
				}
			}
			if _, err := e.Resolve(t.Context(), "r", "raze/other", tc.outcome, ""); err == nil || !strings.Contains(err.Error(), `"raze/paint"`) {
				t.Errorf("an effect that there is not: %v", err)
			}
			if _, err := e.Resolve(t.Context(), "r", "raze/paint", "perhaps", ""); err == nil {
				t.Error("an outcome that there is not was taken")
			}
			if _, err := e.Resolve(t.Context(), "r", "raze/paint", tc.outcome, "I looked"); err != nil {
				t.Fatal(err)
			}
			if _, err := e.Resolve(t.Context(), "r", "raze/paint", tc.outcome, ""); err == nil {
				t.Error("resolved twice")
			}
			g.mu.Lock()
			g.doubt["a"] = false
			if tc.outcome == engine.Absent {
				g.painted["a"] = 0
			}
			g.mu.Unlock()
			r := run(t, e, engine.Done)
			want := tc.want
			if tc.outcome == engine.Absent {
				want = []int{1} // counted anew
			}
			if diff := cmp.Diff(want, g.times()); diff != "" {
				t.Errorf("%s: how often razed (-want, +got):\n%s", tc.reason, diff)
			}
			if !strings.Contains(r.Effects[0].Note, "by the word of ann@jump: I looked") {
				t.Errorf("%s: the effect's note: %q", tc.reason, r.Effects[0].Note)
			}
		})
	}
}

// TestOnFailure tells of each failure once, and of nothing else.
func TestOnFailure(t *testing.T) {
	t.Parallel()
	g := newGarden("a")
	e := gardener(g, mem.New())
	begin(t, e, strings.Replace(policy, "%s", "required: 1", 1)+`
  onFailure:
    - {id: tell, uses: tell, with: {text: "${{ failure.status }} at ${{ failure.step }}: ${{ failure.error }}"}}
`)
	r := run(t, e, engine.Waiting)
	if len(g.told) != 0 {
		t.Fatalf("told of a run that waits: %q", g.told)
	}
	agree(t, e, r)
	g.painting = failing("a")
	run(t, e, engine.Failed)
	g.painting = nil
	g.mu.Lock()
	g.painted["a"], g.doubt["a"] = 0, true
	g.mu.Unlock()
	run(t, e, engine.Failed)
	want := []string{"failed at raze: step raze: the brush broke", "failed at raze: step raze: cannot tell whether paint happened to Fence a"}
	if diff := cmp.Diff(want, g.told); diff != "" {
		t.Errorf("told (-want, +got):\n%s", diff)
	}
}

// TestRejectionIsTold tells of a rejection by somebody else's command.
func TestRejectionIsTold(t *testing.T) {
	t.Parallel()
	g := newGarden("a")
	e := gardener(g, mem.New())
	begin(t, e, strings.Replace(policy, "%s", "required: 1", 1)+`
  onFailure:
    - {id: tell, uses: tell, with: {text: "${{ failure.status }}: ${{ failure.error }}"}}
`)
	gate := run(t, e, engine.Waiting).PendingGates(e.Now())[0]
	d := approval.Decision{Gate: "raze", Digest: gate.Digest, By: approval.Identity{Name: "bob@desk"}}
	if _, err := e.Decide(t.Context(), "r", d); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"rejected: gate raze was rejected by bob@desk"}, g.told); diff != "" {
		t.Errorf("told (-want, +got):\n%s", diff)
	}
}

// TestAnnounce needs no approval and tells once, although it is no change.
func TestAnnounce(t *testing.T) {
	t.Parallel()
	g := newGarden()
	e := gardener(g, mem.New())
	req := begin(t, e, `
  steps:
    - {id: tell, uses: tell, with: {text: hello}}
    - {id: after, uses: list, needs: [tell]}
`)
	p, err := e.Plan(t.Context(), req)
	if err != nil || p.HasChanges() || len(p.Gates) != 0 || len(g.told) != 0 {
		t.Fatalf("planned: %v, told %q, plan %+v", err, g.told, p)
	}
	if run(t, e, engine.Done); !slices.Equal(g.told, []string{"hello"}) {
		t.Errorf("told %q", g.told)
	}
}

// TestGuards stops before a change when a guard does not hold, and goes on when it does.
func TestGuards(t *testing.T) {
	t.Parallel()
	g := newGarden("a")
	e := gardener(g, mem.New())
	begin(t, e, `
  guards:
    - {name: window, expr: "now.getHours() == 3", message: outside the maintenance window}
`+strings.Replace(policy, "%s", "required: 1", 1)[1:])
	r := run(t, e, engine.Waiting)
	if len(r.Plan.Guards) != 1 || *r.Plan.Guards[0].Holds {
		t.Errorf("the plan says of its guards: %+v", r.Plan.Guards)
	}
	agree(t, e, r)
	r, err := e.Run(t.Context(), "r")
	var closed *engine.GuardError
	if r.Status != engine.Blocked || !errors.As(err, &closed) || closed.Guard != "window" || g.times()[0] != 0 {
		t.Fatalf("outside of the window: status %s, %v", r.Status, err)
	}
	clock := e.Now
	e.Now = func() time.Time { return clock().Add(3 * time.Hour) }
	run(t, e, engine.Done)
}

// TestStop interrupts while an effect is in flight: that is finished, no other is begun, and the run goes on later.
func TestStop(t *testing.T) {
	t.Parallel()
	g := newGarden("a", "b")
	e := gardener(g, mem.New())
	begin(t, e, eachFence(""))
	agree(t, e, run(t, e, engine.Waiting))
	stop, flying := make(chan struct{}), make(chan string, 1)
	e.Stop = stop
	e.Watch = func(ev engine.Event) {
		if ev.Kind == engine.EventStopping {
			flying <- ev.Text
		}
	}
	g.painting = func(ctx context.Context, _ string) error {
		close(stop)
		select { // the act goes on until the engine has said that it waits for it
		case text := <-flying:
			if text != "paint[0]/paint" {
				return errors.New("in flight: " + text)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
		return nil
	}
	r, err := e.Run(t.Context(), "r")
	if !errors.Is(err, engine.ErrStopped) || r.Status != engine.Interrupted {
		t.Fatalf("got %v, status %s", err, r.Status)
	}
	if open := r.OpenEffects(); len(open) != 0 {
		t.Errorf("effects left open: %q", open)
	}
	if diff := cmp.Diff([]int{1, 0}, g.times()); diff != "" {
		t.Errorf("how often painted (-want, +got):\n%s", diff)
	}
	e.Stop, g.painting = nil, nil
	run(t, e, engine.Done)
	if diff := cmp.Diff([]int{1, 1}, g.times()); diff != "" {
		t.Errorf("how often painted (-want, +got):\n%s", diff)
	}
}
