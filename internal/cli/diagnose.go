package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"github.com/tkgfix/tkgfix/internal/diagnosis"
	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/handshake"
	"github.com/tkgfix/tkgfix/internal/inputfile"
	"github.com/tkgfix/tkgfix/internal/report"
	"github.com/tkgfix/tkgfix/plugins"
)

const (
	// atOnce is how many clusters are diagnosed at the same time. Each has plugins of its own, so that none waits for another's.
	atOnce = 4
	// clusterTimeout bounds the looks at one cluster.
	clusterTimeout = 5 * time.Minute
)

func (a *app) diagnose() *cli.Command {
	return &cli.Command{
		Name: "diagnose", Usage: "say why the pods of clusters cannot pull, and change nothing", ArgsUsage: "[CLUSTER...]",
		Description: `A CLUSTER is namespace/name, or a name in the kubeconfig context's namespace. Without one, all that the login may see
are diagnosed. There is no workflow, and nothing is kept: cause, remedy, evidence, and why it is none of the others.

   tkgfix diagnose
   tkgfix diagnose team-a/dev1 --ca corp-root.pem
   tkgfix diagnose dev1 -n team-a --registry registry.corp.example -o json

Nodes are reached if a pod fails to pull, or if --registry is given. docs/diagnose.md explains what is printed.

EXIT STATUS: 0 all were diagnosed, 1 something could not be asked, 2 a fault was found (with --detailed-exitcode).`,
		OnUsageError: usage,
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "kubeconfig", Usage: "reach the Supervisor by `FILE`", DefaultText: "$KUBECONFIG, then ~/.kube/config"},
			&cli.StringFlag{Name: "context", Usage: "use the kubeconfig's context `NAME`", DefaultText: "its current one"},
			&cli.StringFlag{Name: "namespace", Aliases: []string{"n"}, Usage: "look in the vSphere Namespace `NAME` only"},
			&cli.StringFlag{Name: "registry", Usage: "ask about `HOST[:PORT]`", DefaultText: "the one that the failing pods dial"},
			&cli.StringFlag{Name: "ca", Usage: "try the certificates in `FILE` beside what the nodes trust"},
			&cli.DurationFlag{Name: "timeout", Usage: "look at each cluster for `D` at most", Value: clusterTimeout},
			&cli.BoolFlag{Name: "verbose", Usage: "show the evidence of what is in order too"},
			outputFlag("text", "json"),
			&cli.BoolFlag{Name: "detailed-exitcode", Usage: "exit with 2 if a fault was found"},
		}, nodeFlags()...),
		Action: a.runDiagnose,
	}
}

func (a *app) runDiagnose(c *cli.Context) error {
	ask, err := a.inquiry(c)
	if err != nil {
		return err
	}
	clusters, err := a.patients(c, *ask.request.Connections.Supervisor)
	if err != nil {
		return err
	}
	all, err := a.examine(c, ask, clusters)
	if err != nil {
		return err
	}
	if c.String("output") == "json" {
		if err := report.JSON(a.ui.Out, map[string]any{"clusters": all}); err != nil {
			return err
		}
	} else if err := report.DiagnosisTotals(a.ui.Out, all); err != nil {
		return err
	}
	return diagnosed(c, all)
}

// diagnosed returns the exit code. What could not be asked comes before what was found.
func diagnosed(c *cli.Context, all []diagnosis.Diagnosis) error {
	code := ExitDone
	for _, d := range all {
		if d.Error != "" {
			return exit(ExitFailed)
		}
		if d.Fault() && c.Bool("detailed-exitcode") {
			code = ExitChanges
		}
	}
	if code != ExitDone {
		return exit(code)
	}
	return nil
}

// inquiry is what is asked of each cluster.
type inquiry struct {
	looks *diagnosis.Looks
	// launch starts the plugins of one cluster after the other.
	launch func() engine.Plugins
	// request lacks what differs from cluster to cluster.
	request diagnosis.Request
}

