package metrics_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
	"github.com/tkgfix/tkgfix/internal/kube/planetest"
	"github.com/tkgfix/tkgfix/internal/metrics"
	"github.com/tkgfix/tkgfix/internal/state"
	"github.com/tkgfix/tkgfix/internal/state/mem"
	"github.com/tkgfix/tkgfix/internal/state/statetest"
)

var management *planetest.Plane

func TestMain(m *testing.M) {
	os.Exit(planetest.Main(m, planetest.Options{}, func(p *planetest.Plane) { management = p }))
}

func scheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(s); err != nil {
		t.Fatal(err)
	}
	return s
}

// nowhere reads from an API server that is not there.
func nowhere(t *testing.T) client.Reader {
	t.Helper()
	c, err := client.New(&rest.Config{Host: "https://127.0.0.1:1"}, client.Options{Scheme: scheme(t)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// clock is a second later each time.
func clock() func() time.Time {
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	return func() time.Time { now = now.Add(time.Second); return now }
}

func newMetrics(t *testing.T, runs client.Reader, now func() time.Time) (*metrics.Metrics, *prometheus.Registry) {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	m, err := metrics.New(registry, runs, now)
	if err != nil {
		t.Fatal(err)
	}
	return m, registry
}

// want compares the metrics of these names.
func want(t *testing.T, registry *prometheus.Registry, text string, names ...string) {
	t.Helper()
	if err := testutil.GatherAndCompare(registry, strings.NewReader(text), names...); err != nil {
		t.Error(err)
	}
}

// TestNames holds the names to the conventions, and the document to the names.
func TestNames(t *testing.T) {
	t.Parallel()
	_, registry := newMetrics(t, nowhere(t), time.Now)
	problems, err := testutil.GatherAndLint(registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("problems %v, %v", problems, err)
	}
	doc, err := os.ReadFile("../../docs/observability.md")
	if err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if len(families) < 12 {
		t.Errorf("only %d metrics", len(families))
	}
	for _, f := range families {
		if !strings.Contains(string(doc), "`"+f.GetName()+"`") {
			t.Errorf("docs/observability.md does not name %s", f.GetName())
		}
	}
	if _, err := metrics.New(registry, nowhere(t), time.Now); err == nil {
		t.Error("the same names were registered twice")
	}
}

// TestControllerCounts counts what a controller says, and lets no other value become a series.
func TestControllerCounts(t *testing.T) {
	t.Parallel()
	m, registry := newMetrics(t, nowhere(t), time.Now)
	m.Attempted(metrics.Done, 2*time.Second)
	m.Attempted(metrics.Waiting, 400*time.Millisecond)
	m.Attempted("team-a/dev1", time.Hour)
	m.Attempted("team-b/dev2", 24*time.Hour)
	m.Judged(metrics.Refused)
	m.Judged("anything")
	m.Opened()
	m.HeldBack(metrics.Storm)
	m.HeldBack("anything")
	m.TookOver()
	m.LostLock()
	want(t, registry, `
# HELP tkgfix_attempts_total Attempts at runs that ended, by how they left the run.
# TYPE tkgfix_attempts_total counter
tkgfix_attempts_total{outcome="blocked"} 0
tkgfix_attempts_total{outcome="done"} 1
tkgfix_attempts_total{outcome="error"} 0
tkgfix_attempts_total{outcome="failed"} 0
tkgfix_attempts_total{outcome="fenced"} 0
tkgfix_attempts_total{outcome="interrupted"} 0
tkgfix_attempts_total{outcome="locked"} 0
tkgfix_attempts_total{outcome="other"} 2
tkgfix_attempts_total{outcome="planned"} 0
tkgfix_attempts_total{outcome="rejected"} 0
tkgfix_attempts_total{outcome="waiting"} 1
# HELP tkgfix_approvals_total Approvals that were judged, by what came of them.
# TYPE tkgfix_approvals_total counter
tkgfix_approvals_total{result="approved"} 0
tkgfix_approvals_total{result="other"} 1
tkgfix_approvals_total{result="refused"} 1
tkgfix_approvals_total{result="rejected"} 0
# HELP tkgfix_attempt_duration_seconds How long attempts at runs took.
# TYPE tkgfix_attempt_duration_seconds histogram
tkgfix_attempt_duration_seconds_bucket{le="0.1"} 0
tkgfix_attempt_duration_seconds_bucket{le="0.5"} 1
tkgfix_attempt_duration_seconds_bucket{le="1"} 1
tkgfix_attempt_duration_seconds_bucket{le="5"} 2
tkgfix_attempt_duration_seconds_bucket{le="15"} 2
tkgfix_attempt_duration_seconds_bucket{le="60"} 2
tkgfix_attempt_duration_seconds_bucket{le="300"} 2
tkgfix_attempt_duration_seconds_bucket{le="900"} 2
tkgfix_attempt_duration_seconds_bucket{le="1800"} 2
tkgfix_attempt_duration_seconds_bucket{le="3600"} 3
tkgfix_attempt_duration_seconds_bucket{le="7200"} 3
tkgfix_attempt_duration_seconds_bucket{le="14400"} 3
tkgfix_attempt_duration_seconds_bucket{le="+Inf"} 4
tkgfix_attempt_duration_seconds_sum 90002.4
tkgfix_attempt_duration_seconds_count 4
# HELP tkgfix_triggers_opened_total Runs that Triggers opened.
# TYPE tkgfix_triggers_opened_total counter
tkgfix_triggers_opened_total 1
# HELP tkgfix_triggers_held_back_total Runs that Triggers did not open, by why.
# TYPE tkgfix_triggers_held_back_total counter
tkgfix_triggers_held_back_total{reason="cooldown"} 0
tkgfix_triggers_held_back_total{reason="open"} 0
tkgfix_triggers_held_back_total{reason="other"} 1
tkgfix_triggers_held_back_total{reason="storm"} 1
# HELP tkgfix_lock_takeovers_total Locks that were taken from a holder who no longer renewed them, or broken.
# TYPE tkgfix_lock_takeovers_total counter
tkgfix_lock_takeovers_total 1
# HELP tkgfix_locks_lost_total Locks that this process lost before it released them.
# TYPE tkgfix_locks_lost_total counter
tkgfix_locks_lost_total 1
`, "tkgfix_attempts_total", "tkgfix_approvals_total", "tkgfix_attempt_duration_seconds", "tkgfix_triggers_opened_total",
		"tkgfix_triggers_held_back_total", "tkgfix_lock_takeovers_total", "tkgfix_locks_lost_total")
}

// TestCountedStore passes the suite that each store must pass: counting changes nothing.
func TestCountedStore(t *testing.T) {
	t.Parallel()
	statetest.Run(t, func(t *testing.T) (state.Store, func() state.Store) {
		m, _ := newMetrics(t, nowhere(t), time.Now)
		s := m.Store(mem.New())
		return s, func() state.Store { return s }
	})
}

func TestStoreCounts(t *testing.T) {
	t.Parallel()
	m, registry := newMetrics(t, nowhere(t), clock())
	s := m.Store(mem.New())
	add := func(at uint64, kinds ...string) {
		var drafts []state.Draft
		for _, k := range kinds {
			drafts = append(drafts, state.Draft{Kind: k, Data: []byte("{}")})
		}
		if _, err := s.Append(t.Context(), "r", at, drafts...); err != nil && !errors.Is(err, state.ErrConflict) {
			t.Fatal(err)
		}
	}
	add(1, "run.created", "run.planned")
	add(3, "effect.intended")
	add(3, "effect.intended") // another was there first
	add(4, "effect.done", "effect.intended")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Append(ended, "../r", 1, state.Draft{Kind: "run.created"}); err == nil {
		t.Fatal("a run id that is none was taken")
	}
	holder := state.Holder{User: "ann"}
	release, err := s.Lock(t.Context(), "r", holder)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Lock(t.Context(), "r", holder); err == nil {
		t.Fatal("locked twice")
	}
	if _, err := s.Lock(t.Context(), "none", holder); err == nil {
		t.Fatal("locked a run that there is not")
	}
	if got, err := s.Break(t.Context(), "r"); err != nil || !cmp.Equal(got, holder) {
		t.Fatal(got, err)
	}
	if _, err := s.Break(t.Context(), "r"); !errors.Is(err, state.ErrNotLocked) {
		t.Fatal(err)
	}
	if err := release(); !errors.Is(err, state.ErrNotLocked) {
		t.Fatal(err)
	}
	want(t, registry, `
# HELP tkgfix_effects_total Effects that were journalled, as intended before they are begun and as done once they are known to have happened.
# TYPE tkgfix_effects_total counter
tkgfix_effects_total{result="done"} 1
tkgfix_effects_total{result="intended"} 2
# HELP tkgfix_journal_entries_total Entries that were written to journals.
# TYPE tkgfix_journal_entries_total counter
tkgfix_journal_entries_total 5
# HELP tkgfix_journal_appends_total Appends to journals, by how they ended: a conflict means that another had written.
# TYPE tkgfix_journal_appends_total counter
tkgfix_journal_appends_total{result="conflict"} 1
tkgfix_journal_appends_total{result="error"} 1
tkgfix_journal_appends_total{result="ok"} 3
# HELP tkgfix_locks_total Locks of runs that were asked for, by what came of it: held means that another has it.
# TYPE tkgfix_locks_total counter
tkgfix_locks_total{result="error"} 1
tkgfix_locks_total{result="held"} 1
tkgfix_locks_total{result="taken"} 1
# HELP tkgfix_lock_takeovers_total Locks that were taken from a holder who no longer renewed them, or broken.
# TYPE tkgfix_lock_takeovers_total counter
tkgfix_lock_takeovers_total 1
# HELP tkgfix_journal_append_duration_seconds How long appends to journals took.
# TYPE tkgfix_journal_append_duration_seconds histogram
tkgfix_journal_append_duration_seconds_bucket{le="0.001"} 0
tkgfix_journal_append_duration_seconds_bucket{le="0.0025"} 0
tkgfix_journal_append_duration_seconds_bucket{le="0.005"} 0
tkgfix_journal_append_duration_seconds_bucket{le="0.01"} 0
tkgfix_journal_append_duration_seconds_bucket{le="0.025"} 0
tkgfix_journal_append_duration_seconds_bucket{le="0.05"} 0
tkgfix_journal_append_duration_seconds_bucket{le="0.1"} 0
tkgfix_journal_append_duration_seconds_bucket{le="0.25"} 0
tkgfix_journal_append_duration_seconds_bucket{le="0.5"} 0
tkgfix_journal_append_duration_seconds_bucket{le="1"} 5
tkgfix_journal_append_duration_seconds_bucket{le="2.5"} 5
tkgfix_journal_append_duration_seconds_bucket{le="5"} 5
tkgfix_journal_append_duration_seconds_bucket{le="10"} 5
tkgfix_journal_append_duration_seconds_bucket{le="+Inf"} 5
tkgfix_journal_append_duration_seconds_sum 5
tkgfix_journal_append_duration_seconds_count 5
`, "tkgfix_effects_total", "tkgfix_journal_entries_total", "tkgfix_journal_appends_total", "tkgfix_locks_total", "tkgfix_lock_takeovers_total",
		"tkgfix_journal_append_duration_seconds")
}

// TestRunsAreCountedAsTheyAre looks at an API server through a cache, as a controller does, and at one that is not there.
func TestRunsAreCountedAsTheyAre(t *testing.T) {
	t.Parallel()
	config, err := management.Config("tester")
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(config, client.Options{Scheme: scheme(t)})
	if err != nil {
		t.Fatal(err)
	}
	cached, err := cache.New(config, cache.Options{Scheme: scheme(t)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- cached.Start(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	_, registry := newMetrics(t, cached, time.Now)
	phases := map[string]v1alpha1.Phase{"a": "", "b": v1alpha1.PhaseWaiting, "c": v1alpha1.PhaseWaiting, "d": "NobodyKnows"}
	for name, phase := range phases {
		r := &v1alpha1.Run{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
		r.Spec.Requester, r.Spec.Workflow = "alice", &v1alpha1.WorkflowReference{Name: "w"}
		if err := c.Create(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		r.Status.Phase = phase
		if err := c.Status().Update(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	await(t, cached, func(all []v1alpha1.Run) bool {
		for i := range all {
			if all[i].Status.Phase != phases[all[i].Name] {
				return false
			}
		}
		return len(all) == len(phases)
	})
	const head = `
# HELP tkgfix_runs Runs that there are, by phase. Every replica tells the same.
# TYPE tkgfix_runs gauge
tkgfix_runs{phase="Blocked"} 0
tkgfix_runs{phase="Done"} 0
tkgfix_runs{phase="Failed"} 0
tkgfix_runs{phase="Planned"} 0
tkgfix_runs{phase="Planning"} 0
tkgfix_runs{phase="Rejected"} 0
tkgfix_runs{phase="Running"} 0
tkgfix_runs{phase="Suspended"} 0
`
	want(t, registry, head+"tkgfix_runs{phase=\"Pending\"} 1\ntkgfix_runs{phase=\"WaitingForApproval\"} 2\ntkgfix_runs{phase=\"other\"} 1\n", "tkgfix_runs")
	if err := c.DeleteAllOf(t.Context(), &v1alpha1.Run{}, client.InNamespace("default")); err != nil {
		t.Fatal(err)
	}
	await(t, cached, func(all []v1alpha1.Run) bool { return len(all) == 0 })
	want(t, registry, head+"tkgfix_runs{phase=\"Pending\"} 0\ntkgfix_runs{phase=\"WaitingForApproval\"} 0\n", "tkgfix_runs")
	_, registry = newMetrics(t, nowhere(t), time.Now)
	want(t, registry, "", "tkgfix_runs")
}

// await waits until the cache holds Runs as they should be.
func await(t *testing.T, cached cache.Cache, as func([]v1alpha1.Run) bool) {
	t.Helper()
	informer, err := cached.GetInformer(t.Context(), &v1alpha1.Run{})
	if err != nil {
		t.Fatal(err)
	}
	changed := make(chan struct{}, 1)
	on := notify(changed)
	registration, err := informer.AddEventHandler(on)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = informer.RemoveEventHandler(registration) }()
	for {
		var all v1alpha1.RunList
		if err := cached.List(t.Context(), &all); err != nil {
			t.Fatal(err)
		}
		if as(all.Items) {
			return
		}
		select {
		case <-changed:
		case <-t.Context().Done():
			t.Fatal("the cache does not become as the API server is")
		}
	}
}

// notify tells of any event, without waiting for who is told.
type notify chan struct{}

func (n notify) tell() {
	select {
	case n <- struct{}{}:
	default:
	}
}

// OnAdd implements toolscache.ResourceEventHandler.
func (n notify) OnAdd(any, bool) { n.tell() }

// OnUpdate implements toolscache.ResourceEventHandler.
func (n notify) OnUpdate(any, any) { n.tell() }

// OnDelete implements toolscache.ResourceEventHandler.
func (n notify) OnDelete(any) { n.tell() }
