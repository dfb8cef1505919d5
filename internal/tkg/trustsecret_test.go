package tkg_test

import (
	"crypto/x509"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/tkg"
)

func TestTrustSecret(t *testing.T) {
	t.Parallel()
	ca := makeCA(t, cn("Lab Root CA"), 2024)
	value := tkg.SecretValue([]*x509.Certificate{ca})
	if d := tkg.Decode(value, tkg.LayersSecret); d.Layers != 2 || d.Problem != "" {
		t.Errorf("the value has %d layers, %s", d.Layers, d.Problem)
	}
	made := tkg.NewTrustSecret("team-a", tkg.TrustSecret("dev2"), "corp", value)
	want := fromYAML(t, "apiVersion: v1\nkind: Secret\ntype: Opaque\nmetadata: {namespace: team-a, name: dev2-user-trusted-ca-secret}\ndata: {corp: "+value+"}")
	if diff := cmp.Diff(want.Object, made.Object); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
	if got, ok := tkg.SecretKey(made, "corp"); got != value || !ok {
		t.Errorf("key corp: %v, %.20s", ok, got)
	}
	if _, ok := tkg.SecretKey(nil, "corp"); ok {
		t.Error("no Secret has no key")
	}
}

func TestSecretPatches(t *testing.T) {
	t.Parallel()
	const head = "apiVersion: v1\nkind: Secret\nmetadata: {namespace: team-a, name: s, uid: u-1}\ntype: Opaque\n"
	for name, tc := range map[string]struct {
		reason, before, after string
	}{
		"add":       {"the other keys stay", head + "data: {a: QQ==, b: Qg==}", head + "data: {a: QQ==, b: Qg==, new: WA==}"},
		"add first": {"a Secret without data", head, head + "data: {new: WA==}"},
		"add empty": {"a Secret with empty data", head + "data: {}", head + "data: {new: WA==}"},
	} {
		live := fromYAML(t, tc.before)
		if diff := cmp.Diff(text(t, fromYAML(t, tc.after)), patched(t, live, tkg.AddKeyPatch(live, "new", "WA=="))); diff != "" {
			t.Errorf("%s: %s (-want, +got):\n%s", name, tc.reason, diff)
		}
	}
	live := fromYAML(t, head+"data: {a: QQ==, b: Qg==}")
	if diff := cmp.Diff(text(t, fromYAML(t, head+"data: {b: Qg==}")), patched(t, live, tkg.DropKeyPatch(live, "a", "QQ=="))); diff != "" {
		t.Errorf("drop (-want, +got):\n%s", diff)
	}
	for name, ops := range map[string][]tkg.Operation{
		"add what is there":       tkg.AddKeyPatch(live, "a", "QQ=="),
		"drop what has changed":   tkg.DropKeyPatch(live, "a", "Qg=="),
		"drop what is not there":  tkg.DropKeyPatch(live, "c", "QQ=="),
		"add to another's Secret": tkg.AddKeyPatch(fromYAML(t, "kind: Secret\nmetadata: {uid: u-2}\ndata: {}"), "new", "WA=="),
	} {
		if out, err := apply(t, live, ops); err == nil {
			t.Errorf("%s: it applies:\n%s", name, text(t, out))
		}
	}
}

