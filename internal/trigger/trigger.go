package trigger

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/internal/metrics"
	"github.com/tkgfix/tkgfix/internal/pull"
	"github.com/tkgfix/tkgfix/plugins"
)

// look is the pause after which a Trigger's status is looked over without a cause.
const look = 5 * time.Minute

// Options say how Triggers are run.
type Options struct {
	// Supervisor returns a client of the Supervisor in the connections of run, read with the rights of run's service account in the
	// namespace. It is called before each attempt to reach a cluster, and may block on the API server.
	Supervisor func(ctx context.Context, namespace string, run *v1alpha1.RunTemplate) (*kube.Client, error)
	Now        func() time.Time
	// Recorder tells what happens as Kubernetes Events.
	Recorder events.EventRecorder
	// Counts are the metrics; nil for none.
	Counts *metrics.Metrics
	// Pause is the one before a cluster that does not answer is asked again, which doubles up to two minutes; 0 for a second. Again is how
	// often at most the failures of one cluster and registry are looked at; 0 for a minute.
	Pause, Again time.Duration
}

// Setup adds to a manager what runs the Triggers: on the leader alone, so that clusters are watched once. It connects to nothing yet.
func Setup(mgr ctrl.Manager, o Options) error {
	if o.Pause == 0 {
		o.Pause = time.Second
	}
	if o.Again == 0 {
		o.Again = time.Minute
	}
	c := &triggers{Client: mgr.GetClient(), direct: mgr.GetAPIReader(), opts: o, known: map[types.NamespacedName]*watched{},
		news: make(chan event.TypedGenericEvent[types.NamespacedName], 1024)}
	c.ctx, c.end = context.WithCancel(context.Background())
	leader := true
	woken := source.TypedChannel(c.news, handler.TypedFuncs[types.NamespacedName, ctrl.Request]{
		GenericFunc: func(_ context.Context, e event.TypedGenericEvent[types.NamespacedName], q queue) {
			q.Add(ctrl.Request{NamespacedName: e.Object})
		},
	})
	err := ctrl.NewControllerManagedBy(mgr).Named("trigger").
		For(&v1alpha1.Trigger{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.Run{}, handler.EnqueueRequestsFromMapFunc(opener)).
		WatchesRawSource(woken).
		WithOptions(controller.Options{NeedLeaderElection: &leader, MaxConcurrentReconciles: 4}).
		Complete(c)
	if err != nil {
		return fmt.Errorf("set up the Triggers: %w", err)
	}
	return mgr.Add(c)
}

// opener returns the Trigger that opened a Run.
func opener(_ context.Context, o client.Object) []ctrl.Request {
	name := o.GetLabels()[v1alpha1.LabelTrigger]
	if name == "" {
		return nil
	}
	return []ctrl.Request{{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: name}}}
}

// triggers runs the Triggers of a replica.
type triggers struct {
	client.Client
	// direct reads the API server itself: whether a Run may be opened is not to be judged by what was.
	direct client.Reader
	opts   Options
	news   chan event.TypedGenericEvent[types.NamespacedName]

	ctx context.Context // of the watchers
	end context.CancelFunc
	wg  sync.WaitGroup

	mu    sync.Mutex
	ended bool // no more watchers are started
	known map[types.NamespacedName]*watched
}

var (
	_ manager.Runnable               = (*triggers)(nil)
	_ manager.LeaderElectionRunnable = (*triggers)(nil)
)

// Start waits until the replica ends or is no longer the leader, and ends the watchers.
func (c *triggers) Start(ctx context.Context) error {
	<-ctx.Done()
	c.mu.Lock()
	c.ended = true
	c.end()
	c.mu.Unlock()
	c.wg.Wait()
	return nil
}

// NeedLeaderElection says that only the leader runs Triggers.
func (c *triggers) NeedLeaderElection() bool { return true }

// wake has a Trigger looked at. It does not block: what is not woken now is found at the next look.
func (c *triggers) wake(name types.NamespacedName) {
	select {
	case c.news <- event.TypedGenericEvent[types.NamespacedName]{Object: name}:
	default:
	}
}

// Reconcile watches what a Trigger names, opens the Runs that are due, and says how it stands.
func (c *triggers) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	t := &v1alpha1.Trigger{}
	err := c.Get(ctx, req.NamespacedName, t)
	if apierrors.IsNotFound(err) || (err == nil && t.DeletionTimestamp != nil) {
		c.drop(req.NamespacedName)
		return ctrl.Result{}, nil
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	if why := idle(t); why.reason != "" {
		c.drop(req.NamespacedName)
		runs, err := opened(ctx, c, t)
		if err != nil {
			return ctrl.Result{}, err
		}
		return ctrl.Result{}, c.say(ctx, t, runs, why)
	}
	now := c.opts.Now()
	w := c.ensure(t)
	runs, brake, openErr := c.open(ctx, t, w, now)
	standing := standing(w, t, brake, openErr)
	if err := errors.Join(openErr, c.say(ctx, t, runs, standing)); err != nil {
		return ctrl.Result{}, err
	}
	after := look
	if brake.held > 0 {
		after = min(after, max(brake.until.Sub(now), c.opts.Pause))
	}
	return ctrl.Result{RequeueAfter: after}, nil
}

