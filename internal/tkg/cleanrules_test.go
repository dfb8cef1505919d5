package tkg

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tkgfix/tkgfix/plugins"
)

// bases are manifests from which nothing is taken out, one of each shape.
var bases = map[string]string{
	"v1alpha1": "apiVersion: run.tanzu.vmware.com/v1alpha1\nkind: TanzuKubernetesCluster\nmetadata: {name: dev1, namespace: team-a}\n" +
		"spec: {distribution: {version: v1.20}, topology: {controlPlane: {count: 1}, workers: {count: 2}}}",
	"v1alpha3": "apiVersion: run.tanzu.vmware.com/v1alpha3\nkind: TanzuKubernetesCluster\nmetadata: {name: dev1, namespace: team-a}\n" +
		"spec: {topology: {controlPlane: {replicas: 1, tkr: {reference: {name: v1.26.5---vmware.2}}}, nodePools: [{name: np1, replicas: 3}]}}",
	"tanzukubernetescluster": "apiVersion: cluster.x-k8s.io/v1beta1\nkind: Cluster\nmetadata: {name: dev1, namespace: team-a}\n" +
		"spec: {topology: {class: tanzukubernetescluster, version: v1.28.8, variables: [{name: vmClass, value: small}, {name: trust, value: {additionalTrustedCAs: [{name: ca}]}}]}}",
	"builtin-generic-v1beta1": "apiVersion: cluster.x-k8s.io/v1beta1\nkind: Cluster\nmetadata: {name: dev1, namespace: team-a}\n" +
		"spec: {topology: {class: builtin-generic-v3.3.0, version: v1.32.0, variables: [{name: vmClass, value: small}]}}",
	"builtin-generic-v1beta2": "apiVersion: cluster.x-k8s.io/v1beta2\nkind: Cluster\nmetadata: {name: dev1, namespace: team-a}\n" +
		"spec: {topology: {classRef: {name: builtin-generic-v3.6.0}, version: v1.34.2, variables: [{name: osConfiguration, value: {ntp: {servers: [a]}, user: {user: u, passwordSecret: {name: p, key: k}}}}]}}",
}

