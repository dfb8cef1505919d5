package tkg_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/tkgfix/tkgfix/internal/tkg"
)

// declared is the text of a whole object before and after one CA is declared in it: all that the two do not differ in must stay.
type declared struct {
	reason        string
	declaration   tkg.Declaration
	before, after string
}

const (
	tkcHead  = "apiVersion: run.tanzu.vmware.com/v1alpha3\nkind: TanzuKubernetesCluster\nmetadata: {name: dev1, namespace: team-a, uid: u-1, labels: {a: b}}\n"
	betaHead = "apiVersion: cluster.x-k8s.io/v1beta1\nkind: Cluster\nmetadata: {name: dev2, namespace: team-a, uid: u-1, annotations: {x: \"1\"}}\n"
	newHead  = "apiVersion: cluster.x-k8s.io/v1beta2\nkind: Cluster\nmetadata: {name: dev3, namespace: team-a, uid: u-1, generation: 9007199254740993}\n"
	old1     = "apiVersion: run.tanzu.vmware.com/v1alpha1\nkind: TanzuKubernetesCluster\nmetadata: {name: old1, namespace: team-a, uid: u-1}\n"
)

func tkcCases() map[string]declared {
	d := func(i int) tkg.Declaration {
		return tkg.Declaration{Way: tkg.WayTKC, Index: i, Name: "corp", Data: "QQ=="}
	}
	return map[string]declared{
		"no settings": {
			reason: "all levels are made", declaration: d(0),
			before: tkcHead + "spec: {topology: {controlPlane: {replicas: 3}}}\nstatus: {phase: running}",
			after:  tkcHead + "spec: {topology: {controlPlane: {replicas: 3}}, settings: {network: {trust: {additionalTrustedCAs: [{name: corp, data: QQ==}]}}}}\nstatus: {phase: running}",
		},
		"no spec": {reason: "the same", declaration: d(0), before: tkcHead, after: tkcHead + "spec: {settings: {network: {trust: {additionalTrustedCAs: [{name: corp, data: QQ==}]}}}}"},
		"proxy beside it": {
			reason: "what is beside the trust stays, also a proxy with a password", declaration: d(0),
			before: tkcHead + "spec: {settings: {network: {proxy: {httpProxy: 'http://u:p@h'}, cni: {name: antrea}}, storage: {defaultClass: gold}}}",
			after:  tkcHead + "spec: {settings: {network: {proxy: {httpProxy: 'http://u:p@h'}, cni: {name: antrea}, trust: {additionalTrustedCAs: [{name: corp, data: QQ==}]}}, storage: {defaultClass: gold}}}",
		},
		"null": {
			reason: "an explicit null is nothing", declaration: d(0),
			before: tkcHead + "spec: {settings: {network: {trust: {additionalTrustedCAs: null}}}}",
			after:  tkcHead + "spec: {settings: {network: {trust: {additionalTrustedCAs: [{name: corp, data: QQ==}]}}}}",
		},
		"add": {
			reason: "no other CA is dropped", declaration: d(2),
			before: tkcHead + "spec: {settings: {network: {trust: {additionalTrustedCAs: [{name: a, data: x}, {name: b, data: y}]}}}}",
			after:  tkcHead + "spec: {settings: {network: {trust: {additionalTrustedCAs: [{name: a, data: x}, {name: b, data: y}, {name: corp, data: QQ==}]}}}}",
		},
		"replace": {
			reason: "one is replaced, with what else it holds kept", declaration: d(1),
			before: tkcHead + "spec: {settings: {network: {trust: {additionalTrustedCAs: [{name: a, data: x}, {name: b, data: y, note: mine}, {name: c, data: z}]}}}}",
			after:  tkcHead + "spec: {settings: {network: {trust: {additionalTrustedCAs: [{name: a, data: x}, {name: corp, data: QQ==, note: mine}, {name: c, data: z}]}}}}",
		},
		"v1alpha1": {
			reason: "the first API has the same place", declaration: d(0),
			before: old1 + "spec: {distribution: {version: v1.20}, topology: {workers: {count: 2, class: small}}, settings: {network: {trust: {}}}}",
			after:  old1 + "spec: {distribution: {version: v1.20}, topology: {workers: {count: 2, class: small}}, settings: {network: {trust: {additionalTrustedCAs: [{name: corp, data: QQ==}]}}}}",
		},
	}
}

