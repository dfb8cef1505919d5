package recreate

import (
	"crypto/x509"
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

const trustName = "dev1-user-trusted-ca-secret"

// secretOf is a Secret with what kubectl would show under each key.
func secretOf(name string, data map[string]string) *unstructured.Unstructured {
	out := tkg.NewTrustSecret("team-a", name, "x", "")
	values := map[string]any{}
	for k, v := range data {
		values[k] = v
	}
	out.Object["data"] = values
	out.SetUID("s1")
	return out
}

func classCluster(t *testing.T, variables string) *unstructured.Unstructured {
	t.Helper()
	return object(t, `{apiVersion: cluster.x-k8s.io/v1beta1, kind: Cluster, metadata: {name: dev1, namespace: team-a}, spec: {topology: {class: tanzukubernetescluster, variables: `+variables+`}}}`)
}

const namesTwo = `[{name: trust, value: {additionalTrustedCAs: [{name: old-ca}, {name: other}]}}]`

// TestSave takes the CAs of a cluster of the class tanzukubernetescluster through all that is made of them: the Secret as it is made again, and the
// manifest that names its keys.
func TestSave(t *testing.T) {
	t.Parallel()
	root, old, other := makeCA(t, "root"), makeCA(t, "root"), makeCA(t, "other")
	double := func(c *x509.Certificate) string { return tkg.SecretValue([]*x509.Certificate{c}) }
	single := func(c *x509.Certificate) string { return tkg.Encode(certs.Normalize([]*x509.Certificate{c}), 1) }
	key := tkg.Encode([]byte("-----BEGIN PRIVATE KEY-----\naHVudGVyMg==\n-----END PRIVATE KEY-----\n"), 2)
	fresh := "root-2024"
	for name, tc := range map[string]struct {
		reason    string
		secret    map[string]string // nil: there is none
		variables string
		data      map[string]string
		names     []string
		lost      []string
		blocks    string
	}{
		"replaced": {
			reason: "the old CA of the same subject gives way, under a new key, and the other stays byte for byte",
			secret: map[string]string{"old-ca": double(old), "other": double(other)}, variables: namesTwo,
			data: map[string]string{fresh: double(root), "other": double(other)}, names: []string{fresh, "other"},
		},
		"none yet": {reason: "a cluster without any trust gets a Secret and a variable", variables: `[]`, data: map[string]string{fresh: double(root)}, names: []string{fresh}},
		"mended": {
			reason: "what was encoded once is made again as the nodes want it", secret: map[string]string{"other": single(other)},
			variables: `[{name: trust, value: {additionalTrustedCAs: [{name: other}]}}]`,
			data:      map[string]string{"other": double(other), fresh: double(root)}, names: []string{"other", fresh},
		},
		"wedged": {
			reason: "the candidate encoded once, which no node can use, is declared under a new key", secret: map[string]string{"ca": single(root)},
			variables: `[{name: trust, value: {additionalTrustedCAs: [{name: ca}]}}]`, data: map[string]string{fresh: double(root)}, names: []string{fresh},
		},
		"there": {
			reason: "what is there rightly is saved and nothing is added", secret: map[string]string{"ca": double(root)},
			variables: `[{name: trust, value: {additionalTrustedCAs: [{name: ca}]}}]`, data: map[string]string{"ca": double(root)}, names: []string{"ca"},
		},
		"unnamed": {
			reason: "a certificate that nothing names is saved too; what is none is named as lost",
			secret: map[string]string{"spare": double(other), "note": base64.StdEncoding.EncodeToString([]byte("hello"))}, variables: `[]`,
			data: map[string]string{"spare": double(other), fresh: double(root)}, names: []string{fresh}, lost: []string{"note"},
		},
		"private key": {
			reason: "a private key must not get into a plan", secret: map[string]string{"other": double(other), "key": key}, variables: `[]`,
			data: map[string]string{"other": double(other), fresh: double(root)}, names: []string{fresh}, blocks: "the key key of Secret " + trustName + " holds a private key",
		},
		"missing": {
			reason: "a name without a key keeps the new nodes from joining", secret: map[string]string{}, variables: `[{name: trust, value: {additionalTrustedCAs: [{name: gone}]}}]`,
			data: map[string]string{fresh: double(root)}, names: []string{fresh},
		},
		"garbage": {
			reason: "what is no certificate too", secret: map[string]string{"other": double(other), "junk": base64.StdEncoding.EncodeToString([]byte("hello"))},
			variables: `[{name: trust, value: {additionalTrustedCAs: [{name: other}, {name: junk}]}}]`,
			data:      map[string]string{"other": double(other), fresh: double(root)}, names: []string{"other", "junk", fresh}, blocks: "the key junk of Secret " + trustName + ", which the cluster trusts, holds no certificate",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			manifest := classCluster(t, tc.variables)
			s := &trustSecret{name: trustName, goes: true, data: map[string]string{}}
			if tc.secret != nil {
				s.live = secretOf(trustName, tc.secret)
			}
			all := map[string]*trustSecret{trustName: s}
			before := tkg.TrustRefs(manifest)
			d, err := declare(manifest, tkg.WayTrust, all, []*x509.Certificate{root})
			if err != nil {
				t.Fatal(err)
			}
			after := tkg.TrustRefs(d.manifest)
			said := reasons(t, save(all, before, after))
			if diff := cmp.Diff(tc.data, s.data); diff != "" {
				t.Errorf("%s: saved (-want, +got):\n%s", tc.reason, diff)
			}
			var names []string
			for _, e := range trustEntries(t, d.manifest) {
				names = append(names, e)
			}
			if diff := cmp.Diff(tc.names, names); diff != "" {
				t.Errorf("%s: named (-want, +got):\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(tc.lost, s.lost); diff != "" {
				t.Errorf("%s: lost (-want, +got):\n%s", tc.reason, diff)
			}
			if tc.blocks == "" && said != "" || !strings.Contains(said, tc.blocks) {
				t.Errorf("%s: blocks %q, want %q", tc.reason, said, tc.blocks)
			}
			change, ok, err := s.change(tkg.Ref{Namespace: "team-a", Name: "dev1"})
			if err != nil || !ok {
				t.Fatal(ok, err)
			}
			if text := string(change.After) + change.Reason + said; strings.Contains(text, "aHVudGVyMg") || strings.Contains(text, key) || strings.Contains(string(change.After), "ownerReferences") {
				t.Errorf("%s: the plan holds a private key, or an owner: %s", tc.reason, text)
			}
		})
	}
}

func trustEntries(t *testing.T, cluster *unstructured.Unstructured) []string {
	t.Helper()
	part, err := tkg.TrustPart(cluster, tkg.WayTrust)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range part.Entries() {
		out = append(out, e.(map[string]any)["name"].(string))
	}
	return out
}

// A Secret of any name that no cluster owns outlives it, and others may name it: nothing of it is touched but one key more.
func TestSaveLeavesWhatStays(t *testing.T) {
	t.Parallel()
	root, other := makeCA(t, "root"), makeCA(t, "other")
	manifest := object(t, `{apiVersion: cluster.x-k8s.io/v1beta2, kind: Cluster, metadata: {name: dev1, namespace: team-a}, spec: {topology: {classRef: {name: builtin-generic-v3.6.0}, variables: [`+
		`{name: osConfiguration, value: {ntp: {servers: [a]}, trust: {additionalTrustedCAs: [{caCert: {secretRef: {name: shared, key: other}}}]}}}]}}}`)
	shared := &trustSecret{name: "shared", live: secretOf("shared", map[string]string{"other": tkg.SecretValue([]*x509.Certificate{other}), "theirs": "aHVudGVyMg=="}), data: map[string]string{}}
	all := map[string]*trustSecret{"shared": shared, trustName: {name: trustName, goes: true, data: map[string]string{}}}
	before := tkg.TrustRefs(manifest)
	d, err := declare(manifest, tkg.WayOSConfiguration, all, []*x509.Certificate{root})
	if err != nil {
		t.Fatal(err)
	}
	if said := reasons(t, save(all, before, tkg.TrustRefs(d.manifest))); said != "" {
		t.Errorf("blocked: %s", said)
	}
	if _, ok, _ := shared.change(tkg.Ref{Namespace: "team-a", Name: "dev1"}); ok {
		t.Error("a Secret that stays is changed")
	}
	want := []tkg.SecretRef{{Secret: trustName, Key: "root-2024"}, {Secret: "shared", Key: "other"}}
	if diff := cmp.Diff(want, tkg.TrustRefs(d.manifest)); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
	if servers, _, _ := unstructured.NestedSlice(d.manifest.Object, "spec", "topology", "variables"); !strings.Contains(strings.Join(strings.Fields(toText(t, servers)), ""), `"ntp":{"servers":["a"]}`) {
		t.Errorf("the variable lost what it held: %v", servers)
	}
	// If its encoding is wrong, nothing of another's is mended in silence.
	shared.live = secretOf("shared", map[string]string{"other": tkg.Encode(certs.Normalize([]*x509.Certificate{other}), 1)})
	if said := reasons(t, save(all, before, tkg.TrustRefs(d.manifest))); !strings.Contains(said, "is encoded wrongly, and the Secret outlives the cluster") {
		t.Errorf("not blocked: %q", said)
	}
}

func toText(t *testing.T, v any) string {
	t.Helper()
	raw, err := document(&unstructured.Unstructured{Object: map[string]any{"v": v}})
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestDeclareInATKC(t *testing.T) {
	t.Parallel()
	root := makeCA(t, "root")
	d, err := declare(object(t, manifestText), tkg.WayTKC, map[string]*trustSecret{}, []*x509.Certificate{root})
	if err != nil {
		t.Fatal(err)
	}
	got, err := tkg.ClusterTrust(d.manifest)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]tkg.TrustEntry{{Name: "root-2024", Data: tkg.Encode(certs.Normalize([]*x509.Certificate{root}), 1)}}, got); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
	again, err := declare(d.manifest, tkg.WayTKC, map[string]*trustSecret{}, []*x509.Certificate{root})
	if err != nil || !strings.Contains(again.text, "already") || !cmp.Equal(d.manifest.Object, again.manifest.Object) {
		t.Errorf("declaring twice changes more: %s, %v", again.text, err)
	}
}

