package trigger

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/internal/tkg"
)

// maxFailures bounds how many clusters and registries one Trigger knows to fail at once.
const maxFailures = 1000

// connecting is why a cluster is not watched that has not been asked yet.
type connecting struct{}

func (connecting) Error() string { return "it is being connected" }

// watched is what is watched for one Trigger, and what was seen.
type watched struct {
	// run is the template that the watchers were started with, as JSON.
	run  string
	wake func()
	now  func() time.Time
	// again is how long after a judgement the same failure wakes nobody.
	again time.Duration

	mu       sync.Mutex
	clusters map[string]*clusterState
	failures map[key]*known
}

type clusterState struct {
	stop context.CancelFunc
	err  error
}

// known is a failure with what became of it.
type known struct {
	failure
	// fresh says that it was seen since it was judged, held that it waits for the brake.
	fresh, held bool
	judged      time.Time
}

// found takes a failure. It is a watcher's.
func (w *watched) found(f failure) {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := w.failures[f.key]
	if k == nil {
		if len(w.failures) >= maxFailures {
			return // the brake holds long before that
		}
		k = &known{}
		w.failures[f.key] = k
	}
	if !f.at.After(k.at) {
		return
	}
	k.failure, k.fresh = f, true
	if w.now().Sub(k.judged) >= w.again {
		w.wake()
	}
}

// reached takes how it stands with a cluster.
func (w *watched) reached(cluster string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c := w.clusters[cluster]; c != nil && text(c.err) != text(err) {
		c.err = err
		w.wake()
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// toJudge returns the failures that are new or wait for the brake, the oldest first, and forgets those that are past.
func (w *watched) toJudge(now time.Time) []failure {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []failure
	for k, f := range w.failures {
		switch {
		case now.Sub(f.at) > maxAge:
			delete(w.failures, k)
		case f.fresh || f.held:
			out = append(out, f.failure)
		}
	}
	slices.SortFunc(out, func(a, b failure) int {
		return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.cluster, b.cluster), cmp.Compare(a.registry, b.registry))
	})
	return out
}

// judged keeps what became of a failure. It says whether that is new of it, which for one that the brake holds it is once.
func (w *watched) judged(f failure, held bool, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := w.failures[f.key]
	if k == nil {
		return true
	}
	isNew := !held || !k.held
	k.held, k.judged = held, now
	k.fresh = k.at.After(f.at)
	return isNew
}

// trouble returns which clusters are not watched, in the order of their names, and why the first is not.
func (w *watched) trouble() (names []string, first error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, c := range w.clusters {
		if c.err != nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if len(names) > 0 {
		first = w.clusters[names[0]].err
	}
	return names, first
}

func (w *watched) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.clusters {
		c.stop()
	}
}

// ensure starts watchers for the clusters of a Trigger that have none, and ends those of clusters that it no longer names.
func (c *triggers) ensure(t *v1alpha1.Trigger) *watched {
	name := types.NamespacedName{Namespace: t.Namespace, Name: t.Name}
	template, _ := json.Marshal(t.Spec.Run) // it came as JSON
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.known[name]
	if w != nil && w.run != string(template) {
		w.stop()
		w = nil
	}
	if w == nil {
		w = &watched{
			run: string(template), now: c.opts.Now, again: c.opts.Again, wake: func() { c.wake(name) },
			clusters: map[string]*clusterState{}, failures: map[key]*known{},
		}
		c.known[name] = w
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for cluster, s := range w.clusters {
		if !slices.Contains(t.Spec.Clusters, cluster) {
			s.stop()
			delete(w.clusters, cluster)
		}
	}
	for _, cluster := range t.Spec.Clusters {
		if w.clusters[cluster] == nil {
			w.clusters[cluster] = c.watch(t, w, cluster)
		}
	}
	return w
}

// watch starts the watcher of a cluster. The caller holds c.mu.
func (c *triggers) watch(t *v1alpha1.Trigger, w *watched, cluster string) *clusterState {
	ref, err := tkg.ParseRef(cluster)
	if err != nil || c.ended {
		return &clusterState{stop: func() {}, err: err}
	}
	ctx, cancel := context.WithCancel(c.ctx)
	namespace, template := t.Namespace, t.Spec.Run.DeepCopy()
	watcher := &watcher{
		cluster: ref, now: c.opts.Now, pause: c.opts.Pause, found: w.found,
		reached: func(err error) { w.reached(cluster, err) },
		supervisor: func(ctx context.Context) (*kube.Client, error) {
			return c.opts.Supervisor(ctx, namespace, template)
		},
	}
	c.wg.Go(func() { watcher.run(ctx) })
	return &clusterState{stop: cancel, err: connecting{}}
}

// drop ends what is watched for a Trigger.
func (c *triggers) drop(name types.NamespacedName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w := c.known[name]; w != nil {
		w.stop()
		delete(c.known, name)
	}
}
