package controller_test

import (
	"context"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

// lamp is the ConfigMap of a namespace whose key says whether it is lit.
type lamp struct {
	client *kube.Client
	kind   kube.Resource
	at     types.NamespacedName
	object *unstructured.Unstructured
}

func find(ctx context.Context, c plugins.Connections, input json.RawMessage) (*lamp, error) {
	var in struct{ Namespace string }
	if err := json.Unmarshal(input, &in); err != nil {
		return nil, err
	}
	client, err := kube.New(*c.Supervisor)
	if err != nil {
		return nil, err
	}
	l := &lamp{client: client, at: types.NamespacedName{Namespace: in.Namespace, Name: "lamp"}}
	if l.kind, err = client.Resource(ctx, "", "ConfigMap"); err != nil {
		return nil, err
	}
	l.object, err = client.Get(ctx, l.kind, in.Namespace, "lamp")
	return l, err
}

func (l *lamp) says(key string) string {
	text, _, _ := unstructured.NestedString(l.object.Object, "data", key)
	return text
}

func (l *lamp) target() plugins.Target {
	return plugins.Target{Version: "v1", Kind: "ConfigMap", Namespace: l.at.Namespace, Name: "lamp", UID: string(l.object.GetUID())}
}

const inNamespace = `{"type":"object","additionalProperties":false,"required":["namespace"],"properties":{"namespace":{"type":"string"},"text":{"type":"string"}}}`

type look struct{}

func (look) Describe() plugins.Description {
	return plugins.Description{
		Name: "look", Version: "1.0.0", Summary: "looks at the lamp", Effect: plugins.Read, Connections: []string{plugins.ConnSupervisor},
		Input: json.RawMessage(inNamespace), Output: json.RawMessage(`{"type":"object","properties":{"lit":{"type":"boolean"}}}`),
	}
}

func (look) Plan(ctx context.Context, req plugins.PlanRequest) (plugins.PlanResponse, error) {
	l, err := find(ctx, req.Connections, req.Input)
	if err != nil {
		return plugins.PlanResponse{}, err
	}
	if l.says("broken") != "" {
		return plugins.PlanResponse{}, plugins.Hint(fmt.Errorf("the bulb is broken"), "replace it, then: tkgfix resume RUN")
	}
	return plugins.PlanResponse{Outputs: json.RawMessage(fmt.Sprintf(`{"lit":%t}`, l.says("lit") == "yes"))}, nil
}

func (look) Apply(context.Context, plugins.ApplyRequest, plugins.Host) (plugins.ApplyResponse, error) {
	return plugins.ApplyResponse{}, fmt.Errorf("a reading step was applied")
}

type turn struct{}

func (turn) Describe() plugins.Description {
	return plugins.Description{
		Name: "turn", Version: "1.0.0", Summary: "turns the lamp on", Effect: plugins.Change, Connections: []string{plugins.ConnSupervisor},
		Input: json.RawMessage(inNamespace), Output: json.RawMessage(`{"type":"object","properties":{"lit":{"type":"boolean"}}}`),
	}
}

func (turn) Plan(ctx context.Context, req plugins.PlanRequest) (plugins.PlanResponse, error) {
	l, err := find(ctx, req.Connections, req.Input)
	if err != nil {
		return plugins.PlanResponse{}, err
	}
	r := plugins.PlanResponse{Outputs: json.RawMessage(`{"lit":true}`)}
	if l.says("lit") != "yes" {
		r.Changes = []plugins.PlannedChange{{Action: plugins.Update, Target: l.target(), Reason: "it is dark", Lost: []string{"the dark"}}}
	}
	return r, nil
}

func (turn) Apply(ctx context.Context, req plugins.ApplyRequest, h plugins.Host) (plugins.ApplyResponse, error) {
	err := sdk.Effect(ctx, h, plugins.EffectSpec{Key: "turn", Target: req.Changes[0].Target},
		func(ctx context.Context) (sdk.Observation, error) {
			l, err := find(ctx, req.Connections, req.Input)
			if err != nil {
				return sdk.Observation{}, err
			}
			if l.says("lit") == "yes" {
				return sdk.Observation{State: sdk.Yes, Note: "it is lit"}, nil
			}
			return sdk.Observation{State: sdk.No}, nil
		},
		func(ctx context.Context) error {
			l, err := find(ctx, req.Connections, req.Input)
			if err != nil {
				return err
			}
			_, err = l.client.JSONPatch(ctx, l.kind, l.at, []byte(`[{"op":"replace","path":"/data/lit","value":"yes"}]`))
			return err
		})
	return plugins.ApplyResponse{Outputs: json.RawMessage(`{"lit":true}`), Summary: "lit"}, err
}

// raze would delete a whole workload cluster.
type raze struct{}

func (raze) Describe() plugins.Description {
	return plugins.Description{
		Name: "raze", Version: "1.0.0", Summary: "deletes a cluster", Effect: plugins.Destroy, Connections: []string{plugins.ConnSupervisor},
		Input: json.RawMessage(inNamespace), Output: json.RawMessage(`{"type":"object"}`),
	}
}

func (raze) Plan(_ context.Context, req plugins.PlanRequest) (plugins.PlanResponse, error) {
	var in struct{ Namespace string }
	if err := json.Unmarshal(req.Input, &in); err != nil {
		return plugins.PlanResponse{}, err
	}
	target := plugins.Target{Group: "cluster.x-k8s.io", Version: "v1beta1", Kind: "Cluster", Namespace: in.Namespace, Name: "home", UID: "u"}
	return plugins.PlanResponse{Outputs: json.RawMessage(`{}`), Changes: []plugins.PlannedChange{{Action: plugins.Delete, Target: target, Reason: "it is old"}}}, nil
}

func (raze) Apply(context.Context, plugins.ApplyRequest, plugins.Host) (plugins.ApplyResponse, error) {
	return plugins.ApplyResponse{}, fmt.Errorf("a cluster was deleted that must not be")
}
