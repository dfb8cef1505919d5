package recreate

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

// object reads one object from YAML; "" is nil.
func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	if text == "" {
		return nil
	}
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	obj := &unstructured.Unstructured{}
	if err := obj.UnmarshalJSON(raw); err != nil {
		t.Fatal(err)
	}
	return obj
}

const (
	tkcAlive = `{apiVersion: run.tanzu.vmware.com/v1alpha3, kind: TanzuKubernetesCluster, metadata: {name: dev1, namespace: team-a, uid: old}}`
	tkcGoing = `{apiVersion: run.tanzu.vmware.com/v1alpha3, kind: TanzuKubernetesCluster, metadata: {name: dev1, namespace: team-a, uid: old, ` +
		`deletionTimestamp: "2026-10-01T10:00:00Z", finalizers: [run.tanzu.vmware.com/tkc]}}`
	tkcOther     = `{apiVersion: run.tanzu.vmware.com/v1alpha3, kind: TanzuKubernetesCluster, metadata: {name: dev1, namespace: team-a, uid: new}}`
	clusterGoing = `
apiVersion: cluster.x-k8s.io/v1beta2
kind: Cluster
metadata:
  name: dev1
  namespace: team-a
  uid: c1
  deletionTimestamp: "2026-10-01T10:00:00Z"
  finalizers: [cluster.cluster.x-k8s.io, tkg.tanzu.vmware.com/addon]
  ownerReferences: [{apiVersion: run.tanzu.vmware.com/v1alpha3, kind: TanzuKubernetesCluster, name: dev1, uid: old}]
status:
  phase: Deleting
  conditions: [{type: Deleting, status: "True", reason: WaitingForWorkersDeletion, message: "* MachineDeployments:\n  np1"}]
`
	// In the older generation of the API the new conditions are in status.v1beta2.
	clusterGoingOld = `
apiVersion: cluster.x-k8s.io/v1beta1
kind: Cluster
metadata: {name: dev1, namespace: team-a, uid: c1, deletionTimestamp: "2026-10-01T10:00:00Z"}
status:
  conditions: [{type: Ready, status: "False", reason: Deleting}]
  v1beta2: {conditions: [{type: Deleting, status: "True", reason: WaitingForInfrastructureDeletion}]}
`
	clusterOfNew = `{apiVersion: cluster.x-k8s.io/v1beta2, kind: Cluster, metadata: {name: dev1, namespace: team-a, uid: c2, ` +
		`ownerReferences: [{apiVersion: run.tanzu.vmware.com/v1alpha3, kind: TanzuKubernetesCluster, name: dev1, uid: new}]}}`
	vmService = `{apiVersion: vmoperator.vmware.com/v1alpha3, kind: VirtualMachineService, metadata: {name: dev1, namespace: team-a, uid: s1}}`
)

