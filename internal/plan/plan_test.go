package plan_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/approval"
	"github.com/tkgfix/tkgfix/internal/plan"
	"github.com/tkgfix/tkgfix/plugins"
)

func sample() plan.Plan {
	target := plugins.Target{Group: "g", Kind: "K", Namespace: "ns", Name: "n", UID: "u1"}
	return plan.Plan{
		Format: plan.Format, Workflow: "w", WorkflowSHA256: "aa",
		Inputs:  []plan.Input{{Name: "ca", Value: "/ca.pem", SHA256: "bb"}},
		Plugins: []plan.Plugin{{Name: "p", Version: "1.0.0", SHA256: "cc"}},
		Steps: []plan.Step{{
			ID: "s", Uses: "p", Effect: plugins.Destroy, Status: plan.Changes,
			Changes: []plugins.PlannedChange{{
				Action: plugins.Delete, Target: target, Reason: "it is sick", Before: json.RawMessage(`{"a":1,"b":[1,2]}`),
				Preconditions: []plugins.Precondition{{Target: target, Field: "metadata.generation", Value: "3"}},
				Lost:          []string{"a volume"},
			}},
		}},
	}
}

func digest(t *testing.T, p plan.Plan) string {
	t.Helper()
	d, err := p.Digest(p.Steps[0])
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDigest(t *testing.T) {
	t.Parallel()
	base := digest(t, sample())
	if len(base) != len("sha256:")+64 || !strings.HasPrefix(base, "sha256:") {
		t.Fatalf("digest %q", base)
	}
	for name, tc := range map[string]struct {
		reason string
		change func(*plan.Plan)
		same   bool
	}{
		"KeyOrder":     {"the order of keys means nothing", func(p *plan.Plan) { p.Steps[0].Changes[0].Before = json.RawMessage(`{ "b":[1,2], "a":1.0 }`) }, true},
		"Evidence":     {"what was seen on the way is not what is approved", func(p *plan.Plan) { p.Steps[0].Evidence = []plugins.Evidence{{Text: "x"}} }, true},
		"ListOrder":    {"the order of a list does", func(p *plan.Plan) { p.Steps[0].Changes[0].Before = json.RawMessage(`{"a":1,"b":[2,1]}`) }, false},
		"Workflow":     {"another workflow file", func(p *plan.Plan) { p.WorkflowSHA256 = "ab" }, false},
		"Input":        {"another content of a file", func(p *plan.Plan) { p.Inputs[0].SHA256 = "bc" }, false},
		"Plugin":       {"another plugin", func(p *plan.Plan) { p.Plugins[0].SHA256 = "cd" }, false},
		"Step":         {"another step", func(p *plan.Plan) { p.Steps[0].ID = "t" }, false},
		"UID":          {"another incarnation", func(p *plan.Plan) { p.Steps[0].Changes[0].Target.UID = "u2" }, false},
		"Precondition": {"another generation", func(p *plan.Plan) { p.Steps[0].Changes[0].Preconditions[0].Value = "4" }, false},
		"Lost":         {"another price", func(p *plan.Plan) { p.Steps[0].Changes[0].Lost = append(p.Steps[0].Changes[0].Lost, "two") }, false},
		"Kubeconfig":   {"another Supervisor", func(p *plan.Plan) { p.Connections.Supervisor = &plugins.Kube{Kubeconfig: "/k"} }, false},
		"More":         {"one change more", func(p *plan.Plan) { p.Steps[0].Changes = append(p.Steps[0].Changes, p.Steps[0].Changes[0]) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := sample()
			tc.change(&p)
			if got := digest(t, p) == base; got != tc.same {
				t.Errorf("%s: same digest is %t, want %t", tc.reason, got, tc.same)
			}
		})
	}
}

func TestApprove(t *testing.T) {
	t.Parallel()
	p := sample()
	d := digest(t, p)
	replaced := sample()
	replaced.Steps[0].Changes[0].Target.UID = "u2"
	forged := digest(t, replaced)
	p.Gates = []plan.Gate{{Step: "s", Digest: d}}
	yes := approval.Decision{Gate: "s", Digest: d, Approved: true, By: approval.Identity{Name: "ann"}}
	no := approval.Decision{Gate: "s", Digest: d, By: approval.Identity{Name: "bob"}, Reason: "not now"}
	other := approval.Decision{Gate: "s", Digest: "sha256:00", Approved: true}
	for name, tc := range map[string]struct {
		reason    string
		decisions []approval.Decision
		forge     func(*plan.Plan)
		want      string
	}{
		"None":     {"nobody decided", nil, nil, "gate s waits for approval of " + d},
		"Other":    {"an approval of something else", []approval.Decision{other}, nil, "gate s waits for approval of " + d},
		"Yes":      {"approved", []approval.Decision{other, yes}, nil, ""},
		"Rejected": {"a rejection counts whenever it came", []approval.Decision{yes, no}, nil, "gate s was rejected by bob: not now"},
		"Forged": {"the gate's own word for its digest is not believed", []approval.Decision{yes},
			func(p *plan.Plan) { p.Steps[0].Changes[0].Target.UID = "u2" }, "gate s waits for approval of " + forged},
		"Blocked": {"a blocked step cannot be approved", []approval.Decision{yes},
			func(p *plan.Plan) { p.Steps[0].Blocks = []plugins.Block{{Reason: "no proof"}} }, "approve: step s is blocked: no proof"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := sample()
			p.Gates = []plan.Gate{{Step: "s", Digest: d}}
			if tc.forge != nil {
				tc.forge(&p)
			}
			ok, err := plan.Approve(&p, "s", plan.Judgement{Requester: approval.Identity{Name: "eve"}, Decisions: tc.decisions})
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != tc.want {
				t.Errorf("%s: got %q, want %q", tc.reason, got, tc.want)
			}
			if err == nil && (ok.By()[0].Name != "ann" || ok.Digest() != d || len(ok.Changes()) != 1) {
				t.Errorf("%s: %+v", tc.reason, ok)
			}
		})
	}
}

