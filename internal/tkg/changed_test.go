package tkg

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestTrustChanged(t *testing.T) {
	t.Parallel()
	entry := func(at, fields string) string {
		return fmt.Sprintf("{manager: m, operation: Update, time: %q, fieldsType: FieldsV1, fieldsV1: %s}", at, fields)
	}
	const (
		early, late = "2026-09-01T00:00:00Z", "2026-10-01T00:00:00Z"
		service     = `{"f:spec": {"f:trust": {"f:additionalTrustedCAs": {}}}}`
		cluster     = `{"f:spec": {"f:settings": {"f:network": {"f:trust": {".": {}, "f:additionalTrustedCAs": {}}}}}}`
		unrelated   = `{"f:spec": {"f:defaultCNI": {}}, "f:metadata": {"f:labels": {}}}`
	)
	cases := map[string]struct {
		reason  string
		entries []string
		cluster bool
		want    string
	}{
		"Owner":       {reason: "the manager of the trust counts", entries: []string{entry(early, service), entry(late, unrelated)}, want: early},
		"Latest":      {reason: "of several owners the latest", entries: []string{entry(late, service), entry(early, service)}, want: late},
		"Cluster":     {reason: "another path", entries: []string{entry(early, cluster), entry(late, service)}, cluster: true, want: early},
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
			obj := object(t, "metadata: {name: x, managedFields: ["+strings.Join(c.entries, ", ")+"]}")
			got := ServiceTrustChanged(obj)
			if c.cluster {
				got = ClusterTrustChanged(obj)
			}
			want := time.Time{}
			if c.want != "" {
				want, _ = time.Parse(time.RFC3339, c.want)
			}
			if !got.Equal(want) {
				t.Errorf("%s: want %s, got %s", c.reason, want, got)
			}
		})
	}
	for _, obj := range []*unstructured.Unstructured{nil, {}} {
		if got := ServiceTrustChanged(obj); !got.IsZero() {
			t.Errorf("of nothing: got %s", got)
		}
	}
}
