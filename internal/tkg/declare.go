package tkg

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/gowebpki/jcs"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Declaration is one CA as a cluster's own trust declares it.
type Declaration struct {
	Way Way
	// Index is the entry of the list that it takes the place of; the length of the list for one more.
	Index int
	// Name is the entry's name. For the classes it is the key of the Secret.
	Name string
	// Secret is the Secret with the key, for WayOSConfiguration; WayTrust has a fixed one, TrustSecret.
	Secret string
	// Data is the value of a TanzuKubernetesCluster's entry: base64 of the PEM, once.
	Data string
}

// Declare returns the owner's object with the declaration in its list of trusted CAs, and nothing else changed: levels that are missing
// are made, a variable that is there already keeps all else that it holds, and none is ever appended that has the name of another. The
// object is a manifest or a live object of the way's kind; it is not changed itself.
func Declare(obj *unstructured.Unstructured, d Declaration) (*unstructured.Unstructured, error) {
	at, err := placeOf(d.Way)
	if err != nil {
		return nil, err
	}
	r, err := at.reach(obj)
	if err != nil {
		return nil, err
	}
	list, err := d.set(r.list())
	if err != nil {
		return nil, err
	}
	out := obj.DeepCopy()
	at.put(out.Object, list)
	return out, nil
}

// set returns the list with the entry in its place. What else an entry holds that is replaced stays.
func (d Declaration) set(list []any) ([]any, error) {
	list = slices.Clone(list)
	switch {
	case d.Index < 0 || d.Index > len(list):
		return nil, fmt.Errorf("set entry %d of the trusted CAs: there are %d", d.Index, len(list))
	case d.Index == len(list):
		return append(list, d.entry(nil)), nil
	}
	old, ok := list[d.Index].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("set entry %d of the trusted CAs: what is there is no object", d.Index)
	}
	list[d.Index] = d.entry(old)
	return list, nil
}

// entry is the declaration in the form of its way (tkg-facts.md §1.2 to §1.4).
func (d Declaration) entry(old map[string]any) map[string]any {
	out := maps.Clone(old)
	if out == nil {
		out = map[string]any{}
	}
	switch d.Way {
	case WayTKC:
		out["name"], out["data"] = d.Name, d.Data
	case WayTrust:
		out["name"] = d.Name
	case WayOSConfiguration:
		out["caCert"] = map[string]any{"secretRef": map[string]any{"name": d.Secret, "key": d.Name}}
	}
	return out
}

// Part is what a change shows of a cluster's owner: the way to its list of trusted CAs and that list, nothing beside it, such as a proxy
// with its credentials. What the object lacks is absent here too, because a patch must make it.
type Part struct {
	at  place
	doc map[string]any
}

// TrustPart returns that part of an object. More than one variable of the name, and what has another shape, are errors.
func TrustPart(obj *unstructured.Unstructured, way Way) (Part, error) {
	at, err := placeOf(way)
	if err != nil {
		return Part{}, err
	}
	if _, err := at.reach(obj); err != nil {
		return Part{}, err
	}
	doc, _ := at.only(obj.Object).(map[string]any)
	return Part{at: at, doc: doc}, nil
}

// ParsePart reads what JSON returned.
func ParsePart(way Way, raw json.RawMessage) (Part, error) {
	obj := &unstructured.Unstructured{}
	if err := json.Unmarshal(raw, &obj.Object); err != nil {
		return Part{}, fmt.Errorf("read the approved change: %w", err)
	}
	return TrustPart(obj, way)
}

// JSON returns the part with its keys in order.
func (p Part) JSON() (json.RawMessage, error) {
	raw, err := json.Marshal(p.doc)
	if err != nil {
		return nil, fmt.Errorf("write the change: %w", err)
	}
	return raw, nil
}

// Path names the list, as a precondition does.
func (p Part) Path() string { return p.at.String() }

// Entries returns the list as it is, nil if there is none.
func (p Part) Entries() []any {
	r, _ := p.at.reach(&unstructured.Unstructured{Object: p.doc}) // it was reached when the part was made
	return r.list()
}

// Hash returns sha256: and the hex digest of the canonical JSON (RFC 8785) of the list. No list and an empty one are the same.
func (p Part) Hash() string {
	list := p.Entries()
	if list == nil {
		list = []any{}
	}
	return hashOf(list)
}