func classCases() map[string]declared {
	trust := func(i int) tkg.Declaration { return tkg.Declaration{Way: tkg.WayTrust, Index: i, Name: "corp"} }
	conf := func(i int) tkg.Declaration {
		return tkg.Declaration{Way: tkg.WayOSConfiguration, Index: i, Name: "corp", Secret: "registry-ca"}
	}
	const entry = "{caCert: {secretRef: {name: registry-ca, key: corp}}}"
	return map[string]declared{
		"trust, no variables": {
			reason: "the list of variables is made", declaration: trust(0),
			before: betaHead + "spec: {topology: {class: tanzukubernetescluster, version: v1.28.8}}",
			after:  betaHead + "spec: {topology: {class: tanzukubernetescluster, version: v1.28.8, variables: [{name: trust, value: {additionalTrustedCAs: [{name: corp}]}}]}}",
		},
		"trust, others": {
			reason: "other variables stay in their order and their types", declaration: trust(0),
			before: betaHead + "spec: {topology: {variables: [{name: vmClass, value: small}, {name: n, value: 3}, {name: f, value: 0.5}]}}",
			after:  betaHead + "spec: {topology: {variables: [{name: vmClass, value: small}, {name: n, value: 3}, {name: f, value: 0.5}, {name: trust, value: {additionalTrustedCAs: [{name: corp}]}}]}}",
		},
		"trust, first of all": {
			reason: "variables come in any order, and one is never appended that is there", declaration: trust(1),
			before: betaHead + "spec: {topology: {variables: [{name: trust, value: {additionalTrustedCAs: [{name: a}]}}, {name: vmClass, value: small}]}}",
			after:  betaHead + "spec: {topology: {variables: [{name: trust, value: {additionalTrustedCAs: [{name: a}, {name: corp}]}}, {name: vmClass, value: small}]}}",
		},
		"trust, repointed": {
			reason: "the superseded name is replaced in its place", declaration: trust(0),
			before: betaHead + "spec: {topology: {variables: [{name: vmClass, value: small}, {name: trust, definitionFrom: x, value: {additionalTrustedCAs: [{name: a}, {name: b}], other: 1}}]}}",
			after:  betaHead + "spec: {topology: {variables: [{name: vmClass, value: small}, {name: trust, definitionFrom: x, value: {additionalTrustedCAs: [{name: corp}, {name: b}], other: 1}}]}}",
		},
		"trust, null value": {
			reason: "a variable without a value gets one", declaration: trust(0),
			before: betaHead + "spec: {topology: {variables: [{name: trust, value: null}]}}",
			after:  betaHead + "spec: {topology: {variables: [{name: trust, value: {additionalTrustedCAs: [{name: corp}]}}]}}",
		},
		"osConfiguration with ntp": {
			reason: "what osConfiguration holds stays", declaration: conf(0),
			before: newHead + "spec: {topology: {classRef: {name: builtin-generic-v3.6.0, namespace: vmware-system-vks-public}, variables: [{name: vmClass, value: small}, {name: osConfiguration, value: {ntp: {servers: [t1, t2]}, user: {passwordSecret: {name: s, key: k}}}}, {name: z, value: true}]}}",
			after:  newHead + "spec: {topology: {classRef: {name: builtin-generic-v3.6.0, namespace: vmware-system-vks-public}, variables: [{name: vmClass, value: small}, {name: osConfiguration, value: {ntp: {servers: [t1, t2]}, user: {passwordSecret: {name: s, key: k}}, trust: {additionalTrustedCAs: [" + entry + "]}}}, {name: z, value: true}]}}",
		},
		"osConfiguration with others": {
			reason: "no other CA is dropped, inline or not", declaration: conf(2),
			before: newHead + "spec: {topology: {variables: [{name: osConfiguration, value: {trust: {additionalTrustedCAs: [{caCert: {content: PEM}}, {caCert: {secretRef: {name: s, key: k}}}]}, ntp: {servers: [t]}}}]}}",
			after:  newHead + "spec: {topology: {variables: [{name: osConfiguration, value: {trust: {additionalTrustedCAs: [{caCert: {content: PEM}}, {caCert: {secretRef: {name: s, key: k}}}, " + entry + "]}, ntp: {servers: [t]}}}]}}",
		},
		"osConfiguration repointed": {
			reason: "an entry with its content in the Cluster becomes one of a Secret", declaration: conf(0),
			before: newHead + "spec: {topology: {variables: [{name: osConfiguration, value: {trust: {additionalTrustedCAs: [{caCert: {content: PEM}}, {caCert: {secretRef: {name: s, key: k}}}]}}}]}}",
			after:  newHead + "spec: {topology: {variables: [{name: osConfiguration, value: {trust: {additionalTrustedCAs: [" + entry + ", {caCert: {secretRef: {name: s, key: k}}}]}}}]}}",
		},
		"osConfiguration, v1beta1": {
			reason: "the older API, whose class is a string", declaration: conf(0),
			before: betaHead + "spec: {topology: {class: builtin-generic-v3.3.0, classNamespace: team-a, variables: [{name: storageClass, value: gold}]}}",
			after:  betaHead + "spec: {topology: {class: builtin-generic-v3.3.0, classNamespace: team-a, variables: [{name: storageClass, value: gold}, {name: osConfiguration, value: {trust: {additionalTrustedCAs: [" + entry + "]}}}]}}",
		},
	}
}

