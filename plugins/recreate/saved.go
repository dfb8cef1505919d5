package recreate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

// trustSecret is a Secret with CAs that the new cluster names.
type trustSecret struct {
	name string
	live *unstructured.Unstructured // nil if there is none
	// goes says that it goes with the old cluster, so that it must be made again (tkg-facts.md §4, lost).
	goes bool
	// data is what the new cluster needs of it, as kubectl shows it: of one that goes, all its certificates; of one that stays, what is
	// to be added. No private key is ever in it.
	data map[string]string
	// lost are the keys of one that goes that hold no certificate, and that the new cluster does not name.
	lost []string
}

// trustSecrets reads the Secrets that a Cluster's manifest names, and says what of them is saved.
func (s supervisor) trustSecrets(ctx context.Context, w world, manifest *unstructured.Unstructured) (map[string]*trustSecret, error) {
	out := map[string]*trustSecret{}
	names := []string{tkg.TrustSecret(s.ref.Name)}
	for _, ref := range tkg.TrustRefs(manifest) {
		names = append(names, ref.Secret)
	}
	for _, name := range names {
		if out[name] != nil {
			continue
		}
		live, _, err := s.find(ctx, "", "Secret", name)
		if err != nil {
			return nil, err
		}
		out[name] = &trustSecret{name: name, live: live, goes: name == tkg.TrustSecret(s.ref.Name) || goesWith(live, w), data: map[string]string{}}
	}
	return out, nil
}

// goesWith tells whether the garbage collector takes an object when the cluster goes.
func goesWith(obj *unstructured.Unstructured, w world) bool {
	return obj != nil && (ownedBy(obj, uidOf(w.owner)) || ownedBy(obj, uidOf(w.cluster)))
}

// save takes the certificates out of the Secrets that go, each encoded as the new nodes want it, and says what cannot be saved. before and
// after are what the old and the new manifest name: what only the old one does is superseded, and left out. Only certificates may be
// in a plan: a private key beside them is a block, and its value is not repeated.
func save(all map[string]*trustSecret, before, after []tkg.SecretRef) []plugins.Block {
	var blocks []plugins.Block
	for _, name := range slices.Sorted(maps.Keys(all)) {
		s := all[name]
		for _, key := range slices.Sorted(slices.Values(tkg.SecretKeys(s.live))) {
			ref := tkg.SecretRef{Secret: name, Key: key}
			named := slices.Contains(after, ref)
			if !named && (!s.goes || slices.Contains(before, ref)) {
				continue // of others, and it stays; or superseded
			}
			value, _ := tkg.SecretKey(s.live, key)
			if b, bad := s.keep(key, value, named); bad {
				blocks = append(blocks, b)
			}
		}
	}
	for _, ref := range after {
		s := all[ref.Secret]
		if s == nil || s.data[ref.Key] != "" {
			continue
		}
		if _, there := tkg.SecretKey(s.live, ref.Key); !there {
			blocks = append(blocks, plugins.Block{
				Reason: fmt.Sprintf("the cluster trusts the key %s of Secret %s, which is not there: the new nodes would never join", ref.Key, ref.Secret),
				Hint:   "store that CA there, under two layers of base64, or give manifest: without that entry",
			})
		}
	}
	return blocks
}

// keep saves one key of a Secret.
func (s *trustSecret) keep(key, value string, named bool) (plugins.Block, bool) {
	held := tkg.Hold(key, value, tkg.LayersSecret)
	switch {
	case held.PrivateKey || tkg.HasPrivateKey(value):
		return plugins.Block{
			Reason: fmt.Sprintf("the key %s of Secret %s holds a private key beside what is trusted: it would be kept in the plan, and is lost without it", key, s.name),
			Hint:   "take the private key out of it, to a Secret of its own, and replace the key pair: nodes have had it in their files",
		}, true
	case len(held.Certs) == 0 && !named:
		s.lost = append(s.lost, key)
	case len(held.Certs) == 0:
		return plugins.Block{
			Reason: fmt.Sprintf("the key %s of Secret %s, which the cluster trusts, holds no certificate: the new nodes would never join", key, s.name),
			Hint:   "check-encoding says what is in it; store the CA under a new key, and name that in the cluster, or give manifest: without that entry",
		}, true
	case s.goes:
		s.data[key] = tkg.SecretValue(held.Certs) // mended on the way, if it was encoded wrongly
	case !held.Right:
		return plugins.Block{
			Reason: fmt.Sprintf("the key %s of Secret %s is encoded wrongly, and the Secret outlives the cluster: the new nodes would never join", key, s.name),
			Hint:   "check-encoding gives the corrected value: store it under a new key, and name that in the cluster's variable, or give manifest: that does",
		}, true
	}
	return plugins.Block{}, false
}

// object is the Secret as it is made again: no owner, no label, only certificates.
func (s *trustSecret) object(namespace string) *unstructured.Unstructured {
	data := map[string]any{}
	for key, value := range s.data {
		data[key] = value
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
		"metadata": map[string]any{"namespace": namespace, "name": s.name}, "data": data,
	}}
}