func TestOwnTrust(t *testing.T) {
	t.Parallel()
	ca := []*x509.Certificate{makeCA(t, cn("Lab Root CA"), 2024)}
	right := tkg.SecretValue(ca)
	value := func(secret, key string) (string, bool) {
		values := map[string]string{"dev2-user-trusted-ca-secret/corp": right, "s/once": stored("", 1, ca...).Data}
		v, ok := values[secret+"/"+key]
		return v, ok
	}
	type entry struct {
		Name, Secret  string
		Right, Absent bool
		Certs         int
	}
	for name, tc := range map[string]struct {
		reason, object string
		way            tkg.Way
		want           []entry
		bad            bool
	}{
		"tkc": {
			reason: "base64 once", way: tkg.WayTKC,
			object: tkcHead + "spec: {settings: {network: {trust: {additionalTrustedCAs: [{name: a, data: " + stored("", 1, ca...).Data + "}, {name: b, data: " + right + "}]}}}}",
			want:   []entry{{Name: "a", Right: true, Certs: 1}, {Name: "b", Certs: 1}},
		},
		"trust": {
			reason: "the Secret has a fixed name", way: tkg.WayTrust,
			object: betaHead + "spec: {topology: {variables: [{name: trust, value: {additionalTrustedCAs: [{name: corp}, {name: gone}]}}]}}",
			want:   []entry{{Name: "corp", Secret: "dev2-user-trusted-ca-secret", Right: true, Certs: 1}, {Name: "gone", Secret: "dev2-user-trusted-ca-secret", Absent: true}},
		},
		"osConfiguration": {
			reason: "any Secret, or none", way: tkg.WayOSConfiguration,
			object: newHead + "spec: {topology: {variables: [{name: trust, value: {additionalTrustedCAs: [{name: no}]}}, {name: osConfiguration, value: {trust: {additionalTrustedCAs: [{caCert: {secretRef: {name: s, key: once}}}, {caCert: {content: x}}]}}}]}}",
			want:   []entry{{Name: "once", Secret: "s", Certs: 1}, {}},
		},
		"inline":   {reason: "the standalone TKG's form is not this class's", way: tkg.WayTrust, object: betaHead + "spec: {topology: {variables: [{name: trust, value: {additionalTrustedCAs: [{name: a, data: b}]}}]}}", bad: true},
		"no entry": {reason: "a stranger's shape", way: tkg.WayTrust, object: betaHead + "spec: {topology: {variables: [{name: trust, value: {additionalTrustedCAs: [3]}}]}}", bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := tkg.OwnTrust(fromYAML(t, tc.object), tc.way, value)
			var short []entry
			for _, e := range got {
				short = append(short, entry{e.Name, e.Secret, e.Right, e.Absent, len(e.Certs)})
			}
			if diff := cmp.Diff(tc.want, short); diff != "" || (err != nil) != tc.bad {
				t.Errorf("%s: error %v (-want, +got):\n%s", tc.reason, err, diff)
			}
		})
	}
}

// TestUsesOfKey is what keeps a Secret's key that another cluster, or another pool, still names.
func TestUsesOfKey(t *testing.T) {
	t.Parallel()
	const entry = "{trust: {additionalTrustedCAs: [{caCert: {secretRef: {name: shared, key: corp}}}]}}"
	for name, tc := range map[string]struct {
		reason, object, secret, key string
		want, overrides             []string
		way                         tkg.Way
	}{
		"variable": {
			"the cluster's own", newHead + "spec: {topology: {variables: [{name: a}, {name: osConfiguration, value: " + entry + "}]}}", "shared", "corp",
			[]string{"spec.topology.variables[1]"}, nil, tkg.WayOSConfiguration,
		},
		"another key": {"a Secret may be shared by keys", newHead + "spec: {topology: {variables: [{name: osConfiguration, value: " + entry + "}]}}", "shared", "else", nil, nil, tkg.WayOSConfiguration},
		"fixed name": {
			"the class tanzukubernetescluster", betaHead + "spec: {topology: {variables: [{name: trust, value: {additionalTrustedCAs: [{name: corp}]}}]}}",
			"dev2-user-trusted-ca-secret", "corp", []string{"spec.topology.variables[0]"}, nil, tkg.WayTrust,
		},
		"overrides": {
			"a pool and the control plane have values of their own",
			newHead + "spec: {topology: {controlPlane: {variables: {overrides: [{name: osConfiguration, value: " + entry + "}]}}, workers: {machineDeployments: [{name: np1}, {name: np2, variables: {overrides: [{name: vmClass}, {name: osConfiguration, value: " + entry + "}]}}]}}}",
			"shared", "corp", []string{"spec.topology.controlPlane.variables.overrides[0]", "spec.topology.workers.machineDeployments[1].variables.overrides[1]"},
			[]string{"the control plane", "np2"}, tkg.WayOSConfiguration,
		},
		"hostile": {"a stranger's shapes", newHead + "spec: {topology: {variables: 3, controlPlane: [], workers: {machineDeployments: [x, {variables: 4}]}}}", "shared", "corp", nil, nil, tkg.WayTrust},
		"TKC":     {"it has no topology of that kind", tkcHead, "shared", "corp", nil, nil, tkg.WayTKC},
	} {
		obj := fromYAML(t, tc.object)
		if diff := cmp.Diff(tc.want, tkg.UsesOfKey(obj, tc.secret, tc.key)); diff != "" {
			t.Errorf("%s, %s: uses (-want, +got):\n%s", name, tc.reason, diff)
		}
		if diff := cmp.Diff(tc.overrides, tkg.Overrides(obj, tc.way)); diff != "" {
			t.Errorf("%s, %s: overrides (-want, +got):\n%s", name, tc.reason, diff)
		}
	}
	if keys := tkg.SecretKeys(fromYAML(t, "kind: Secret\ndata: {b: QQ==, a: QQ==}")); !slices.Contains(keys, "a") || len(keys) != 2 || tkg.SecretKeys(nil) != nil {
		t.Errorf("keys %v", keys)
	}
}
