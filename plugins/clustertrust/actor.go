package clustertrust

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
)

// What a server may do with a change that it takes.
var (
	errPruned      = errors.New("the API server drops the trusted CAs without a word: this release's API has no such field (tkg-facts.md §1.2)")
	errStoredOther = errors.New("the API server would store another list than the one sent: a webhook changes it")
)

// actor makes the approved changes. With a client that only dry-runs, the server checks each and forgets it. It is the one way to the server
// for Plan and Apply.
type actor struct {
	c *kube.Client
	approved
}

func (a actor) secrets(ctx context.Context, s secretChange) (kube.Resource, *unstructured.Unstructured, error) {
	r, err := a.c.Resource(ctx, "", "Secret")
	if err != nil {
		return r, nil, err
	}
	obj, err := a.c.Get(ctx, r, s.change.Target.Namespace, s.change.Target.Name)
	if apierrors.IsNotFound(err) {
		return r, nil, nil
	}
	return r, obj, err
}

// liveOwner reads the owner. One with another UID, or none, is a conflict.
func (a actor) liveOwner(ctx context.Context) (kube.Resource, *unstructured.Unstructured, error) {
	t := a.owner.Target
	r, err := a.c.Resource(ctx, t.Group, t.Kind)
	if err != nil {
		return r, nil, err
	}
	obj, err := a.c.Get(ctx, r, t.Namespace, t.Name)
	switch {
	case apierrors.IsNotFound(err):
		return r, nil, conflict(t, fieldUID, t.UID, "gone")
	case err != nil:
		return r, nil, err
	case string(obj.GetUID()) != t.UID:
		return r, nil, conflict(t, fieldUID, t.UID, string(obj.GetUID()))
	}
	return r, obj, nil
}

func conflict(t plugins.Target, field, was, now string) error {
	err := fmt.Errorf("%s of %s changed since the plan: it was %s and is now %s", field, t, was, now)
	return plugins.Hint(plugins.WithKind(plugins.KindConflict, err), "look who changes it, then plan and approve again")
}

// writeKey gives the Secret its new key, or makes the Secret.
func (a actor) writeKey(ctx context.Context) error {
	s := *a.write
	r, obj, err := a.secrets(ctx, s)
	if err != nil {
		return err
	}
	t := s.change.Target
	switch now, there := tkg.SecretKey(obj, s.key); {
	case there && now != s.value:
		return conflict(t, "data."+s.key, absent, "there")
	case there:
		return nil
	case obj == nil && t.UID != "":
		return conflict(t, fieldUID, t.UID, "gone")
	case obj == nil:
		_, err := a.c.Create(ctx, r, tkg.NewTrustSecret(t.Namespace, t.Name, s.key, s.value))
		return err
	case t.UID == "":
		return conflict(t, fieldUID, absent, string(obj.GetUID()))
	case string(obj.GetUID()) != t.UID:
		return conflict(t, fieldUID, t.UID, string(obj.GetUID()))
	}
	_, err = a.patch(ctx, r, t, tkg.AddKeyPatch(obj, s.key, s.value))
	return err
}

// declare sets the owner's entry. A list that is not the one that was planned on is a conflict.
func (a actor) declare(ctx context.Context) error {
	r, obj, err := a.liveOwner(ctx)
	if err != nil {
		return err
	}
	now, err := tkg.TrustPart(obj, a.way)
	if err != nil {
		return err
	}
	ops, err := tkg.PatchTrust(obj, a.before, a.after)
	if errors.Is(err, tkg.ErrPartChanged) {
		return conflict(a.owner.Target, now.Path(), a.before.Hash(), now.Hash())
	}
	if err != nil {
		return err
	}
	stored, err := a.patch(ctx, r, a.owner.Target, ops)
	if apierrors.IsInvalid(err) {
		// The server's words for a test that failed do not say which one: look, and say it.
		if _, obj, again := a.liveOwner(ctx); again == nil {
			if part, again := tkg.TrustPart(obj, a.way); again == nil && part.Hash() != a.before.Hash() {
				return conflict(a.owner.Target, part.Path(), a.before.Hash(), part.Hash())
			}
		}
	}
	if err != nil {
		return err
	}
	return a.stored(stored)
}