// brake says how many clusters and registries the storm brake holds back, and until when.
type brake struct {
	held  int
	until time.Time
}

// open opens the Runs that are due and returns those that there are.
func (c *triggers) open(ctx context.Context, t *v1alpha1.Trigger, w *watched, now time.Time) ([]v1alpha1.Run, brake, error) {
	var b brake
	runs, err := opened(ctx, c, t)
	if err != nil {
		return nil, b, err
	}
	fresh := false // whether runs is what the API server has, and not what the cache had
	for _, f := range w.toJudge(now) {
		h := judge(t, runs, f, now)
		if h.reason == "" && !fresh {
			if runs, err = opened(ctx, c.direct, t); err != nil {
				return runs, b, err
			}
			fresh, h = true, judge(t, runs, f, now)
		}
		if h.reason != "" {
			c.holdBack(w, f, h, now, &b)
			continue
		}
		run, err := c.create(ctx, t, runs, f)
		if err != nil {
			return runs, b, err
		}
		w.judged(f, false, now)
		runs = append(runs, *run)
	}
	return runs, b, nil
}

func (c *triggers) holdBack(w *watched, f failure, h hold, now time.Time, b *brake) {
	storm := h.reason == metrics.Storm
	if storm {
		b.held++
		b.until = h.until
	}
	if w.judged(f, storm, now) && c.opts.Counts != nil {
		c.opts.Counts.HeldBack(h.reason)
	}
}

// create opens a Run, and tells of it.
func (c *triggers) create(ctx context.Context, t *v1alpha1.Trigger, runs []v1alpha1.Run, f failure) (*v1alpha1.Run, error) {
	run := next(t, runs, f)
	err := c.Create(ctx, run)
	if apierrors.IsAlreadyExists(err) {
		return c.taken(ctx, run)
	}
	if err != nil {
		return nil, plugins.Hint(fmt.Errorf("open Run %s for %s and %s: %w", run.Name, f.cluster, f.registry, err),
			"kubectl auth can-i create runs.tkgfix.dev -n %s --as system:serviceaccount:tkgfix-system:tkgfix-controller", t.Namespace)
	}
	if c.opts.Counts != nil {
		c.opts.Counts.Opened()
	}
	note := fmt.Sprintf("Run %s for %s and %s: %s", run.Name, f.cluster, f.registry, f.seen)
	c.opts.Recorder.Eventf(t, run, corev1.EventTypeNormal, "Opened", "Open", "%s", pull.Printable(note, maxNote))
	return run, nil
}

// taken returns the Run that has the name of one that was to be opened: another replica was first.
func (c *triggers) taken(ctx context.Context, want *v1alpha1.Run) (*v1alpha1.Run, error) {
	got := &v1alpha1.Run{}
	if err := c.direct.Get(ctx, client.ObjectKeyFromObject(want), got); err != nil {
		return nil, fmt.Errorf("read Run %s: %w", want.Name, err)
	}
	if got.Labels[v1alpha1.LabelTrigger] != want.Labels[v1alpha1.LabelTrigger] || keyOf(got) != keyOf(want) {
		return nil, plugins.Hint(fmt.Errorf("open Run %s: there is one of that name, and it is none of this Trigger", want.Name),
			"see whose it is, and delete it: kubectl get run %s -n %s -o yaml", want.Name, want.Namespace)
	}
	return got, nil
}

// opened returns the Runs that a Trigger has opened, as far as they are still there.
func opened(ctx context.Context, from client.Reader, t *v1alpha1.Trigger) ([]v1alpha1.Run, error) {
	var runs v1alpha1.RunList
	err := from.List(ctx, &runs, client.InNamespace(t.Namespace), client.MatchingLabels{v1alpha1.LabelTrigger: Label(t.Name)})
	if err != nil {
		return nil, fmt.Errorf("list the Runs that Trigger %s opened: %w", t.Name, err)
	}
	if runs.Items == nil {
		return []v1alpha1.Run{}, nil // there are none, which is not the same as not knowing
	}
	return runs.Items, nil
}

// latest returns when the last of the Runs was opened; nil if there is none.
func latest(runs []v1alpha1.Run) *metav1.Time {
	var last *metav1.Time
	for i := range runs {
		if at := &runs[i].CreationTimestamp; last == nil || last.Before(at) {
			last = at
		}
	}
	return last
}
