package recreate

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tkgfix/tkgfix/plugins"
)

// rehearse lets the server dry-run all acts by the code that Apply uses: the deletion, the creation of the cluster under another name
// beside the live one, and that of its Secrets. A refusal is a block; anything else that goes wrong is an error.
func (s supervisor) rehearse(ctx context.Context, live *unstructured.Unstructured, n newCluster) ([]plugins.Block, []plugins.Evidence, error) {
	dry := s
	if dry.c = s.c.DryRun(); !dry.c.IsDryRun() {
		return nil, nil, errors.New("the client would really delete the cluster: nothing was tried")
	}
	trial := n.manifest.DeepCopy()
	trial.SetName(checkName(n.manifest.GetName()))
	acts := []act{
		{"dry-run-delete", "delete " + describe(live), dry.remove(ctx, live.GetUID())},
		{"dry-run-create", "create the new cluster, tried as " + trial.GetName(), dry.create(ctx, trial)},
	}
	for _, name := range slices.Sorted(maps.Keys(n.secrets)) {
		if what, err, ok := dry.trySecret(ctx, n.secrets[name]); ok {
			acts = append(acts, act{"dry-run-secret", what, err})
		}
	}
	var blocks []plugins.Block
	var evidence []plugins.Evidence
	for _, a := range acts {
		e := plugins.Evidence{Subject: describe(live), Check: a.check, Verdict: plugins.OK, Text: a.what + ": the API server would take it"}
		if a.err != nil {
			if !refused(a.err) {
				return nil, nil, a.err
			}
			e.Verdict, e.Text = plugins.Bad, a.what+": "+a.err.Error()
			blocks = append(blocks, a.block())
		}
		evidence = append(evidence, e)
	}
	return blocks, evidence, nil
}

// act is one that was tried.
type act struct {
	check, what string
	err         error
}

// block says that the server refuses an act, and what to do: of what this login may not do, who may.
func (a act) block() plugins.Block {
	hint := plugins.HintOf(a.err)
	if hint == "" {
		hint = "give manifest: the file from which the cluster was made, corrected until the server takes it with --dry-run=server"
	}
	if apierrors.IsForbidden(a.err) {
		return plugins.Block{Reason: "this login may not " + a.what + ", or a webhook forbids it: " + a.err.Error(), Hint: hint}
	}
	return plugins.Block{Reason: "the API server refuses to " + a.what + ": " + a.err.Error(), Hint: hint}
}

// trySecret dry-runs what is to become of a Secret; ok is false if nothing is.
func (s supervisor) trySecret(ctx context.Context, t *trustSecret) (what string, err error, ok bool) {
	if len(t.data) == 0 {
		return "", nil, false
	}
	obj := t.object(s.ref.Namespace)
	if t.live == nil || t.goes {
		obj.SetName(checkName(s.ref.Name) + "-trust")
		return "create Secret " + t.name + ", tried as " + obj.GetName(), s.create(ctx, obj), true
	}
	return "add a key to Secret " + t.name, s.amend(ctx, t.live, obj, ""), true
}

// refused reports whether the server looked at a request and said no, for a reason that asking again does not change.
func refused(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	switch code := status.Status().Code; code {
	case http.StatusUnauthorized, http.StatusRequestTimeout, http.StatusTooManyRequests:
		return false
	default:
		return code >= 400 && code < 500
	}
}
