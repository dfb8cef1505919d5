package tkg_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/tkgfix/tkgfix/internal/tkg"
)

func TestClusterClassTrust(t *testing.T) {
	t.Parallel()
	const list = "spec.topology.variables[1].value"
	cases := map[string]struct {
		reason    string
		variables string // of a Cluster named dev2, behind vmClass
		want      []tkg.ClassTrust
		err       string // part
	}{
		"tanzukubernetescluster": {
			reason: "names are keys of one Secret", variables: `{name: trust, value: {additionalTrustedCAs: [{name: harbor-ca}, {name: b}]}}`,
			want: []tkg.ClassTrust{
				{Way: tkg.WayTrust, Path: list + ".additionalTrustedCAs[0].name", Secret: "dev2-user-trusted-ca-secret", Key: "harbor-ca", Layers: 2},
				{Way: tkg.WayTrust, Path: list + ".additionalTrustedCAs[1].name", Secret: "dev2-user-trusted-ca-secret", Key: "b", Layers: 2},
			},
		},
		"builtin-generic": {
			reason: "any Secret and key", variables: `{name: osConfiguration, value: {ntp: {servers: [x]}, trust: {additionalTrustedCAs: [{caCert: {secretRef: {name: s, key: k}}}]}}}`,
			want: []tkg.ClassTrust{{Way: tkg.WayOSConfiguration, Path: list + ".trust.additionalTrustedCAs[0].caCert.secretRef", Secret: "s", Key: "k", Layers: 2}},
		},
		"inline": {
			reason: "plain PEM", variables: `{name: osConfiguration, value: {trust: {additionalTrustedCAs: [{caCert: {content: PEM}}]}}}`,
			want: []tkg.ClassTrust{{Way: tkg.WayOSConfiguration, Path: list + ".trust.additionalTrustedCAs[0].caCert.content", Data: "PEM"}},
		},
		"standalone": {
			reason: "name and data, encoded once", variables: `{name: trust, value: {additionalTrustedCAs: [{name: proxy, data: LS0t}]}}`,
			want: []tkg.ClassTrust{{Way: tkg.WayTrust, Path: list + ".additionalTrustedCAs[0].data", Key: "proxy", Data: "LS0t", Layers: 1}},
		},
		"none":               {reason: "no trust at all", variables: `{name: storageClass, value: gold}`},
		"no trust in it":     {reason: "osConfiguration is for other things too", variables: `{name: osConfiguration, value: {ntp: {servers: []}}}`},
		"value is no object": {reason: "hostile", variables: `{name: trust, value: 3}`},
		"no list":            {reason: "hostile", variables: `{name: trust, value: {additionalTrustedCAs: x}}`, err: list + ".additionalTrustedCAs: it is no list"},
		"empty entry":        {reason: "half-written", variables: `{name: trust, value: {additionalTrustedCAs: [{}]}}`, err: "additionalTrustedCAs[0]"},
		"half a reference":   {reason: "half-written", variables: `{name: osConfiguration, value: {trust: {additionalTrustedCAs: [{caCert: {secretRef: {name: s}}}]}}}`, err: "additionalTrustedCAs[0].caCert"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster := &unstructured.Unstructured{}
			text := "metadata: {name: dev2}\nspec: {topology: {variables: [{name: vmClass, value: small}, " + c.variables + "]}}"
			if err := yaml.Unmarshal([]byte(text), &cluster.Object); err != nil {
				t.Fatal(err)
			}
			got, err := tkg.ClusterClassTrust(cluster)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", c.reason, diff)
			}
			if (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: error %v, want %q", c.reason, err, c.err)
			}
		})
	}
	if got, err := tkg.ClusterClassTrust(&unstructured.Unstructured{Object: map[string]any{}}); got != nil || err != nil {
		t.Errorf("an empty object: %v, %v", got, err)
	}
}
