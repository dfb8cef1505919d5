package fromproto_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	pb "google.golang.org/protobuf/proto"

	"github.com/tkgfix/tkgfix/internal/wire/fromproto"
	"github.com/tkgfix/tkgfix/internal/wire/proto"
	"github.com/tkgfix/tkgfix/internal/wire/toproto"
	"github.com/tkgfix/tkgfix/plugins"
)

func target(name string) plugins.Target {
	return plugins.Target{
		Cluster: "team-a/dev1", Group: "run.tanzu.vmware.com", Version: "v1alpha3", Kind: "TanzuKubernetesCluster",
		Namespace: "team-a", Name: name, UID: "6a4e",
	}
}

func change(action plugins.Action) plugins.PlannedChange {
	return plugins.PlannedChange{
		Action: action, Target: target("dev1"), Reason: "no gentler way", Before: json.RawMessage(`{"a": 1}`), After: json.RawMessage(`null`),
		Preconditions: []plugins.Precondition{{Target: target("other"), Field: "metadata.uid", Value: "6a4e"}},
		Lost:          []string{"volumes", ""}, Undo: "none", Impact: []string{"team-a/dev2"},
	}
}

func evidence(v plugins.Verdict) plugins.Evidence {
	return plugins.Evidence{Subject: "node-1", Check: "handshake", Verdict: v, Text: "x509: …", Data: json.RawMessage(`[1]`)}
}

func connections() plugins.Connections {
	return plugins.Connections{
		Supervisor: &plugins.Kube{Kubeconfig: "/home/me/.kube/config", Context: "sv"},
		Nodes: &plugins.Nodes{
			Via: "ssh", User: "vmware-system-user", Port: 22, KnownHosts: "/k", HostKeys: "strict", Jump: "ann@jump:2222,[fd00::1]",
			IdentityFile: "/id", PasswordFile: "/pw", Agent: true, Image: "registry.k8s.io/pause:3.9",
		},
	}
}

// trip sends a value through its translators and the encoding between them.
func trip[T any, M pb.Message](t *testing.T, in T, to func(T) (M, error), empty M, from func(M) (T, error)) T {
	t.Helper()
	m, err := to(in)
	if err != nil {
		t.Fatalf("to: %v", err)
	}
	raw, err := pb.Marshal(m)
	if err != nil {
		t.Fatalf("marshal: %v", err)
	}
	if err := pb.Unmarshal(raw, empty); err != nil {
		t.Fatalf("unmarshal: %v", err)
	}
	out, err := from(empty)
	if err != nil {
		t.Fatalf("from: %v", err)
	}
	return out
}

func same[T any](t *testing.T, reason string, want, got T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want, +got):\n%s", reason, diff)
	}
}

func TestRoundTripDescription(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]plugins.Description{
		"Full": {
			Name: "probe", Version: "1.0.0", Summary: "Looks.", Effect: plugins.Read, Input: json.RawMessage(`{}`),
			Output: json.RawMessage(`{"type":"object"}`), Connections: []string{plugins.ConnNodes, plugins.ConnSupervisor},
		},
		"Change":   {Effect: plugins.Change},
		"Destroy":  {Effect: plugins.Destroy},
		"Announce": {Effect: plugins.Announce},
		"Declared": {Effect: plugins.Declared},
	} {
		same(t, name, in, trip(t, in, toproto.Description, &proto.Description{}, fromproto.Description))
	}
}

