package recreate

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
)

const manifestText = `apiVersion: run.tanzu.vmware.com/v1alpha3
kind: TanzuKubernetesCluster
metadata: {name: dev1, namespace: team-a}
spec:
  topology:
    controlPlane: {replicas: 3, vmClass: medium}
    nodePools: [{name: np1, replicas: 3}, {name: np2, replicas: 2}]
`

func TestParseManifest(t *testing.T) {
	t.Parallel()
	ref := tkg.Ref{Namespace: "team-a", Name: "dev1"}
	cases := map[string]struct {
		reason string
		text   string
		err    string
	}{
		"good":               {reason: "the user's own manifest", text: manifestText},
		"a Cluster":          {reason: "newer clusters are made from one", text: "{apiVersion: cluster.x-k8s.io/v1beta2, kind: Cluster, metadata: {name: dev1}}"},
		"no namespace":       {reason: "kubectl apply -n would fill it in", text: strings.Replace(manifestText, ", namespace: team-a", "", 1)},
		"empty documents":    {reason: "separators around it are no objects", text: "---\n# a comment\n---\n" + manifestText + "---\n"},
		"another cluster":    {reason: "another cluster's manifest would create another cluster", text: strings.Replace(manifestText, "dev1", "dev2", 1), err: "team-a/dev2, not of team-a/dev1"},
		"another namespace":  {reason: "a namespace is part of the name", text: strings.Replace(manifestText, "team-a", "team-b", 1), err: "team-b/dev1, not of team-a/dev1"},
		"another kind":       {reason: "no cluster is made from it", text: "{apiVersion: cluster.x-k8s.io/v1beta2, kind: ClusterClass, metadata: {name: dev1}}", err: "ClusterClass.cluster.x-k8s.io"},
		"more than one":      {reason: "what is beside it would be left out in silence", text: manifestText + "---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: x}}\n", err: "holds 2 objects"},
		"nothing":            {reason: "an empty file", text: "\n", err: "holds 0 objects"},
		"not YAML":           {reason: "broken YAML is told with its document", text: "a: [", err: "read document 1"},
		"twice the same key": {reason: "which of the two is meant is not guessed", text: manifestText + "spec: {}\n", err: `"spec" already set`},
		"a list":             {reason: "a list of objects is no object", text: "[1, 2]", err: "not an object"},
		"text":               {reason: "text is no object", text: "hello", err: "not an object"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			obj, err := parseManifest([]byte(tc.text), ref)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("%s: error %v, want %q in it", tc.reason, err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatalf("%s: %v", tc.reason, err)
			}
			if diff := cmp.Diff("team-a/dev1", obj.GetNamespace()+"/"+obj.GetName()); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestParseWorkloads(t *testing.T) {
	t.Parallel()
	const deployment = "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: demo, uid: x, resourceVersion: '7'}\nspec: {replicas: 6}\nstatus: {replicas: 6}\n"
	const namespace = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: demo}\n"
	many := strings.Repeat(namespace, maxObjects)
	cases := map[string]struct {
		reason string
		text   string
		want   []string
		err    string
	}{
		"namespaces first": {
			reason: "a namespace must be there before what lives in it, and the rest keeps its order",
			text:   deployment + strings.Replace(deployment, "web", "api", 1) + namespace, want: []string{"Namespace demo", "Deployment demo/web", "Deployment demo/api"},
		},
		"Secret":       {reason: "plans hold what is applied", text: namespace + "---\n{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: demo}, stringData: {p: hunter2}}\n", err: "Secret demo/s"},
		"hidden":       {reason: "a List could hold a Secret", text: "{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Secret}]}", err: "List: write its items"},
		"SealedSecret": {reason: "what is encrypted may be kept", text: "{apiVersion: bitnami.com/v1alpha1, kind: SealedSecret, metadata: {name: s}}", want: []string{"SealedSecret s"}},
		"no name":      {reason: "a generated name cannot be observed after a crash", text: "{apiVersion: v1, kind: Pod, metadata: {generateName: x-}}", err: "without metadata.name"},
		"most":         {reason: "as many as are allowed", text: many, want: nil},
		"too many":     {reason: "one more is refused", text: many + deployment, err: "more than 200 objects"},
		"alias bomb":   {reason: "aliases must not fill the memory", text: bomb(), err: "excessive aliasing"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			objects, err := parseWorkloads([]byte(tc.text))
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("%s: error %v, want %q in it", tc.reason, err, tc.err)
				}
				if err != nil && strings.Contains(err.Error(), "hunter2") {
					t.Errorf("%s: the error echoes the Secret: %v", tc.reason, err)
				}
				return
			}
			if err != nil {
				t.Fatalf("%s: %v", tc.reason, err)
			}
			if tc.want == nil {
				return
			}
			var got []string
			for _, o := range objects {
				got = append(got, describe(o))
				if o.GetUID() != "" || o.GetResourceVersion() != "" || o.Object["status"] != nil {
					t.Errorf("%s: what the server writes is kept: %v", tc.reason, o.Object)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// bomb is YAML that grows tenfold with each line.
func bomb() string {
	text := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\na0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
	for i := range 8 {
		text += fmt.Sprintf("a%d: &a%d [%s]\n", i+1, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i), 10), ","))
	}
	return text
}

func FuzzParseObjects(f *testing.F) {
	f.Add([]byte(manifestText))
	f.Add([]byte("---\n---\n{apiVersion: v1, kind: Secret, metadata: {name: s}}\n"))
	f.Add([]byte(bomb()))
	f.Fuzz(func(t *testing.T, data []byte) {
		objects, err := parseWorkloads(data)
		if err != nil {
			return
		}
		for _, o := range objects {
			if o.GetKind() == "" || o.GetName() == "" || (o.GetKind() == "Secret" && o.GetAPIVersion() == "v1") {
				t.Fatalf("took %v", o.Object)
			}
			if _, err := document(o); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestCheckName(t *testing.T) {
	t.Parallel()
	cases := map[string]struct{ reason, name, want string }{
		"short": {reason: "the live cluster's name with the suffix", name: "dev1", want: "dev1-tkgfix-check"},
		"long": {
			reason: "a long name is cut, so that the check is not about its length", name: "a-very-long-name-of-a-cluster-indeed",
			want: "a-very-long-name-of-a-cluster-tkgfix-check",
		},
		"cut at a dash": {reason: "the cut leaves no dash", name: "a-very-long-name-of-cluster--indeed", want: "a-very-long-name-of-cluster-tkgfix-check"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := checkName(tc.name)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
			if len(got) > maxCheckName {
				t.Errorf("%s: %d characters", tc.reason, len(got))
			}
		})
	}
}

func TestDesiredNodes(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		spec   string
		want   [2]int
	}{
		"v1alpha3": {reason: "pools are added up", spec: `{topology: {controlPlane: {replicas: 3}, nodePools: [{replicas: 3}, {replicas: 2}]}}`, want: [2]int{3, 5}},
		"v1alpha1": {reason: "the older shape", spec: `{topology: {controlPlane: {count: 1}, workers: {count: 4}}}`, want: [2]int{1, 4}},
		"Cluster":  {reason: "deployments and pools are added up", spec: `{topology: {controlPlane: {replicas: 3}, workers: {machineDeployments: [{replicas: 3}, {}], machinePools: [{replicas: 2}]}}}`, want: [2]int{3, 6}},
		"Cluster, scaled": {
			reason: "the least that the autoscaler keeps", want: [2]int{1, 2},
			spec: `{topology: {controlPlane: {replicas: 1}, workers: {machineDeployments: [{metadata: {annotations: {cluster.x-k8s.io/cluster-api-autoscaler-node-group-min-size: "2"}}}]}}}`,
		},
		"not given": {reason: "a pool whose count an autoscaler keeps has one node at least", spec: `{topology: {controlPlane: {}, nodePools: [{name: a}]}}`, want: [2]int{1, 1}},
		"nothing":   {reason: "a spec without a topology asks for nothing", spec: `{}`},
		"hostile":   {reason: "wrong types are no counts", spec: `{topology: {controlPlane: 3, nodePools: [x, {replicas: y}]}}`, want: [2]int{0, 1}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kind := `{apiVersion: run.tanzu.vmware.com/v1alpha3, kind: TanzuKubernetesCluster, spec: `
			if strings.HasPrefix(name, "Cluster") {
				kind = `{apiVersion: cluster.x-k8s.io/v1beta2, kind: Cluster, spec: `
			}
			cp, workers := desiredNodes(object(t, kind+tc.spec+`}`))
			if diff := cmp.Diff(tc.want, [2]int{cp, workers}); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestReadApproved(t *testing.T) {
	t.Parallel()
	ref := tkg.Ref{Namespace: "team-a", Name: "dev1"}
	live := object(t, tkcAlive)
	good := func() []plugins.PlannedChange {
		manifest := object(t, manifestText)
		after, err := document(manifest)
		if err != nil {
			t.Fatal(err)
		}
		workload, err := workloadChange(ref, object(t, `{apiVersion: v1, kind: Namespace, metadata: {name: demo}}`))
		if err != nil {
			t.Fatal(err)
		}
		return []plugins.PlannedChange{
			{Action: plugins.Delete, Target: targetOf(live)}, {Action: plugins.Create, Target: targetOf(manifest), After: after}, workload,
		}
	}
	cases := map[string]struct {
		reason string
		bend   func([]plugins.PlannedChange) []plugins.PlannedChange
		err    string
	}{
		"good":      {reason: "what Plan returns", bend: func(c []plugins.PlannedChange) []plugins.PlannedChange { return c }},
		"nothing":   {reason: "no changes", bend: func([]plugins.PlannedChange) []plugins.PlannedChange { return nil }, err: "with 0 changes"},
		"half":      {reason: "a deletion without a creation", bend: func(c []plugins.PlannedChange) []plugins.PlannedChange { return c[:1] }, err: "with 1 changes"},
		"turned":    {reason: "another order", bend: func(c []plugins.PlannedChange) []plugins.PlannedChange { c[0], c[1] = c[1], c[0]; return c }, err: "not the deletion"},
		"no UID":    {reason: "a deletion by name alone", bend: func(c []plugins.PlannedChange) []plugins.PlannedChange { c[0].Target.UID = ""; return c }, err: "not the deletion"},
		"other one": {reason: "another cluster is created than is deleted", bend: func(c []plugins.PlannedChange) []plugins.PlannedChange { c[1].Target.Name = "dev2"; return c }, err: "not the creation of the same cluster"},
		"other kind": {reason: "a Cluster is created where a TanzuKubernetesCluster is deleted", bend: func(c []plugins.PlannedChange) []plugins.PlannedChange {
			c[0].Target.Group, c[0].Target.Kind = tkg.ClusterGroup, tkg.ClusterKind
			return c
		}, err: "not the creation of the same cluster"},
		"no cluster": {reason: "a Secret alone is no new cluster", bend: func(c []plugins.PlannedChange) []plugins.PlannedChange {
			return []plugins.PlannedChange{c[0], secretChange(t)}
		}, err: "none of the approved changes is the creation"},
		"with a Secret": {reason: "what the new cluster trusts comes before it", bend: func(c []plugins.PlannedChange) []plugins.PlannedChange { return slices.Insert(c, 1, secretChange(t)) }},
		"a Secret late": {reason: "a Secret after the cluster would be a workload's", bend: func(c []plugins.PlannedChange) []plugins.PlannedChange { return slices.Insert(c, 2, secretChange(t)) }, err: "not a workload"},
		"a stranger": {
			reason: "nothing but Secrets and companions belongs to a cluster", err: "nor of what belongs to it",
			bend: func(c []plugins.PlannedChange) []plugins.PlannedChange {
				obj := object(t, `{apiVersion: v1, kind: ConfigMap, metadata: {name: dev1, namespace: team-a}}`)
				after, _ := document(obj)
				return slices.Insert(c, 1, plugins.PlannedChange{Action: plugins.Create, Target: targetOf(obj), After: after})
			},
		},
		"another namespace": {
			reason: "nor anything of another namespace", err: "nor of what belongs to it",
			bend: func(c []plugins.PlannedChange) []plugins.PlannedChange {
				x := secretChange(t)
				x.Target.Namespace = "team-b"
				return slices.Insert(c, 1, x)
			},
		},
		"other manifest": {
			reason: "a manifest of another name under the right target",
			bend: func(c []plugins.PlannedChange) []plugins.PlannedChange {
				c[1].After = []byte(strings.Replace(string(c[1].After), "dev1", "dev2", 1))
				return c
			}, err: "of TanzuKubernetesCluster team-a/dev2, is not the creation of the same cluster",
		},
		"no manifest":    {reason: "nothing to create from", bend: func(c []plugins.PlannedChange) []plugins.PlannedChange { c[1].After = nil; return c }, err: "read TanzuKubernetesCluster team-a/dev1"},
		"on Supervisor":  {reason: "a workload belongs on the new cluster", bend: func(c []plugins.PlannedChange) []plugins.PlannedChange { c[2].Target.Cluster = ""; return c }, err: "not a workload"},
		"other deletion": {reason: "a second deletion", bend: func(c []plugins.PlannedChange) []plugins.PlannedChange { c[2].Action = plugins.Delete; return c }, err: "not a workload"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := read(tc.bend(good()))
			if tc.err == "" {
				if err != nil || got.cluster != ref || len(got.workloads) != 1 {
					t.Errorf("%s: %+v, %v", tc.reason, got, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%s: error %v, want %q in it", tc.reason, err, tc.err)
			}
		})
	}
}

func secretChange(t *testing.T) plugins.PlannedChange {
	t.Helper()
	s := &trustSecret{name: "dev1-user-trusted-ca-secret", data: map[string]string{"ca": "eA=="}}
	change, ok, err := s.change(tkg.Ref{Namespace: "team-a", Name: "dev1"})
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	return change
}

func TestMarkedIsNotPartOfTheManifest(t *testing.T) {
	t.Parallel()
	manifest := object(t, manifestText)
	got := marked(manifest, "r1")
	if diff := cmp.Diff(map[string]string{"tkgfix.dev/run": "r1"}, got.GetAnnotations()); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
	if diff := cmp.Diff(object(t, manifestText).Object, manifest.Object); diff != "" {
		t.Errorf("marking changed the approved manifest: -want, +got:\n%s", diff)
	}
}

func TestConflicts(t *testing.T) {
	t.Parallel()
	const alive = `{apiVersion: run.tanzu.vmware.com/v1alpha3, kind: TanzuKubernetesCluster, metadata: {name: dev1, namespace: team-a, uid: old, generation: 3}}`
	target := plugins.Target{Kind: tkg.TKCKind, Namespace: "team-a", Name: "dev1"}
	trust := plugins.Target{Kind: "TkgServiceConfiguration", Name: tkg.ServiceConfigurationName}
	all := func(uid, generation, hash string) []plugins.Precondition {
		return []plugins.Precondition{{Target: target, Field: fieldUID, Value: uid}, {Target: target, Field: fieldGeneration, Value: generation}, {Target: trust, Field: fieldTrust, Value: hash}}
	}
	cases := map[string]struct {
		reason string
		tkc    string
		conds  []plugins.Precondition
		kind   plugins.ErrorKind
		err    string
	}{
		"holds": {reason: "all is as it was planned on", tkc: alive, conds: all("old", "3", "sha256:t")},
		"uid": {
			reason: "another cluster of the name", tkc: alive, conds: all("older", "3", "sha256:t"), kind: plugins.KindConflict,
			err: "metadata.uid of TanzuKubernetesCluster team-a/dev1 changed since the plan: it was older and is now old",
		},
		"generation": {
			reason: "somebody edited the cluster", tkc: alive, conds: all("old", "2", "sha256:t"), kind: plugins.KindConflict,
			err: "metadata.generation of TanzuKubernetesCluster team-a/dev1 changed since the plan: it was 2 and is now 3",
		},
		"trust": {
			reason: "the CA is not where the new nodes get it from", tkc: alive, conds: all("old", "3", "sha256:u"), kind: plugins.KindConflict,
			err: "spec.trust.additionalTrustedCAs of TkgServiceConfiguration tkg-service-configuration changed since the plan: it was sha256:u and is now sha256:t",
		},
		"unknown": {
			reason: "what cannot be checked does not hold", tkc: alive, conds: append(all("old", "3", "sha256:t"), plugins.Precondition{Field: "spec.x"}), kind: plugins.KindFailed,
			err: "the approved change stands on spec.x, which this step does not know",
		},
		"missing": {
			reason: "a deletion that does not stand on the generation was never planned by this step", tkc: alive, conds: all("old", "3", "sha256:t")[:1], kind: plugins.KindFailed,
			err: "the approved deletion does not stand on metadata.generation",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := conflicts(tc.conds, func(p plugins.Precondition) (string, bool, error) {
				owner := object(t, tc.tkc)
				if p.Field == fieldTrust {
					return "sha256:t", true, nil
				}
				return supervisor{}.now(t.Context(), owner, p)
			})
			if tc.err == "" {
				if err != nil {
					t.Errorf("%s: %v", tc.reason, err)
				}
				return
			}
			if err == nil {
				t.Fatalf("%s: no error", tc.reason)
			}
			if diff := cmp.Diff([]string{string(tc.kind), tc.err}, []string{string(plugins.KindOf(err)), err.Error()}); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
