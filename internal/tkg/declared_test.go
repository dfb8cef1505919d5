package tkg_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/internal/kube/kubetest"
	"github.com/tkgfix/tkgfix/internal/tkg"
)

// The order of times in these tests.
const (
	t1 = "2026-01-01T00:00:00Z"
	t2 = "2026-02-01T00:00:00Z"
	t3 = "2026-03-01T00:00:00Z"
	t4 = "2026-04-01T00:00:00Z"
)

// managed is a field manager's entry of metadata.managedFields.
func managed(at, fields string) string {
	return fmt.Sprintf("{manager: m, operation: Update, time: %q, fieldsType: FieldsV1, fieldsV1: %s}", at, fields)
}

// service is a TkgServiceConfiguration that was made at t1.
func service(list string, managers ...string) string {
	return fmt.Sprintf("{apiVersion: run.tanzu.vmware.com/v1alpha3, kind: TkgServiceConfiguration, metadata: {name: tkg-service-configuration, creationTimestamp: %q, managedFields: [%s]}, "+
		"spec: {trust: {additionalTrustedCAs: %s}}}", t1, strings.Join(managers, ", "), list)
}

// tkc is a TanzuKubernetesCluster that was made at t2.
func tkc(list string, managers ...string) string {
	return fmt.Sprintf("{apiVersion: run.tanzu.vmware.com/v1alpha3, kind: TanzuKubernetesCluster, metadata: {name: dev1, namespace: team-a, creationTimestamp: %q, managedFields: [%s]}, "+
		"spec: {settings: {network: {trust: {additionalTrustedCAs: %s}}}}}", t2, strings.Join(managers, ", "), list)
}

// clusterOf is a Cluster that was made at t2.
func clusterOf(class, variables string, managers ...string) string {
	return fmt.Sprintf("{apiVersion: cluster.x-k8s.io/v1beta1, kind: Cluster, metadata: {name: dev1, namespace: team-a, creationTimestamp: %q, managedFields: [%s]}, "+
		"spec: {topology: {class: %s, variables: [%s]}}}", t2, strings.Join(managers, ", "), class, variables)
}

func secretOf(name, created, data string, managers ...string) string {
	return fmt.Sprintf("{apiVersion: v1, kind: Secret, metadata: {name: %s, namespace: team-a, creationTimestamp: %q, managedFields: [%s]}, data: %s}",
		name, created, strings.Join(managers, ", "), data)
}

func machine(name, created, more string) string {
	return fmt.Sprintf("{apiVersion: cluster.x-k8s.io/v1beta1, kind: Machine, metadata: {name: %s, namespace: team-a, uid: %s, creationTimestamp: %q, labels: {cluster.x-k8s.io/cluster-name: dev1}}%s}",
		name, name, created, more)
}

const (
	serviceFields = `{"f:spec": {"f:trust": {".": {}, "f:additionalTrustedCAs": {}}}}`
	tkcFields     = `{"f:spec": {"f:settings": {"f:network": {"f:trust": {"f:additionalTrustedCAs": {}}}}}}`
	mixedFields   = `{"f:spec": {"f:settings": {"f:network": {"f:trust": {}}}, "f:topology": {}}}`
	keyFields     = `{"f:data": {".": {}, "f:corp": {}}, "f:type": {}}`
)

// seenCase is what is declared for a cluster, and what is said of whether it can have seen that.
type seenCase struct {
	reason  string
	objects []string
	forbid  []string
	want    []string // where, name, seen
	why     string   // part of the last one's
	warning string   // part of the warnings
}