// hashOf returns sha256: and the hex digest of the canonical JSON of what came from JSON.
func hashOf(v any) string {
	data, err := json.Marshal(v)
	if err == nil {
		data, err = jcs.Transform(data)
	}
	if err != nil {
		return "sha256:unknown" // what came from JSON goes back; and this equals no digest
	}
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// With returns the part with the declaration in its list.
func (p Part) With(d Declaration) (Part, error) {
	out, err := Declare(&unstructured.Unstructured{Object: p.doc}, d)
	if err != nil {
		return Part{}, err
	}
	return Part{at: p.at, doc: out.Object}, nil
}

// Changed returns the index of the one entry in which two parts differ, and that entry of after. More than one, or a shorter list, is an
// error: no such change is ever planned.
func (p Part) Changed(after Part) (int, any, error) {
	old, now := p.Entries(), after.Entries()
	if len(now) < len(old) || len(now) > len(old)+1 {
		return 0, nil, fmt.Errorf("the approved change makes %d entries of %d", len(now), len(old))
	}
	var changed []int
	for i := range now {
		if i >= len(old) || hashOf(old[i]) != hashOf(now[i]) {
			changed = append(changed, i)
		}
	}
	if len(changed) != 1 {
		return 0, nil, fmt.Errorf("the approved change touches %d entries, not one", len(changed))
	}
	return changed[0], now[changed[0]], nil
}

// Operation is one of RFC 6902.
type Operation struct {
	Op   string `json:"op"`
	Path string `json:"path"`
	// Value is left out of a remove alone: a test for null holds for what is absent.
	Value any
}

// MarshalJSON writes the operation.
func (o Operation) MarshalJSON() ([]byte, error) {
	fields := map[string]any{"op": o.Op, "path": o.Path}
	if o.Op != "remove" {
		fields["value"] = o.Value
	}
	return json.Marshal(fields)
}

// PatchTrust returns the patch that makes after of the live object, whose list is that of before, and touches one entry. It tests the
// UID, the name of the variable and the whole old list first, or that there is none, so that the server refuses it when anything is not
// what was planned on. ErrPartChanged is the error for a live object with another list.
func PatchTrust(live *unstructured.Unstructured, before, after Part) ([]Operation, error) {
	i, entry, err := before.Changed(after)
	if err != nil {
		return nil, err
	}
	r, err := before.at.reach(live)
	if err != nil {
		return nil, err
	}
	old, _ := before.at.reach(&unstructured.Unstructured{Object: before.doc})
	if hashOf(r.list()) != hashOf(old.list()) || len(r.rest) != len(old.rest) {
		return nil, ErrPartChanged
	}
	ops := append([]Operation{{"test", "/metadata/uid", string(live.GetUID())}}, r.tests...)
	if len(r.rest) > 0 {
		return append(ops, r.make([]any{entry})), nil
	}
	if i < len(r.list()) {
		return append(ops, Operation{"replace", fmt.Sprintf("%s/%d", r.pointer, i), entry}), nil
	}
	return append(ops, Operation{"add", r.pointer + "/-", entry}), nil
}

// ErrPartChanged says that a list of trusted CAs is not the one that a change was planned on.
var ErrPartChanged = errors.New("the list of trusted CAs is another one than was planned on")

// UndoTrust returns the patch that takes the change back, for a person to paste while the object's variables keep their places.
func UndoTrust(live *unstructured.Unstructured, before, after Part) ([]Operation, error) {
	i, _, err := before.Changed(after)
	if err != nil {
		return nil, err
	}
	changed := live.DeepCopy()
	before.at.put(changed.Object, after.Entries())
	r, err := before.at.reach(changed)
	if err != nil {
		return nil, err
	}
	if old := before.Entries(); i < len(old) {
		return append(r.tests, Operation{"replace", fmt.Sprintf("%s/%d", r.pointer, i), old[i]}), nil
	}
	was, err := before.at.reach(live)
	if err != nil {
		return nil, err
	}
	if len(was.rest) == 0 {
		return append(r.tests, Operation{"remove", fmt.Sprintf("%s/%d", r.pointer, i), nil}), nil
	}
	return append(r.tests, Operation{"remove", was.made(), nil}), nil
}
