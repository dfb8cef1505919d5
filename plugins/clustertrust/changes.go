package clustertrust

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
)

// absent is the value of a precondition on a key that must not be there.
const absent = "absent"

const fieldUID = "metadata.uid"

// changes are the acts in their order: the Secret's new key, the owner's list, the key that is retired. Nothing in them moves while the
// owner's list, its topology and the keys stay as they are.
func (w world) changes(d decision, candidate []*x509.Certificate) ([]plugins.PlannedChange, error) {
	var out []plugins.PlannedChange
	if d.write {
		out = append(out, w.writing(d, candidate))
	}
	change, err := w.declaring(d, candidate)
	if err != nil {
		return nil, err
	}
	out = append(out, change)
	if d.retire != nil {
		out = append(out, w.retiring(*d.retire))
	}
	return out, nil
}

func (w world) secretTarget(name string) plugins.Target {
	t := plugins.Target{Version: "v1", Kind: "Secret", Namespace: w.owner.Ref().Namespace, Name: name}
	if obj := w.secrets[name]; obj != nil {
		t.UID = string(obj.GetUID())
	}
	return t
}

// writing is the change that gives a Secret the new key, or makes the Secret with it. A CA's certificate is no secret.
func (w world) writing(d decision, candidate []*x509.Certificate) plugins.PlannedChange {
	target := w.secretTarget(d.secret)
	field := "data." + d.choice.Name
	change := plugins.PlannedChange{
		Action: plugins.Update, Target: target,
		Reason: fmt.Sprintf("the CA, encoded twice as this place wants it, under the key %s, which it does not have yet; its other keys stay", d.choice.Name),
		Before: mustJSON(map[string]any{"data": map[string]any{}}),
		After:  mustJSON(map[string]any{"data": map[string]any{d.choice.Name: tkg.SecretValue(candidate)}}),
		Preconditions: []plugins.Precondition{
			{Target: target, Field: fieldUID, Value: target.UID}, {Target: target, Field: field, Value: absent},
		},
		Undo: "no node needs it before the next change: " + patchCommand("secret", d.secret, target.Namespace, []tkg.Operation{{Op: "remove", Path: "/data/" + d.choice.Name}}),
	}
	if target.UID == "" {
		change.Action, change.Before = plugins.Create, nil
		change.Reason = fmt.Sprintf("the CA, encoded twice as this place wants it, under the key %s", d.choice.Name)
		change.Preconditions = []plugins.Precondition{{Target: target, Field: field, Value: absent}}
		change.Undo = fmt.Sprintf("no node needs it before the next change: kubectl delete secret %s -n %s", d.secret, target.Namespace)
	}
	return change
}

// declaring is the change of the owner's list, by which all nodes are replaced.
func (w world) declaring(d decision, candidate []*x509.Certificate) (plugins.PlannedChange, error) {
	var none plugins.PlannedChange
	before, err := tkg.TrustPart(w.owner.Object, w.owner.Way)
	if err != nil {
		return none, err
	}
	after, err := before.With(tkg.Declaration{
		Way: w.owner.Way, Index: d.choice.Index, Name: d.choice.Name, Secret: d.secret, Data: tkg.Encode(certs.Normalize(candidate), tkg.LayersService),
	})
	if err != nil {
		return none, err
	}
	undo, err := tkg.UndoTrust(w.owner.Object, before, after)
	if err != nil {
		return none, err
	}
	target := w.owner.Target()
	change := plugins.PlannedChange{
		Action: plugins.Update, Target: target,
		Reason: fmt.Sprintf("%s (%s), so that the nodes are replaced by ones that trust the registry", w.act(d), d.choice.Why),
		Preconditions: []plugins.Precondition{
			{Target: target, Field: fieldUID, Value: target.UID}, {Target: target, Field: before.Path(), Value: before.Hash()},
		},
		Impact: w.impact(),
		Undo:   "the nodes are replaced once more: " + patchCommand(w.owner.Resource(), target.Name, target.Namespace, undo),
	}
	if change.Before, err = before.JSON(); err != nil {
		return none, err
	}
	change.After, err = after.JSON()
	return change, err
}