func TestDiff(t *testing.T) {
	t.Parallel()
	base := sample().Steps[0].Changes
	edit := func(f func(*plugins.PlannedChange)) []plugins.PlannedChange {
		c := sample().Steps[0].Changes
		f(&c[0])
		return c
	}
	for name, tc := range map[string]struct {
		now  []plugins.PlannedChange
		want []string
	}{
		"Same":      {sample().Steps[0].Changes, nil},
		"KeyOrder":  {edit(func(c *plugins.PlannedChange) { c.Before = json.RawMessage(`{"b":[1,2],"a":1}`) }), nil},
		"Field":     {edit(func(c *plugins.PlannedChange) { c.Preconditions[0].Value = "4" }), []string{"K ns/n metadata.generation moved from 3 to 4"}},
		"UID":       {edit(func(c *plugins.PlannedChange) { c.Target.UID = "u2" }), []string{"delete K ns/n (uid u1) became delete K ns/n (uid u2)"}},
		"Lost":      {edit(func(c *plugins.PlannedChange) { c.Lost = nil }), []string{"delete K ns/n: lost has no longer: a volume"}},
		"More lost": {edit(func(c *plugins.PlannedChange) { c.Lost = append(c.Lost, "another volume") }), []string{"delete K ns/n: lost has one more: another volume"}},
		"Before": {edit(func(c *plugins.PlannedChange) { c.Before = json.RawMessage(`{"a":2,"b":[1,3],"c":{"d":"x"}}`) }), []string{
			"delete K ns/n: before a moved from 1 to 2", "delete K ns/n: before b[1] moved from 2 to 3", `delete K ns/n: before c moved from nothing to {"d":"x"}`,
		}},
		"Fact": {edit(func(c *plugins.PlannedChange) { c.Preconditions = nil }), []string{"K ns/n metadata.generation moved from 3 to nothing"}},
		"Gone": {nil, []string{"no longer planned: delete K ns/n"}},
		"More": {append(sample().Steps[0].Changes, base[0]), []string{"newly planned: delete K ns/n"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, plan.Diff(base, tc.now)); diff != "" {
				t.Errorf("Diff (-want, +got):\n%s", diff)
			}
		})
	}
}

func TestErr(t *testing.T) {
	t.Parallel()
	p := sample()
	if err := p.Err(); err != nil {
		t.Errorf("a sound plan: %v", err)
	}
	p.Steps[0].Blocks = []plugins.Block{{Reason: "no proof", Hint: "get one"}}
	if err := p.Err(); err == nil || plugins.HintOf(err) != "get one" {
		t.Errorf("a blocked plan: %v, hint %q", err, plugins.HintOf(err))
	}
	p.Steps = append(p.Steps, plan.Step{ID: "t", Status: plan.Failed, Why: "boom", Hint: "look"})
	err := p.Err()
	if err == nil || err.Error() != "plan step t: boom" || plugins.HintOf(err) != "look" || errors.Unwrap(err) == nil {
		t.Errorf("a failed plan: %v, hint %q", err, plugins.HintOf(err))
	}
}