// TestEachStripRule takes each rule of tkg-facts.md §4 ("Strip before re-apply") by itself: what it puts into a manifest must be what is
// taken out, and nothing else.
func TestEachStripRule(t *testing.T) {
	t.Parallel()
	variable := func(name string, value any) func(*unstructured.Unstructured) {
		return func(u *unstructured.Unstructured) {
			list, _, _ := unstructured.NestedSlice(u.Object, "spec", "topology", "variables")
			_ = unstructured.SetNestedSlice(u.Object, append(list, map[string]any{"name": name, "value": value}), "spec", "topology", "variables")
		}
	}
	field := func(value any, path ...string) func(*unstructured.Unstructured) {
		return func(u *unstructured.Unstructured) { _ = unstructured.SetNestedField(u.Object, value, path...) }
	}
	annotation := func(key, value string) func(*unstructured.Unstructured) {
		return field(map[string]any{key: value}, "metadata", "annotations")
	}
	both := func(a, b func(*unstructured.Unstructured)) func(*unstructured.Unstructured) {
		return func(u *unstructured.Unstructured) { a(u); b(u) }
	}
	live := field("u1", "metadata", "uid")
	every := []string{"v1alpha1", "v1alpha3", "tanzukubernetescluster", "builtin-generic-v1beta1", "builtin-generic-v1beta2"}
	class := every[2:]
	old := []string{"tanzukubernetescluster"}
	for name, tc := range map[string]struct {
		reason  string
		in      []string
		put     func(*unstructured.Unstructured)
		removed []string
	}{
		"status":                     {"the server writes it", every, field(map[string]any{"phase": "Provisioned"}, "status"), []string{"status"}},
		"uid":                        {"the server gives it", every, live, []string{"metadata.uid"}},
		"resourceVersion":            {"a create with one is refused", every, field("7", "metadata", "resourceVersion"), []string{"metadata.resourceVersion"}},
		"generation":                 {"the server counts", every, field(int64(3), "metadata", "generation"), []string{"metadata.generation"}},
		"creationTimestamp":          {"the old cluster's birthday", every, field("2026-01-01T00:00:00Z", "metadata", "creationTimestamp"), []string{"metadata.creationTimestamp"}},
		"deletionTimestamp":          {"a copy of a cluster that goes", every, field("2026-01-01T00:00:00Z", "metadata", "deletionTimestamp"), []string{"metadata.deletionTimestamp"}},
		"deletionGracePeriodSeconds": {"beside it", every, field(int64(0), "metadata", "deletionGracePeriodSeconds"), []string{"metadata.deletionGracePeriodSeconds"}},
		"selfLink":                   {"old servers wrote it", every, field("/x", "metadata", "selfLink"), []string{"metadata.selfLink"}},
		"managedFields":              {"the server's bookkeeping", every, field([]any{map[string]any{"manager": "m"}}, "metadata", "managedFields"), []string{"metadata.managedFields"}},
		"finalizers":                 {"controllers put their own", every, field([]any{"tkg.tanzu.vmware.com/addon"}, "metadata", "finalizers"), []string{"metadata.finalizers"}},
		"ownerReferences":            {"to what is gone: the garbage collector would take the new one", every, field([]any{map[string]any{"uid": "x"}}, "metadata", "ownerReferences"), []string{"metadata.ownerReferences"}},
		"last-applied":               {"kubectl's copy of an older manifest, with the old CA", every, annotation("kubectl.kubernetes.io/last-applied-configuration", "{}"), []string{"metadata.annotations[kubectl.kubernetes.io/last-applied-configuration]"}},
		"tkg- annotations":           {"the controller's proxy settings bring the old CA back", every, annotation("tkg.tanzu.vmware.com/tkg-proxy-ca-cert", "LS0t"), []string{"metadata.annotations[tkg.tanzu.vmware.com/tkg-proxy-ca-cert]"}},
		"tkgfix's own":               {"the run that made the old one", every, annotation("tkgfix.dev/run", "r1"), []string{"metadata.annotations[tkgfix.dev/run]"}},
		"paused annotation":          {"a new cluster that is paused never comes up", every, annotation("cluster.x-k8s.io/paused", ""), []string{"metadata.annotations[cluster.x-k8s.io/paused]"}},
		"paused":                     {"the same as a field", every, field(true, "spec", "paused"), []string{"spec.paused"}},
		"controlPlaneEndpoint":       {"the old address", every, field(map[string]any{"host": "10.0.0.10"}, "spec", "controlPlaneEndpoint"), []string{"spec.controlPlaneEndpoint"}},
		"infrastructureRef":          {"an object that is gone", every, field(map[string]any{"name": "x"}, "spec", "infrastructureRef"), []string{"spec.infrastructureRef"}},
		"controlPlaneRef":            {"an object that is gone", every, field(map[string]any{"name": "x"}, "spec", "controlPlaneRef"), []string{"spec.controlPlaneRef"}},
		"empty versions": {
			"the type of v1alpha2 writes them for want of omitempty", []string{"v1alpha3"},
			field(map[string]any{"fullVersion": "", "version": ""}, "spec", "distribution"), []string{"spec.distribution.fullVersion", "spec.distribution.version"},
		},
		"TKR_DATA": {"the resolver's webhook puts the release's data in", class, variable("TKR_DATA", map[string]any{"v1": "x"}), []string{"spec.topology.variables[name=TKR_DATA]"}},
		"user": {
			"a webhook points to the old cluster's Secret", old, both(live, variable("user", map[string]any{"sshAuthorizedKey": "ssh-rsa A", "passwordSecret": map[string]any{"name": "dev1-ssh-password-hashed", "key": "k"}})),
			[]string{"metadata.uid", "spec.topology.variables[name=user]"},
		},
		"extensionCert": {
			"the same of the add-ons' certificate", old, both(live, variable("extensionCert", map[string]any{"contentSecret": map[string]any{"name": "dev1-extensions-ca", "key": "tls.crt"}})),
			[]string{"metadata.uid", "spec.topology.variables[name=extensionCert]"},
		},
		"encryption": {
			"the encryption of the old etcd, with its key", old, both(live, variable("clusterEncryptionConfigYaml", "LS0tCg==")),
			[]string{"metadata.uid", "spec.topology.variables[name=clusterEncryptionConfigYaml]"},
		},
	} {
		for _, base := range tc.in {
			t.Run(name+"/"+base, func(t *testing.T) {
				t.Parallel()
				want := object(t, bases[base])
				dirty := want.DeepCopy()
				tc.put(dirty)
				if cmp.Equal(want.Object, dirty.Object) {
					t.Fatal("the case puts nothing in")
				}
				got, removed, err := CleanManifest(dirty)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want.Object, got.Object); diff != "" {
					t.Errorf("%s: cleaned (-want, +got):\n%s", tc.reason, diff)
				}
				if diff := cmp.Diff(tc.removed, removed); diff != "" {
					t.Errorf("%s: removed (-want, +got):\n%s", tc.reason, diff)
				}
			})
		}
	}
}