// inquiry reads the command line.
func (a *app) inquiry(c *cli.Context) (inquiry, error) {
	var none inquiry
	known := a.newCatalog(c)
	looks, err := diagnosis.New(known)
	if err != nil {
		return none, err
	}
	executable, err := os.Executable()
	if err != nil {
		return none, fmt.Errorf("find this executable: %w", err)
	}
	req := diagnosis.Request{Registry: c.String("registry"), Timeout: c.Duration("timeout")}
	if req.Timeout <= 0 {
		return none, fmt.Errorf("--timeout %s: it must be above zero", req.Timeout)
	}
	if req.Registry != "" {
		if _, _, err := handshake.HostPort(req.Registry); err != nil {
			return none, plugins.Hint(fmt.Errorf("--registry: %w", err), "give the registry as HOST[:PORT], such as registry.corp.example:8443")
		}
	}
	if req.CA, err = candidate(c.String("ca")); err != nil {
		return none, err
	}
	path, err := kubeconfig(c.String("kubeconfig"))
	if err != nil {
		return none, err
	}
	nodes, err := nodesOf(c)
	if err != nil {
		return none, err
	}
	req.Connections = plugins.Connections{Supervisor: &plugins.Kube{Kubeconfig: path, Context: c.String("context")}, Nodes: &nodes}
	start := launcher(executable, known)
	launch := func() engine.Plugins {
		return start(req.Connections, func(context.Context, engine.Process) error { return nil })
	}
	return inquiry{looks: looks, launch: launch, request: req}, nil
}

// candidate returns the absolute path of the CA file, once it is known to hold what the steps will want of it.
func candidate(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("find the CA file: %w", err)
	}
	if _, err := inputfile.Candidate(path); err != nil {
		return "", fmt.Errorf("--ca: %w", err)
	}
	return path, nil
}

// examine diagnoses the clusters, several at a time, and prints each as text when all before it are there. The diagnoses are in the
// order of the clusters.
func (a *app) examine(c *cli.Context, ask inquiry, clusters []patient) ([]diagnosis.Diagnosis, error) {
	alive, cancel := context.WithCancelCause(c.Context)
	defer cancel(nil)
	group, ctx := errgroup.WithContext(alive)
	todo := make(chan int)
	done := make([]chan diagnosis.Diagnosis, len(clusters))
	for i := range done {
		done[i] = make(chan diagnosis.Diagnosis, 1)
	}
	group.Go(func() error {
		defer close(todo)
		for i := range clusters {
			select {
			case todo <- i:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	})
	for range min(atOnce, len(clusters)) {
		group.Go(func() (err error) {
			steps := ask.launch()
			defer func() { err = errors.Join(err, steps.Close(context.WithoutCancel(ctx))) }()
			for i := range todo {
				d, err := a.ask(ctx, ask, steps, clusters[i])
				if err != nil {
					return err
				}
				done[i] <- d
			}
			return nil
		})
	}
	all, err := a.gather(ctx, c, done)
	if err != nil {
		cancel(err) // nobody reads the rest
	}
	return all, cmp.Or(err, group.Wait())
}

// gather takes the diagnoses in their order.
func (a *app) gather(ctx context.Context, c *cli.Context, done []chan diagnosis.Diagnosis) ([]diagnosis.Diagnosis, error) {
	all := make([]diagnosis.Diagnosis, 0, len(done))
	for _, one := range done {
		select {
		case d := <-one:
			all = append(all, d)
			if c.String("output") != "text" {
				continue
			}
			if err := report.DiagnosisText(a.ui.Out, d, c.Bool("verbose")); err != nil {
				return all, err
			}
		case <-ctx.Done():
			return all, nil // the group says why
		}
	}
	return all, nil
}

// ask diagnoses one cluster. The error is that of ctx.
func (a *app) ask(ctx context.Context, ask inquiry, steps engine.Plugins, p patient) (diagnosis.Diagnosis, error) {
	if p.err != nil {
		return diagnosis.Failed(p.ref.String(), p.err), nil
	}
	req := ask.request
	req.Cluster, req.Step = p.ref.String(), steps.Step
	req.Began = func(id string) { a.ui.Watch(engine.Event{Kind: engine.EventPlanning, ID: req.Cluster + ": " + id}) }
	d, err := ask.looks.Diagnose(ctx, req)
	d.Kind = p.kind
	return d, err
}
