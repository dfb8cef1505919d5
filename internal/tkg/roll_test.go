package tkg_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tkgfix/tkgfix/internal/tkg"
)

// changedAt is when the change of these tests was made; times are minutes from it.
var changedAt = time.Date(2026, 10, 1, 10, 0, 0, 300e6, time.UTC)

func minutes(n int) string { return changedAt.Add(time.Duration(n) * time.Minute).Format(time.RFC3339) }

// machineOf is a Machine of v1beta2 that was created so many minutes after the change; more is what follows in its status.
func machineOf(name string, created int, more string) string {
	return fmt.Sprintf("apiVersion: cluster.x-k8s.io/v1beta2\nkind: Machine\nmetadata: {name: %s, creationTimestamp: %q, uid: u-%s, labels: {topology.cluster.x-k8s.io/deployment-name: np1}}\nstatus: {%s}",
		name, minutes(created), name, more)
}

const (
	readyAnd   = "nodeRef: {name: NODE}, conditions: [{type: Ready, status: 'True'}, {type: NodeHealthy, status: 'True'}, {type: UpToDate, status: '%s'}]"
	notJoined  = "phase: Provisioned, conditions: [{type: Ready, status: 'False', reason: NotReady, message: 'waiting for the node'}, {type: UpToDate, status: 'True'}]"
	notHealthy = "nodeRef: {name: node1}, conditions: [{type: Ready, status: 'False', reason: NotReady}, {type: NodeHealthy, status: 'False', reason: NodeNotHealthy, message: 'container runtime is down'}]"
	unsaid     = "nodeRef: {name: node1}"
)

func ready(name string, created int, upToDate string) string {
	return strings.Replace(machineOf(name, created, fmt.Sprintf(readyAnd, upToDate)), "NODE", name, 1)
}

func deleting(text string, since int) string {
	return strings.Replace(text, "metadata: {", fmt.Sprintf("metadata: {deletionTimestamp: %q, ", minutes(since)), 1)
}

// cluster4 is a Cluster of v1beta2 of generation 4 that says of a generation whether it rolls.
func cluster4(rolling string, observed int) string {
	return fmt.Sprintf("apiVersion: cluster.x-k8s.io/v1beta2\nkind: Cluster\nmetadata: {name: dev3, namespace: team-a, generation: 4}\n"+
		"spec: {topology: {controlPlane: {replicas: 1}, workers: {machineDeployments: [{name: np1, replicas: 1}]}}}\n"+
		"status: {observedGeneration: %d, conditions: [{type: RollingOut, status: '%s', observedGeneration: %[1]d}, {type: TopologyReconciled, status: 'True', observedGeneration: %[1]d}]}", observed, rolling)
}