// TestDeclare holds the object form, the patch as the API server's library applies it, and the way back to the same whole object.
func TestDeclare(t *testing.T) {
	t.Parallel()
	for _, cases := range []map[string]declared{tkcCases(), classCases()} {
		for name, tc := range cases {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				live, want := fromYAML(t, tc.before), fromYAML(t, tc.after)
				untouched := live.DeepCopy()
				got, err := tkg.Declare(live, tc.declaration)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want.Object, got.Object); diff != "" {
					t.Errorf("%s: the object (-want, +got):\n%s", tc.reason, diff)
				}
				before, after := parts(t, live, tc.declaration)
				ops, err := tkg.PatchTrust(live, before, after)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(text(t, want), patched(t, live, ops)); diff != "" {
					t.Errorf("%s: the patch (-want, +got):\n%s", tc.reason, diff)
				}
				undo, err := tkg.UndoTrust(live, before, after)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(withoutNulls(t, text(t, live)), withoutNulls(t, patched(t, got, undo))); diff != "" {
					t.Errorf("%s: the way back (-want, +got):\n%s", tc.reason, diff)
				}
				if diff := cmp.Diff(untouched.Object, live.Object); diff != "" {
					t.Errorf("%s: the live object was changed:\n%s", tc.reason, diff)
				}
				if _, err := tkg.PatchTrust(got, before, after); !errors.Is(err, tkg.ErrPartChanged) {
					t.Errorf("%s: a patch of what has the change already: %v", tc.reason, err)
				}
			})
		}
	}
}

// parts are what a plan shows, as it comes back out of a journal.
func parts(t *testing.T, live *unstructured.Unstructured, d tkg.Declaration) (before, after tkg.Part) {
	t.Helper()
	part, err := tkg.TrustPart(live, d.Way)
	if err != nil {
		t.Fatal(err)
	}
	with, err := part.With(d)
	if err != nil {
		t.Fatal(err)
	}
	return journalled(t, d.Way, part), journalled(t, d.Way, with)
}