// act says what becomes of the list.
func (w world) act(d decision) string {
	if d.choice.Act == tkg.Add {
		return fmt.Sprintf("add the entry %q", d.choice.Name)
	}
	old := w.entries[d.choice.Index].Name
	switch {
	case old == d.choice.Name:
		return fmt.Sprintf("replace the entry %q", old)
	case old == "":
		old = fmt.Sprint(d.choice.Index)
	}
	return fmt.Sprintf("replace the entry %s by %q", old, d.choice.Name)
}

// retiring is the change that takes the old key out of its Secret when the new nodes have proved themselves. What the key holds is shown
// by its hash and its certificates alone.
func (w world) retiring(k key) plugins.PlannedChange {
	target := w.secretTarget(k.secret)
	value, _ := tkg.SecretKey(w.secrets[k.secret], k.name)
	hash := hashText(value)
	held := tkg.Hold(k.name, value, tkg.LayersSecret)
	what := "no certificate"
	if len(held.Certs) > 0 {
		what = subjects(held.Certs)
	}
	return plugins.PlannedChange{
		Action: plugins.Update, Target: target,
		Reason: fmt.Sprintf("when all nodes have proved themselves: take the key %s out, which no cluster of the namespace names any more", k.name),
		Before: mustJSON(map[string]any{"data": map[string]any{k.name: hash}}),
		After:  mustJSON(map[string]any{"data": map[string]any{}}),
		Preconditions: []plugins.Precondition{
			{Target: target, Field: fieldUID, Value: target.UID}, {Target: target, Field: "data." + k.name, Value: hash},
		},
		Lost: []string{fmt.Sprintf("key %s of Secret %s/%s: %s", k.name, target.Namespace, k.secret, what)},
		Undo: "put the key back from where its content came",
	}
}

// impact says which nodes are replaced, and what that takes.
func (w world) impact() []string {
	controlPlane, workers := tkg.WantedNodes(w.owner.Object)
	count := func(n int, what string) string {
		switch {
		case n < 0:
			return "all nodes of " + what + " (an autoscaler has their number)"
		case n == 1:
			return "1 node of " + what
		}
		return fmt.Sprintf("%d nodes of %s", n, what)
	}
	return []string{
		fmt.Sprintf("%s is rolled: %s and %s are replaced by new ones, one after the other in each pool",
			w.owner.Ref(), count(controlPlane, "the control plane"), count(workers, "its worker pools")),
		"a new node comes before an old one goes (maxSurge 1): each pool, and the control plane, needs room for one machine and address more",
	}
}

func hashText(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "sha256:" + hex.EncodeToString(sum[:])
}

func mustJSON(v any) json.RawMessage {
	raw, _ := json.Marshal(v) // strings and maps alone: it cannot go wrong
	return raw
}

func patchCommand(resource, name, namespace string, ops []tkg.Operation) string {
	return fmt.Sprintf("kubectl patch %s %s -n %s --type=json -p=%s", resource, name, namespace, quote(string(mustJSON(ops))))
}

// quote makes one word of s for a POSIX shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// approved is what the changes say.
type approved struct {
	ref    tkg.Ref
	way    tkg.Way
	write  *secretChange
	owner  plugins.PlannedChange
	before tkg.Part
	after  tkg.Part
	retire *secretChange
	name   string
}

// secretChange is an approved change of one key of a Secret. value is what is written, or the hash of what is taken out.
type secretChange struct {
	change     plugins.PlannedChange
	key, value string
}

