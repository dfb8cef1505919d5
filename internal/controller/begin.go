package controller

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
	"github.com/tkgfix/tkgfix/internal/approval"
	"github.com/tkgfix/tkgfix/internal/controller/runfiles"
	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/plan"
	"github.com/tkgfix/tkgfix/internal/source"
	"github.com/tkgfix/tkgfix/internal/state"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/workflow"
)

// begin creates the journal of a Run. From then on it is what the journal says, whatever becomes of the workflow.
func (t *turn) begin(ctx context.Context, e *engine.Engine) error {
	reader, err := t.as(t.run.Namespace, t.run.Spec.ServiceAccountName)
	if err != nil {
		return err
	}
	name, text, err := t.workflow(ctx, reader)
	if err != nil {
		return err
	}
	w, err := check(name, text, e.Catalog, t.opts.Refused)
	if err != nil {
		return err
	}
	files, err := t.ground(ctx)
	if err != nil {
		return err
	}
	req, err := request(t.run, w, files, e.File)
	switch {
	case errors.Is(err, errNoSigners):
		return err // they may still be listed
	case err != nil:
		return fmt.Errorf("%w: %w", errInvalid, err)
	}
	// Who asks for the run is its requester, whichever replica begins it.
	e = t.engine(t.run)
	e.Me = engine.Actor{Identity: approval.Identity{Name: t.run.Spec.Requester, Verified: true}, Host: t.opts.Host, PID: t.opts.PID}
	if err := e.Create(ctx, req); err != nil && !errors.Is(err, state.ErrConflict) { // else another replica was there first
		return err
	}
	t.say(t.run, normal, "Began", fmt.Sprintf("run %s of %s", t.id, name))
	return nil
}

// workflow returns the text of the Run's workflow, and its name for people.
func (t *turn) workflow(ctx context.Context, reader client.Reader) (name string, text []byte, err error) {
	if ref := t.run.Spec.Source; ref != nil {
		f, err := source.Artifact(ctx, reader, t.run.Namespace, *ref)
		if err != nil {
			return "", nil, err
		}
		return f.Name, f.Data, nil
	}
	if t.run.Spec.Workflow == nil {
		return "", nil, refuse("neither a workflow nor a source is given")
	}
	w := &v1alpha1.Workflow{}
	if err := reader.Get(ctx, client.ObjectKey{Namespace: t.run.Namespace, Name: t.run.Spec.Workflow.Name}, w); err != nil {
		return "", nil, fmt.Errorf("read the workflow: %w", err)
	}
	text, err = render(w)
	return "Workflow/" + w.Name, text, err
}

// render writes a Workflow object as the file that it is on the command line.
func render(w *v1alpha1.Workflow) ([]byte, error) {
	text, err := yaml.Marshal(struct {
		APIVersion string            `json:"apiVersion"`
		Kind       string            `json:"kind"`
		Metadata   map[string]string `json:"metadata"`
		Spec       any               `json:"spec"`
	}{v1alpha1.GroupVersion.String(), "Workflow", map[string]string{"name": w.Name}, w.Spec})
	if err != nil {
		return nil, fmt.Errorf("read Workflow %s: %w", w.Name, err)
	}
	return text, nil
}

// check reads a workflow, with every diagnostic in the error, and refuses the steps that may not be used here.
func check(name string, text []byte, catalog engine.Catalog, refused map[string]string) (*workflow.Workflow, error) {
	// Approvers need no signatures here: the API server has authenticated them.
	w, diags := workflow.Check(name, text, catalog, workflow.KindUnproven)
	if len(diags) > 0 {
		var lines []string
		for _, d := range diags {
			lines = append(lines, d.String())
		}
		return nil, plugins.Hint(fmt.Errorf("%w: %s", errInvalid, strings.Join(lines, "; ")), "tkgfix validate FILE")
	}
	for _, s := range slices.Concat(w.Steps, w.OnFailure) {
		if why, no := refused[s.Uses]; no {
			return nil, plugins.Hint(refuse("step %s uses %s: %s", s.ID, s.Uses, why), "run it from a jump host: tkgfix run FILE")
		}
	}
	return w, nil
}

