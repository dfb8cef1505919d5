package controller

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
	"github.com/tkgfix/tkgfix/internal/approval"
	"github.com/tkgfix/tkgfix/internal/controller/approvals"
	"github.com/tkgfix/tkgfix/internal/controller/confine"
	"github.com/tkgfix/tkgfix/internal/controller/runfiles"
	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/metrics"
	"github.com/tkgfix/tkgfix/internal/state"
	kubestate "github.com/tkgfix/tkgfix/internal/state/kube"
)

// runs reconciles Runs: each as far as it can go now.
type runs struct {
	client.Client
	// direct reads and writes without a cache.
	direct   client.Client
	opts     Options
	home     *confine.Home
	attempts *attempts
	as       func(namespace, serviceAccount string) (client.Reader, error)
	judge    *approvals.Judge
	recorder events.EventRecorder
	files    *runfiles.Writer
	counts   *metrics.Metrics

	mu     sync.Mutex
	stores map[string]state.Store
}

func (c *runs) setup(mgr ctrl.Manager) error {
	every := false
	return ctrl.NewControllerManagedBy(mgr).Named("runs").
		For(&v1alpha1.Run{}, builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}, phaseChanged()))).
		Watches(&v1alpha1.Approval{}, handler.EnqueueRequestsFromMapFunc(ofApproval)).
		Watches(&v1alpha1.Workflow{}, handler.EnqueueRequestsFromMapFunc(c.ofWorkflow), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WithOptions(controller.Options{NeedLeaderElection: &every, MaxConcurrentReconciles: c.opts.Concurrent}).
		Complete(c)
}

// phaseChanged lets a Run through that has come to another phase. So every replica looks at a Run that one of them has taken up, and goes
// on looking as long as it is held: when the one dies there is no event.
func phaseChanged() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false }, DeleteFunc: func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			return e.ObjectOld.(*v1alpha1.Run).Status.Phase != e.ObjectNew.(*v1alpha1.Run).Status.Phase
		},
	}
}

// ofApproval returns the Run that an Approval is on, as long as it is not judged.
func ofApproval(_ context.Context, o client.Object) []reconcile.Request {
	a := o.(*v1alpha1.Approval)
	name := v1alpha1.RunName(a.Spec.Run)
	if name == "" || judged(a) {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: a.Namespace, Name: name}}}
}

// ofWorkflow returns the Runs of a Workflow that have not begun.
func (c *runs) ofWorkflow(ctx context.Context, o client.Object) []reconcile.Request {
	var list v1alpha1.RunList
	if err := c.List(ctx, &list, client.InNamespace(o.GetNamespace()), client.MatchingFields{byWorkflow: o.GetName()}); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "list the Runs of a Workflow")
		return nil
	}
	var out []reconcile.Request
	for i := range list.Items {
		if p := list.Items[i].Status.Phase; p == "" || p == v1alpha1.PhasePending {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
		}
	}
	return out
}

// Reconcile implements reconcile.Reconciler. It blocks for as long as an attempt takes.
func (c *runs) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	run := &v1alpha1.Run{}
	if err := c.Get(ctx, req.NamespacedName, run); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	run = run.DeepCopy() // the cache's own is not to be changed
	switch {
	case !run.DeletionTimestamp.IsZero():
		return c.remove(ctx, run)
	case controllerutil.AddFinalizer(run, v1alpha1.Finalizer):
		// Before anything is begun: nothing that is in flight may be forgotten.
		err := c.direct.Update(ctx, run)
		switch {
		case apierrors.IsConflict(err):
			return ctrl.Result{RequeueAfter: time.Second}, nil // another replica was first, or the Run is another by now
		case apierrors.IsNotFound(err):
			return ctrl.Result{}, nil
		case err != nil:
			return ctrl.Result{}, fmt.Errorf("keep Run %s: %w", req, err)
		}
	}
	pending, err := c.undecided(ctx, run)
	if err != nil {
		return ctrl.Result{}, err
	}
	if after, ok := atRest(run, pending, c.opts.Engine.Now()); ok {
		return ctrl.Result{RequeueAfter: after}, nil
	}
	t := &turn{runs: c, run: run, saved: run.DeepCopy(), phase: run.Status.Phase, id: v1alpha1.RunID(run), undecided: pending}
	after, err := t.take(ctx)
	if err != nil && t.r == nil {
		return ctrl.Result{}, err // how it stands is not known
	}
	// What came of it is said also when the replica is ending.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), statusTimeout)
	defer cancel()
	if err = errors.Join(err, t.report(ctx)); apierrors.IsConflict(err) {
		return ctrl.Result{RequeueAfter: lookAgain}, nil
	}
	return ctrl.Result{RequeueAfter: after}, err
}

// lookAgain is the pause after which a Run is looked at again that was not as it was last seen.
const lookAgain = 200 * time.Millisecond

