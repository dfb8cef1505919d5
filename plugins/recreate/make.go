package recreate

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

// makeSecrets makes the Secrets that the new cluster trusts. The old one's go with it, so each is waited for: made too early, it would be
// taken by the garbage collector, and the new nodes would never join.
func (r run) makeSecrets(ctx context.Context) error {
	for i, m := range r.secrets {
		if err := r.makeSecret(ctx, fmt.Sprint(effectSecret, i+1), m); err != nil {
			return plugins.Hint(err, "%s", createHint(err, r.ref))
		}
	}
	return nil
}

func (r run) makeSecret(ctx context.Context, key string, m made) error {
	saved := r.savedUID(m.change.Target)
	if err := r.oldIsGone(ctx, key, m); err != nil {
		return err
	}
	observe := func(ctx context.Context) (sdk.Observation, error) {
		live, _, err := r.find(ctx, "", "Secret", m.object.GetName())
		if err != nil {
			return sdk.Observation{}, err
		}
		return secretSeen(live, m.object, saved), nil
	}
	act := func(ctx context.Context) error {
		live, _, err := r.find(ctx, "", "Secret", m.object.GetName())
		switch {
		case err != nil:
			return err
		case live != nil:
			return r.amend(ctx, live, m.object, saved)
		}
		err = r.supervisor.create(ctx, m.object)
		if apierrors.IsAlreadyExists(err) {
			return nil // observing tells whether it holds what it must
		}
		return err
	}
	return sdk.Effect(ctx, r.host, plugins.EffectSpec{Key: key, Target: m.change.Target}, observe, act)
}

// savedUID is the UID of the Secret whose content was saved, which the deletion stood on; empty for one that was not there.
func (r run) savedUID(target plugins.Target) types.UID {
	for _, p := range r.deletion.Preconditions {
		if p.Field == fieldData && p.Target.Name == target.Name {
			return types.UID(p.Target.UID)
		}
	}
	return ""
}

// oldIsGone waits until the object of that name that the old cluster owned is gone, if making it anew was never begun.
func (r run) oldIsGone(ctx context.Context, key string, m made) error {
	fresh, err := r.isFresh(ctx, key)
	if err != nil || !fresh {
		return err
	}
	gvk := m.object.GroupVersionKind()
	return r.poll(ctx, "wait for the old "+describe(m.object)+" to go", func(ctx context.Context) (bool, string, error) {
		live, _, err := r.find(ctx, gvk.Group, gvk.Kind, m.object.GetName())
		if err != nil || live == nil {
			return err == nil, "", err
		}
		return !ofOld(live, r.ref.Name), describe(live) + " is still the old cluster's", nil
	})
}

// makeCompanions makes the settings of the add-ons. Those that the server refuses while there is no cluster are returned, to be tried
// once more when there is one: they are no reason to leave the cluster unmade.
func (r run) makeCompanions(ctx context.Context) (late []int, err error) {
	for i := range r.companions {
		err := r.makeCompanion(ctx, i, true)
		switch {
		case err == nil:
		case refused(err):
			late = append(late, i)
		default:
			return nil, plugins.Hint(err, "%s", createHint(err, r.ref))
		}
	}
	return late, nil
}

// makeLate tries again.
func (r run) makeLate(ctx context.Context, late []int) error {
	for _, i := range late {
		if err := r.makeCompanion(ctx, i, false); err != nil {
			err = fmt.Errorf("the new cluster %s is ready, but not all settings of its add-ons are there: %w", r.ref, err)
			return plugins.Hint(err, "mend what the API server complains of, then resume this run; or apply the object yourself: it is in this run's plan")
		}
	}
	return nil
}

func (r run) makeCompanion(ctx context.Context, i int, early bool) error {
	m := r.companions[i]
	key := fmt.Sprint(effectCompanion, i+1)
	gvk := m.object.GroupVersionKind()
	if early {
		if err := r.oldIsGone(ctx, key, m); err != nil {
			return err
		}
	}
	observe := func(ctx context.Context) (sdk.Observation, error) {
		live, _, err := r.find(ctx, gvk.Group, gvk.Kind, m.object.GetName())
		if err != nil {
			return sdk.Observation{}, err
		}
		return companionSeen(live, r.id), nil
	}
	act := func(ctx context.Context) error {
		err := r.supervisor.create(ctx, marked(m.object, r.id))
		if apierrors.IsAlreadyExists(err) {
			return nil // it outlived the cluster, or its controller was quicker
		}
		return err
	}
	return sdk.Effect(ctx, r.host, plugins.EffectSpec{Key: key, Target: m.change.Target}, observe, act)
}

// companionSeen decides whether a companion is there. One that this run did not make outlived the old cluster, or its controller made it:
// it is left as it is.
func companionSeen(live *unstructured.Unstructured, runID string) sdk.Observation {
	switch {
	case live == nil:
		return sdk.Observation{State: sdk.No, Note: "it is not there"}
	case runID != "" && live.GetAnnotations()[runAnnotation] == runID:
		return sdk.Observation{State: sdk.Yes, Note: fmt.Sprintf("%s carries %s: %s", describe(live), runAnnotation, runID)}
	default:
		return sdk.Observation{State: sdk.Yes, Note: describe(live) + " is there, and not by this run: it is left as it is"}
	}
}
