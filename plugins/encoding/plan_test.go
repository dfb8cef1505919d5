package encoding

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/kube/kubetest"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

func clusterOf(variables string) string {
	return "{apiVersion: cluster.x-k8s.io/v1beta1, kind: Cluster, metadata: {name: dev2, namespace: team-a}, spec: {topology: {class: tanzukubernetescluster, variables: [" + variables + "]}}}"
}

func tscOf(list string) string {
	return "{apiVersion: run.tanzu.vmware.com/v1alpha3, kind: TkgServiceConfiguration, metadata: {name: tkg-service-configuration}, spec: {trust: {additionalTrustedCAs: [" + list + "]}}}"
}

func secretOf(name, key, value string) string {
	return fmt.Sprintf("{apiVersion: v1, kind: Secret, metadata: {name: %s, namespace: team-a}, data: {%s: %q}}", name, key, value)
}

// plan runs the step for a cluster.
func plan(t *testing.T, server kubetest.Server, cluster string) (plugins.PlanResponse, output) {
	t.Helper()
	server.Kinds = append(server.Kinds, "v1/Secret", "cluster.x-k8s.io/v1beta1/Cluster", "cluster.x-k8s.io/v1beta1/ClusterClass")
	conn := server.Start(t)
	resp, err := New(sdk.Env{}).Plan(t.Context(), plugins.PlanRequest{
		Input: json.RawMessage(`{"cluster": "` + cluster + `"}`), Connections: plugins.Connections{Supervisor: &conn},
	})
	if err != nil {
		t.Fatal(err)
	}
	var out output
	if err := json.Unmarshal(resp.Outputs, &out); err != nil {
		t.Fatalf("%v: %s", err, resp.Outputs)
	}
	return resp, out
}

// A Cluster with a class keeps its CAs in Secrets, which want base64 twice.
func TestClassCluster(t *testing.T) {
	t.Parallel()
	ca, key := newCA(t, "Corp Root CA")
	const (
		trust = "{name: trust, value: {additionalTrustedCAs: [{name: corp}]}}"
		where = "Secret team-a/dev2-user-trusted-ca-secret"
	)
	own := func(value string) string { return secretOf("dev2-user-trusted-ca-secret", "corp", value) }
	cases := map[string]struct {
		reason    string
		variables string
		secret    string
		forbidden string
		ids       []string
		corrected string
		where     string
		path      string
		warning   string
	}{
		"right": {
			reason: "twice", variables: trust, secret: own(tkg.Encode(ca, 2)), ids: []string{},
			where: where, path: "data.corp",
		},
		"once": {
			reason: "kubectl create secret --from-file", variables: trust, secret: own(tkg.Encode(ca, 1)),
			ids: []string{"too-few-layers"}, corrected: tkg.Encode(ca, 2), where: where, path: "data.corp", warning: "1 layer of base64, this place wants 2",
		},
		"three times": {
			reason: "base64 by hand, and again by stringData of a value that was right", variables: trust,
			secret: own(tkg.Encode(ca, 3)), ids: []string{"too-many-layers"}, corrected: tkg.Encode(ca, 2), where: where, path: "data.corp",
			warning: "3 layers",
		},
		"private key": {
			reason: "the alarm, and not a byte of it", variables: trust, secret: own(tkg.Encode(key, 2)),
			ids: []string{"private-key"}, where: where, path: "data.corp", warning: "ake it for leaked",
		},
		"no such key":    {reason: "names and keys differ", variables: trust, secret: secretOf("dev2-user-trusted-ca-secret", "other", tkg.Encode(ca, 2)), ids: []string{"no-key"}, where: where, path: "data.corp", warning: "no such key"},
		"no such Secret": {reason: "in another namespace, or of another cluster's name", variables: trust, ids: []string{"no-secret"}, where: where, path: "data.corp", warning: "does not exist"},
		"forbidden":      {reason: "not judged, and said", variables: trust, secret: own("x"), forbidden: "secrets", ids: []string{"unread"}, where: where, path: "data.corp", warning: "may not be read"},
		"any Secret": {
			reason: "builtin-generic", variables: "{name: osConfiguration, value: {trust: {additionalTrustedCAs: [{caCert: {secretRef: {name: mine, key: k}}}]}}}",
			secret: secretOf("mine", "k", tkg.Encode(ca, 2)), ids: []string{}, where: "Secret team-a/mine", path: "data.k",
		},
		"name with a path": {
			reason: "no Secret is called so", variables: `{name: osConfiguration, value: {trust: {additionalTrustedCAs: [{caCert: {secretRef: {name: "../../x\n", key: k}}}]}}}`,
			ids: []string{"no-secret"}, where: "Secret team-a/../../x", path: "data.k", warning: "does not exist",
		},
		"inline": {
			reason: "plain PEM", variables: "{name: osConfiguration, value: {trust: {additionalTrustedCAs: [{caCert: {content: " + tkg.Encode(ca, 1) + "}}]}}}",
			ids: []string{"too-many-layers"}, corrected: string(ca), where: "Cluster team-a/dev2",
			path: "spec.topology.variables[0].value.trust.additionalTrustedCAs[0].caCert.content", warning: "wants plain PEM",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := kubetest.Server{Objects: []string{clusterOf(c.variables)}, Forbidden: []string{c.forbidden}}
			if c.secret != "" {
				server.Objects = append(server.Objects, c.secret)
			}
			resp, out := plan(t, server, "team-a/dev2")
			if len(out.Entries) != 1 {
				t.Fatalf("%s: %s", c.reason, resp.Outputs)
			}
			e := out.Entries[0]
			ids := []string{}
			for _, f := range e.Findings {
				ids = append(ids, f.ID)
			}
			if diff := cmp.Diff([]any{c.ids, c.corrected, c.where, c.path}, []any{ids, e.Corrected, e.Where, e.Path}); diff != "" {
				t.Errorf("%s: forms, corrected value, place (-want, +got):\n%s", c.reason, diff)
			}
			warnings := strings.Join(resp.Warnings, "\n")
			if !strings.Contains(warnings, c.warning) {
				t.Errorf("%s: warnings %q, want %q", c.reason, warnings, c.warning)
			}
			all, err := json.Marshal(resp)
			if err != nil || strings.Contains(string(all), strings.Split(string(key), "\n")[1]) || strings.Contains(warnings, "\x1b") {
				t.Errorf("%s: the private key shows; %v", c.reason, err)
			}
		})
	}
}

