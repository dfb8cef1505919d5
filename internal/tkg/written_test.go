package tkg

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestWritten holds that what controllers write later is not taken for the change.
func TestWritten(t *testing.T) {
	t.Parallel()
	entry := func(manager, at, fields string) string {
		return fmt.Sprintf("{manager: %s, operation: Update, time: %q, fieldsType: FieldsV1, fieldsV1: %s}", manager, at, fields)
	}
	const (
		early, late = "2026-09-01T00:00:00Z", "2026-10-01T00:00:00Z"
		tkc         = `{"f:spec": {"f:settings": {"f:network": {"f:trust": {"f:additionalTrustedCAs": {}}}}}}`
		keyed       = `{"f:spec": {"f:topology": {"f:variables": {"k:{\"name\":\"trust\"}": {".": {}, "f:name": {}, "f:value": {"f:additionalTrustedCAs": {}}}}}}}`
		whole       = `{"f:spec": {"f:topology": {"f:variables": {}}}}`
		conf        = `{"f:spec": {"f:topology": {"f:variables": {"k:{\"name\":\"osConfiguration\"}": {"f:value": {"f:trust": {}}}}}}}`
	)
	for name, tc := range map[string]struct {
		reason  string
		way     Way
		entries []string
		want    string
	}{
		"ours":            {"what a controller writes later does not move it", WayTKC, []string{entry("tkgfix", early, tkc), entry("controller", late, tkc)}, early},
		"keyed":           {"the variable's own entry", WayTrust, []string{entry("tkgfix", early, keyed), entry("kubectl", late, conf)}, early},
		"whole list":      {"a list that is owned as one", WayTrust, []string{entry("tkgfix", early, whole)}, early},
		"osConfiguration": {"the other variable", WayOSConfiguration, []string{entry("tkgfix", late, keyed), entry("tkgfix", early, conf)}, early},
		"somebody else's": {"without ours the last time at which it can have changed", WayTKC, []string{entry("kubectl", early, tkc)}, early},
		"nobody's":        {"nothing is known", WayTKC, nil, ""},
	} {
		got := Written(object(t, "metadata: {name: x, managedFields: ["+strings.Join(tc.entries, ", ")+"]}"), tc.way)
		want, _ := time.Parse(time.RFC3339, tc.want)
		if !got.Equal(want) {
			t.Errorf("%s, %s: want %s, got %s", name, tc.reason, tc.want, got)
		}
	}
}