func TestDeletionSeen(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason                  string
		owner, cluster, service string
		want                    sdk.State
		note                    string
	}{
		"untouched": {reason: "the same object without a deletion: acting is right", owner: tkcAlive, cluster: clusterOfNew, service: vmService, want: sdk.No, note: "is there"},
		"going": {
			reason: "the reason of the Deleting condition and the finalizers say how far it is", owner: tkcGoing, cluster: clusterGoing, service: vmService, want: sdk.Underway,
			note: "deleting TanzuKubernetesCluster team-a/dev1: WaitingForWorkersDeletion (* MachineDeployments: np1), " +
				"finalizers left: cluster.cluster.x-k8s.io, tkg.tanzu.vmware.com/addon",
		},
		"going, older API": {reason: "both generations of conditions are read", owner: tkcGoing, cluster: clusterGoingOld, want: sdk.Underway, note: ": WaitingForInfrastructureDeletion"},
		"going, no Cluster": {reason: "without a Cluster its own finalizers are shown", owner: tkcGoing, want: sdk.Underway,
			note: "deleting TanzuKubernetesCluster team-a/dev1: no Deleting condition, finalizers left: run.tanzu.vmware.com/tkc"},
		"Cluster left":         {reason: "the cluster is not gone while its Cluster is there", cluster: clusterGoing, want: sdk.Underway, note: "waiting for Cluster team-a/dev1 to go: WaitingForWorkersDeletion"},
		"service left":         {reason: "an old address must not be taken over", service: vmService, want: sdk.Underway, note: "waiting for VirtualMachineService team-a/dev1 to go"},
		"all gone":             {reason: "nothing of the name is left", want: sdk.Yes, note: "are gone"},
		"another, whole":       {reason: "what belongs to the newcomer never goes: the old one is gone", owner: tkcOther, cluster: clusterOfNew, service: vmService, want: sdk.Yes, note: "another"},
		"another, old Cluster": {reason: "the old Cluster is still waited for", owner: tkcOther, cluster: clusterGoing, want: sdk.Underway, note: "waiting for Cluster"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := deletionSeen(world{owner: object(t, tc.owner), cluster: object(t, tc.cluster), service: object(t, tc.service)}, "old")
			if diff := cmp.Diff(tc.want, got.State); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
			if !strings.Contains(got.Note, tc.note) {
				t.Errorf("%s: note %q, want %q in it", tc.reason, got.Note, tc.note)
			}
		})
	}
}

func TestCreationSeen(t *testing.T) {
	t.Parallel()
	const ours = `{apiVersion: run.tanzu.vmware.com/v1alpha3, kind: TanzuKubernetesCluster, metadata: {name: dev1, namespace: team-a, uid: new, annotations: {tkgfix.dev/run: r1}}}`
	cases := map[string]struct {
		reason string
		owner  string
		runID  string
		want   sdk.State
	}{
		"absent":      {reason: "nothing was created", runID: "r1", want: sdk.No},
		"ours":        {reason: "the annotation tells the run's own", owner: ours, runID: "r1", want: sdk.Yes},
		"another run": {reason: "another run's cluster is not this run's", owner: ours, runID: "r2", want: sdk.Unknowable},
		"foreign":     {reason: "a cluster without the annotation is somebody else's", owner: tkcOther, runID: "r1", want: sdk.Unknowable},
		"no id":       {reason: "an empty id must not match a missing annotation", owner: tkcOther, want: sdk.Unknowable},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := creationSeen(object(t, tc.owner), tc.runID)
			if diff := cmp.Diff(tc.want, got.State); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
			if got.State == sdk.Unknowable && !strings.Contains(got.Note, "kubectl get tanzukubernetescluster dev1 -n team-a") {
				t.Errorf("%s: the note has no command: %s", tc.reason, got.Note)
			}
		})
	}
}