func TestDeclareWithoutAWay(t *testing.T) {
	t.Parallel()
	d, err := declare(classCluster(t, `[]`), tkg.WayNone, nil, []*x509.Certificate{makeCA(t, "root")})
	if err != nil || !strings.Contains(reasons(t, d.blocks), "no variable for trusted CAs") {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestDeclareSeesPoolsOfTheirOwn(t *testing.T) {
	t.Parallel()
	manifest := classCluster(t, `[]`)
	_ = unstructured.SetNestedSlice(manifest.Object, []any{map[string]any{"name": "np1", "variables": map[string]any{"overrides": []any{
		map[string]any{"name": "trust", "value": map[string]any{"additionalTrustedCAs": []any{map[string]any{"name": "own"}}}},
	}}}}, "spec", "topology", "workers", "machineDeployments")
	all := map[string]*trustSecret{trustName: {name: trustName, goes: true, data: map[string]string{}}}
	d, err := declare(manifest, tkg.WayTrust, all, []*x509.Certificate{makeCA(t, "root")})
	if err != nil || !strings.Contains(reasons(t, d.blocks), "np1") {
		t.Errorf("a pool that would not get the candidate is not told: %+v, %v", d.blocks, err)
	}
	if refs := tkg.TrustRefs(manifest); !slices.Contains(refs, tkg.SecretRef{Secret: trustName, Key: "own"}) {
		t.Errorf("what a pool names is not saved: %v", refs)
	}
}

func TestSecretSeen(t *testing.T) {
	t.Parallel()
	want := secretOf(trustName, map[string]string{"a": "YQ==", "b": "Yg=="})
	for name, tc := range map[string]struct {
		reason string
		live   map[string]string
		saved  string
		state  sdk.State
	}{
		"absent":   {reason: "nothing was made", state: sdk.No},
		"there":    {reason: "all is there, and more", live: map[string]string{"a": "YQ==", "b": "Yg==", "c": "x"}, state: sdk.Yes},
		"half":     {reason: "a key is missing", live: map[string]string{"a": "YQ=="}, state: sdk.No},
		"other":    {reason: "somebody put something else there", live: map[string]string{"a": "YQ==", "b": "ZZZ="}, state: sdk.Unknowable},
		"survived": {reason: "the saved one outlived its cluster, and is mended", live: map[string]string{"a": "YQ==", "b": "ZZZ="}, saved: "s1", state: sdk.No},
	} {
		var live *unstructured.Unstructured
		if tc.live != nil {
			live = secretOf(trustName, tc.live)
		}
		got := secretSeen(live, want, "")
		if tc.saved != "" {
			got = secretSeen(live, want, "s1")
		}
		if got.State != tc.state || got.Note == "" || strings.Contains(got.Note, "ZZZ=") {
			t.Errorf("%s: %s: %v %q, want %v", name, tc.reason, got.State, got.Note, tc.state)
		}
	}
}

func TestIsAddonOf(t *testing.T) {
	t.Parallel()
	addon := func(kind, name, spec string) *unstructured.Unstructured {
		return object(t, `{apiVersion: addons.kubernetes.vmware.com/v1alpha1, kind: `+kind+`, metadata: {name: `+name+`, namespace: team-a}, spec: {`+spec+`}}`)
	}
	selects := func(names ...string) string {
		var out []string
		for _, n := range names {
			out = append(out, `{selector: {matchLabels: {cluster.x-k8s.io/cluster-name: `+n+`}}}`)
		}
		return `clusters: [` + strings.Join(out, ", ") + `]`
	}
	others := []string{"dev-a", "prod"}
	for name, tc := range map[string]struct {
		reason string
		obj    *unstructured.Unstructured
		want   bool
	}{
		"config":           {"called after the cluster and the add-on", addon("AddonConfig", "dev-istio", ""), true},
		"config of dev-a":  {"a longer name of a cluster that there is", addon("AddonConfig", "dev-a-istio", ""), false},
		"config of others": {"another cluster's", addon("AddonConfig", "prod-istio", ""), false},
		"install":          {"its label chooses this cluster", addon("AddonInstall", "whatever", selects("dev")), true},
		"install for two":  {"what another cluster needs too stays", addon("AddonInstall", "both", selects("dev", "prod")), false},
		"install for all":  {"a selector that names no cluster", addon("AddonInstall", "all", `clusters: [{selector: {}}]`), false},
		"install for none": {"nor one without any", addon("AddonInstall", "dev-x", ""), false},
	} {
		if got := isAddonOf(tc.obj, "dev", others); got != tc.want {
			t.Errorf("%s: %s: got %v", name, tc.reason, got)
		}
	}
}