func seenCases() map[string]seenCase {
	const (
		one   = `[{name: corp, data: LS0t}]`
		two   = `[{name: corp, data: LS0t}, {name: b, data: LS0t}]`
		trust = "{name: trust, value: {additionalTrustedCAs: [{name: corp}]}}"
		os    = "{name: osConfiguration, value: {ntp: {}, trust: {additionalTrustedCAs: [{caCert: {secretRef: {name: mine, key: corp}}}]}}}"
		tsc   = "TkgServiceConfiguration tkg-service-configuration corp "
		own   = "TanzuKubernetesCluster team-a/dev1 corp "
		fixed = "Secret team-a/dev1-user-trusted-ca-secret corp "
	)
	changedAt := func(at string) string {
		return managed(at, `{"f:spec": {"f:topology": {"f:variables": {"k:{\"name\":\"trust\"}": {".": {}, "f:name": {}, "f:value": {}}}}}}`)
	}
	fixedSecret := func(created string, managers ...string) string {
		return secretOf("dev1-user-trusted-ca-secret", created, "{corp: TFMwdA==}", managers...)
	}
	return map[string]seenCase{
		"own, before the nodes": {
			reason: "nodes that are younger have it", objects: []string{tkc(one, managed(t2, tkcFields)), service("[]"), machine("a", t3, "")}, want: []string{own + "yes"}, why: "each of the 1 machines was made since",
		},
		"own, in the second of the nodes": {
			reason: "a cluster makes its nodes at once", objects: []string{tkc(one, managed(t2, tkcFields)), service("[]"), machine("a", t2, "")}, want: []string{own + "yes"},
		},
		"own, in the second of a later node": {
			reason: "which was first is not known", objects: []string{tkc(one, managed(t3, tkcFields)), service("[]"), machine("a", t3, "")}, want: []string{own + "unknown"}, why: "1 of 1 machines were made before or in the second of " + t3,
		},
		"own, after the nodes": {
			reason: "who changed it owns nothing else", objects: []string{tkc(one, managed(t4, tkcFields)), service("[]"), machine("a", t3, ""), machine("b", t3, "")}, want: []string{own + "no"},
			why: "each of the 2 machines was made before it was changed, on " + t4,
		},
		"own, by someone who owns more": {
			reason: "what moved the time may have been another field", objects: []string{tkc(one, managed(t4, mixedFields)), service("[]"), machine("a", t3, "")}, want: []string{own + "unknown"}, why: "it may be older",
		},
		"own, one of several": {
			reason: "another entry may be what was changed", objects: []string{tkc(two, managed(t4, tkcFields)), service("[]"), machine("a", t3, "")},
			want: []string{own + "unknown", "TanzuKubernetesCluster team-a/dev1 b unknown"},
		},
		"mixed": {
			reason: "a roll is under way", objects: []string{tkc(one, managed(t3, tkcFields)), service("[]"), machine("old", t2, ""), machine("new", t4, "")}, want: []string{own + "unknown"},
			why: "mixed: 1 of 2 machines were made before it was changed, on " + t3 + ": old",
		},
		"deleted machines": {
			reason:  "one that goes does not count",
			objects: []string{tkc(one, managed(t3, tkcFields)), service("[]"), machine("new", t4, ""), strings.Replace(machine("old", t2, ""), "uid: old", "deletionTimestamp: \""+t4+"\"", 1)}, want: []string{own + "yes"},
		},
		"no managers":  {reason: "nobody says when", objects: []string{tkc(one), service("[]"), machine("a", t3, "")}, want: []string{own + "unknown"}, why: "is not known"},
		"no machines":  {reason: "nothing to hold it against", objects: []string{tkc(one), service("[]")}, want: []string{own + "unknown"}, why: "no machine"},
		"no times":     {reason: "a Machine without a time says nothing", objects: []string{tkc(one, managed(t2, tkcFields)), service("[]"), strings.Replace(machine("a", t3, ""), "creationTimestamp: \""+t3+"\", ", "", 1)}, want: []string{own + "unknown"}},
		"may not list": {reason: "an editor", objects: []string{tkc(one), service("[]"), machine("a", t3, "")}, forbid: []string{"machines"}, want: []string{own + "unknown"}, warning: "may not list Machines"},
		"service, before the cluster": {
			reason: "the default of new clusters", objects: []string{tkc("[]"), service(one, managed(t1, serviceFields)), machine("a", t3, "")}, want: []string{tsc + "yes"}, why: "the cluster was made on " + t2,
		},
		"service, after the nodes": {
			reason: "none of them can have it", objects: []string{tkc("[]"), service(one, managed(t4, serviceFields)), machine("a", t3, "")}, want: []string{tsc + "no"}, why: "made before it was changed",
		},
		"service, between": {
			reason: "whether an edit reaches a cluster that is there is where the sources differ", objects: []string{tkc("[]"), service(one, managed(t3, serviceFields)), machine("a", t4, "")}, want: []string{tsc + "unknown"},
			why: "the sources differ",
		},
		"service, beside a list of its own": {
			reason: "merge or replace is documented nowhere", objects: []string{tkc(one, managed(t2, tkcFields)), service(one, managed(t1, serviceFields)), machine("a", t3, "")}, want: []string{tsc + "unknown", own + "yes"},
		},
		"service, forbidden": {
			reason: "a note and no error", objects: []string{tkc(one, managed(t2, tkcFields)), service(one), machine("a", t3, "")}, forbid: []string{"tkgserviceconfigurations"}, want: []string{own + "yes"}, warning: "vSphere administrator",
		},
		"service, none": {reason: "said", objects: []string{tkc(one, managed(t2, tkcFields)), machine("a", t3, "")}, want: []string{own + "yes"}, warning: "serves no TkgServiceConfiguration"},
		"service, for a class": {
			reason: "both sources are shown, and nothing is guessed", objects: []string{clusterOf("builtin-generic-v3.3.0", ""), service(one, managed(t1, serviceFields)), machine("a", t3, "")}, want: []string{tsc + "unknown"},
			why: "by the vendor's page TkgServiceConfiguration does not apply",
		},
		"service, hostile, for a class": {
			reason: "what may not concern the cluster does not stop the look", objects: []string{clusterOf("builtin-generic-v3.3.0", ""), service("{x: y}"), machine("a", t3, "")}, warning: "it is no list",
		},
		"key, before": {
			reason: "both the key and the variable are older", objects: []string{clusterOf("tanzukubernetescluster", trust, changedAt(t2)), service("[]"), fixedSecret(t1, managed(t1, keyFields)), machine("a", t3, "")}, want: []string{fixed + "yes"},
		},
		"key, after": {
			reason: "bytes alone roll nothing", objects: []string{clusterOf("tanzukubernetescluster", trust, changedAt(t2)), service("[]"), fixedSecret(t1, managed(t4, keyFields)), machine("a", t3, "")}, want: []string{fixed + "no"},
			why: "a change of the Secret's bytes alone rolls no node",
		},
		"key, by someone who owns other keys": {
			reason: "which key it was is not known", objects: []string{clusterOf("tanzukubernetescluster", trust, changedAt(t2)), service("[]"), fixedSecret(t1, managed(t4, `{"f:data": {"f:corp": {}, "f:b": {}}}`)), machine("a", t3, "")},
			want: []string{fixed + "unknown"},
		},
		"Secret, made after": {
			reason: "it was not there before, whoever owns what", objects: []string{clusterOf("tanzukubernetescluster", trust, changedAt(t2)), service("[]"), fixedSecret(t4, managed(t4, `{"f:data": {}}`)), machine("a", t3, "")}, want: []string{fixed + "no"},
		},
		"key, mixed": {
			reason: "a new machine read the new bytes", objects: []string{clusterOf("tanzukubernetescluster", trust, changedAt(t1)), service("[]"), fixedSecret(t1, managed(t3, keyFields)), machine("old", t2, ""), machine("new", t4, "")},
			want: []string{fixed + "unknown"}, why: "mixed: 1 of 2",
		},
		"variable, after": {
			reason: "the Secret was there, and nobody named it", objects: []string{clusterOf("tanzukubernetescluster", trust, changedAt(t4)), service("[]"), fixedSecret(t1, managed(t1, keyFields)), machine("a", t3, "")}, want: []string{fixed + "no"},
		},
		"any Secret": {
			reason: "osConfiguration holds other things, and trust alone counts",
			objects: []string{
				clusterOf("builtin-generic-v3.3.0", os, managed(t2, `{"f:spec": {"f:topology": {"f:variables": {}}}}`)), service("[]"),
				secretOf("mine", t1, "{corp: TFMwdA==}", managed(t1, keyFields)), machine("a", t3, ""),
			},
			want: []string{"Secret team-a/mine corp yes"},
		},
		"no Secret": {reason: "nodes that need it do not come up", objects: []string{clusterOf("tanzukubernetescluster", trust), service("[]"), machine("a", t3, "")}, want: []string{fixed + "no no-secret"}, why: "does not exist"},
		"no key": {
			reason: "so with a key", objects: []string{clusterOf("tanzukubernetescluster", trust), service("[]"), secretOf("dev1-user-trusted-ca-secret", t1, "{other: eA==}"), machine("a", t3, "")}, want: []string{fixed + "no no-key"}, why: "no such key",
		},
		"Secret, forbidden": {
			reason: "a viewer", objects: []string{clusterOf("tanzukubernetescluster", trust), service("[]"), fixedSecret(t1), machine("a", t3, "")}, forbid: []string{"secrets"}, want: []string{fixed + "unknown unread"}, why: "may not read the Secret",
		},
		"Secret, hostile": {
			reason: "data that is no object has no keys", objects: []string{clusterOf("tanzukubernetescluster", trust), service("[]"), secretOf("dev1-user-trusted-ca-secret", t1, "[1]"), machine("a", t3, "")}, want: []string{fixed + "no no-key"},
		},
		"inline": {
			reason:  "the value stands in the Cluster",
			objects: []string{clusterOf("builtin-generic-v3.3.0", "{name: osConfiguration, value: {trust: {additionalTrustedCAs: [{caCert: {content: PEM}}]}}}"), service("[]"), machine("a", t3, "")},
			want:    []string{"Cluster team-a/dev1  unknown"},
		},
	}
}