// request binds what a Run gives to its workflow. Paths come from the run's files alone: a workflow cannot name the controller's.
func request(run *v1alpha1.Run, w *workflow.Workflow, f *runfiles.Files, file func(string) (string, error)) (engine.Request, error) {
	given, err := inputs(run, w, f)
	if err != nil {
		return engine.Request{}, err
	}
	values, err := w.BindInputs(given)
	if err != nil {
		return engine.Request{}, plugins.Hint(err, "give it in the Run's spec.inputs or spec.inputsFrom")
	}
	req := engine.Request{ID: v1alpha1.RunID(run), Workflow: w, Dir: f.Dir}
	for _, in := range w.Inputs {
		v := plan.Input{Name: in.Name, Value: values[in.Name]}
		if path, ok := v.Value.(string); ok && in.Type == fileInput && path != "" {
			if v.SHA256, err = file(path); err != nil {
				return engine.Request{}, fmt.Errorf("read input %s: %w", in.Name, err)
			}
		}
		req.Inputs = append(req.Inputs, v)
	}
	if w.Approvals != nil {
		if f.Signers == "" {
			return engine.Request{}, plugins.Hint(errNoSigners,
				"kubectl create configmap %s -n %s --from-file=%s", v1alpha1.SignersConfigMap, run.Namespace, v1alpha1.SignersKey)
		}
		req.AllowedSigners = f.Signers
	}
	req.Connections, err = connections(run, w, workflow.Scope{Inputs: values, Env: map[string]string{"KUBECONFIG": f.Kubeconfig}}, f)
	return req, err
}

const fileInput = "file"

var errNoSigners = errors.New("the workflow takes signed approvals, and nobody is listed as a signer")

// inputs returns the texts of the inputs: those in the Run, and those in ConfigMaps and Secrets.
func inputs(run *v1alpha1.Run, w *workflow.Workflow, f *runfiles.Files) (map[string]string, error) {
	given := map[string]string{}
	for name, text := range run.Spec.Inputs {
		given[name] = text
	}
	for name, in := range f.Inputs {
		if _, twice := given[name]; twice {
			return nil, fmt.Errorf("input %s is given in both spec.inputs and spec.inputsFrom", name)
		}
		given[name] = in.Path
	}
	for _, in := range w.Inputs {
		from, isFrom := f.Inputs[in.Name]
		switch text, ok := given[in.Name]; {
		case !ok:
		case in.Type == fileInput && !isFrom && text != "":
			return nil, plugins.Hint(fmt.Errorf("input %s is a file, and a path means nothing here", in.Name),
				"put the file into a ConfigMap and name that in spec.inputsFrom.%s.configMapKeyRef", in.Name)
		case in.Type != fileInput && isFrom && from.Secret:
			return nil, fmt.Errorf("input %s comes from a Secret and is no file: its value would be written into the journal", in.Name)
		case in.Type != fileInput && isFrom:
			data, err := os.ReadFile(from.Path)
			if err != nil {
				return nil, fmt.Errorf("read input %s: %w", in.Name, err)
			}
			given[in.Name] = strings.TrimRight(string(data), "\r\n")
		}
	}
	return given, nil
}

// connections returns those that the workflow asks for, at the places of the run's files.
func connections(run *v1alpha1.Run, w *workflow.Workflow, scope workflow.Scope, f *runfiles.Files) (plugins.Connections, error) {
	got, err := w.EvalConnections(scope)
	if err != nil {
		return plugins.Connections{}, fmt.Errorf("evaluate connections: %w", err)
	}
	var out plugins.Connections
	if s := got.Supervisor; s != nil {
		if f.Kubeconfig == "" {
			return out, plugins.Hint(errors.New("the workflow needs a Supervisor, and the Run names none"), "give spec.connections.supervisor in Run %s", run.Name)
		}
		out.Supervisor = &plugins.Kube{Kubeconfig: f.Kubeconfig, Context: f.Context}
		if f.Context == "" {
			out.Supervisor.Context = s.Context
		}
	}
	if n := got.Nodes; n != nil {
		out.Nodes = &plugins.Nodes{
			Via: n.Via, User: n.User, Port: n.Port, HostKeys: n.HostKeys, Jump: n.Jump, Image: n.Image,
			KnownHosts: f.KnownHosts, IdentityFile: f.Identity, PasswordFile: f.Password,
		}
	}
	return out, nil
}
