package tkg_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
)

// machineIn is a Machine of a version of the Cluster API, with labels and more of its fields.
func machineIn(version, name, labels, more string) string {
	return "{apiVersion: cluster.x-k8s.io/" + version + ", kind: Machine, metadata: {name: " + name + ", namespace: team-a, uid: " + name +
		", labels: {cluster.x-k8s.io/cluster-name: dev1" + labels + "}}, " + more + "}"
}

// Machines are read in either version, of which only conditions and references differ.
func TestWorkers(t *testing.T) {
	t.Parallel()
	const (
		plane   = `, cluster.x-k8s.io/control-plane: ""`
		address = "addresses: [{type: InternalIP, address: 10.0.0.7}]"
		v1beta1 = "spec: {version: v1.26.5, infrastructureRef: {apiVersion: vmware.infrastructure.cluster.x-k8s.io/v1beta1, kind: VSphereMachine, name: vm-a, namespace: team-a}, nodeDrainTimeout: 5m}, " +
			"status: {nodeRef: {apiVersion: v1, kind: Node, name: node-a, uid: u}, conditions: [{type: Ready, status: 'True', severity: Info}], " + address + ", v1beta2: {conditions: []}}"
		v1beta2 = "spec: {version: v1.34.2, infrastructureRef: {apiGroup: vmware.infrastructure.cluster.x-k8s.io, kind: VSphereMachine, name: vm-a}}, " +
			"status: {nodeRef: {name: node-a}, conditions: [{type: Ready, status: 'True', reason: R}], " + address + ", deprecated: {v1beta1: {}}}"
	)
	cases := map[string]struct {
		reason   string
		objects  []string
		workers  []string // name, address, joined
		unjoined []string
		err      string
	}{
		"v1beta1": {reason: "references of kind, name and namespace", objects: []string{machineIn("v1beta1", "a", "", v1beta1)}, workers: []string{"node-a 10.0.0.7 joined"}},
		"v1beta2": {reason: "references of a name alone", objects: []string{machineIn("v1beta2", "a", "", v1beta2)}, workers: []string{"node-a 10.0.0.7 joined"}},
		"by its VirtualMachine": {
			reason:  "the Machine has no address, and its VirtualMachine another name",
			objects: []string{machineIn("v1beta2", "a", "", "spec: {infrastructureRef: {name: vm-a}}"), "{apiVersion: vmoperator.vmware.com/v1alpha1, kind: VirtualMachine, metadata: {name: vm-a, namespace: team-a}, status: {vmIp: 10.0.0.9}}"},
			workers: []string{"a 10.0.0.9 unjoined"},
		},
		"wedged": {
			reason:  "the control plane's that never joined are told of, and those that have are no workers",
			objects: []string{machineIn("v1beta1", "a", "", v1beta1), machineIn("v1beta1", "cp-old", plane, "status: {nodeRef: {name: cp}}"), machineIn("v1beta1", "cp-new", plane, "status: {"+address+"}")},
			workers: []string{"node-a 10.0.0.7 joined"}, unjoined: []string{"cp-new 10.0.0.7 unjoined"},
		},
		"odd conditions": {reason: "what is not used may be anything", objects: []string{machineIn("v1beta1", "a", "", "spec: {bootstrap: [1]}, status: {conditions: {x: y}, nodeRef: {name: node-b}}")}, workers: []string{"node-b  joined"}},
		"hostile":        {reason: "a list where an object should be", objects: []string{machineIn("v1beta1", "a", "", "status: [1]")}, err: "read Machine team-a/a"},
		"none":           {reason: "the next command fits every generation", err: "has no machines"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, ref := client(t, tc.objects, nil), tkg.Ref{Namespace: "team-a", Name: "dev1"}
			brief := func(nodes []tkg.Node) (out []string) {
				for _, n := range nodes {
					out = append(out, n.Name+" "+n.Address+" "+map[bool]string{true: "joined", false: "unjoined"}[n.Joined])
				}
				return out
			}
			workers, err := tkg.Workers(t.Context(), c, ref)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("%s: error %v, want %q", tc.reason, err, tc.err)
				}
				if hint := plugins.HintOf(err); tc.objects == nil && !strings.Contains(hint, "kubectl describe cluster dev1 -n team-a") {
					t.Errorf("%s: hint %q", tc.reason, hint)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			unjoined, err := tkg.Unjoined(t.Context(), c, ref)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([][]string{tc.workers, tc.unjoined}, [][]string{brief(workers), brief(unjoined)}); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// A cluster that is not there is another matter than one whose control plane has never been up.
func TestWayIn(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason    string
		objects   []string
		err, hint string
	}{
		"no cluster":      {reason: "a typing error", err: "no cluster team-a/dev1", hint: "tkgfix diagnose -n team-a"},
		"never up":        {reason: "a class", objects: []string{clusterOf("builtin-generic-v3.3.0", "")}, err: "the control plane of cluster team-a/dev1 has never been up", hint: "kubectl describe cluster dev1 -n team-a"},
		"a TKC, never up": {reason: "its own kind", objects: []string{tkc("[]")}, err: "has never been up", hint: "kubectl describe tanzukubernetescluster dev1 -n team-a"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := tkg.WorkloadClient(t.Context(), client(t, tc.objects, nil), tkg.Ref{Namespace: "team-a", Name: "dev1"})
			if !apierrors.IsNotFound(err) || !strings.Contains(err.Error(), tc.err) || !strings.Contains(plugins.HintOf(err), tc.hint) {
				t.Errorf("%s: error %v, hint %q; want %q, %q", tc.reason, err, plugins.HintOf(err), tc.err, tc.hint)
			}
		})
	}
}

// The kubeconfig is made before the control plane is up: what does not answer then has never answered.
func TestNeverUp(t *testing.T) {
	t.Parallel()
	silent := plugins.WithKind(plugins.KindTransient, errors.New("connection refused"))
	status := func(s string) []string {
		return []string{"{apiVersion: cluster.x-k8s.io/v1beta2, kind: Cluster, metadata: {name: dev1, namespace: team-a}, status: {conditions: [{type: ControlPlaneInitialized, status: '" + s + "'}]}}"}
	}
	cases := map[string]struct {
		reason  string
		objects []string
		err     error
		want    bool
	}{
		"never":      {reason: "the Cluster says so", objects: status("False"), err: silent, want: true},
		"down":       {reason: "it has been up", objects: status("True"), err: silent},
		"forbidden":  {reason: "it answered", objects: status("False"), err: errors.New("forbidden")},
		"no cluster": {reason: "nothing says so", err: silent},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := tkg.NeverUp(t.Context(), client(t, tc.objects, nil), tkg.Ref{Namespace: "team-a", Name: "dev1"}, tc.err)
			if !errors.Is(got, tc.err) || strings.Contains(got.Error(), "has never been up") != tc.want {
				t.Errorf("%s: got %v", tc.reason, got)
			}
		})
	}
}
