// Package clusters is the step list-clusters: it lists the workload clusters of a Supervisor, so that a workflow can go over a fleet.
package clusters

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

// Name is the word for uses:.
const Name = "list-clusters"

type step struct{}

var _ plugins.Step = step{}

// New returns the step. It needs nothing of env.
func New(sdk.Env) plugins.Step { return step{} }

// Describe says what the step is.
func (step) Describe() plugins.Description {
	return plugins.Description{
		Name:        Name,
		Version:     "0.1.0",
		Summary:     "Lists the workload clusters of a Supervisor, of every generation.",
		Effect:      plugins.Read,
		Input:       json.RawMessage(inputSchema),
		Output:      json.RawMessage(outputSchema),
		Connections: []string{plugins.ConnSupervisor},
	}
}

// Plan lists the clusters. That some may not be seen is a warning. It blocks on the Supervisor.
func (step) Plan(ctx context.Context, req plugins.PlanRequest) (plugins.PlanResponse, error) {
	var none plugins.PlanResponse
	in, err := sdk.Input[input](req.Input)
	if err != nil {
		return none, err
	}
	want, err := in.wanted()
	if err != nil {
		return none, err
	}
	if req.Connections.Supervisor == nil {
		return none, errors.New("no connection to the Supervisor was given")
	}
	client, err := kube.New(*req.Connections.Supervisor)
	if err != nil {
		return none, err
	}
	resp := plugins.PlanResponse{}
	found, hidden, err := tkg.List(ctx, client, in.Namespace)
	if in.Namespace == "" && apierrors.IsForbidden(err) {
		found, hidden, err = ofContext(ctx, client, *req.Connections.Supervisor, err)
	}
	if err != nil {
		return none, err
	}
	if hidden != "" {
		resp.Warnings = append(resp.Warnings, hidden)
	}
	out, err := want.pick(found, *req.Connections.Supervisor)
	if err != nil {
		return none, err
	}
	resp.Summary = fmt.Sprintf("clusters: %d of %d", len(out.Clusters), len(found))
	resp.Outputs, err = sdk.Output(out)
	return resp, err
}

// Apply does nothing: the step only reads.
func (step) Apply(context.Context, plugins.ApplyRequest, plugins.Host) (plugins.ApplyResponse, error) {
	return plugins.ApplyResponse{}, errors.New(Name + " only reads and has nothing to apply")
}

// ofContext lists the clusters of the context's own namespace, for a login that may not list those of all.
func ofContext(ctx context.Context, client *kube.Client, conn plugins.Kube, refused error) ([]tkg.Listed, string, error) {
	namespace, err := kube.ContextNamespace(conn)
	if err != nil {
		return nil, "", err
	}
	if namespace == "" {
		return nil, "", plugins.Hint(fmt.Errorf("list the clusters of all namespaces: %w", refused), "give the step a namespace; kubectl config get-contexts shows those of your login")
	}
	found, hidden, err := tkg.List(ctx, client, namespace)
	note := "this login may not list the clusters of all namespaces: those of " + namespace + " are listed, the context's own"
	if hidden != "" {
		note += "; " + hidden
	}
	return found, note, err
}

// wanted says which clusters are meant.
type wanted struct {
	selector labels.Selector
	only     []tkg.Ref
}

func (in input) wanted() (wanted, error) {
	w := wanted{}
	if in.Namespace != "" {
		if problems := validation.IsDNS1123Label(in.Namespace); len(problems) > 0 {
			return w, fmt.Errorf("namespace %q: %s", in.Namespace, problems[0])
		}
	}
	var err error
	if w.selector, err = labels.Parse(in.Selector); err != nil {
		return w, plugins.Hint(fmt.Errorf("selector %q: %w", in.Selector, err), "as kubectl -l takes it: team=a,stage!=prod")
	}
	for _, text := range in.Only {
		ref, err := tkg.ParseRef(text)
		if err != nil {
			return w, fmt.Errorf("only: %w", err)
		}
		if !slices.Contains(w.only, ref) {
			w.only = append(w.only, ref)
		}
	}
	return w, nil
}

// pick returns those of the clusters that are meant.
func (w wanted) pick(found []tkg.Listed, conn plugins.Kube) (output, error) {
	out := output{Clusters: []cluster{}}
	var there []tkg.Ref
	for _, f := range found {
		if len(w.only) > 0 && !slices.Contains(w.only, f.Ref) || !w.selector.Matches(labels.Set(f.Labels)) {
			continue
		}
		there = append(there, f.Ref)
		out.Clusters = append(out.Clusters, cluster{
			Ref: f.String(), Kind: f.Kind, Namespace: f.Namespace, Name: f.Name, Kubeconfig: conn.Kubeconfig, Context: conn.Context,
		})
	}
	var missing []string
	for _, ref := range w.only {
		if !slices.Contains(there, ref) {
			missing = append(missing, ref.String())
		}
	}
	if len(missing) > 0 {
		return out, plugins.Hint(fmt.Errorf("not among the clusters of this Supervisor, namespace and selector: %s", strings.Join(missing, ", ")),
			"see which there are: tkgfix diagnose, or kubectl get clusters -A")
	}
	return out, nil
}
