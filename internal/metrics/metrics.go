// Package metrics counts what a controller does, for Prometheus: docs/observability.md lists the metrics and what they are for.
//
// No label has a value that a user or a cluster chooses: a run, a step, a namespace or an error text would make a series each.
package metrics

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Outcome is how an attempt at a run ended.
type Outcome string

// The outcomes of an attempt: the statuses in which an engine leaves a run, and those of an attempt that came to nothing.
const (
	Done        Outcome = "done"
	Planned     Outcome = "planned" // and waits to be carried out, being plan-only
	Waiting     Outcome = "waiting" // at a gate
	Failed      Outcome = "failed"
	Blocked     Outcome = "blocked"
	Rejected    Outcome = "rejected"
	Interrupted Outcome = "interrupted" // and is taken up again
	Locked      Outcome = "locked"      // another holds the run
	Fenced      Outcome = "fenced"      // another wrote to the run's journal
	Errored     Outcome = "error"       // the world could not be asked; the run is as it was
)

// Judgement is what came of an Approval.
type Judgement string

// What comes of Approvals.
const (
	Approved Judgement = "approved" // it counts, and approves
	Declined Judgement = "rejected" // it counts, and rejects
	Refused  Judgement = "refused"  // it does not count
)

// Reason is why a Trigger opened no Run.
type Reason string

// Why Triggers hold back.
const (
	Cooldown Reason = "cooldown" // there was a Run for this not long ago
	Open     Reason = "open"     // there is a Run for this that is not over
	Storm    Reason = "storm"    // there were too many Runs of late
)

// Other stands for a value that is not among these.
const Other = "other"

var (
	outcomes   = []Outcome{Done, Planned, Waiting, Failed, Blocked, Rejected, Interrupted, Locked, Fenced, Errored}
	judgements = []Judgement{Approved, Declined, Refused}
	reasons    = []Reason{Cooldown, Open, Storm}
)

// Metrics are those of one controller. Its methods may be called from any goroutine and do not block.
type Metrics struct {
	now func() time.Time

	attempts  *prometheus.CounterVec
	durations prometheus.Histogram
	approvals *prometheus.CounterVec
	opened    prometheus.Counter
	heldBack  *prometheus.CounterVec

	entries   prometheus.Counter
	effects   *prometheus.CounterVec
	appends   *prometheus.CounterVec
	appending prometheus.Histogram
	locks     *prometheus.CounterVec
	takeovers prometheus.Counter
	lost      prometheus.Counter
}

// New registers the metrics. runs is where Runs are counted at each scrape: a cache, and not the API server itself. The error is the
// registerer's, for names that are taken.
func New(to prometheus.Registerer, runs client.Reader, now func() time.Time) (*Metrics, error) {
	m := &Metrics{
		now:       now,
		attempts:  counters("attempts_total", "Attempts at runs that ended, by how they left the run.", "outcome"),
		durations: histogram("attempt_duration_seconds", "How long attempts at runs took.", .1, .5, 1, 5, 15, 60, 300, 900, 1800, 3600, 7200, 14400),
		approvals: counters("approvals_total", "Approvals that were judged, by what came of them.", "result"),
		opened:    counter("triggers_opened_total", "Runs that Triggers opened."),
		heldBack:  counters("triggers_held_back_total", "Runs that Triggers did not open, by why.", "reason"),
		entries:   counter("journal_entries_total", "Entries that were written to journals."),
		effects:   counters("effects_total", "Effects that were journalled, as intended before they are begun and as done once they are known to have happened.", "result"),
		appends:   counters("journal_appends_total", "Appends to journals, by how they ended: a conflict means that another had written.", "result"),
		appending: histogram("journal_append_duration_seconds", "How long appends to journals took.", .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10),
		locks:     counters("locks_total", "Locks of runs that were asked for, by what came of it: held means that another has it.", "result"),
		takeovers: counter("lock_takeovers_total", "Locks that were taken from a holder who no longer renewed them, or broken."),
		lost:      counter("locks_lost_total", "Locks that this process lost before it released them."),
	}
	known(m.attempts, outcomes)
	known(m.approvals, judgements)
	known(m.heldBack, reasons)
	known(m.effects, effectKinds())
	known(m.appends, []string{ok, conflict, failed})
	known(m.locks, []string{taken, held, failed})
	for _, c := range []prometheus.Collector{
		m.attempts, m.durations, m.approvals, m.opened, m.heldBack, m.entries, m.effects, m.appends, m.appending, m.locks, m.takeovers, m.lost,
		newRuns(runs),
	} {
		if err := to.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// Attempted counts an attempt at a run that has ended, and how long it took.
func (m *Metrics) Attempted(o Outcome, took time.Duration) {
	m.attempts.WithLabelValues(among(outcomes, o)).Inc()
	m.durations.Observe(took.Seconds())
}

// Judged counts an Approval that was judged. It is to be called once an Approval.
func (m *Metrics) Judged(j Judgement) { m.approvals.WithLabelValues(among(judgements, j)).Inc() }

// Opened counts a Run that a Trigger opened.
func (m *Metrics) Opened() { m.opened.Inc() }

// HeldBack counts a Run that a Trigger would have opened.
func (m *Metrics) HeldBack(r Reason) { m.heldBack.WithLabelValues(among(reasons, r)).Inc() }

// TookOver counts a lock that was taken from a holder who no longer renewed it.
func (m *Metrics) TookOver() { m.takeovers.Inc() }

// LostLock counts a lock that was lost before it was released.
func (m *Metrics) LostLock() { m.lost.Inc() }

const namespace = "tkgfix"

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help})
}

func counters(name, help, label string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, []string{label})
}

func histogram(name, help string, buckets ...float64) prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets})
}

// known makes the series of the values, so that the first of an event is an increase.
func known[T ~string](c *prometheus.CounterVec, values []T) {
	for _, v := range values {
		c.WithLabelValues(string(v))
	}
}

// among returns a value that has a series, Other for one that has none.
func among[T ~string](values []T, v T) string {
	if slices.Contains(values, v) {
		return string(v)
	}
	return Other
}
