package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/plugins"
)

// onlyHere refuses a command for runs of a controller, with what to do instead.
func onlyHere(c *cli.Context, instead func(at kubeState) string) error {
	at, ok, err := inCluster(c)
	if err != nil || !ok {
		return err
	}
	err = fmt.Errorf("%s is for runs in a folder: those in namespace %s are carried out by a controller", c.Command.HelpName, at.Namespace)
	return plugins.Hint(err, "%s", instead(at))
}

// resumeInCluster asks the controller for another attempt.
func (a *app) resumeInCluster(c *cli.Context, at kubeState, id string) error {
	for _, flag := range []string{"wait", "events", "auto-approve"} {
		if c.IsSet(flag) {
			return plugins.Hint(fmt.Errorf("--%s is for runs in a folder", flag),
				"to see how it goes on: %s", at.kubectl("get run.tkgfix.dev %s -w", v1alpha1.RunName(id)))
		}
	}
	if err := at.annotate(c.Context, id, v1alpha1.AnnotationResume, a.now().UTC().Format("2006-01-02T15:04:05.000Z")); err != nil {
		return err
	}
	a.ui.Say("run %s: its controller is asked to go on", id)
	a.ui.Say("how it goes on: %s", at.kubectl("get run.tkgfix.dev %s -w", v1alpha1.RunName(id)))
	return nil
}

// resolveInCluster tells the controller what became of an effect.
func (a *app) resolveInCluster(c *cli.Context, at kubeState, id, effect string, outcome engine.Outcome) error {
	if outcome != engine.Happened && outcome != engine.Absent {
		return fmt.Errorf("outcome %q: say %s or %s", outcome, engine.Happened, engine.Absent)
	}
	if c.String("reason") != "" {
		return plugins.Hint(errors.New("--reason is for runs in a folder: who says so in a cluster stands in the API server's audit log"), "leave it out")
	}
	if err := at.annotate(c.Context, id, v1alpha1.AnnotationResolve, effect+"="+string(outcome)); err != nil {
		return err
	}
	a.ui.Say("run %s: its controller is told that effect %s is %s", id, effect, outcome)
	a.ui.Say("then: %s", next(c, "resume %s", id))
	return nil
}

// annotate sets an annotation of the Run that has this id, and of no later one of the same name.
func (s kubeState) annotate(ctx context.Context, id, key, value string) error {
	name := v1alpha1.RunName(id)
	unknown := plugins.Hint(fmt.Errorf("%q is no id of a run in namespace %s", id, s.Namespace), "%s", s.kubectl("get runs.tkgfix.dev -o wide"))
	if name == "" {
		return unknown
	}
	client, err := s.client()
	if err != nil {
		return err
	}
	kind, err := client.Resource(ctx, v1alpha1.GroupVersion.Group, "Run")
	if errors.Is(err, kube.ErrNotServed) {
		return noController(err, s)
	}
	if err != nil {
		return err
	}
	held, err := client.Get(ctx, kind, s.Namespace, name)
	if err != nil {
		return err
	}
	run, err := kube.As[v1alpha1.Run](held)
	if err != nil {
		return err
	}
	if v1alpha1.RunID(run) != id {
		return unknown
	}
	patch, err := annotation(run, key, value)
	if err != nil {
		return err
	}
	_, err = client.JSONPatch(ctx, kind, types.NamespacedName{Namespace: s.Namespace, Name: name}, patch)
	return err
}

// annotation returns the patch that sets an annotation, if the Run still is the same.
func annotation(run *v1alpha1.Run, key, value string) ([]byte, error) {
	type operation struct {
		Op    string `json:"op"`
		Path  string `json:"path"`
		Value any    `json:"value"`
	}
	patch := []operation{{"test", "/metadata/uid", run.UID}}
	if run.Annotations == nil {
		// Another may add the first annotation meanwhile, which would be lost.
		patch = append(patch,
			operation{"test", "/metadata/resourceVersion", run.ResourceVersion},
			operation{"add", "/metadata/annotations", map[string]string{}})
	}
	patch = append(patch, operation{"add", "/metadata/annotations/" + pointer.Replace(key), value})
	out, err := json.Marshal(patch)
	if err != nil {
		return nil, fmt.Errorf("write the annotation: %w", err)
	}
	return out, nil
}

// pointer escapes a key for a JSON pointer.
var pointer = strings.NewReplacer("~", "~0", "/", "~1")
