package metrics

import (
	"context"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
)

// patience bounds how long a scrape waits for a cache that is not filled yet.
const patience = 2 * time.Second

// phases are those that have a series.
func phases() []v1alpha1.Phase {
	return []v1alpha1.Phase{
		v1alpha1.PhasePending, v1alpha1.PhasePlanning, v1alpha1.PhasePlanned, v1alpha1.PhaseWaiting, v1alpha1.PhaseRunning,
		v1alpha1.PhaseSuspended, v1alpha1.PhaseDone, v1alpha1.PhaseFailed, v1alpha1.PhaseBlocked, v1alpha1.PhaseRejected,
	}
}

// runs counts the Runs when it is asked, so that the figures cannot drift from what there is.
type runs struct {
	reader client.Reader
	desc   *prometheus.Desc
}

var _ prometheus.Collector = (*runs)(nil)

func newRuns(reader client.Reader) *runs {
	return &runs{reader, prometheus.NewDesc(namespace+"_runs", "Runs that there are, by phase. Every replica tells the same.", []string{"phase"}, nil)}
}

// Describe implements prometheus.Collector.
func (r *runs) Describe(to chan<- *prometheus.Desc) { to <- r.desc }

// Collect implements prometheus.Collector. While the Runs cannot be read there are no series of them, rather than wrong ones.
func (r *runs) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var list v1alpha1.RunList
	if err := r.reader.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil { // nothing of it is written to
		return
	}
	counts := map[string]int{}
	for i := range list.Items {
		counts[phase(list.Items[i].Status.Phase)]++
	}
	for _, p := range phases() {
		to <- prometheus.MustNewConstMetric(r.desc, prometheus.GaugeValue, float64(counts[string(p)]), string(p))
	}
	if n := counts[Other]; n > 0 {
		to <- prometheus.MustNewConstMetric(r.desc, prometheus.GaugeValue, float64(n), Other)
	}
}

// phase returns the phase that a Run is counted under: one that nobody has looked at yet is pending.
func phase(p v1alpha1.Phase) string {
	switch {
	case p == "":
		return string(v1alpha1.PhasePending)
	case slices.Contains(phases(), p):
		return string(p)
	}
	return Other
}