// TkgServiceConfiguration is judged where the cluster gets it, shown where the sources differ on that, and left out where it may not be read.
func TestService(t *testing.T) {
	t.Parallel()
	ca, key := newCA(t, "Corp Root CA")
	const tkc = "{apiVersion: run.tanzu.vmware.com/v1alpha3, kind: TanzuKubernetesCluster, metadata: {name: dev2, namespace: team-a}, spec: {settings: {network: {trust: {additionalTrustedCAs: [%s]}}}}}"
	entry := func(value string) string { return fmt.Sprintf("{name: corp, data: %q}", value) }
	generic := clusterOf("{name: osConfiguration, value: {trust: {additionalTrustedCAs: []}}}")
	cases := map[string]struct {
		reason  string
		objects []string
		forbid  string
		ok      bool
		entries int
		verdict plugins.Verdict // of the first evidence
		text    string          // part of the first evidence
		warning string
	}{
		"of a TKC": {
			reason: "it gets both", objects: []string{fmt.Sprintf(tkc, entry(tkg.Encode(ca, 1))), tscOf(entry(tkg.Encode(ca, 2)))}, entries: 2, verdict: plugins.Bad, text: "2 layers of base64, this place wants 1",
			warning: "TkgServiceConfiguration tkg-service-configuration, entry \"corp\"",
		},
		"twice in a TKC": {
			reason: "as old copies of the vendor's page ask", objects: []string{fmt.Sprintf(tkc, entry(tkg.Encode(ca, 2))), tscOf("")}, entries: 1, verdict: plugins.Bad, text: "old copies of the vendor's page",
		},
		"of an editor": {
			reason: "a note in place of a failure", objects: []string{fmt.Sprintf(tkc, entry(tkg.Encode(ca, 1))), tscOf("")}, forbid: "tkgserviceconfigurations", ok: true, entries: 1, verdict: plugins.OK,
			warning: "you may not read TkgServiceConfiguration",
		},
		"of a class": {
			reason: "both sources are shown, and it is no fault of the cluster's", objects: []string{generic, tscOf(entry(tkg.Encode(ca, 2)))}, ok: true, verdict: plugins.Info, text: "2 layers of base64, this place wants 1",
			warning: "which are shown and do not count: the sources differ",
		},
		"a key, of a class": {
			reason: "a key that leaked leaked", objects: []string{generic, tscOf(entry(tkg.Encode(key, 1)))}, ok: true, verdict: plugins.Bad, text: "ake it for leaked", warning: "do not count",
		},
		"of an editor, of a class": {
			reason: "the same", objects: []string{generic, tscOf("")}, forbid: "tkgserviceconfigurations", ok: true, warning: "you may not read TkgServiceConfiguration",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			resp, out := plan(t, kubetest.Server{Objects: c.objects, Forbidden: []string{c.forbid}}, "team-a/dev2")
			if out.OK != c.ok || len(out.Entries) != c.entries {
				t.Errorf("%s: ok %v, %d entries: %s", c.reason, out.OK, len(out.Entries), resp.Outputs)
			}
			var first plugins.Evidence
			if len(resp.Evidence) > 0 {
				first = resp.Evidence[0]
			}
			if first.Verdict != c.verdict || !strings.Contains(first.Text, c.text) {
				t.Errorf("%s: want %s with %q, got %+v", c.reason, c.verdict, c.text, first)
			}
			if warnings := strings.Join(resp.Warnings, "\n"); !strings.Contains(warnings, c.warning) {
				t.Errorf("%s: warnings %q, want %q", c.reason, warnings, c.warning)
			}
		})
	}
}
