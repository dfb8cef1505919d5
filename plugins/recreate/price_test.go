package recreate

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/plugins"
)

func priced() inventory {
	return inventory{
		endpoint: "10.0.0.10:6443", controlPlane: 3, workers: 2, kubeconfigs: 1, addons: 2, addonsLost: []string{"x"}, pods: 41,
		workloads: map[string]counts{"a": {"Deployment": 2, "StatefulSet": 1, "CronJob": 1}, "b": {"DaemonSet": 1, "Job": 3}},
		volumes: []volume{
			{claim: "a/1", name: "pv1", reclaim: "Delete"}, {claim: "a/2", name: "pv2", reclaim: "Retain"}, {claim: "a/pending"}, {name: "left", reclaim: "Retain"},
		},
		snapshots: []snapshot{{name: "a/s", claim: "a/1"}},
		services:  []service{{name: "a/lb", addresses: []string{"10.0.0.30", "10.0.0.31"}}, {name: "a/new"}},
		own:       []ownSecret{{name: "a/db"}, {name: "a/pull"}, {name: "a/tls", certificate: true}},
	}
}

func TestPrice(t *testing.T) {
	t.Parallel()
	want := price{
		Clusters: 1, Nodes: 5, ControlPlaneNodes: 3, WorkerNodes: 2, Pods: 41,
		Workloads: 8, Deployments: 2, StatefulSets: 1, DaemonSets: 1, CronJobs: 1, Jobs: 3,
		Volumes: 3, VolumesRetained: 2, Snapshots: 1, LoadBalancers: 2, Addresses: 2, APIAddresses: 1, Secrets: 2, Certificates: 1,
		AddOns: 3, AddOnsLost: 1, Kubeconfigs: 1, DowntimeMinimum: 6, DowntimeMaximum: 39,
	}
	got := priced().price()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
	const line = "5 nodes (3 of the control plane), 41 pods, 8 workloads, 3 volumes (2 kept as disks, 1 snapshot), 2 load balancers, 2 Secrets, 1 certificate; " +
		"6 to 39 minutes without the cluster"
	if diff := cmp.Diff(line, got.sentence()); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
	if e := got.evidence("x"); !strings.Contains(string(e.Data), `"pods":41`) {
		t.Errorf("the evidence holds no numbers: %s", e.Data)
	}
}

func TestBudget(t *testing.T) {
	t.Parallel()
	at := func(n int) *int { return &n }
	for name, tc := range map[string]struct {
		reason string
		budget budget
		back   int
		want   []string
	}{
		"none":           {reason: "no bound is no bound"},
		"at the bound":   {reason: "a bound may be met", budget: budget{Volumes: at(3), LoadBalancers: at(2), Workloads: at(8), Nodes: at(5), Downtime: at(39)}},
		"volumes":        {reason: "one too many", budget: budget{Volumes: at(2)}, want: []string{"over the budget: 3 volumes would be lost, and budget.maxVolumesLost is 2"}},
		"zero":           {reason: "zero is a bound", budget: budget{Volumes: at(0)}, want: []string{"over the budget: 3 volumes would be lost, and budget.maxVolumesLost is 0"}},
		"load balancers": {reason: "each has a bound of its own", budget: budget{LoadBalancers: at(1)}, want: []string{"over the budget: 2 load balancers would be lost, and budget.maxLoadBalancersLost is 1"}},
		"workloads":      {reason: "what the file brings back is not lost", budget: budget{Workloads: at(5)}, back: 2, want: []string{"over the budget: 6 workloads would be lost, and budget.maxWorkloadsLost is 5"}},
		"brought back":   {reason: "all of them are", budget: budget{Workloads: at(0)}, back: 9},
		"nodes":          {reason: "of all pools", budget: budget{Nodes: at(4)}, want: []string{"over the budget: 5 nodes would be lost, and budget.maxNodes is 4"}},
		"downtime":       {reason: "the worst that is expected counts", budget: budget{Downtime: at(30)}, want: []string{"over the budget: up to 39 minutes without the cluster are expected, and budget.maxDowntimeMinutes is 30"}},
		"all":            {reason: "each is told", budget: budget{Volumes: at(0), Nodes: at(0)}, want: []string{"over the budget: 3 volumes would be lost, and budget.maxVolumesLost is 0", "over the budget: 5 nodes would be lost, and budget.maxNodes is 0"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(strings.Join(tc.want, "\n"), reasons(t, tc.budget.blocks(priced().price(), tc.back))); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// Right before the deletion what would be lost is compared with what was approved: by name, and with the budget.
func TestStillApproved(t *testing.T) {
	t.Parallel()
	approved := append(priced().lost(), "add-on settings that only a plan looks for")
	bound := 3
	for name, tc := range map[string]struct {
		reason string
		bend   func(*inventory)
		err    string
	}{
		"the same": {"nothing has moved", func(*inventory) {}, ""},
		"pods":     {"pods come and go, and void nothing", func(v *inventory) { v.pods = 4100 }, ""},
		"less":     {"what is gone already is not lost", func(v *inventory) { v.services = v.services[:1] }, ""},
		"a volume": {"a volume that nobody approved", func(v *inventory) {
			v.volumes = append(v.volumes, volume{claim: "a/new", name: "pv9", reclaim: "Delete"})
		}, "PersistentVolumeClaim a/new"},
		"a swap": {
			"as many volumes, but another", func(v *inventory) { v.volumes[0] = volume{claim: "a/other", name: "pv9", reclaim: "Delete"} }, "PersistentVolumeClaim a/other",
		},
		"a snapshot": {"it belongs to a volume's line", func(v *inventory) { v.snapshots = append(v.snapshots, snapshot{name: "a/s2", claim: "a/1"}) }, "2 snapshots"},
		"a balancer": {"a load balancer", func(v *inventory) { v.services = append(v.services, service{name: "a/lb9"}) }, "LoadBalancer Service a/lb9"},
		"a Secret":   {"a Secret", func(v *inventory) { v.own = append(v.own, ownSecret{name: "a/new", kind: "Opaque"}) }, "Secret a/new"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inv := priced()
			tc.bend(&inv)
			err := stillApproved(inv, approved, budget{Volumes: &bound}, 0)
			switch {
			case tc.err == "" && err != nil:
				t.Errorf("%s: %v", tc.reason, err)
			case tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err) || plugins.KindOf(err) != plugins.KindConflict || plugins.HintOf(err) == ""):
				t.Errorf("%s: error %v, want a conflict with %q", tc.reason, err, tc.err)
			}
		})
	}
	tight := 2
	if err := stillApproved(priced(), approved, budget{Volumes: &tight}, 0); err == nil || !strings.Contains(err.Error(), "3 volumes") || plugins.KindOf(err) != plugins.KindConflict {
		t.Errorf("the budget is held live: %v", err)
	}
}
