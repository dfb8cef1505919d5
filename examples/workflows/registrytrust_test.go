package workflows_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/examples/workflows"
	"github.com/tkgfix/tkgfix/internal/approval"
	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/plan"
	"github.com/tkgfix/tkgfix/internal/state/mem"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/sdk"
	"github.com/tkgfix/tkgfix/workflow"
)

// patient is a cluster as the steps find it: what the two diagnoses say, and which changing steps come to nothing.
type patient struct {
	well bool
	// never says that it has never been up, so that its pods cannot be looked at.
	never         bool
	first, second string
	fails         string
	// stops is a reason with which the second diagnosis stops.
	stops string
	did   []string
}

// scripted is a shipped step, as it describes itself, over a patient.
type scripted struct {
	plugins.Step
	p *patient
}

func (s scripted) name() string { return s.Describe().Name }

func (s scripted) Plan(_ context.Context, req plugins.PlanRequest) (plugins.PlanResponse, error) {
	if s.Describe().Effect != plugins.Read {
		return plugins.PlanResponse{Outputs: json.RawMessage(`{}`), Changes: []plugins.PlannedChange{{
			Action: plugins.Update, Target: plugins.Target{Kind: "X", Name: req.StepID}, Reason: "it is wanted",
		}}}, nil
	}
	if s.name() == "detect" && s.p.never {
		return plugins.PlanResponse{}, errors.New("its control plane has never been up")
	}
	resp := plugins.PlanResponse{Outputs: s.outputs(req)}
	if s.name() == "diagnose" && s.p.stops != "" && second(req) {
		resp.Blocks = []plugins.Block{{Reason: s.p.stops, Hint: "mend it"}}
	}
	return resp, nil
}

func second(req plugins.PlanRequest) bool { return strings.Contains(string(req.Input), `"tried":["`) }

// outputs are as far as the workflow and the check of schemas read them.
func (s scripted) outputs(req plugins.PlanRequest) json.RawMessage {
	switch s.name() {
	case "detect":
		return json.RawMessage(fmt.Sprintf(`{"affected":%t,"class":"trust","registry":"r:5443","failing":[],"failingCount":6,"scanned":6}`, !s.p.well))
	case "find-owner":
		return json.RawMessage(fmt.Sprintf(`{"cluster":"team-a/dev1","kind":"Cluster","apiVersion":"v","class":"","way":"tkc","retiring":false,"paused":false,"initialized":%t,"managed":{},"roll":{},"may":{},"declared":[]}`, !s.p.never))
	case "check-encoding":
		return json.RawMessage(`{"ok":true,"entries":[],"candidate":{}}`)
	case "verify-node-cert":
		return json.RawMessage(`{"nodes":[],"ok":true,"candidateOnAll":false}`)
	case "probe":
		return json.RawMessage(`{"registry":"r:5443","trusted":false,"candidateWorks":true,"verdict":"","missing":"","nodes":[]}`)
	case "verify-pull":
		return json.RawMessage(`{"ok":true,"nodes":[],"pods":{"running":6,"failing":0,"pending":0}}`)
	}
	remedy := s.p.first
	if second(req) {
		remedy = s.p.second
	}
	return json.RawMessage(fmt.Sprintf(`{"cause":"c","remedy":%q,"trust":true,"summary":"s","ruledOut":[]}`, remedy))
}

func (s scripted) Apply(ctx context.Context, req plugins.ApplyRequest, h plugins.Host) (plugins.ApplyResponse, error) {
	step, _, _ := strings.Cut(req.StepID, "[")
	err := sdk.Effect(ctx, h, plugins.EffectSpec{Key: "act", Target: req.Changes[0].Target},
		func(context.Context) (sdk.Observation, error) {
			if slices.Contains(s.p.did, step) {
				return sdk.Observation{State: sdk.Yes}, nil
			}
			return sdk.Observation{State: sdk.No}, nil
		},
		func(context.Context) error { s.p.did = append(s.p.did, step); return nil })
	if err == nil && step == s.p.fails {
		err = errors.New("a new node does not get what is declared")
	}
	return plugins.ApplyResponse{Outputs: json.RawMessage(`{}`)}, err
}

// catalog is that of the shipped steps over a patient.
type catalog map[string]plugins.Step

func catalogOf(p *patient) catalog {
	out := catalog{}
	for name, step := range shipped() {
		out[name] = scripted{step, p}
	}
	return out
}

func (c catalog) Step(uses string) (workflow.StepInfo, bool) {
	step, ok := c[uses]
	if !ok {
		return workflow.StepInfo{}, false
	}
	d := step.Describe()
	return workflow.StepInfo{Effect: string(d.Effect), Input: d.Input, Output: d.Output, Connections: d.Connections}, true
}

func (c catalog) Names() []string { return nil }

func (c catalog) Plugin(uses string) (plan.Plugin, error) {
	return plan.Plugin{Name: uses, Version: "1", SHA256: "x"}, nil
}

type launched struct{ catalog }

func (l launched) Step(_ context.Context, uses string) (plugins.Step, error) {
	return l.catalog[uses], nil
}
func (launched) Close(context.Context) error { return nil }

func engineOf(p *patient) *engine.Engine {
	c := catalogOf(p)
	now := time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)
	return &engine.Engine{
		Store: mem.New(), Me: engine.Actor{Identity: approval.Identity{Name: "ann@desk"}}, Catalog: c,
		Now: func() time.Time { now = now.Add(time.Second); return now },
		Launch: func(plugins.Connections, func(context.Context, engine.Process) error) engine.Plugins {
			return launched{c}
		},
		End:  func(context.Context, engine.Process) error { return nil },
		File: func(string) (string, error) { return "digest", nil },
	}
}