// client serves objects; Machine, Secret and the classes are kinds that are always there.
func client(t *testing.T, objects, forbid []string) *kube.Client {
	t.Helper()
	server := kubetest.Server{
		Kinds:   []string{"v1/Secret", "cluster.x-k8s.io/v1beta1/Cluster", "cluster.x-k8s.io/v1beta1/Machine", "cluster.x-k8s.io/v1beta1/ClusterClass"},
		Objects: objects, Forbidden: forbid,
	}
	c, err := kube.New(server.Start(t))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestReadTrust(t *testing.T) {
	t.Parallel()
	for name, tc := range seenCases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := client(t, tc.objects, tc.forbid)
			owner, err := tkg.FindOwner(t.Context(), c, tkg.Ref{Namespace: "team-a", Name: "dev1"})
			if err != nil {
				t.Fatal(err)
			}
			declared, warnings, err := tkg.ReadTrust(t.Context(), c, owner)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			why := ""
			for _, d := range declared {
				got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", d.Where, d.Name, d.Seen, d.Absent)))
				why = d.Why
				if d.Why == "" || d.Path == "" {
					t.Errorf("%s: incomplete: %+v", tc.reason, d)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: -want, +got:\n%s\n%+v", tc.reason, diff, declared)
			}
			if !strings.Contains(why, tc.why) || !strings.Contains(strings.Join(warnings, "\n"), tc.warning) || tc.warning == "" && len(warnings) > 0 {
				t.Errorf("%s: why %q, want %q; warnings %q, want %q", tc.reason, why, tc.why, warnings, tc.warning)
			}
		})
	}
}

