package toproto

import (
	"fmt"
	"strings"

	"github.com/tkgfix/tkgfix/internal/wire/proto"
	"github.com/tkgfix/tkgfix/plugins"
)

// Description translates what a step says of itself.
func Description(d plugins.Description) (*proto.Description, error) {
	effect, err := Effect(d.Effect)
	if err != nil {
		return nil, err
	}
	return &proto.Description{
		Name:        d.Name,
		Version:     d.Version,
		Summary:     Text(d.Summary),
		Effect:      effect,
		Input:       d.Input,
		Output:      d.Output,
		Connections: d.Connections,
	}, nil
}

// PlanRequest translates a request under the id of its call.
func PlanRequest(call string, r plugins.PlanRequest) (*proto.PlanRequest, error) {
	connections, err := Connections(r.Connections)
	if err != nil {
		return nil, err
	}
	effect, err := RequestEffect(r.Effect)
	if err != nil {
		return nil, err
	}
	return &proto.PlanRequest{Call: call, StepId: r.StepID, Effect: effect, Input: r.Input, Connections: connections}, nil
}

// PlanResponse translates a plan.
func PlanResponse(r plugins.PlanResponse) (*proto.PlanResponse, error) {
	changes, err := each("change", r.Changes, PlannedChange)
	if err != nil {
		return nil, err
	}
	evidence, err := each("evidence", r.Evidence, Evidence)
	if err != nil {
		return nil, err
	}
	blocks, _ := each("block", r.Blocks, block)
	return &proto.PlanResponse{
		Outputs:  r.Outputs,
		Changes:  changes,
		Blocks:   blocks,
		Evidence: evidence,
		Summary:  Text(r.Summary),
		Warnings: texts(r.Warnings),
	}, nil
}

// ApplyRequest translates a request under the id of its call; host is the broker's id of the Host that goes with it.
func ApplyRequest(call string, host uint32, r plugins.ApplyRequest) (*proto.ApplyRequest, error) {
	connections, err := Connections(r.Connections)
	if err != nil {
		return nil, err
	}
	effect, err := RequestEffect(r.Effect)
	if err != nil {
		return nil, err
	}
	changes, err := each("change", r.Changes, PlannedChange)
	if err != nil {
		return nil, err
	}
	return &proto.ApplyRequest{
		Call:        call,
		Host:        host,
		RunId:       r.RunID,
		StepId:      r.StepID,
		Effect:      effect,
		Input:       r.Input,
		Connections: connections,
		Changes:     changes,
	}, nil
}

// ApplyResponse translates how an Apply ended.
func ApplyResponse(r plugins.ApplyResponse) (*proto.ApplyResponse, error) {
	evidence, err := each("evidence", r.Evidence, Evidence)
	if err != nil {
		return nil, err
	}
	return &proto.ApplyResponse{Outputs: r.Outputs, Evidence: evidence, Summary: Text(r.Summary)}, nil
}

// Connections translates where things are. What is nil stays nil.
func Connections(c plugins.Connections) (*proto.Connections, error) {
	var out proto.Connections
	if k := c.Supervisor; k != nil {
		out.Supervisor = &proto.Kube{Kubeconfig: k.Kubeconfig, Context: k.Context}
	}
	if n := c.Nodes; n != nil {
		if n.Port < 0 || n.Port > 65535 {
			return nil, fmt.Errorf("connection nodes: port %d is not between 0 and 65535", n.Port)
		}
		out.Nodes = &proto.Nodes{
			Via:          n.Via,
			User:         n.User,
			Port:         int32(n.Port), //nolint:gosec // checked above
			KnownHosts:   n.KnownHosts,
			HostKeys:     n.HostKeys,
			Jump:         n.Jump,
			IdentityFile: n.IdentityFile,
			PasswordFile: n.PasswordFile,
			Agent:        n.Agent,
			Image:        n.Image,
		}
	}
	return &out, nil
}

// PlannedChange translates one act of a plan.
func PlannedChange(c plugins.PlannedChange) (*proto.PlannedChange, error) {
	action, err := Action(c.Action)
	if err != nil {
		return nil, err
	}
	preconditions, _ := each("precondition", c.Preconditions, precondition)
	return &proto.PlannedChange{
		Action:        action,
		Target:        Target(c.Target),
		Reason:        Text(c.Reason),
		Before:        c.Before,
		After:         c.After,
		Preconditions: preconditions,
		Lost:          texts(c.Lost),
		Undo:          Text(c.Undo),
		Impact:        texts(c.Impact),
	}, nil
}

// Evidence translates one thing that was seen.
func Evidence(e plugins.Evidence) (*proto.Evidence, error) {
	verdict, err := Verdict(e.Verdict)
	if err != nil {
		return nil, err
	}
	return &proto.Evidence{Subject: Text(e.Subject), Check: e.Check, Verdict: verdict, Text: Text(e.Text), Data: e.Data}, nil
}

// Target translates the name of an object.
func Target(t plugins.Target) *proto.Target {
	return &proto.Target{
		Cluster:   t.Cluster,
		Group:     t.Group,
		Version:   t.Version,
		Kind:      t.Kind,
		Namespace: t.Namespace,
		Name:      t.Name,
		Uid:       t.UID,
	}
}

// EffectSpec translates the name of an effect.
func EffectSpec(s plugins.EffectSpec) *proto.EffectSpec {
	return &proto.EffectSpec{Key: s.Key, Target: Target(s.Target)}
}

func precondition(p plugins.Precondition) (*proto.Precondition, error) {
	return &proto.Precondition{Target: Target(p.Target), Field: p.Field, Value: p.Value}, nil
}

func block(b plugins.Block) (*proto.Block, error) {
	return &proto.Block{Reason: Text(b.Reason), Hint: Text(b.Hint)}, nil
}

// each translates a list; the error names the place of what was wrong.
func each[T, M any](what string, in []T, f func(T) (M, error)) ([]M, error) {
	if len(in) == 0 {
		return nil, nil
	}
	out := make([]M, 0, len(in))
	for i, v := range in {
		m, err := f(v)
		if err != nil {
			return nil, fmt.Errorf("%s %d: %w", what, i, err)
		}
		out = append(out, m)
	}
	return out, nil
}

// Text makes what is meant for people fit for the wire, which takes only UTF-8: a node may have answered with anything. Names and values
// that something stands on are left as they are, and gRPC refuses them.
func Text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func texts(in []string) []string {
	out, _ := each("text", in, func(s string) (string, error) { return Text(s), nil })
	return out
}