// carry takes the workflow to its end, approving each gate as it is shown, and returns the gates of each stop.
func carry(t *testing.T, p *patient) (*engine.Run, [][]string) {
	t.Helper()
	return carryOut(t, p, workflows.RegistryTrustFile, nil)
}

// carryOut is carry for an example by its file, with inputs beside the cluster and the CA.
func carryOut(t *testing.T, p *patient, file string, more map[string]string) (*engine.Run, [][]string) {
	t.Helper()
	source, ok := workflows.Named(file)
	if !ok {
		t.Fatalf("there is no example %s", file)
	}
	e := engineOf(p)
	w, diags := workflow.Check(file, source, e.Catalog)
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	var inputs []plan.Input
	given := map[string]string{"cluster": "team-a/dev1", "ca": "/ca.pem"}
	maps.Copy(given, more)
	values, err := w.BindInputs(given)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range values {
		inputs = append(inputs, plan.Input{Name: name, Value: value})
	}
	slices.SortFunc(inputs, func(a, b plan.Input) int { return strings.Compare(a.Name, b.Name) })
	conns := plugins.Connections{Supervisor: &plugins.Kube{}, Nodes: &plugins.Nodes{}}
	if err := e.Create(t.Context(), engine.Request{ID: "r", Workflow: w, Inputs: inputs, Connections: conns}); err != nil {
		t.Fatal(err)
	}
	var stops [][]string
	for range 5 {
		r, _ := e.Run(t.Context(), "r")
		if r.Status != engine.Waiting {
			return r, stops
		}
		var names []string
		for _, g := range r.PendingGates(e.Now()) {
			names = append(names, g.Step)
			d := approval.Decision{Gate: g.Step, Digest: g.Digest, Approved: true, By: e.Me.Identity, At: e.Now()}
			if _, err := e.Decide(t.Context(), "r", d); err != nil {
				t.Fatal(err)
			}
		}
		stops = append(stops, names)
	}
	t.Fatalf("the run goes on asking: %v", stops)
	return nil, nil
}

// Each remedy has its step, each harder one than the first has a gate of its own, and nothing is done that the diagnosis does not ask for.
func TestRegistryTrust(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		reason string
		p      patient
		// did are the steps in their order, each at a gate of its own.
		did  []string
		want engine.Status
		err  string
	}{
		"well":              {"no pod fails", patient{well: true}, nil, engine.Done, ""},
		"back-off":          {"the pods pull by themselves", patient{first: "nothing"}, nil, engine.Done, ""},
		"restart":           {"a restart is enough", patient{first: "restart-runtime", second: "nothing"}, []string{"restart"}, engine.Done, ""},
		"roll":              {"a node at a time", patient{first: "roll-nodes", second: "nothing"}, []string{"roll"}, engine.Done, ""},
		"own":               {"all its nodes", patient{first: "cluster-trust", second: "nothing"}, []string{"cluster_trust"}, engine.Done, ""},
		"service":           {"which rolled the cluster by itself", patient{first: "service-trust", second: "nothing"}, []string{"service_trust"}, engine.Done, ""},
		"service, not seen": {"existing clusters may not be rolled by themselves", patient{first: "service-trust", second: "roll-nodes"}, []string{"service_trust", "roll_after"}, engine.Done, ""},
		"roll in vain":      {"the new machine did not get it", patient{first: "roll-nodes", fails: "roll", second: "cluster-trust"}, []string{"roll", "cluster_trust_after"}, engine.Done, ""},
		"own in vain":       {"no roll brings it", patient{first: "cluster-trust", fails: "cluster_trust", second: "recreate"}, []string{"cluster_trust", "recreate"}, engine.Done, ""},
		"own in vain, well": {"the step gave up and the nodes trust all the same", patient{first: "cluster-trust", fails: "cluster_trust", second: "nothing"}, []string{"cluster_trust"}, engine.Done, ""},
		"own, under way":    {"a roll that is under way is waited for, not superseded", patient{first: "cluster-trust", fails: "cluster_trust", second: "wait", stops: "the roll is under way"}, []string{"cluster_trust"}, engine.Failed, "the roll is under way"},
		"restart fails":     {"it is a failure like any other", patient{first: "restart-runtime", fails: "restart", second: "recreate"}, []string{"restart"}, engine.Failed, "step restart"},
		"service fails":     {"nothing global is guessed at", patient{first: "service-trust", fails: "service_trust", second: "recreate"}, []string{"service_trust"}, engine.Failed, "step service_trust"},
		"after fails":       {"there is no third look", patient{first: "service-trust", second: "roll-nodes", fails: "roll_after"}, []string{"service_trust", "roll_after"}, engine.Failed, "step roll_after"},
		"recreate":          {"no roll can proceed", patient{first: "recreate"}, []string{"recreate"}, engine.Done, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := tc.p
			r, stops := carry(t, &p)
			if r.Status != tc.want || !strings.Contains(r.Error, tc.err) {
				t.Errorf("%s: the run is %s, %q", tc.reason, r.Status, r.Error)
			}
			if diff := cmp.Diff(tc.did, p.did); diff != "" {
				t.Errorf("%s: done (-want, +got):\n%s", tc.reason, diff)
			}
			var want [][]string
			for _, id := range tc.did {
				want = append(want, []string{id})
			}
			if diff := cmp.Diff(want, stops); diff != "" {
				t.Errorf("%s: gates, stop by stop (-want, +got):\n%s", tc.reason, diff)
			}
			if s, _ := r.Plan.Step("verify"); r.Status == engine.Done && s.Status != plan.Done {
				t.Errorf("%s: the run is done and verify is %s: %s", tc.reason, s.Status, s.Why)
			}
		})
	}
}