// What looks like one of the rules and is the user's own must stay.
func TestStripRulesKeep(t *testing.T) {
	t.Parallel()
	with := func(base, name string, value any) *unstructured.Unstructured {
		u := object(t, bases[base])
		list, _, _ := unstructured.NestedSlice(u.Object, "spec", "topology", "variables")
		_ = unstructured.SetNestedSlice(u.Object, append(list, map[string]any{"name": name, "value": value}), "spec", "topology", "variables")
		return u
	}
	theirs := map[string]any{"passwordSecret": map[string]any{"name": "our-login", "key": "k"}}
	live := with("tanzukubernetescluster", "user", theirs)
	live.SetUID("u1")
	annotated := object(t, bases["v1alpha3"])
	annotated.SetAnnotations(map[string]string{"run.tanzu.vmware.com/resolve-os-image": "os-name=ubuntu", "tkg.tanzu.vmware.com/other": "x"})
	for name, tc := range map[string]struct {
		reason string
		in     *unstructured.Unstructured
	}{
		"a login of their own": {"a person chose that Secret, and it does not go with the cluster", live},
		"in a file":            {"a person wrote it", with("tanzukubernetescluster", "user", map[string]any{"passwordSecret": map[string]any{"name": "dev1-login", "key": "k"}})},
		"in another class":     {"only tanzukubernetescluster has that variable from a webhook", with("builtin-generic-v1beta1", "user", theirs)},
		"annotations":          {"the choice of the system is part of what was asked for", annotated},
	} {
		want := tc.in.DeepCopy()
		want.SetUID("")
		got, _, err := CleanManifest(tc.in)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(want.Object, got.Object); diff != "" {
			t.Errorf("%s: %s (-want, +got):\n%s", name, tc.reason, diff)
		}
	}
}

func TestCleanRefusesVariablesWithCredentials(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		reason, variables string
		where             string
	}{
		"proxy":      {"a proxy's password", `[{name: proxy, value: {httpProxy: "http://u:hunter2@p:3128"}}]`, "variables[0].value.httpProxy"},
		"encryption": {"a file of the user's may hold etcd's key", `[{name: clusterEncryptionConfigYaml, value: hunter2}]`, "variables[0].value"},
		"password":   {"a field of that name", `[{name: a, value: b}, {name: osConfiguration, value: {directoryJoin: {password: hunter2}}}]`, "variables[1].value.directoryJoin.password"},
		"token":      {"a field of that name", `[{name: osConfiguration, value: {ubuntuPro: {token: hunter2}}}]`, "variables[0].value.ubuntuPro.token"},
		"key":        {"a private key, wherever", `[{name: x, value: {list: ["LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0tCmh1bnRlcjIK"]}}]`, "variables[0].value.list[0]"},
		"a Secret":   {"a reference to a Secret holds nothing", `[{name: osConfiguration, value: {user: {passwordSecret: {name: s, key: ssh-passwordkey}, password: {renewalDaysBeforeExpiry: 3}}}}]`, ""},
	} {
		text := "apiVersion: cluster.x-k8s.io/v1beta1\nkind: Cluster\nmetadata: {name: dev1, namespace: team-a}\nspec: {topology: {class: tanzukubernetescluster, variables: " + tc.variables + "}}"
		_, _, err := CleanManifest(object(t, text))
		switch {
		case tc.where == "" && err != nil:
			t.Errorf("%s: %s: %v", name, tc.reason, err)
		case tc.where != "" && (err == nil || !strings.Contains(err.Error(), tc.where) || strings.Contains(err.Error(), "hunter2") || plugins.HintOf(err) == ""):
			t.Errorf("%s: %s: want a refusal that names %s and not the credential, got %v", name, tc.reason, tc.where, err)
		}
	}
}

