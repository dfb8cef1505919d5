package tkg

import (
	"cmp"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestTrustChanged(t *testing.T) {
	t.Parallel()
	entry := func(at, fields string) string {
		return fmt.Sprintf("{manager: m, operation: Update, time: %q, fieldsType: FieldsV1, fieldsV1: %s}", at, fields)
	}
	const (
		made        = "2026-08-01T00:00:00Z"
		early, late = "2026-09-01T00:00:00Z", "2026-10-01T00:00:00Z"
		service     = `{"f:spec": {"f:trust": {"f:additionalTrustedCAs": {}}}}`
		cluster     = `{"f:spec": {"f:settings": {"f:network": {"f:trust": {".": {}, "f:additionalTrustedCAs": {}}}}}}`
		both        = `{"f:spec": {"f:trust": {"f:additionalTrustedCAs": {}}, "f:defaultCNI": {}}}`
		unrelated   = `{"f:spec": {"f:defaultCNI": {}}, "f:metadata": {"f:labels": {}}}`
	)
	cases := map[string]struct {
		reason  string
		entries []string
		cluster bool
		want    string
		after   string // that of the object if empty
	}{
		"Owner":       {reason: "the manager of the trust counts", entries: []string{entry(early, service), entry(late, unrelated)}, want: early, after: early},
		"Latest":      {reason: "of several owners the latest", entries: []string{entry(late, service), entry(early, service)}, want: late, after: late},
		"Cluster":     {reason: "another path", entries: []string{entry(early, cluster), entry(late, service)}, cluster: true, want: early, after: early},
		"NotAlone":    {reason: "the other field may be what was changed", entries: []string{entry(late, both)}, want: late},
		"Whole":       {reason: "who owns spec as one owns what is in it", entries: []string{entry(early, `{"f:spec": {}}`)}, want: early},
		"Status":      {reason: "a subresource has no spec", entries: []string{"{manager: m, subresource: status, time: \"" + late + "\", fieldsType: FieldsV1, fieldsV1: " + service + "}"}},
		"NoTime":      {reason: "a manager without a time says nothing", entries: []string{"{manager: m, fieldsType: FieldsV1, fieldsV1: " + service + "}"}},
		"NoFields":    {reason: "nor one without fields", entries: []string{"{manager: m, time: \"" + late + "\"}"}},
		"Unrelated":   {reason: "nobody owns it", entries: []string{entry(late, unrelated)}},
		"Wrong":       {reason: "what is no set of fields owns nothing", entries: []string{entry(late, `{"f:spec": [1]}`)}},
		"Nothing":     {reason: "an object without managers"},
		"EmptyFields": {reason: "an empty set owns nothing", entries: []string{entry(late, `{}`)}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			obj := object(t, "metadata: {name: x, creationTimestamp: \""+made+"\", managedFields: ["+strings.Join(c.entries, ", ")+"]}")
			got := ServiceTrustChanged(obj)
			if c.cluster {
				got = ClusterTrustChanged(obj)
			}
			want := Change{After: at(cmp.Or(c.after, made))}
			if c.want != "" {
				want.Until = at(c.want)
			}
			if got != want {
				t.Errorf("%s: want %s, got %s", c.reason, want, got)
			}
		})
	}
	for _, obj := range []*unstructured.Unstructured{nil, {}} {
		if got := ServiceTrustChanged(obj); got != (Change{}) {
			t.Errorf("of nothing: got %s", got)
		}
	}
}

// A variable is an entry of a list that is known by its name, and in older versions of the API the list is owned as one.
func TestVariableChanged(t *testing.T) {
	t.Parallel()
	const late = "2026-10-01T00:00:00Z"
	cases := map[string]struct {
		reason, fields string
		owned, alone   bool
	}{
		"entry":       {reason: "the variable alone", fields: `{"k:{\"name\":\"trust\"}": {".": {}, "f:name": {}, "f:value": {}}}`, owned: true, alone: true},
		"below":       {reason: "a field of its value", fields: `{"k:{\"name\":\"trust\"}": {"f:value": {"f:additionalTrustedCAs": {}}}}`, owned: true, alone: true},
		"beside":      {reason: "another variable as well", fields: `{"k:{\"name\":\"trust\"}": {"f:value": {}}, "k:{\"name\":\"ntp\"}": {}}`, owned: true},
		"list":        {reason: "the whole list", fields: `{}`, owned: true},
		"other":       {reason: "another variable", fields: `{"k:{\"name\":\"ntp\"}": {"f:value": {}}}`},
		"name alone":  {reason: "its name is not its value", fields: `{"k:{\"name\":\"trust\"}": {"f:name": {}}}`},
		"no such key": {reason: "hostile", fields: `{"k:[": {"f:value": {}}}`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			obj := object(t, `metadata: {name: x, managedFields: [{manager: m, time: "`+late+`", fieldsType: FieldsV1, fieldsV1: {"f:spec": {"f:topology": {"f:variables": `+tc.fields+`}}}}]}`)
			got := VariableChanged(obj, "trust")
			if got.Until.IsZero() == tc.owned || got.Exact() != tc.alone {
				t.Errorf("%s: got %s", tc.reason, got)
			}
		})
	}
}

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t
}

// FuzzChanged gives a field manager any set of fields.
func FuzzChanged(f *testing.F) {
	f.Add(`{"f:spec": {"f:trust": {}}}`)
	f.Add(`{"f:spec": {"f:topology": {"f:variables": {"k:{\"name\":\"trust\"}": {"f:value": {}}}}}}`)
	f.Add(`[`)
	f.Add(`{"f:data": {"f:trust": 3}, "f:type": {}}`)
	f.Fuzz(func(t *testing.T, fields string) {
		when := metav1.NewTime(at("2026-10-01T00:00:00Z"))
		obj := &unstructured.Unstructured{Object: map[string]any{}}
		obj.SetCreationTimestamp(metav1.NewTime(at("2026-08-01T00:00:00Z")))
		obj.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: "m", Time: &when, FieldsV1: &metav1.FieldsV1{Raw: []byte(fields)}}})
		for _, c := range []Change{ServiceTrustChanged(obj), ClusterTrustChanged(obj), VariableChanged(obj, "trust"), SecretKeyChanged(obj, "trust")} {
			if c.Exact() && c.Until.IsZero() || !c.Until.IsZero() && c.After.After(c.Until) {
				t.Errorf("a span that ends before it begins: %s", c)
			}
		}
	})
}
