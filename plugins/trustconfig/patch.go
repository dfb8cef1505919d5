package trustconfig

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tkgfix/tkgfix/internal/tkg"
)

// listPath is where the trusted CAs are (tkg-facts.md §1.1), as a precondition names it.
const listPath = "spec.trust.additionalTrustedCAs"

// document is the part of a TkgServiceConfiguration that a change shows: spec.trust and nothing else, as the server has it.
// What the server lacks is absent here too, because the patch must make it.
type document map[string]any

// documentOf returns that part of an object.
func documentOf(obj *unstructured.Unstructured) document {
	spec, ok := obj.Object["spec"].(map[string]any)
	if !ok {
		return document{}
	}
	trust, ok := spec["trust"].(map[string]any)
	if !ok {
		return document{"spec": map[string]any{}}
	}
	return document{"spec": map[string]any{"trust": trust}}
}

// parseDocument reads what JSON returned.
func parseDocument(raw json.RawMessage) (document, error) {
	var d document
	if err := json.Unmarshal(raw, &d); err != nil {
		return nil, fmt.Errorf("read the approved change: %w", err)
	}
	return d, nil
}

// JSON returns the document with its keys in order.
func (d document) JSON() (json.RawMessage, error) {
	raw, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("write the change: %w", err)
	}
	return raw, nil
}

func (d document) trust() (map[string]any, bool) {
	spec, _ := d["spec"].(map[string]any)
	trust, ok := spec["trust"].(map[string]any)
	return trust, ok
}

func (d document) list() ([]any, bool) {
	trust, _ := d.trust()
	list, ok := trust["additionalTrustedCAs"].([]any)
	return list, ok
}

// entries returns the list in types.
func (d document) entries() ([]tkg.TrustEntry, error) {
	return tkg.ServiceTrust(&unstructured.Unstructured{Object: d})
}

// with returns the document with one entry set: at an index that exists it is replaced, at the end it is added.
func (d document) with(index int, e tkg.TrustEntry) document {
	list, _ := d.list()
	list = slices.Clone(list)
	item := map[string]any{"name": e.Name, "data": e.Data}
	if index < len(list) {
		list[index] = item
	} else {
		list = append(list, item)
	}
	old, _ := d.trust()
	trust := maps.Clone(old)
	if trust == nil {
		trust = map[string]any{}
	}
	trust["additionalTrustedCAs"] = list
	return document{"spec": map[string]any{"trust": trust}}
}

// operation is one of RFC 6902.
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

const (
	specPath  = "/spec"
	trustPath = "/spec/trust"
	casPath   = "/spec/trust/additionalTrustedCAs"
)

// changedEntry returns the index of the one entry that differs. More than one, or a shorter list, is an error: no such change
// is ever planned.
func changedEntry(before, after document) (int, error) {
	old, _ := before.list()
	now, _ := after.list()
	if len(now) < len(old) || len(now) > len(old)+1 {
		return 0, fmt.Errorf("the approved change makes %d entries of %d", len(now), len(old))
	}
	var changed []int
	for i := range now {
		if i >= len(old) || !reflect.DeepEqual(old[i], now[i]) {
			changed = append(changed, i)
		}
	}
	if len(changed) != 1 {
		return 0, fmt.Errorf("the approved change touches %d entries, not one", len(changed))
	}
	return changed[0], nil
}

// jsonPatch returns the patch that makes after of before and touches one entry. It tests the object's UID and the whole old list
// first, so that the server refuses it when either is not what was planned on.
func jsonPatch(uid string, before, after document) ([]byte, error) {
	if uid == "" {
		return nil, errors.New("the approved change names no UID")
	}
	i, err := changedEntry(before, after)
	if err != nil {
		return nil, err
	}
	now, _ := after.list()
	ops := append([]operation{{"test", "/metadata/uid", uid}}, listOperations(before, i, now[i])...)
	raw, err := json.Marshal(ops)
	if err != nil {
		return nil, fmt.Errorf("write the patch: %w", err)
	}
	return raw, nil
}

// listOperations tests what was there, down to the level that was missing, and sets one entry. A test for null holds for what is
// absent (RFC 6902 as the API server's library applies it).
func listOperations(before document, index int, item any) []operation {
	if list, ok := before.list(); ok {
		test := operation{"test", casPath, list}
		if index < len(list) {
			return []operation{test, {"replace", fmt.Sprintf("%s/%d", casPath, index), item}}
		}
		return []operation{test, {"add", casPath + "/-", item}}
	}
	list := []any{item}
	if trust, ok := before.trust(); ok {
		return []operation{{"test", trustPath, trust}, {"add", casPath, list}}
	}
	trust := map[string]any{"additionalTrustedCAs": list}
	if _, ok := before["spec"]; ok {
		return []operation{{"test", trustPath, nil}, {"add", trustPath, trust}}
	}
	return []operation{{"test", specPath, nil}, {"add", specPath, map[string]any{"trust": trust}}}
}

// undoPatch returns the patch that takes the change back, for a person to paste.
func undoPatch(before, after document) ([]byte, error) {
	i, err := changedEntry(before, after)
	if err != nil {
		return nil, err
	}
	old, _ := before.list()
	now, _ := after.list()
	at := fmt.Sprintf("%s/%d", casPath, i)
	ops := []any{operation{"test", at, now[i]}}
	if i < len(old) {
		ops = append(ops, operation{"replace", at, old[i]})
	} else {
		ops = append(ops, map[string]string{"op": "remove", "path": at})
	}
	raw, err := json.Marshal(ops)
	if err != nil {
		return nil, fmt.Errorf("write the way back: %w", err)
	}
	return raw, nil
}
