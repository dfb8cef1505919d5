package controller

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
	"github.com/tkgfix/tkgfix/internal/controller/approvals"
	"github.com/tkgfix/tkgfix/internal/controller/confine"
	"github.com/tkgfix/tkgfix/internal/controller/runfiles"
	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/metrics"
	"github.com/tkgfix/tkgfix/internal/source"
	"github.com/tkgfix/tkgfix/internal/state"
	"github.com/tkgfix/tkgfix/internal/trigger"
)

// leaderName is the Lease of the replica that runs the Triggers.
const leaderName = "tkgfix-controller"

// Options say how the controller works.
type Options struct {
	// Engine has what all runs share: catalog, plugins, clock, version. What belongs to one run is set for each.
	Engine engine.Engine
	// Host names this replica.
	Host string
	// PID is this process.
	PID int
	// Namespaces are those whose Runs are carried out; none means all.
	Namespaces []string
	// LeaderNamespace is where the Lease of the Triggers lies.
	LeaderNamespace string
	// WorkDir is the folder for the files of runs. It must be the same on every replica.
	WorkDir string
	// Concurrent is how many runs one replica carries out at once.
	Concurrent int
	// Grace is how long the effects in flight may take to finish when the replica is to end; Lease how long a replica that is not heard
	// of keeps a run.
	Grace, Lease time.Duration
	// Settle is how much older than an Approval the policy must be that proves its approver; 0 means 10 s.
	Settle time.Duration
	// Health and Metrics are addresses to listen on; "0" for none.
	Health, Metrics string
	// Registry is where the metrics are registered; nil means nowhere. What listens on Metrics serves controller-runtime's.
	Registry prometheus.Registerer
	// Refused are the steps that no workflow may use here, with the reason.
	Refused map[string]string
}

// Run runs the controller until ctx ends, and then until what is in flight has stopped, for Grace at most. It blocks.
func Run(ctx context.Context, config *rest.Config, opts Options) error {
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme), source.AddToScheme(scheme)); err != nil {
		return fmt.Errorf("register the kinds: %w", err)
	}
	watched := cache.Options{}
	for _, n := range opts.Namespaces {
		if watched.DefaultNamespaces == nil {
			watched.DefaultNamespaces = map[string]cache.Config{}
		}
		watched.DefaultNamespaces[n] = cache.Config{}
	}
	shutdown := opts.Grace + 10*time.Second
	// Triggers can wait for another leader, and a Lease that is renewed less often is most of what a controller at rest does not do.
	valid, deadline, renewed := 30*time.Second, 20*time.Second, 5*time.Second
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: scheme, Cache: watched, GracefulShutdownTimeout: &shutdown,
		// Journals, Leases and what Runs name are read as they are, not as they were.
		Client:         client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}, &corev1.ConfigMap{}, &v1alpha1.JournalEntry{}}}},
		Metrics:        server.Options{BindAddress: opts.Metrics},
		LeaderElection: true, LeaderElectionID: leaderName, LeaderElectionNamespace: opts.LeaderNamespace, LeaderElectionReleaseOnCancel: true,
		LeaseDuration: &valid, RenewDeadline: &deadline, RetryPeriod: &renewed,
		HealthProbeBindAddress: opts.Health,
	})
	if err != nil {
		return fmt.Errorf("set up the controller: %w", err)
	}
	if err := setup(ctx, mgr, config, opts); err != nil {
		return fmt.Errorf("set up the controller: %w", err)
	}
	if err := mgr.Start(ctx); err != nil {
		return fmt.Errorf("run the controller: %w", err)
	}
	return nil
}

func setup(ctx context.Context, mgr ctrl.Manager, config *rest.Config, opts Options) error {
	direct, err := client.New(config, client.Options{Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper()})
	if err != nil {
		return err
	}
	home, err := confine.NewHome(config)
	if err != nil {
		return err
	}
	registry := opts.Registry
	if registry == nil {
		registry = prometheus.NewRegistry()
	}
	counts, err := metrics.New(registry, mgr.GetClient(), opts.Engine.Now)
	if err != nil {
		return fmt.Errorf("register the metrics: %w", err)
	}
	as := impersonated{config: config, scheme: mgr.GetScheme(), mapper: mgr.GetRESTMapper()}
	at := newAttempts(opts.Grace)
	r := &runs{
		Client: mgr.GetClient(), direct: direct, opts: opts, home: home, attempts: at, as: as.reader, stores: map[string]state.Store{},
		judge:    &approvals.Judge{Reader: direct, Settle: opts.Settle},
		recorder: mgr.GetEventRecorder("tkgfix"), counts: counts,
		files: &runfiles.Writer{Dir: opts.WorkDir, Own: direct, As: as.reader, InCluster: as.kubeconfig},
	}
	w := &workflows{Client: mgr.GetClient(), catalog: opts.Engine.Catalog, refused: opts.Refused}
	s := &signals{Client: mgr.GetClient(), attempts: at}
	triggers := trigger.Options{Supervisor: as.supervisor, Now: opts.Engine.Now, Recorder: mgr.GetEventRecorder("tkgfix"), Counts: counts}
	return errors.Join(
		index(ctx, mgr), r.setup(mgr), w.setup(mgr), s.setup(mgr), trigger.Setup(mgr, triggers), mgr.Add(at),
		mgr.AddHealthzCheck("ping", healthz.Ping), mgr.AddReadyzCheck("cache", synced(mgr)),
	)
}

// synced says whether the replica knows the objects that it works on.
func synced(mgr ctrl.Manager) healthz.Checker {
	return func(req *http.Request) error {
		ctx, cancel := context.WithTimeout(req.Context(), time.Second)
		defer cancel()
		if !mgr.GetCache().WaitForCacheSync(ctx) {
			return errors.New("the Runs are not known yet")
		}
		return nil
	}
}

// The fields by which cached objects are found.
const (
	byRun      = "spec.run"
	byWorkflow = "spec.workflow.name"
)

func index(ctx context.Context, mgr ctrl.Manager) error {
	return errors.Join(
		mgr.GetFieldIndexer().IndexField(ctx, &v1alpha1.Approval{}, byRun, func(o client.Object) []string {
			return []string{o.(*v1alpha1.Approval).Spec.Run}
		}),
		mgr.GetFieldIndexer().IndexField(ctx, &v1alpha1.Run{}, byWorkflow, func(o client.Object) []string {
			if w := o.(*v1alpha1.Run).Spec.Workflow; w != nil {
				return []string{w.Name}
			}
			return nil
		}),
	)
}