func TestReleases(t *testing.T) {
	t.Parallel()
	manifests := map[string]string{
		"full":    "kind: TanzuKubernetesCluster\nspec: {distribution: {fullVersion: v1.20.2+vmware.1-tkg.1, version: v1.20}}",
		"line":    "kind: TanzuKubernetesCluster\nspec: {distribution: {version: v1.20}}",
		"pools":   "kind: TanzuKubernetesCluster\nspec: {topology: {controlPlane: {tkr: {reference: {name: v1.26.5---vmware.2}}}, nodePools: [{name: a}, {tkr: {reference: {name: v1.26.6}}}]}}",
		"class":   "kind: Cluster\nspec: {topology: {version: v1.34.2+vmware.2-vkr.2}}",
		"hostile": "kind: Cluster\nspec: {topology: [1]}",
	}
	want := map[string][]Release{
		"full":  {{Name: "v1.20.2---vmware.1-tkg.1", Path: "spec.distribution.fullVersion"}},
		"line":  {{Name: "v1.20", Path: "spec.distribution.version", Prefix: true}},
		"pools": {{Name: "v1.26.5---vmware.2", Path: "spec.topology.controlPlane.tkr.reference.name", Prefix: true}, {Name: "v1.26.6", Path: "spec.topology.nodePools[1].tkr.reference.name", Prefix: true}},
		"class": {{Name: "v1.34.2---vmware.2-vkr.2", Path: "spec.topology.version", Prefix: true}},
	}
	for name, text := range manifests {
		if diff := cmp.Diff(want[name], Releases(object(t, text))); diff != "" {
			t.Errorf("%s (-want, +got):\n%s", name, diff)
		}
	}
	there := []string{"v1.20.2---vmware.1-tkg.1", "v1.26.5---vmware.2-fips.1"}
	for name, r := range map[string]Release{"exact": {Name: there[0]}, "line": {Name: "v1.20", Prefix: true}, "without its build": {Name: "v1.26.5---vmware.2", Prefix: true}} {
		if !r.Found(there) {
			t.Errorf("%s: %+v is among %v", name, r, there)
		}
	}
	for name, r := range map[string]Release{"gone": {Name: "v1.19.1", Prefix: true}, "a longer number": {Name: "v1.2", Prefix: true}, "pinned": {Name: "v1.26.5---vmware.2"}} {
		if r.Found(there) {
			t.Errorf("%s: %+v is not among %v", name, r, there)
		}
	}
}

func TestDropGoneRelease(t *testing.T) {
	t.Parallel()
	there := []string{"v1.20.2---vmware.1-tkg.1"}
	for name, tc := range map[string]struct {
		reason, distribution string
		want                 bool
	}{
		"gone":       {"the line says which release to take instead", "{fullVersion: v1.20.1+vmware.1, version: v1.20}", true},
		"there":      {"what can be had is asked for", "{fullVersion: v1.20.2+vmware.1-tkg.1, version: v1.20}", false},
		"no line":    {"then nothing would say which release", "{fullVersion: v1.20.1+vmware.1}", false},
		"not pinned": {"nothing to take out", "{version: v1.20}", false},
	} {
		in := object(t, "kind: TanzuKubernetesCluster\nspec: {distribution: "+tc.distribution+"}")
		out, dropped := DropGoneRelease(in, there)
		if _, still, _ := unstructured.NestedString(out.Object, "spec", "distribution", "fullVersion"); dropped != tc.want || still == tc.want && name != "not pinned" {
			t.Errorf("%s: %s: dropped %v, still there %v", name, tc.reason, dropped, still)
		}
	}
}

func TestCleanCompanion(t *testing.T) {
	t.Parallel()
	const meta = "apiVersion: run.tanzu.vmware.com/v1alpha3\nkind: ClusterBootstrap\nmetadata: {name: dev1, namespace: team-a"
	live := object(t, meta+", uid: u, ownerReferences: [{uid: x}], finalizers: [f]}\nspec: {cni: {refName: antrea}}\nstatus: {a: b}")
	got, removed, err := CleanCompanion(live)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(object(t, meta+"}\nspec: {cni: {refName: antrea}}").Object, got.Object); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
	if diff := cmp.Diff([]string{"metadata.finalizers", "metadata.ownerReferences", "metadata.uid", "status"}, removed); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
	if _, _, err := CleanCompanion(object(t, meta+"}\nspec: {values: {adminPassword: hunter2}}")); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a companion with a credential must not be stored: %v", err)
	}
}