// stored compares what the server answers with what was sent.
func (a actor) stored(obj *unstructured.Unstructured) error {
	got, err := tkg.TrustPart(obj, a.way)
	switch {
	case err != nil:
		return err
	case got.Hash() == a.after.Hash():
		return nil
	case len(got.Entries()) == 0:
		return plugins.Hint(errPruned, "such a cluster gets the CA from TkgServiceConfiguration alone: the step patch-tkgserviceconfiguration")
	}
	return plugins.Hint(errStoredOther, "find it with: kubectl get mutatingwebhookconfigurations")
}

// retireKey takes the old key out of its Secret, if it holds what was shown. What is gone already is no error.
func (a actor) retireKey(ctx context.Context) error {
	s := *a.retire
	r, obj, err := a.secrets(ctx, s)
	if err != nil || obj == nil {
		return err
	}
	value, there := tkg.SecretKey(obj, s.key)
	switch t := s.change.Target; {
	case !there:
		return nil
	case string(obj.GetUID()) != t.UID:
		return conflict(t, fieldUID, t.UID, string(obj.GetUID()))
	case hashText(value) != s.value:
		return conflict(t, "data."+s.key, s.value, hashText(value))
	}
	_, err = a.patch(ctx, r, s.change.Target, tkg.DropKeyPatch(obj, s.key, value))
	return err
}

func (a actor) patch(ctx context.Context, r kube.Resource, t plugins.Target, ops []tkg.Operation) (*unstructured.Unstructured, error) {
	raw, err := json.Marshal(ops)
	if err != nil {
		return nil, fmt.Errorf("write the patch: %w", err)
	}
	return a.c.JSONPatch(ctx, r, types.NamespacedName{Namespace: t.Namespace, Name: t.Name}, raw)
}

// holds reads what the changes stand on again, before the first is made. A difference is a conflict that names the field.
func (a actor) holds(ctx context.Context) error {
	_, obj, err := a.liveOwner(ctx)
	if err != nil {
		return err
	}
	now, err := tkg.TrustPart(obj, a.way)
	if err != nil {
		return err
	}
	if err := a.knows(a.owner, now.Path(), a.before.Hash(), a.owner.Target.UID); err != nil {
		return err
	}
	if now.Hash() != a.before.Hash() {
		return conflict(a.owner.Target, now.Path(), a.before.Hash(), now.Hash())
	}
	for _, s := range []*secretChange{a.write, a.retire} {
		if s == nil {
			continue
		}
		if err := a.secretHolds(ctx, *s, s == a.write); err != nil {
			return err
		}
	}
	return nil
}

func (a actor) secretHolds(ctx context.Context, s secretChange, write bool) error {
	_, obj, err := a.secrets(ctx, s)
	if err != nil {
		return err
	}
	uid := ""
	if obj != nil {
		uid = string(obj.GetUID())
	}
	if uid != s.change.Target.UID {
		return conflict(s.change.Target, fieldUID, s.change.Target.UID, uid)
	}
	wanted := s.value
	if write {
		wanted = absent
	}
	if err := a.knows(s.change, "data."+s.key, wanted, s.change.Target.UID); err != nil {
		return err
	}
	now := absent
	if value, there := tkg.SecretKey(obj, s.key); there {
		now = hashText(value)
	}
	if now != wanted {
		return conflict(s.change.Target, "data."+s.key, wanted, now)
	}
	return nil
}

// knows checks that a change stands on what this step plans by, and on nothing else.
func (a actor) knows(change plugins.PlannedChange, field, value, uid string) error {
	seen := false
	for _, p := range change.Preconditions {
		switch {
		case p.Field == fieldUID && p.Value == uid:
		case p.Field == field && p.Value == value:
			seen = true
		default:
			return fmt.Errorf("the approved change of %s stands on %s: %.80s, which this step does not plan", change.Target, p.Field, p.Value)
		}
	}
	if !seen {
		return fmt.Errorf("the approved change of %s does not stand on %s", change.Target, field)
	}
	return nil
}