func journalled(t *testing.T, way tkg.Way, p tkg.Part) tkg.Part {
	t.Helper()
	raw, err := p.JSON()
	if err != nil {
		t.Fatal(err)
	}
	out, err := tkg.ParsePart(way, raw)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func fromYAML(t *testing.T, s string) *unstructured.Unstructured {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(s))
	if err != nil {
		t.Fatal(err)
	}
	obj := &unstructured.Unstructured{}
	if err := obj.UnmarshalJSON(raw); err != nil {
		t.Fatal(err)
	}
	return obj
}

func text(t *testing.T, v any) string {
	t.Helper()
	if u, ok := v.(*unstructured.Unstructured); ok {
		v = u.Object
	}
	raw, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// withoutNulls is for the way back, which takes away what was null.
func withoutNulls(t *testing.T, doc string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(doc), &v); err != nil {
		t.Fatal(err)
	}
	return prune(v)
}

func prune(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, item := range v {
			if v[key] = prune(item); item == nil {
				delete(v, key)
			}
		}
	case []any:
		for i, item := range v {
			v[i] = prune(item)
		}
	}
	return v
}

func patched(t *testing.T, obj *unstructured.Unstructured, ops []tkg.Operation) string {
	t.Helper()
	out, err := apply(t, obj, ops)
	if err != nil {
		t.Fatalf("the patch does not apply: %v", err)
	}
	return text(t, out)
}

// apply is what the API server does with a patch: it has the same library.
func apply(t *testing.T, obj *unstructured.Unstructured, ops []tkg.Operation) (*unstructured.Unstructured, error) {
	t.Helper()
	raw, err := json.Marshal(ops)
	if err != nil {
		t.Fatal(err)
	}
	patch, err := jsonpatch.DecodePatch(raw)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := json.Marshal(obj.Object)
	if err != nil {
		t.Fatal(err)
	}
	doc, err = patch.Apply(doc)
	if err != nil {
		return nil, err
	}
	out := &unstructured.Unstructured{}
	if err := out.UnmarshalJSON(doc); err != nil {
		t.Fatal(err)
	}
	return out, nil
}

// TestPatchTrustTests holds that the server refuses a patch when what it stands on has moved between the look and the patch.
func TestPatchTrustTests(t *testing.T) {
	t.Parallel()
	conf := func(i int) tkg.Declaration {
		return tkg.Declaration{Way: tkg.WayOSConfiguration, Index: i, Name: "corp", Secret: "s"}
	}
	const list = "{trust: {additionalTrustedCAs: [{caCert: {content: A}}]}, ntp: {servers: [t]}}"
	for name, tc := range map[string]struct {
		reason      string
		declaration tkg.Declaration
		was, now    string
	}{
		"another object": {
			"the name was taken by another", tkg.Declaration{Way: tkg.WayTKC, Name: "n"}, tkcHead, strings.Replace(tkcHead, "u-1", "u-2", 1),
		},
		"trust made": {
			"somebody made the list meanwhile, which a plain add would drop", tkg.Declaration{Way: tkg.WayTKC, Name: "n"},
			tkcHead + "spec: {settings: {network: {}}}", tkcHead + "spec: {settings: {network: {trust: {additionalTrustedCAs: [{name: a, data: b}]}}}}",
		},
		"entry changed": {
			"the list is another", conf(0), newHead + "spec: {topology: {variables: [{name: osConfiguration, value: " + list + "}]}}",
			newHead + "spec: {topology: {variables: [{name: osConfiguration, value: " + strings.Replace(list, "A", "B", 1) + "}]}}",
		},
		"variable moved": {
			"the place is another variable's", conf(0), newHead + "spec: {topology: {variables: [{name: osConfiguration, value: " + list + "}]}}",
			newHead + "spec: {topology: {variables: [{name: other, value: " + list + "}, {name: osConfiguration, value: " + list + "}]}}",
		},
		"variable made": {
			"a second one of the name is never appended", conf(0), newHead + "spec: {topology: {variables: [{name: a, value: 1}]}}",
			newHead + "spec: {topology: {variables: [{name: a, value: 1}, {name: osConfiguration, value: " + list + "}]}}",
		},
		"variables made": {
			"the same with the list", conf(0), newHead + "spec: {topology: {}}",
			newHead + "spec: {topology: {variables: [{name: osConfiguration, value: " + list + "}]}}",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			live := fromYAML(t, tc.was)
			before, after := parts(t, live, tc.declaration)
			ops, err := tkg.PatchTrust(live, before, after)
			if err != nil {
				t.Fatal(err)
			}
			if out, err := apply(t, fromYAML(t, tc.now), ops); err == nil {
				t.Errorf("%s: the patch applies:\n%s", tc.reason, text(t, out))
			}
		})
	}
}