// What an object says is bounded, and an error says what to look at.
func TestReadTrustHostile(t *testing.T) {
	t.Parallel()
	entries := func(n int, form string) string {
		var out []string
		for i := range n {
			out = append(out, fmt.Sprintf(form, i))
		}
		return "[" + strings.Join(out, ", ") + "]"
	}
	generic := func(list string) string {
		return clusterOf("builtin-generic-v3.3.0", "{name: osConfiguration, value: {trust: {additionalTrustedCAs: "+list+"}}}")
	}
	cases := map[string]struct {
		reason, object string
		count          int
		warning, err   string
	}{
		"thousands": {reason: "bounded", object: tkc(entries(1001, "{name: c%d, data: LS0t}")), err: "1001 CAs are declared"},
		"thousands of names": {
			reason: "bounded", object: clusterOf("tanzukubernetescluster", "{name: trust, value: {additionalTrustedCAs: "+entries(1001, "{name: c%d}")+"}}"), err: "1001 CAs are declared",
		},
		"hundreds of Secrets": {reason: "each is a request", object: generic(entries(300, "{caCert: {secretRef: {name: s%d, key: k}}}")), count: 300, warning: "more than 100 Secrets"},
		"names with a path":   {reason: "no Secret is called so", object: generic(`[{caCert: {secretRef: {name: "../clusters/dev1", key: k}}}]`), count: 1},
		"a list is an object": {reason: "the field is named", object: tkc("{a: b}"), err: "spec.settings.network.trust.additionalTrustedCAs: it is no list"},
		"an entry is a list":  {reason: "the entry is named", object: tkc("[[1]]"), err: "entry 0 is no object"},
		"a name is a number":  {reason: "the entry is named", object: generic("[{caCert: {secretRef: {name: 3, key: [x]}}}]"), err: "additionalTrustedCAs[0].caCert"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := client(t, []string{tc.object, service("[]")}, nil)
			owner, err := tkg.FindOwner(t.Context(), c, tkg.Ref{Namespace: "team-a", Name: "dev1"})
			if err != nil {
				t.Fatal(err)
			}
			got, warnings, err := tkg.ReadTrust(t.Context(), c, owner)
			if len(got) != tc.count || (err != nil) != (tc.err != "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%s: %d CAs, want %d; error %v, want %q", tc.reason, len(got), tc.count, err, tc.err)
			}
			if !strings.Contains(strings.Join(warnings, "\n"), tc.warning) {
				t.Errorf("%s: warnings %q, want %q", tc.reason, warnings, tc.warning)
			}
		})
	}
}