// statusTimeout bounds the writing of a status.
const statusTimeout = 10 * time.Second

// atRest says whether nothing can come of a Run now, from its status alone, and when something may. So a thousand Runs at rest cost
// nothing.
func atRest(run *v1alpha1.Run, undecided []v1alpha1.Approval, now time.Time) (time.Duration, bool) {
	s := &run.Status
	if s.ObservedGeneration != run.Generation || len(undecided) > 0 || run.Annotations[v1alpha1.AnnotationResume] != s.Resumed ||
		run.Annotations[v1alpha1.AnnotationResolve] != s.Resolved {
		return 0, false
	}
	switch s.Phase {
	case v1alpha1.PhaseDone, v1alpha1.PhaseRejected, v1alpha1.PhaseFailed, v1alpha1.PhaseSuspended:
		return 0, true
	case v1alpha1.PhaseWaiting, v1alpha1.PhasePlanned:
		var next time.Duration
		for _, g := range s.Gates {
			if g.ExpiresAt == nil {
				continue
			}
			left := g.ExpiresAt.Sub(now)
			if left <= 0 {
				return 0, false
			}
			if next == 0 || left < next {
				next = left
			}
		}
		return next, len(s.Gates) > 0
	}
	return 0, false
}

// undecided returns the Approvals of a Run of which is not said yet whether they count.
func (c *runs) undecided(ctx context.Context, run *v1alpha1.Run) ([]v1alpha1.Approval, error) {
	var list v1alpha1.ApprovalList
	if err := c.List(ctx, &list, client.InNamespace(run.Namespace), client.MatchingFields{byRun: v1alpha1.RunID(run)}); err != nil {
		return nil, fmt.Errorf("list the Approvals of Run %s: %w", run.Name, err)
	}
	var out []v1alpha1.Approval
	for i := range list.Items {
		if !judged(&list.Items[i]) {
			out = append(out, *list.Items[i].DeepCopy())
		}
	}
	return out, nil
}

// engine returns the engine for one run.
func (c *runs) engine(run *v1alpha1.Run) *engine.Engine {
	e := c.opts.Engine
	e.Store = c.store(run.Namespace)
	e.Me = c.me()
	e.PlanOnly = run.Spec.PlanOnly
	e.Vouch = c.judge.Vouch(run.Namespace)
	e.Launch = confine.Launch(e.Launch, c.files.Path(run.Namespace, v1alpha1.RunID(run)), c.home)
	return &e
}

// me is this replica.
func (c *runs) me() engine.Actor {
	return engine.Actor{Identity: approval.Identity{Name: "controller@" + c.opts.Host}, Host: c.opts.Host, PID: c.opts.PID}
}

// store returns the journals of a namespace.
func (c *runs) store(namespace string) state.Store {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.stores[namespace]; s != nil {
		return s
	}
	s := c.counts.Store(kubestate.New(kubestate.Options{
		Client: c.direct, Namespace: namespace, LeaseDuration: c.opts.Lease, TookOver: func(string) { c.counts.TookOver() },
		Lost:  func(id string) { c.counts.LostLock(); c.attempts.lost(id) },
		Owner: func(id string) *metav1.OwnerReference { return c.owner(namespace, id) },
	}))
	c.stores[namespace] = s
	return s
}

// owner returns the Run of a journal, with which the journal goes.
func (c *runs) owner(namespace, id string) *metav1.OwnerReference {
	run := &v1alpha1.Run{}
	// From the cache: it does not block, and a Run that is not in it is not worked on.
	if err := c.Get(context.Background(), types.NamespacedName{Namespace: namespace, Name: v1alpha1.RunName(id)}, run); err != nil || v1alpha1.RunID(run) != id {
		return nil
	}
	return metav1.NewControllerRef(run, v1alpha1.GroupVersion.WithKind("Run"))
}

// say makes a Kubernetes Event of what happens to a Run.
func (c *runs) say(run *v1alpha1.Run, kind, reason, text string) {
	const most = 1000 // an Event's note has 1 KiB
	c.recorder.Eventf(run, nil, kind, reason, "Run", "%s", cut(text, most))
}

// patch writes a Run's status if it differs from what it was, by a patch from that.
func (c *runs) patch(ctx context.Context, run, before *v1alpha1.Run, from client.Patch) error {
	if equality.Semantic.DeepEqual(run.Status, before.Status) {
		return nil
	}
	// The answer goes into a copy: what else it holds is the next turn's.
	there := run.DeepCopy()
	if err := c.direct.Status().Patch(ctx, there, from); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("write the status of Run %s: %w", run.Name, err)
	}
	run.ResourceVersion = there.ResourceVersion
	return nil
}

const (
	normal  = corev1.EventTypeNormal
	warning = corev1.EventTypeWarning
)
