// Package detect is the step detect: which pods of a cluster cannot pull, from which registry, and for which class of reason.
//
// It reads pods page by page and keeps only those that fail; Events are read when a pod's status has lost the cause, which
// older kubelets let happen (tkg-facts.md §6.1). vSphere Pods of the cluster's namespace are looked at too, because they look
// alike and no trust of a TKG cluster mends them.
package detect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/tkgfix/tkgfix/internal/handshake"
	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

// Name is the word for uses:.
const Name = "detect"

type step struct{}

var _ plugins.Step = step{}

// New returns the step. It needs nothing of env.
func New(sdk.Env) plugins.Step { return step{} }

// Describe says what the step is.
func (step) Describe() plugins.Description {
	return plugins.Description{
		Name:        Name,
		Version:     "0.1.0",
		Summary:     "Finds the pods that cannot pull, the registry that they dial, and the class of the reason.",
		Effect:      plugins.Read,
		Input:       json.RawMessage(inputSchema),
		Output:      json.RawMessage(outputSchema),
		Connections: []string{plugins.ConnSupervisor},
	}
}

// Plan looks at the pods of the cluster and at the vSphere Pods of its namespace.
func (step) Plan(ctx context.Context, req plugins.PlanRequest) (plugins.PlanResponse, error) {
	var none plugins.PlanResponse
	in, ref, err := parse(req.Input)
	if err != nil {
		return none, err
	}
	if req.Connections.Supervisor == nil {
		return none, errors.New("no connection to the Supervisor was given")
	}
	supervisor, err := kube.New(*req.Connections.Supervisor)
	if err != nil {
		return none, err
	}
	found := newFound(in.Registry)
	if err := scanCluster(ctx, supervisor, ref, found); err != nil {
		return none, tkg.NeverUp(ctx, supervisor, ref, err)
	}
	var warnings []string
	err = scanSupervisor(ctx, supervisor, ref, found)
	if apierrors.IsForbidden(err) {
		warnings = append(warnings, fmt.Sprintf("vSphere Pods of namespace %s may not be read with this login and were not looked at", ref.Namespace))
		err = nil
	}
	if err != nil {
		return none, err
	}
	out := found.conclude()
	raw, err := sdk.Output(out)
	if err != nil {
		return none, err
	}
	return plugins.PlanResponse{
		Outputs: raw, Evidence: evidence(out, ref), Summary: summary(out, ref), Warnings: append(warnings, found.warnings()...),
	}, nil
}

// Apply is never called: the step only reads.
func (step) Apply(context.Context, plugins.ApplyRequest, plugins.Host) (plugins.ApplyResponse, error) {
	return plugins.ApplyResponse{}, errors.New("detect changes nothing and is not applied")
}

func parse(raw json.RawMessage) (input, tkg.Ref, error) {
	in, err := sdk.Input[input](raw)
	if err != nil {
		return in, tkg.Ref{}, err
	}
	if in.Registry != "" {
		if _, _, err := handshake.HostPort(in.Registry); err != nil {
			return in, tkg.Ref{}, err
		}
	}
	ref, err := tkg.ParseRef(in.Cluster)
	return in, ref, err
}