func TestApplySeen(t *testing.T) {
	t.Parallel()
	with := func(annotations string) string {
		return `{apiVersion: v1, kind: Namespace, metadata: {name: demo, uid: n1, annotations: {` + annotations + `}}}`
	}
	cases := map[string]struct {
		reason string
		obj    string
		runID  string
		want   sdk.State
	}{
		"absent":      {reason: "not there: apply it", runID: "r1", want: sdk.No},
		"applied":     {reason: "the annotation tells that this run applied it", obj: with("tkgfix.dev/run: r1"), runID: "r1", want: sdk.Yes},
		"another run": {reason: "what another run applied is applied again", obj: with("tkgfix.dev/run: r2"), runID: "r1", want: sdk.No},
		"foreign":     {reason: "made by somebody else, such as a default namespace: applying does no harm", obj: with(""), runID: "r1", want: sdk.No},
		"no id":       {reason: "an empty id must not match a missing annotation", obj: with(""), want: sdk.No},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, applySeen(object(t, tc.obj), tc.runID).State); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestReadinessOf(t *testing.T) {
	t.Parallel()
	tkc := func(conditions string) string {
		return `{apiVersion: run.tanzu.vmware.com/v1alpha3, kind: TanzuKubernetesCluster, metadata: {name: dev1, namespace: team-a, uid: new}, status: {` + conditions + `}}`
	}
	cluster := func(host string) string {
		return `{apiVersion: cluster.x-k8s.io/v1beta2, kind: Cluster, metadata: {name: dev1, namespace: team-a}, spec: {controlPlaneEndpoint: {host: "` + host + `", port: 6443}}}`
	}
	service := func(ip string) string {
		return `{apiVersion: vmoperator.vmware.com/v1alpha3, kind: VirtualMachineService, metadata: {name: dev1, namespace: team-a}, status: {loadBalancer: {ingress: [{ip: "` + ip + `"}]}}}`
	}
	const yes, no = `conditions: [{type: Ready, status: "True"}]`, `conditions: [{type: Ready, status: "False", reason: WaitingForControlPlaneInitialized, message: m}]`
	two := []tkg.Node{{Name: "a", Address: "10.0.0.1", Joined: true}, {Name: "b", Address: "10.0.0.2", Joined: true}}

	cases := map[string]struct {
		reason                  string
		owner, cluster, service string
		noServices              bool
		workers                 []tkg.Node
		want                    readiness
	}{
		"ready": {
			reason: "ready under its own address with its workers", owner: tkc(yes), cluster: cluster("10.0.0.14"), service: service("10.0.0.14"), workers: two,
			want: readiness{ready: true, note: "ready, 2 workers"},
		},
		"old address": {
			reason: "the fault of name reuse is told even though everything else looks well", owner: tkc(yes), cluster: cluster("10.0.0.10"), service: service("10.0.0.14"), workers: two,
			want: readiness{reused: true, note: "the cluster's endpoint is 10.0.0.10, but its VirtualMachineService has 10.0.0.14"},
		},
		"two spellings": {
			reason: "an IPv6 address is the same in any spelling", owner: tkc(yes), cluster: cluster("fd00:0:0::1"), service: service("fd00::1"), workers: two,
			want: readiness{ready: true, note: "ready, 2 workers"},
		},
		"no endpoint": {
			reason: "without an endpoint nothing can be compared", owner: tkc(no), cluster: cluster(""), service: service("10.0.0.14"),
			want: readiness{note: "waiting for the cluster's endpoint: Ready is False, WaitingForControlPlaneInitialized (m)"},
		},
		"no Cluster": {reason: "the Cluster comes after its owner", owner: tkc(""), want: readiness{note: "waiting for the cluster's endpoint: it has no Ready condition yet"}},
		"no address": {
			reason: "a service without an address must not pass as the right one", owner: tkc(yes), cluster: cluster("10.0.0.14"), workers: two,
			want: readiness{note: "waiting for the address of the cluster's VirtualMachineService"},
		},
		"no such kind": {
			reason: "a Supervisor without the kind has none to wait for", owner: tkc(yes), cluster: cluster("10.0.0.14"), noServices: true, workers: two,
			want: readiness{ready: true, note: "ready, 2 workers"},
		},
		"not ready": {
			reason: "what the condition says is what is waited for", owner: tkc(no), cluster: cluster("10.0.0.14"), service: service("10.0.0.14"), workers: two[:1],
			want: readiness{note: "waiting for TanzuKubernetesCluster team-a/dev1 to be ready: Ready is False, WaitingForControlPlaneInitialized (m); 1 of 2 workers have joined"},
		},
		"worker missing": {
			reason: "a cluster may call itself ready before its last worker is there", owner: tkc(yes), cluster: cluster("10.0.0.14"), service: service("10.0.0.14"),
			workers: []tkg.Node{two[0], {Name: "b", Address: "10.0.0.2"}},
			want:    readiness{note: "1 of 2 workers have joined"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := world{owner: object(t, tc.owner), cluster: object(t, tc.cluster), service: object(t, tc.service), noServices: tc.noServices}
			if diff := cmp.Diff(tc.want, readinessOf(w, tc.workers, 2), cmp.AllowUnexported(readiness{})); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestIsReadyWithoutConditions(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		owner  string
		want   bool
	}{
		"v1alpha1 running":        {reason: "v1alpha1 has a phase and no conditions", owner: `{apiVersion: run.tanzu.vmware.com/v1alpha1, kind: TanzuKubernetesCluster, status: {phase: running}}`, want: true},
		"v1alpha1 creating":       {reason: "another phase is not ready", owner: `{apiVersion: run.tanzu.vmware.com/v1alpha1, kind: TanzuKubernetesCluster, status: {phase: creating}}`},
		"Cluster, new conditions": {reason: "a Cluster is ready when it is Available", owner: `{apiVersion: cluster.x-k8s.io/v1beta2, kind: Cluster, metadata: {name: a}, status: {conditions: [{type: Available, status: "True"}]}}`, want: true},
		"Cluster, old object": {
			reason: "v1beta1 keeps the new conditions elsewhere, and its old Ready says less", want: false,
			owner: `{apiVersion: cluster.x-k8s.io/v1beta2, kind: Cluster, metadata: {name: a}, status: {conditions: [{type: Ready, status: "True"}, {type: ControlPlaneInitialized, status: "True"}], v1beta2: {conditions: [{type: Available, status: "False"}]}}}`,
		},
		"Cluster, old object available": {reason: "and there it counts", owner: `{apiVersion: cluster.x-k8s.io/v1beta2, kind: Cluster, metadata: {name: a}, status: {v1beta2: {conditions: [{type: Available, status: "True"}]}}}`, want: true},
		"Cluster, old API":              {reason: "before there was Available", owner: `{apiVersion: cluster.x-k8s.io/v1beta2, kind: Cluster, metadata: {name: a}, status: {conditions: [{type: Ready, status: "True"}, {type: ControlPlaneInitialized, status: "True"}]}}`, want: true},
		"Cluster, old API, coming up":   {reason: "the control plane comes first", owner: `{apiVersion: cluster.x-k8s.io/v1beta2, kind: Cluster, metadata: {name: a}, status: {conditions: [{type: ControlPlaneInitialized, status: "True"}]}}`},
		"Cluster, phase":                {reason: "Provisioned is no word about nodes", owner: `{apiVersion: cluster.x-k8s.io/v1beta2, kind: Cluster, metadata: {name: a}, status: {phase: Provisioned}}`},
		"v1alpha3 running":              {reason: "later versions are not judged by their phase", owner: `{apiVersion: run.tanzu.vmware.com/v1alpha3, kind: TanzuKubernetesCluster, status: {phase: running}}`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, isReady(object(t, tc.owner))); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestEverUp(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		reason, cluster string
		want            bool
	}{
		"new":       {"v1beta2 says it of itself", `{status: {initialization: {controlPlaneInitialized: true}}}`, true},
		"old":       {"v1beta1 has a field", `{status: {controlPlaneReady: true}}`, true},
		"condition": {"both have a condition", `{status: {v1beta2: {conditions: [{type: ControlPlaneInitialized, status: "True"}]}}}`, true},
		"gone sick": {"what was up once may hold something, however it is now", `{status: {initialization: {controlPlaneInitialized: true}, conditions: [{type: Available, status: "False"}]}}`, true},
		"never":     {"such a cluster holds nothing", `{status: {conditions: [{type: ControlPlaneInitialized, status: "False"}]}}`, false},
		"no status": {"a moment old", `{spec: {}}`, false},
	} {
		if got := everUp(object(t, "{apiVersion: cluster.x-k8s.io/v1beta2, kind: Cluster, metadata: {name: a}, "+tc.cluster[1:])); got != tc.want {
			t.Errorf("%s: %s: got %v", name, tc.reason, got)
		}
	}
	if everUp(nil) {
		t.Error("a cluster without a Cluster was up")
	}
}