func TestRollAfterChange(t *testing.T) {
	t.Parallel()
	quiet := cluster4("False", 4)
	for name, tc := range map[string]struct {
		reason, owner, cluster string
		machines               []string
		now                    int
		state                  tkg.RollState
		note                   string
		fresh                  int
	}{
		"done": {
			reason: "all are younger than the change", cluster: quiet, machines: []string{ready("a", 1, "True"), ready("b", 5, "True")}, now: 6,
			state: tkg.RollSettled, note: "2 of 2 machines are new and ready", fresh: 2,
		},
		"same second": {
			reason: "the API's times are whole seconds: what was made in the second of the change is new", cluster: quiet,
			machines: []string{ready("a", 0, "True"), ready("b", 0, "True")}, now: 1, state: tkg.RollSettled, note: "2 of 2 machines are new and ready", fresh: 2,
		},
		"updated in place": {
			reason: "older machines that are said to be up to date while nothing rolls", cluster: quiet, machines: []string{ready("a", -50, "True"), ready("b", -50, "True")}, now: 6,
			state: tkg.RollSettled, note: "2 of 2 machines are new and ready", fresh: 2,
		},
		"not looked at yet": {
			reason: "the moment after the change, all conditions are those of before it", cluster: cluster4("False", 3), machines: []string{ready("a", -50, "True"), ready("b", -50, "True")},
			state: tkg.Rolling, note: "0 of 2 machines are new; waiting for the controllers to look at the change",
		},
		"under a TKC": {
			reason: "its Cluster is not told of the change at once, and says nothing of it", owner: "kind: TanzuKubernetesCluster\nspec: {topology: {controlPlane: {replicas: 1}, nodePools: [{replicas: 1}]}}", cluster: quiet,
			machines: []string{ready("a", -50, "True"), ready("b", -50, "True")}, state: tkg.Rolling, note: "0 of 2 machines are new; waiting for a, b to be replaced",
		},
		"joining": {
			reason: "the surge", cluster: cluster4("True", 4), machines: []string{ready("a", 1, "True"), ready("b", -50, "False"), machineOf("c", 2, notJoined)}, now: 3,
			state: tkg.Rolling, note: "1 of 3 machines is new; waiting for c to join", fresh: 1,
		},
		"not ready": {
			reason: "a node that has joined and is not well", cluster: cluster4("True", 4), machines: []string{ready("a", 1, "True"), machineOf("b", 2, notHealthy)}, now: 3,
			state: tkg.Rolling, note: "1 of 2 machines is new; waiting for node1 to be ready", fresh: 1,
		},
		"draining": {
			reason: "the old one goes", cluster: cluster4("True", 4), machines: []string{ready("a", 1, "True"), ready("c", 2, "True"), deleting(ready("b", -50, "False"), 3)}, now: 5,
			state: tkg.Rolling, note: "2 of 3 machines are new; waiting for b to go", fresh: 2,
		},
		"drain blocked": {
			reason: "a PodDisruptionBudget that lets no pod go", cluster: cluster4("True", 4), now: 20,
			machines: []string{ready("a", 1, "True"), deleting(machineOf("b", -50, "nodeRef: {name: b}, conditions: [{type: Deleting, status: 'True', reason: DrainingNode, message: 'Cannot evict pod web-1'}]"), 3)},
			state:    tkg.RollStuck, note: "1 of 2 machines is new; waiting for b to go; b is being deleted for 17m0s: DrainingNode (Cannot evict pod web-1)", fresh: 1,
		},
		"too few": {
			reason: "all that are there are new, and one is to come", cluster: quiet, machines: []string{ready("a", 1, "True")}, now: 2,
			state: tkg.Rolling, note: "1 of 2 machines is new; there are 1 machines, and 2 are wanted", fresh: 1,
		},
		"too many": {
			reason: "an old one whose deletion was not begun yet counts", cluster: quiet, machines: []string{ready("a", 1, "True"), ready("b", 1, "True"), ready("c", 1, "True")}, now: 2,
			state: tkg.Rolling, note: "3 of 3 machines are new; there are 3 machines, and 2 are wanted", fresh: 3,
		},
		"still says rolling": {
			reason: "the Cluster has the last word", cluster: cluster4("True", 4), machines: []string{ready("a", 1, "True"), ready("b", 1, "True")}, now: 2,
			state: tkg.Rolling, note: "2 of 2 machines are new; the Cluster is rolling out", fresh: 2,
		},
		"does not join": {
			reason: "a new node that cannot read its trust never joins", cluster: cluster4("True", 4), machines: []string{ready("a", -50, "False"), ready("b", -50, "False"), machineOf("c", 2, notJoined)}, now: 13,
			state: tkg.RollStuck, note: "0 of 3 machines are new; waiting for c to join; c has not joined for 11m0s: NotReady (waiting for the node)",
		},
		"wedged before": {
			reason: "what did not join before the change has its time from the change on", cluster: cluster4("True", 4), machines: []string{ready("a", 1, "True"), machineOf("c", -60, notJoined)}, now: 9,
			state: tkg.Rolling, note: "1 of 2 machines is new; waiting for c to join", fresh: 1,
		},
		"failed": {
			reason: "a machine that has failed does not wait for ten minutes", cluster: cluster4("True", 4), machines: []string{ready("a", 1, "True"), machineOf("c", 1, "phase: Failed, failureMessage: 'no room on the host'")}, now: 2,
			state: tkg.RollStuck, note: "1 of 2 machines is new; waiting for c to join; c will not come up by itself: no room on the host", fresh: 1,
		},
		"refused by the class": {
			reason:  "the topology's controller refuses the variable",
			cluster: strings.Replace(quiet, "{type: TopologyReconciled, status: 'True',", "{type: TopologyReconciled, status: 'False', reason: ReconcileFailed, message: 'variable is not defined',", 1), now: 1,
			machines: []string{ready("a", -50, "True"), ready("b", -50, "True")},
			state:    tkg.RollStuck, note: "0 of 2 machines are new; waiting for a, b to be replaced; the Cluster's topology is not taken in: ReconcileFailed (variable is not defined)",
		},
		"v1alpha1": {
			reason: "without conditions the times of creation tell", owner: "kind: TanzuKubernetesCluster\nspec: {topology: {controlPlane: {count: 1}, workers: {count: 2}}}",
			machines: []string{machineOf("a", 1, unsaid), machineOf("b", 2, unsaid), machineOf("c", -9, unsaid)}, now: 5, state: tkg.Rolling, note: "2 of 3 machines are new; waiting for node1 to be replaced", fresh: 2,
		},
		"none": {reason: "nothing to tell by", cluster: quiet, state: tkg.RollUnknown, note: "there is no machine"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rollOf(t, tc.owner, tc.cluster, tc.machines, changedAt, tc.now)
			if diff := cmp.Diff([]any{tc.state, tc.note, tc.fresh}, []any{r.State, r.Note, r.New}); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func rollOf(t *testing.T, owner, cluster string, machines []string, since time.Time, now int) tkg.Roll {
	t.Helper()
	var c *unstructured.Unstructured
	if cluster != "" {
		c = fromYAML(t, cluster)
	}
	o := tkg.Owner{Kind: tkg.ClusterKind, Object: c}
	if owner != "" {
		o = tkg.Owner{Kind: tkg.TKCKind, Object: fromYAML(t, owner)}
	}
	var list []*unstructured.Unstructured
	for _, m := range machines {
		list = append(list, fromYAML(t, m))
	}
	return tkg.RollOf(o, c, list, since, changedAt.Add(time.Duration(now)*time.Minute))
}

// TestRollAtRest is what a look finds that knows of no change.
func TestRollAtRest(t *testing.T) {
	t.Parallel()
	quiet := cluster4("False", 4)
	older := func(c string) string {
		c = strings.Replace(c, "cluster.x-k8s.io/v1beta2", "cluster.x-k8s.io/v1beta1", 1)
		return strings.Replace(c, ", conditions: ", ", v1beta2: {conditions: ", 1) + "}"
	}
	for name, tc := range map[string]struct {
		reason, cluster string
		machines        []string
		state           tkg.RollState
		note            string
	}{
		"settled":       {"nothing moves", quiet, []string{ready("a", -50, "True"), ready("b", -50, "True")}, tkg.RollSettled, "nothing rolls; 2 of 2 machines are ready"},
		"v1beta1":       {"the same in the older API, which keeps the new conditions apart", older(quiet), []string{ready("a", -50, "True"), ready("b", -50, "True")}, tkg.RollSettled, "nothing rolls; 2 of 2 machines are ready"},
		"v1beta1 rolls": {"and when it rolls", older(cluster4("True", 4)), []string{ready("a", -50, "True"), ready("b", -50, "True")}, tkg.Rolling, "2 of 2 machines are up to date; the Cluster is rolling out"},
		"silent":        {"no Cluster, no conditions", "", []string{machineOf("a", -50, unsaid)}, tkg.RollSettled, "nothing rolls; 1 of 1 machines is ready"},
		"stale":         {"machines that nobody replaces", quiet, []string{ready("a", -50, "False"), ready("b", -50, "True")}, tkg.RollSettled, "nothing rolls, and 1 of 2 machines is not up to date"},
		"joining":       {"one is on its way", quiet, []string{ready("a", -50, "True"), machineOf("b", -2, notJoined)}, tkg.Rolling, "1 of 2 machines is up to date; waiting for b to join"},
		"wedged":        {"one never came", quiet, []string{ready("a", -50, "True"), machineOf("b", -30, notJoined)}, tkg.RollStuck, "1 of 2 machines is up to date; waiting for b to join; b has not joined for 30m0s: NotReady (waiting for the node)"},
		"a whole cluster": {"more names than a line holds", "", []string{machineOf("a", -1, notJoined), machineOf("b", -1, notJoined), machineOf("c", -1, notJoined), machineOf("d", -1, notJoined), machineOf("e", -1, notJoined)},
			tkg.Rolling, "0 of 5 machines are up to date; waiting for a, b, c and 2 more to join"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rollOf(t, "", tc.cluster, tc.machines, time.Time{}, 0)
			if diff := cmp.Diff([]any{tc.state, tc.note}, []any{r.State, r.Note}); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestMachineStates(t *testing.T) {
	t.Parallel()
	cp := strings.Replace(ready("z", -50, "True"), "labels: {", "labels: {cluster.x-k8s.io/control-plane: '', ", 1)
	old := strings.Replace(ready("b", -50, "False"), "conditions: [{type: Ready, status: 'True'}", "v1beta2: {conditions: [{type: UpToDate, status: 'True'}]}, conditions: [{type: Ready, status: 'True'}", 1)
	r := rollOf(t, "", "", []string{old, cp, machineOf("c", -1, notJoined)}, time.Time{}, 0)
	type short struct {
		Name, Pool        string
		UID               string
		CP, Joined, Ready bool
		UpToDate          tkg.UpToDate
		Why               string
	}
	var got []short
	for _, m := range r.Machines {
		got = append(got, short{m.Name, m.Pool, string(m.UID), m.ControlPlane, m.Joined, m.Ready, m.UpToDate, m.Why})
	}
	want := []short{
		{"z", "np1", "u-z", true, true, true, tkg.UpToDateYes, ""},
		{"b", "np1", "u-b", false, true, true, tkg.UpToDateYes, ""}, // the newer condition counts
		{"c", "np1", "u-c", false, false, false, tkg.UpToDateYes, "NotReady (waiting for the node)"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
	if r.Wanted != -1 {
		t.Errorf("wanted is not known, got %d", r.Wanted)
	}
}

func TestWantedNodes(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		reason, owner         string
		controlPlane, workers int
	}{
		"v1alpha1":   {"count", "kind: TanzuKubernetesCluster\nspec: {topology: {controlPlane: {count: 3}, workers: {count: 2}}}", 3, 2},
		"v1alpha3":   {"pools", "kind: TanzuKubernetesCluster\nspec: {topology: {controlPlane: {replicas: 3}, nodePools: [{replicas: 2}, {replicas: 4}]}}", 3, 6},
		"class":      {"deployments and pools", "kind: Cluster\nspec: {topology: {controlPlane: {replicas: 1}, workers: {machineDeployments: [{replicas: 2}], machinePools: [{replicas: 1}]}}}", 1, 3},
		"autoscaler": {"a pool without a number", "kind: Cluster\nspec: {topology: {controlPlane: {replicas: 1}, workers: {machineDeployments: [{replicas: 2}, {}]}}}", 1, -1},
		"none":       {"no topology", "kind: Cluster\nspec: {}", -1, -1},
	} {
		controlPlane, workers := tkg.WantedNodes(fromYAML(t, tc.owner))
		if controlPlane != tc.controlPlane || workers != tc.workers {
			t.Errorf("%s, %s: got %d and %d", name, tc.reason, controlPlane, workers)
		}
	}
	scaled := strings.Replace(cluster4("False", 4), "replicas: 1}]", "}]", 1)
	scaled = strings.Replace(scaled, "status: {", "status: {controlPlane: {desiredReplicas: 1}, workers: {desiredReplicas: 2}, ", 1)
	if r := rollOf(t, "", scaled, []string{ready("a", 1, "True")}, changedAt, 2); r.Wanted != 3 {
		t.Errorf("what an autoscaler wants is in the status: got %d, %s", r.Wanted, r.Note)
	}
}