func TestRoundTripPlan(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]plugins.PlanRequest{
		"Full":       {StepID: "s", Effect: plugins.Read, Input: json.RawMessage(`{"cluster": "a/b"}`), Connections: connections()},
		"Supervisor": {Connections: plugins.Connections{Supervisor: &plugins.Kube{}}},
		"Change":     {Effect: plugins.Change},
		"Destroy":    {Effect: plugins.Destroy},
		"Announce":   {Effect: plugins.Announce},
		"Empty":      {},
	} {
		to := func(r plugins.PlanRequest) (*proto.PlanRequest, error) { return toproto.PlanRequest("7", r) }
		same(t, "request "+name, in, trip(t, in, to, &proto.PlanRequest{}, fromproto.PlanRequest))
	}
	for name, in := range map[string]plugins.PlanResponse{
		"Full": {
			Outputs: json.RawMessage(`{ "ok": true }`),
			Changes: []plugins.PlannedChange{
				change(plugins.Create), change(plugins.Update), change(plugins.Replace), change(plugins.Delete),
				{Action: plugins.Create},
			},
			Blocks:   []plugins.Block{{Reason: "r", Hint: "h"}},
			Evidence: []plugins.Evidence{evidence(plugins.OK), evidence(plugins.Bad), evidence(plugins.Info), {Verdict: plugins.OK}},
			Summary:  "s", Warnings: []string{"w"},
		},
		"Empty": {},
	} {
		same(t, "response "+name, in, trip(t, in, toproto.PlanResponse, &proto.PlanResponse{}, fromproto.PlanResponse))
	}
}

func TestRoundTripApply(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]plugins.ApplyRequest{
		"Full": {
			RunID: "r", StepID: "s", Effect: plugins.Destroy, Input: json.RawMessage(`{}`), Connections: connections(),
			Changes: []plugins.PlannedChange{change(plugins.Delete)},
		},
		"Change":   {Effect: plugins.Change},
		"Announce": {Effect: plugins.Announce},
		"Empty":    {},
	} {
		to := func(r plugins.ApplyRequest) (*proto.ApplyRequest, error) { return toproto.ApplyRequest("7", 9, r) }
		same(t, "request "+name, in, trip(t, in, to, &proto.ApplyRequest{}, fromproto.ApplyRequest))
	}
	for name, in := range map[string]plugins.ApplyResponse{
		"Full":  {Outputs: json.RawMessage(`{}`), Evidence: []plugins.Evidence{evidence(plugins.Info)}, Summary: "s"},
		"Empty": {},
	} {
		same(t, "response "+name, in, trip(t, in, toproto.ApplyResponse, &proto.ApplyResponse{}, fromproto.ApplyResponse))
	}
}

func TestRoundTripEffect(t *testing.T) {
	t.Parallel()
	spec := plugins.EffectSpec{Key: "delete", Target: target("dev1")}
	got, err := fromproto.EffectSpec(toproto.EffectSpec(spec))
	if err != nil {
		t.Fatal(err)
	}
	same(t, "spec", spec, got)
	for _, s := range []plugins.EffectState{plugins.EffectNone, plugins.EffectIntended, plugins.EffectDone} {
		m, err := toproto.EffectState(s)
		if err != nil {
			t.Fatal(err)
		}
		back, err := fromproto.EffectState(m)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "state", s, back)
	}
}

func TestCallAndHostTravel(t *testing.T) {
	t.Parallel()
	plan, err := toproto.PlanRequest("7", plugins.PlanRequest{})
	if err != nil || plan.GetCall() != "7" {
		t.Errorf("call of plan: %v %v", plan, err)
	}
	apply, err := toproto.ApplyRequest("7", 9, plugins.ApplyRequest{})
	if err != nil || apply.GetCall() != "7" || apply.GetHost() != 9 {
		t.Errorf("call and host of apply: %v %v", apply, err)
	}
}

// TestTextIsMadeFit sends what a node may answer: bytes that are no UTF-8, which the wire does not take.
func TestTextIsMadeFit(t *testing.T) {
	t.Parallel()
	in := plugins.PlanResponse{
		Summary: "a\xffb", Warnings: []string{"\xfe"}, Blocks: []plugins.Block{{Reason: "\xff", Hint: "\xff"}},
		Evidence: []plugins.Evidence{{Verdict: plugins.OK, Subject: "\xff", Text: "\xff"}},
	}
	want := plugins.PlanResponse{
		Summary: "a\uFFFDb", Warnings: []string{"\uFFFD"}, Blocks: []plugins.Block{{Reason: "\uFFFD", Hint: "\uFFFD"}},
		Evidence: []plugins.Evidence{{Verdict: plugins.OK, Subject: "\uFFFD", Text: "\uFFFD"}},
	}
	same(t, "text", want, trip(t, in, toproto.PlanResponse, &proto.PlanResponse{}, fromproto.PlanResponse))
}