// change is the Secret's place in the plan; ok is false when nothing is to be done about it.
func (s *trustSecret) change(ref tkg.Ref) (change plugins.PlannedChange, ok bool, err error) {
	if len(s.data) == 0 {
		return change, false, nil
	}
	obj := s.object(ref.Namespace)
	change = plugins.PlannedChange{
		Action: plugins.Create, Target: targetOf(obj),
		Reason: fmt.Sprintf("the CAs that the new cluster trusts, since the old one's Secret goes with it: %s", s.describe()),
		Undo:   fmt.Sprintf("kubectl delete secret %s -n %s", s.name, ref.Namespace),
	}
	switch {
	case s.live == nil:
		change.Reason = fmt.Sprintf("the CAs that the new cluster trusts: %s", s.describe())
	case !s.goes:
		change.Action = plugins.Update
		change.Target.UID = string(s.live.GetUID())
		change.Reason = fmt.Sprintf("one more CA beside what it holds, for the new cluster to trust: %s", s.describe())
		change.Undo = "take the key out again"
	}
	change.After, err = document(obj)
	return change, true, err
}

// describe names the keys with what they hold.
func (s *trustSecret) describe() string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(s.data)) {
		for _, c := range tkg.Hold(key, s.data[key], tkg.LayersSecret).Certs {
			parts = append(parts, fmt.Sprintf("%s is %s (sha256 %.16s...)", key, certs.Subject(c), certs.Fingerprint(c)))
		}
	}
	return strings.Join(parts, ", ")
}

// precondition is what the deletion stands on: that nothing was put into a Secret that goes since it was saved.
func (s *trustSecret) precondition() (plugins.Precondition, bool) {
	if s.live == nil || !s.goes {
		return plugins.Precondition{}, false
	}
	return plugins.Precondition{Target: targetOf(s.live), Field: fieldData, Value: dataHash(s.live)}, true
}

// dataHash returns sha256: and the hex digest of a Secret's data with its keys in order. It says nothing of what they hold.
func dataHash(secret *unstructured.Unstructured) string {
	if secret == nil {
		return "nothing"
	}
	data, _, _ := unstructured.NestedMap(secret.Object, "data")
	raw, err := json.Marshal(data)
	if err != nil {
		return "sha256:unknown" // it came as JSON; and this equals no digest
	}
	sum := sha256.Sum256(raw)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// ofOld tells whether an object is still owned by the cluster of a name that is being made again, so that it is about to go. It is asked only
// while the new cluster is not there.
func ofOld(obj *unstructured.Unstructured, cluster string) bool {
	return slices.ContainsFunc(obj.GetOwnerReferences(), func(o metav1.OwnerReference) bool {
		return o.Name == cluster && (o.Kind == tkg.TKCKind || o.Kind == tkg.ClusterKind)
	})
}

// secretSeen decides whether a Secret holds what the new cluster needs. saved is the UID of the one whose content was saved: what is in
// that one may be mended; what somebody else has put there since may not.
func secretSeen(live, want *unstructured.Unstructured, saved types.UID) sdk.Observation {
	if live == nil {
		return sdk.Observation{State: sdk.No, Note: "there is no " + describe(want)}
	}
	have := true
	for _, key := range tkg.SecretKeys(want) {
		need, _ := tkg.SecretKey(want, key)
		value, ok := tkg.SecretKey(live, key)
		if ok && value != need && (saved == "" || live.GetUID() != saved) {
			return sdk.Observation{State: sdk.Unknowable, Note: fmt.Sprintf(
				"the key %s of %s holds something else than was approved: kubectl get secret %s -n %s -o jsonpath='{.metadata.managedFields}'",
				key, describe(live), live.GetName(), live.GetNamespace())}
		}
		have = have && value == need
	}
	if !have {
		return sdk.Observation{State: sdk.No, Note: describe(live) + " lacks what the new cluster trusts"}
	}
	return sdk.Observation{State: sdk.Yes, Note: describe(live) + " holds what the new cluster trusts"}
}

// amend adds to a live Secret what it lacks, and touches no other key. What the saved one held is mended in place.
func (s supervisor) amend(ctx context.Context, live, want *unstructured.Unstructured, saved types.UID) error {
	var ops []tkg.Operation
	keys := tkg.SecretKeys(want)
	slices.Sort(keys)
	for _, key := range keys {
		need, _ := tkg.SecretKey(want, key)
		value, ok := tkg.SecretKey(live, key)
		switch {
		case !ok:
			ops = append(ops, tkg.AddKeyPatch(live, key, need)...)
			live = live.DeepCopy() // the next key finds this one's data
			_ = unstructured.SetNestedField(live.Object, need, "data", key)
		case value != need && saved != "" && live.GetUID() == saved:
			ops = append(ops, tkg.Operation{Op: "test", Path: "/metadata/uid", Value: string(saved)}, tkg.Operation{Op: "test", Path: "/data/" + key, Value: value},
				tkg.Operation{Op: "replace", Path: "/data/" + key, Value: need})
		case value != need:
			return plugins.WithKind(plugins.KindConflict, fmt.Errorf("the key %s of %s holds something else than was approved", key, describe(live)))
		}
	}
	if len(ops) == 0 {
		return nil
	}
	patch, err := json.Marshal(ops)
	if err != nil {
		return fmt.Errorf("write the patch of %s: %w", describe(live), err)
	}
	r, err := s.c.Resource(ctx, "", "Secret")
	if err != nil {
		return err
	}
	_, err = s.c.JSONPatch(ctx, r, types.NamespacedName{Namespace: s.ref.Namespace, Name: live.GetName()}, patch)
	return err
}