func TestDeclareRefuses(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		reason, object, want string
		declaration          tkg.Declaration
	}{
		"none":     {"a cluster without a class", betaHead, `the way "none"`, tkg.Declaration{Way: tkg.WayNone}},
		"twice":    {"two variables of a name are one too many", betaHead + "spec: {topology: {variables: [{name: trust}, {name: trust}]}}", "several variables of the name trust", tkg.Declaration{Way: tkg.WayTrust}},
		"no list":  {"a stranger's shape", betaHead + "spec: {topology: {variables: {trust: 3}}}", "no list", tkg.Declaration{Way: tkg.WayTrust}},
		"string":   {"a stranger's shape", betaHead + "spec: {topology: {variables: [{name: trust, value: x}]}}", "no object", tkg.Declaration{Way: tkg.WayTrust}},
		"number":   {"a stranger's shape", tkcHead + "spec: {settings: {network: {trust: {additionalTrustedCAs: 3}}}}", "no list", tkg.Declaration{Way: tkg.WayTKC}},
		"topology": {"a topology is not made", betaHead + "spec: {paused: true}", "no topology", tkg.Declaration{Way: tkg.WayTrust}},
		"beyond":   {"no gap is made", tkcHead, "entry 1", tkg.Declaration{Way: tkg.WayTKC, Index: 1}},
		"negative": {"an index from nowhere", tkcHead, "entry -1", tkg.Declaration{Way: tkg.WayTKC, Index: -1}},
		"no entry": {"what is there cannot be replaced by half", tkcHead + "spec: {settings: {network: {trust: {additionalTrustedCAs: [x]}}}}", "no object", tkg.Declaration{Way: tkg.WayTKC}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if out, err := tkg.Declare(fromYAML(t, tc.object), tc.declaration); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: want %q, got %v and %v", tc.reason, tc.want, err, out)
			}
		})
	}
}

// TestPartShowsNothingElse holds that a plan does not show what is beside the list.
func TestPartShowsNothingElse(t *testing.T) {
	t.Parallel()
	for way, obj := range map[tkg.Way]string{
		tkg.WayTKC:             tkcHead + "spec: {settings: {network: {proxy: {httpProxy: 'http://u:hunter2@h'}, trust: {additionalTrustedCAs: [{name: a, data: b}], x: hunter2}}}, z: hunter2}",
		tkg.WayOSConfiguration: newHead + "spec: {topology: {variables: [{name: p, value: hunter2}, {name: osConfiguration, value: {systemProxy: {http: 'http://u:hunter2@h'}, trust: {additionalTrustedCAs: []}}}]}}",
	} {
		p, err := tkg.TrustPart(fromYAML(t, obj), way)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := p.JSON()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(raw), "hunter2") {
			t.Errorf("%s: the part shows %s", way, raw)
		}
	}
}
