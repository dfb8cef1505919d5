package trigger_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
	"github.com/tkgfix/tkgfix/internal/kube/faulty"
	"github.com/tkgfix/tkgfix/internal/metrics"
	"github.com/tkgfix/tkgfix/internal/trigger"
)

// These tests share the Events of one workload cluster, so that they run one after the other.

// TestOpens opens one Run for a cluster and registry, whoever of two replicas sees the failure, and none for what no CA mends.
func TestOpens(t *testing.T) { //nolint:paralleltest // see above
	ns := team(t)
	tr := watching(t, ns, nil)
	fail(t, "app-0", "auth.test", auth)
	fail(t, "app-1", "a.test:5000", trust)
	run := opens(t, ns, "a.test:5000", 1)
	want := v1alpha1.Run{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: ns, Labels: map[string]string{v1alpha1.LabelTrigger: "pulls"},
			Annotations: map[string]string{
				trigger.AnnotationCluster: ns + "/dev1", trigger.AnnotationRegistry: "a.test:5000",
				trigger.AnnotationSeen: "pod apps/app-1 cannot pull a.test:5000/app:1: x509: certificate signed by unknown authority",
			},
		},
		Spec: v1alpha1.RunSpec{RunTemplate: *tr.Spec.Run.DeepCopy(), Requester: "trigger/pulls", PlanOnly: true},
	}
	want.Spec.Inputs = map[string]string{"cluster": ns + "/dev1", "registry": "a.test:5000", "note": "found a.test:5000 from " + ns + "/dev1 by $(nobody)"}
	ignore := cmpopts.IgnoreFields(metav1.ObjectMeta{}, "Name", "UID", "ResourceVersion", "Generation", "CreationTimestamp", "ManagedFields")
	if diff := cmp.Diff(want, run, ignore, cmpopts.IgnoreTypes(metav1.TypeMeta{})); diff != "" {
		t.Errorf("Run (-want, +got):\n%s", diff)
	}
	if !strings.HasPrefix(run.Name, "pulls-") {
		t.Errorf("the Run's name is %s", run.Name)
	}

	// While that Run waits for a person, what fails for the same cause opens no other.
	heldByBoth(t, metrics.Open, "a.test:5000")
	fail(t, "app-3", "b.test", trust)
	opens(t, ns, "b.test", 1)
	opens(t, ns, "a.test:5000", 1)
	if runs := runsOf(t, ns); len(runs) != 2 {
		t.Errorf("Runs for %d registries, want 2: %v", len(runs), runs)
	}
	eventually(t, "the status counts the Runs", func() bool {
		if err := admin.Get(t.Context(), client.ObjectKeyFromObject(tr), tr); err != nil {
			t.Fatal(err)
		}
		return tr.Status.Opened == 2 && tr.Status.LastOpenedAt != nil
	})
	told(t, ns, "Opened", "Run "+run.Name+" for "+ns+"/dev1 and a.test:5000: pod apps/app-1 cannot pull")
}

// told waits for an Event of the Trigger.
func told(t *testing.T, namespace, reason, note string) {
	t.Helper()
	eventually(t, "an Event says that "+note, func() bool {
		var list eventsv1.EventList
		if err := admin.List(t.Context(), &list, client.InNamespace(namespace)); err != nil {
			t.Fatal(err)
		}
		for _, e := range list.Items {
			if e.Reason == reason && e.Regarding.Kind == "Trigger" && strings.Contains(e.Note, note) {
				return true
			}
		}
		return false
	})
}