// readApproved sorts the approved changes. Any other shape is refused before anything is done.
func readApproved(changes []plugins.PlannedChange) (approved, error) {
	var a approved
	owners := 0
	for i, c := range changes {
		var err error
		switch {
		case c.Target.Kind == "Secret" && c.Target.Group == "" && owners == 0 && a.write == nil && (c.Action == plugins.Create || c.Action == plugins.Update):
			a.write, err = secretKey(c, c.After)
		case c.Target.Kind == "Secret" && c.Target.Group == "" && owners == 1 && a.retire == nil && c.Action == plugins.Update:
			a.retire, err = secretKey(c, c.Before)
		case c.Action == plugins.Update && isOwner(c.Target):
			owners++
			err = a.readOwner(c)
		default:
			err = fmt.Errorf("the approved change %d is %s %s, which this step never plans", i+1, c.Action, c.Target)
		}
		if err != nil {
			return a, err
		}
	}
	if owners != 1 {
		return a, fmt.Errorf("%s was approved with %d changes of the cluster's own object, not one", Name, owners)
	}
	for _, s := range []*secretChange{a.write, a.retire} {
		if s != nil && (a.way == tkg.WayTKC || s.change.Target.Namespace != a.ref.Namespace) {
			return a, fmt.Errorf("the approved change of %s does not belong to cluster %s", s.change.Target, a.ref)
		}
	}
	return a, nil
}

func isOwner(t plugins.Target) bool {
	return t.UID != "" && (t.Kind == tkg.TKCKind && t.Group == tkg.RunGroup || t.Kind == tkg.ClusterKind && t.Group == tkg.ClusterGroup)
}

func (a *approved) readOwner(c plugins.PlannedChange) error {
	a.owner, a.ref, a.way = c, tkg.Ref{Namespace: c.Target.Namespace, Name: c.Target.Name}, tkg.WayTKC
	if c.Target.Kind == tkg.ClusterKind {
		a.way = wayOf(c)
	}
	var err error
	if a.before, err = tkg.ParsePart(a.way, c.Before); err != nil {
		return err
	}
	if a.after, err = tkg.ParsePart(a.way, c.After); err != nil {
		return err
	}
	_, entry, err := a.before.Changed(a.after)
	if err != nil {
		return err
	}
	a.name = entryName(entry)
	return nil
}

// wayOf tells the way by which a change of a Cluster declares trust, from the path that it stands on.
func wayOf(c plugins.PlannedChange) tkg.Way {
	for _, way := range []tkg.Way{tkg.WayTrust, tkg.WayOSConfiguration} {
		part, err := tkg.ParsePart(way, c.After)
		if err != nil {
			continue
		}
		for _, p := range c.Preconditions {
			if p.Field == part.Path() {
				return way
			}
		}
	}
	return tkg.WayNone
}

// entryName returns the name in an entry of any form.
func entryName(entry any) string {
	fields, _ := entry.(map[string]any)
	if name, _, _ := unstructured.NestedString(fields, "caCert", "secretRef", "key"); name != "" {
		return name
	}
	name, _ := fields["name"].(string)
	return name
}

// entrySecret returns the Secret that the approved entry names a key of, empty for a TanzuKubernetesCluster.
func (a approved) entrySecret() string {
	_, entry, err := a.before.Changed(a.after)
	fields, _ := entry.(map[string]any)
	if name, _, _ := unstructured.NestedString(fields, "caCert", "secretRef", "name"); name != "" && err == nil {
		return name
	}
	if a.way == tkg.WayTrust {
		return tkg.TrustSecret(a.ref.Name)
	}
	return ""
}

// secretKey reads the one key that a document of a Secret shows.
func secretKey(c plugins.PlannedChange, document json.RawMessage) (*secretChange, error) {
	var doc struct {
		Data map[string]string `json:"data"`
	}
	if err := json.Unmarshal(document, &doc); err != nil {
		return nil, fmt.Errorf("read the approved change of %s: %w", c.Target, err)
	}
	if len(doc.Data) != 1 {
		return nil, fmt.Errorf("the approved change of %s is of %d keys, not one", c.Target, len(doc.Data))
	}
	for k, v := range doc.Data {
		if tkg.ValidTrustName(k) && v != "" {
			return &secretChange{change: c, key: k, value: v}, nil
		}
	}
	return nil, fmt.Errorf("the approved change of %s is of no key that this step plans", c.Target)
}
