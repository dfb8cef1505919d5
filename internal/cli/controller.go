package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/go-logr/logr"
	"github.com/urfave/cli/v2"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/tkgfix/tkgfix/internal/controller"
	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/internal/telemetry"
	"github.com/tkgfix/tkgfix/internal/version"
	"github.com/tkgfix/tkgfix/plugins"
)

func (a *app) controller() *cli.Command {
	return &cli.Command{
		Name: "controller", Usage: "carry out the Runs that a Kubernetes cluster keeps", ArgsUsage: " ",
		Description: `Run it in the Supervisor or in a management cluster, not in one that its workflows may delete; docs/install.md has the manifests.
Any number of replicas share the work. A signal ends it when the effects in flight are known to have happened, within --grace.

   tkgfix controller --namespace team-a --namespace team-b
   tkgfix controller --kubeconfig supervisor.kubeconfig --leader-elect-namespace tkgfix-system

EXIT STATUS: 0 ended by a signal, 1 failed.`,
		OnUsageError: usage,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "kubeconfig", Usage: "reach the cluster by `FILE`; without it, as a pod of it", EnvVars: []string{"KUBECONFIG"}},
			&cli.StringSliceFlag{Name: "namespace", Aliases: []string{"n"}, Usage: "carry out the Runs of `NAMESPACE` only (again for more)"},
			&cli.IntFlag{Name: "concurrent", Usage: "carry out `N` runs at once", Value: 8, Action: from(1, 1000)},
			&cli.StringFlag{Name: "work-dir", Usage: "keep the files of runs in `DIR`, the same for every replica", Value: "/run/tkgfix"},
			&cli.StringFlag{Name: "health-address", Usage: "answer /healthz and /readyz at `ADDRESS`; 0 for not", Value: ":8081"},
			&cli.StringFlag{Name: "metrics-address", Usage: "answer /metrics at `ADDRESS`; 0 for not", Value: ":8080"},
			&cli.StringFlag{Name: "leader-elect-namespace", Usage: "keep the Lease of the replica that runs the Triggers in `NAMESPACE`; without it, that of the pod"},
			&cli.DurationFlag{Name: "grace", Usage: "wait `DURATION` for the effects in flight when it is to end", Value: 25 * time.Second},
			&cli.DurationFlag{Name: "lease", Usage: "give the runs of a replica to others when it is not heard of for `DURATION`", Value: 15 * time.Second},
		},
		Action: a.runController,
	}
}

// from refuses numbers that are out of bounds.
func from(least, most int) func(*cli.Context, int) error {
	return func(_ *cli.Context, v int) error {
		if v < least || v > most {
			return fmt.Errorf("%d: must be from %d to %d", v, least, most)
		}
		return nil
	}
}

func (a *app) runController(c *cli.Context) error {
	if _, err := arguments(c); err != nil {
		return err
	}
	config, err := clusterConfig(c.String("kubeconfig"))
	if err != nil {
		return err
	}
	// How much is asked is bounded by --concurrent, and by the API server's own Priority and Fairness. With a limit of the client's own, five
	// calls a second unless it is set, the renewal of a lock would wait behind all else.
	config.QPS, config.UserAgent = -1, "tkgfix/"+version.Version()
	logger := logr.FromSlogHandler(slog.NewJSONHandler(a.ui.Err, nil))
	ctrl.SetLogger(logger)
	klog.SetLogger(logger) // client-go's, such as the leader election's
	a.tracing = telemetry.Start(c.Context, version.Version(), func(err error) { ctrl.Log.WithName("traces").Error(err, "traces") })
	opts, err := a.controllerOptions(c)
	if err != nil {
		return err
	}
	// The first signal ends it in order; attempts heed the grace. A second one gets the system's own treatment.
	ctx, cancel := context.WithCancel(c.Context)
	defer cancel()
	a.soft.Store(true)
	go func() {
		select {
		case <-a.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	return controller.Run(ctx, config, opts)
}

func (a *app) controllerOptions(c *cli.Context) (controller.Options, error) {
	host, err := os.Hostname()
	if err != nil {
		return controller.Options{}, fmt.Errorf("find the name of this machine: %w", err)
	}
	executable, err := os.Executable()
	if err != nil {
		return controller.Options{}, fmt.Errorf("find this executable: %w", err)
	}
	dir, err := filepath.Abs(c.String("work-dir"))
	if err != nil {
		return controller.Options{}, fmt.Errorf("find the folder for files of runs: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return controller.Options{}, plugins.Hint(fmt.Errorf("make the folder for files of runs: %w", err), "--work-dir DIR")
	}
	if c.Duration("lease") < time.Second || c.Duration("grace") < 0 {
		return controller.Options{}, errors.New("--lease must be a second at least, and --grace not negative")
	}
	known := a.newCatalog(c)
	return controller.Options{
		Engine: engine.Engine{
			Now: a.now, Version: version.Version(), Catalog: known, Launch: launcher(executable, known), End: endProcess, File: fileDigest,
			Tracer: a.tracer(c.Context),
		},
		Host: host, PID: os.Getpid(), Namespaces: c.StringSlice("namespace"), LeaderNamespace: c.String("leader-elect-namespace"),
		WorkDir: dir, Concurrent: c.Int("concurrent"), Grace: c.Duration("grace"), Lease: c.Duration("lease"),
		Health: c.String("health-address"), Metrics: c.String("metrics-address"), Registry: metrics.Registry,
		Refused: map[string]string{"exec": "a command of a workflow's author would run with the controller's own rights"},
	}, nil
}

// clusterConfig returns how the cluster is reached: by a kubeconfig, else as a pod of it.
func clusterConfig(path string) (*rest.Config, error) {
	if path != "" {
		abs, err := filepath.Abs(path)
		if err != nil {
			return nil, fmt.Errorf("find the kubeconfig: %w", err)
		}
		return kube.RESTConfig(plugins.Kube{Kubeconfig: abs})
	}
	config, err := rest.InClusterConfig()
	if err != nil {
		return nil, plugins.Hint(fmt.Errorf("reach the cluster as a pod of it: %w", err), "tkgfix controller --kubeconfig FILE")
	}
	return config, nil
}