// finish writes into a Run's status that it is over.
func finish(t *testing.T, run v1alpha1.Run) {
	t.Helper()
	before := run.DeepCopy()
	run.Status.Phase = v1alpha1.PhaseDone
	if err := admin.Status().Patch(t.Context(), &run, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
}

// TestCooldown opens no second Run in the cool-down of one that is over, and one after it, whoever of two replicas is first.
func TestCooldown(t *testing.T) { //nolint:paralleltest // see above
	ns := team(t)
	tr := watching(t, ns, nil)
	fail(t, "app-1", "a.test", trust)
	finish(t, opens(t, ns, "a.test", 1))
	heldByBoth(t, metrics.Cooldown, "a.test")
	opens(t, ns, "a.test", 1)

	change(t, tr, func(s *v1alpha1.TriggerSpec) { s.Cooldown.Duration = time.Millisecond })
	pods := 0
	eventually(t, "another Run after the cool-down", func() bool {
		pods++
		fail(t, fmt.Sprintf("app-%d", pods), "a.test", trust)
		return len(runsOf(t, ns)["a.test"]) > 1
	})
	heldByBoth(t, metrics.Open, "a.test")
	opens(t, ns, "a.test", 2)
}

// TestBrake holds Runs back when there were too many of late, says how many, and lets them go when there is room.
func TestBrake(t *testing.T) { //nolint:paralleltest // see above
	ns := team(t)
	tr := watching(t, ns, func(s *v1alpha1.TriggerSpec) { s.Storm.MaxRuns = 2 })
	fail(t, "app-1", "a.test", trust)
	first := opens(t, ns, "a.test", 1)
	fail(t, "app-2", "b.test", trust)
	opens(t, ns, "b.test", 1)
	heldByBoth(t, metrics.Storm, "c.test")
	fail(t, "app-4", "d.test", trust)
	eventually(t, "two wait for the brake", func() bool {
		return strings.Contains(ready(t, tr, metav1.ConditionFalse, "Storm"), "2 Runs were opened within 1h0m0s, and 2 clusters and registries wait")
	})
	var stalled *metav1.Condition
	for i := range tr.Status.Conditions {
		if tr.Status.Conditions[i].Type == v1alpha1.ConditionStalled {
			stalled = &tr.Status.Conditions[i]
		}
	}
	if stalled == nil || stalled.Status != metav1.ConditionTrue || stalled.Reason != "Storm" {
		t.Errorf("Stalled: %+v", stalled)
	}
	told(t, ns, "Storm", "the brake holds until ")
	if runs := runsOf(t, ns); len(runs) != 2 {
		t.Errorf("Runs for %d registries, want 2", len(runs))
	}

	// Who deletes a Run gives its share of the brake back: the failure that waits longest is next.
	if err := admin.Delete(t.Context(), &first); err != nil {
		t.Fatal(err)
	}
	opens(t, ns, "c.test", 1)
	eventually(t, "one waits", func() bool {
		return strings.Contains(ready(t, tr, metav1.ConditionFalse, "Storm"), "and 1 clusters and registries wait")
	})
	change(t, tr, func(s *v1alpha1.TriggerSpec) { s.Storm.MaxRuns = 10 })
	opens(t, ns, "d.test", 1)
	ready(t, tr, metav1.ConditionTrue, "Watching")
	for _, c := range tr.Status.Conditions {
		if c.Type == v1alpha1.ConditionStalled {
			t.Errorf("it is stalled with the brake released: %+v", c)
		}
	}
}

// old writes an Event as a kubelet wrote it at another time.
func old(t *testing.T, name, registry string, at time.Time) {
	t.Helper()
	said := "Failed to pull image \"" + registry + "/app:1\": " + strings.NewReplacer("IMAGE", registry+"/app:1", "HOST", registry).Replace(trust)
	e := &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: "apps", Name: name},
		InvolvedObject: corev1.ObjectReference{Kind: "Pod", Namespace: "apps", Name: name},
		Reason:         "Failed", Message: said, Type: corev1.EventTypeWarning, Source: corev1.EventSource{Component: "kubelet", Host: "node-1"},
		FirstTimestamp: metav1.NewTime(at), LastTimestamp: metav1.NewTime(at), Count: 1,
	}
	if _, err := node.CoreV1().Events("apps").Create(t.Context(), e, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// TestBefore sees what failed before there was a Trigger, but not what was over long before.
func TestBefore(t *testing.T) { //nolint:paralleltest // see above
	ns := team(t)
	old(t, "app-1", "old.test", time.Now().Add(-2*time.Hour))
	old(t, "app-2", "recent.test", time.Now().Add(-20*time.Minute))
	watching(t, ns, nil)
	opens(t, ns, "recent.test", 1)
	fail(t, "app-3", "new.test", trust)
	opens(t, ns, "new.test", 1)
	if runs := runsOf(t, ns); len(runs) != 2 {
		t.Errorf("Runs for %d registries, want 2: %v", len(runs), runs)
	}
}

// TestSuspend watches nothing while a Trigger is suspended, and sees what failed meanwhile when it goes on.
func TestSuspend(t *testing.T) { //nolint:paralleltest // see above
	ns := team(t)
	tr := create(t, ns, func(s *v1alpha1.TriggerSpec) { s.Suspend = true })
	ready(t, tr, metav1.ConditionFalse, "Suspended")
	fail(t, "app-1", "a.test", trust)
	if runs := runsOf(t, ns); len(runs) != 0 {
		t.Errorf("Runs of a suspended Trigger: %v", runs)
	}
	change(t, tr, func(s *v1alpha1.TriggerSpec) { s.Suspend = false })
	opens(t, ns, "a.test", 1)
}

// TestUnreachable says which clusters are not watched and why, and watches them when they can be reached.
func TestUnreachable(t *testing.T) { //nolint:paralleltest // see above
	ns := team(t)
	entrance(t, ns, "evil", []byte(`{apiVersion: v1, kind: Config, current-context: x, contexts: [{name: x, context: {cluster: c, user: u}}],
		clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}], users: [{name: u, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: touch}}}]}`))
	tr := create(t, ns, func(s *v1alpha1.TriggerSpec) { s.Clusters = append(s.Clusters, ns+"/evil", ns+"/later") })
	message := ready(t, tr, metav1.ConditionFalse, "Unreachable")
	if want := fmt.Sprintf("2 of 3 clusters are not watched (%s/evil, %s/later): kubeconfig of Secret %s/evil-kubeconfig has a credential plugin (exec)", ns, ns, ns); !strings.HasPrefix(message, want) {
		t.Errorf("message:\ngot  %s\nwant %s", message, want)
	}
	told(t, ns, "Unreachable", "2 of 3 clusters are not watched")
	fail(t, "app-1", "a.test", trust)
	opens(t, ns, "a.test", 1)

	data, err := workload.Admin("administrator")
	if err != nil {
		t.Fatal(err)
	}
	entrance(t, ns, "later", data)
	change(t, tr, func(s *v1alpha1.TriggerSpec) { s.Clusters = []string{ns + "/later"} })
	ready(t, tr, metav1.ConditionTrue, "Watching")
	opens(t, ns, "a.test", 2) // for another cluster it is another Run

	change(t, tr, func(s *v1alpha1.TriggerSpec) { s.Run.Connections = nil })
	ready(t, tr, metav1.ConditionFalse, "NoSupervisor")
}

// TestTaken does not take a Run for its own that somebody else gave its name.
func TestTaken(t *testing.T) { //nolint:paralleltest // see above
	ns := team(t)
	tr := watching(t, ns, nil)
	fail(t, "app-1", "a.test", trust)
	run := opens(t, ns, "a.test", 1)
	before := run.DeepCopy()
	run.Labels = nil
	if err := admin.Patch(t.Context(), &run, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the Trigger says that the name is taken", func() bool {
		fail(t, fmt.Sprintf("app-%d", time.Now().UnixNano()), "a.test", trust)
		if err := admin.Get(t.Context(), client.ObjectKeyFromObject(tr), tr); err != nil {
			t.Fatal(err)
		}
		for _, c := range tr.Status.Conditions {
			if c.Reason == "CannotOpen" && strings.Contains(c.Message, "there is one of that name, and it is none of this Trigger") {
				return true
			}
		}
		return false
	})
	opens(t, ns, "a.test", 1)
}

// TestDroppedWatches watches a cluster whose API server drops watches and refuses requests.
func TestDroppedWatches(t *testing.T) { //nolint:paralleltest // see above
	ns := team(t)
	upstream, err := workload.Config("administrator")
	if err != nil {
		t.Fatal(err)
	}
	refusals := faulty.Seeded(7, 25)
	proxy, err := faulty.New(upstream, func(r *http.Request) faulty.Fault {
		if r.URL.Query().Has("watch") {
			return faulty.DropWatch
		}
		return refusals(r)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	entrance(t, ns, "shaky", kubeconfigOf(t, proxy.Config()))
	create(t, ns, func(s *v1alpha1.TriggerSpec) { s.Clusters, s.Storm.MaxRuns = []string{ns + "/shaky"}, 100 })
	for i := range 12 {
		registry := fmt.Sprintf("r%d.test", i)
		fail(t, fmt.Sprintf("app-%d", i), registry, trust)
		opens(t, ns, registry, 1)
	}
	if n := proxy.Counts()[faulty.DropWatch]; n == 0 {
		t.Error("no watch was dropped: nothing was shown")
	}
}
