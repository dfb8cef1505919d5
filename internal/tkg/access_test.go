package tkg

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	out := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &out.Object); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestNodeOf(t *testing.T) {
	t.Parallel()
	const meta = `metadata: {name: dev1-np1-a, uid: u1, creationTimestamp: "2026-09-01T00:00:00Z", labels: {cluster.x-k8s.io/cluster-name: dev1}}
`
	created := time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC)
	cases := map[string]struct {
		reason  string
		machine string
		want    Node
	}{
		"Running": {
			reason:  "the InternalIP among others",
			machine: meta + "spec: {version: v1.26.5}\nstatus: {nodeRef: {name: node-a}, addresses: [{type: Hostname, address: x}, {type: ExternalIP, address: 1.2.3.4}, {type: InternalIP, address: 10.244.1.37}]}",
			want:    Node{Name: "node-a", MachineUID: "u1", Address: "10.244.1.37", Created: created, Version: "v1.26.5", Joined: true},
		},
		"Starting": {
			reason:  "a Machine without a node has its own name and no address",
			machine: meta + "status: {phase: Provisioning}",
			want:    Node{Name: "dev1-np1-a", MachineUID: "u1", Created: created},
		},
		"ControlPlane": {
			reason:  "the label counts, whatever its value",
			machine: `metadata: {name: cp, uid: u2, labels: {cluster.x-k8s.io/control-plane: ""}}`,
			want:    Node{Name: "cp", MachineUID: "u2", ControlPlane: true},
		},
		"Pool": {
			reason:  "the name in the topology, before that of the MachineDeployment",
			machine: `metadata: {name: a, uid: u1, labels: {topology.cluster.x-k8s.io/deployment-name: np1, cluster.x-k8s.io/deployment-name: dev1-np1-x7k2p}}`,
			want:    Node{Name: "a", MachineUID: "u1", Pool: "np1"},
		},
		"PoolOfDeployment": {
			reason:  "a cluster without topology",
			machine: `metadata: {name: a, uid: u1, labels: {cluster.x-k8s.io/deployment-name: dev1-workers}}`,
			want:    Node{Name: "a", MachineUID: "u1", Pool: "dev1-workers"},
		},
		"Hostile": {
			reason:  "an address ends up in a command that a person is told to type",
			machine: meta + "status: {addresses: [{type: InternalIP, address: \"1.1.1.1; reboot\"}, {type: InternalIP, address: \"fe80::1%eth0\"}, {type: InternalIP}]}",
			want:    Node{Name: "dev1-np1-a", MachineUID: "u1", Created: created},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			machine, err := machineOf(object(t, c.machine))
			if err != nil {
				t.Fatal(err)
			}
			got := nodeOf(machine)
			if got.Created.IsZero() {
				got.Created = time.Time{}
			}
			got.Created = got.Created.UTC()
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", c.reason, diff)
			}
		})
	}
}

func TestVMStatusAddress(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		vm     string
		want   string
	}{
		"V1alpha1": {reason: "vSphere 7", vm: "status: {phase: Created, powerState: poweredOn, vmIp: 10.244.1.21}", want: "10.244.1.21"},
		"V1alpha3": {reason: "vSphere 8", vm: "status: {powerState: PoweredOn, network: {primaryIP4: 10.244.1.37, primaryIP6: 'fd00::1'}}", want: "10.244.1.37"},
		"IPv6":     {reason: "only IPv6", vm: "status: {network: {primaryIP6: 'fd00::1'}}", want: "fd00::1"},
		"None":     {reason: "not up yet", vm: "status: {}", want: ""},
		"Hostile":  {reason: "no address", vm: "status: {vmIp: '$(reboot)'}", want: ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := vmStatusAddress(object(t, c.vm)); got != c.want {
				t.Errorf("%s: want %q, got %q", c.reason, c.want, got)
			}
		})
	}
}
