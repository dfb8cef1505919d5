package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"golang.org/x/sync/errgroup"

	"github.com/tkgfix/tkgfix/internal/lab/ca"
	"github.com/tkgfix/tkgfix/internal/lab/guest"
	"github.com/tkgfix/tkgfix/internal/lab/plane"
	"github.com/tkgfix/tkgfix/internal/lab/proc"
	"github.com/tkgfix/tkgfix/internal/lab/real"
	"github.com/tkgfix/tkgfix/internal/lab/service"
	"github.com/tkgfix/tkgfix/internal/lab/vm"
)

// setupUser is who makes the scenarios, so that the audit log tells that from what users do later.
const setupUser = "lab-setup"

// DaemonOptions say what a daemon runs.
type DaemonOptions struct {
	Dir, Scenario, Kube string
	// MadeDir says that the folder is the laboratory's own.
	MadeDir bool
	// Helper is the program that has service/vm's helper subcommand: the one that is running.
	Helper string
	// Nodes is the kind of nodes, ImitatedNodes or RealNodes.
	Nodes string
	// Generation is what the Supervisor serves and of what kind the clusters are.
	Generation service.Generation
	// Progress gets a line for each thing that is done, and the line "ready" at the end.
	Progress io.Writer
	Log      *slog.Logger
	Now      func() time.Time
}

// readyLine ends the progress of a daemon that is ready.
const readyLine = "ready"

// daemon is a running laboratory.
type daemon struct {
	opts       DaemonOptions
	group      *proc.Group
	pool       *guest.Pool
	real       *real.Machines // nil with imitated nodes
	pki        *ca.Corporate
	earlier    ca.Pair // the certificate that the registry had before its present one
	supervisor *plane.Plane
	servers    *servers
	service    *service.Service
	config     *rest.Config // of setupUser on the Supervisor

	planted int // how often dev1's nodes have been made

	sources sync.Mutex // held while somebody acts for faults (source.go)

	mu       sync.Mutex
	state    State
	current  Scenario
	listener func(line string)
}

// Daemon runs a laboratory until ctx ends, and then ends all of it. It does not remove the folder: Down does.
func Daemon(ctx context.Context, opts DaemonOptions) error {
	first, err := findScenarioOn(opts.Scenario, opts.Nodes, opts.Generation)
	if err != nil {
		return err
	}
	d := &daemon{opts: opts, current: first}
	// The children's thread has to outlive everything, also the orderly end.
	threads, release := context.WithCancel(context.WithoutCancel(ctx))
	defer release()
	if d.group, err = proc.NewGroup(threads, filepath.Join(opts.Dir, "processes")); err != nil {
		return err
	}
	began := opts.Now()
	// First of all, so that Down finds this process however early it comes.
	if err := d.initState(); err != nil {
		return err
	}
	if err := d.claimAddresses(ctx); err != nil {
		return err
	}
	defer d.pool.Close()
	group, ctx := errgroup.WithContext(ctx)
	defer d.stop()
	if err := d.prepare(ctx); err != nil {
		return err
	}
	serviceCtx, stopService := context.WithCancel(ctx)
	defer stopService()
	group.Go(func() error { return d.service.Run(serviceCtx) })
	group.Go(func() error { return d.keepSources(ctx) })
	control, err := d.listen(ctx)
	if err != nil {
		return err
	}
	group.Go(func() error {
		if err := d.begin(ctx, first); err != nil {
			return err
		}
		d.say("ready after %s", opts.Now().Sub(began).Round(100*time.Millisecond))
		d.say(readyLine)
		return d.serveControl(ctx, control)
	})
	err = group.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// claimAddresses takes the addresses of the laboratory: of loopback, or those that the network of real nodes reaches.
func (d *daemon) claimAddresses(ctx context.Context) error {
	var err error
	if d.opts.Nodes == RealNodes {
		d.real, err = real.Open(ctx, real.Options{Group: d.group, Dir: d.opts.Dir, Binary: d.opts.Kube, Helper: d.opts.Helper})
		if err != nil {
			return err
		}
		d.pool = d.real.Served()
	} else if d.pool, err = guest.NewPool(ctx); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state.RegistryAddress = net.JoinHostPort(d.pool.Registry(), registryPort)
	d.state.Supervisor = "https://" + net.JoinHostPort(d.pool.Supervisor(), fmt.Sprint(plane.Port))
	d.state.Network = d.pool.Network()
	return d.state.save(d.opts.Dir)
}

// say tells who started the daemon, and who has asked it for something, what has been done. Nobody may be listening any more.
func (d *daemon) say(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	d.opts.Log.Info(line)
	_, _ = fmt.Fprintln(d.opts.Progress, line)
	d.mu.Lock()
	listener := d.listener
	d.mu.Unlock()
	if listener != nil {
		listener(line)
	}
}

// tell sets who is told of what is done besides who started the daemon.
func (d *daemon) tell(listener func(line string)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.listener = listener
}

// stop ends what is left, in order. The service has ended its clusters.
func (d *daemon) stop() {
	if d.servers != nil {
		_ = d.servers.close()
	}
	if d.supervisor != nil {
		d.supervisor.Stop()
	}
	if d.real != nil {
		if err := d.real.Close(context.Background()); err != nil {
			d.opts.Log.Warn("ending the nodes' network", "error", err) // Down tries again
		}
	}
}

// prepare starts the Supervisor and the registry, with nothing on them yet.
func (d *daemon) prepare(ctx context.Context) error {
	for _, dir := range []string{"kubeconfig", "ca", "audit", "nodes", "planes"} {
		if err := os.MkdirAll(filepath.Join(d.opts.Dir, dir), 0o700); err != nil {
			return fmt.Errorf("laying out the laboratory: %w", err)
		}
	}
	t, err := newTokens()
	if err != nil {
		return err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return d.startSupervisor(groupCtx, t) })
	// The servers outlive the group's context.
	group.Go(func() error { return d.startRegistry(ctx) })
	if err := group.Wait(); err != nil {
		return err
	}
	client, err := dynamic.NewForConfig(d.config)
	if err != nil {
		return fmt.Errorf("making a client of the Supervisor: %w", err)
	}
	if err := service.InstallCRDs(ctx, client, d.opts.Generation); err != nil {
		return err
	}
	if err := d.supervisor.StartControllers(ctx); err != nil {
		return err
	}
	typed, err := kubernetes.NewForConfig(d.config)
	if err != nil {
		return fmt.Errorf("making a client of the Supervisor: %w", err)
	}
	if err := grant(ctx, typed); err != nil {
		return err
	}
	if err := service.InstallReleases(ctx, client, d.opts.Generation); err != nil {
		return err
	}
	if err := service.InstallClasses(ctx, client, d.opts.Generation, namespace); err != nil {
		return err
	}
	if err := service.InstallFaults(ctx, client, d.opts.Generation); err != nil {
		return err
	}
	return d.newService()
}

func (d *daemon) startSupervisor(ctx context.Context, t tokens) error {
	var err error
	d.supervisor, err = plane.Start(ctx, d.group, plane.Options{
		Name: "supervisor", Dir: filepath.Join(d.opts.Dir, "planes", "supervisor"), Binary: d.opts.Kube, Address: d.pool.Supervisor(),
		Audit: filepath.Join(d.opts.Dir, "audit", "supervisor.log"), Tokens: t.file(),
		Controllers: []string{"garbage-collector-controller", "namespace-controller", "serviceaccount-controller"}, Now: d.opts.Now,
	})
	if err != nil {
		return err
	}
	if err := writeKubeconfigs(d.opts.Dir, d.supervisor, t); err != nil {
		return err
	}
	d.config, err = d.supervisor.Config(setupUser)
	d.say("Supervisor API at %s", d.supervisor.URL())
	return err
}

// startRegistry makes the private PKI and serves the registry, with its image, under it.
func (d *daemon) startRegistry(ctx context.Context) error {
	var err error
	if d.pki, err = ca.NewCorporate(d.opts.Now()); err != nil {
		return err
	}
	for name, data := range d.pki.Files() {
		if err := os.WriteFile(filepath.Join(d.opts.Dir, "ca", name), data, 0o644); err != nil {
			return fmt.Errorf("writing the certificates: %w", err)
		}
	}
	if d.earlier, err = d.pki.Server(ca.Good, registryHost); err != nil {
		return err
	}
	if d.servers, err = startServers(ctx, d.opts.Dir, d.pki, d.pool, d.opts.Now); err != nil {
		return err
	}
	d.say("registry at %s, as %s:%s on the nodes", net.JoinHostPort(d.pool.Registry(), registryPort), registryHost, registryPort)
	return nil
}

func (d *daemon) newService() error {
	config, err := d.supervisor.Config(service.User)
	if err != nil {
		return err
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("making the service's client: %w", err)
	}
	host := &guest.Host{
		Group: d.group, Pool: d.pool, Dir: d.opts.Dir, Binary: d.opts.Kube, Helper: d.opts.Helper,
		Names: hostAddresses(d.pool), Routes: map[string]string{routedAddress: d.pool.Registry()},
		SystemRoots: d.pki.Public.PEM(), Profile: d.profile, Now: d.opts.Now,
	}
	if d.real != nil {
		d.real.Use(host.Names, host.SystemRoots)
		host.Machines = d.real
	}
	d.service = service.New(service.Options{Client: client, Generation: d.opts.Generation, Log: d.opts.Log, Changed: d.refresh, Host: host})
	return nil
}

// begin makes the clusters, dev1 for the first scenario, and returns when that shows. The servers misbehave only when dev2 runs.
func (d *daemon) begin(ctx context.Context, first Scenario) error {
	if err := d.configure(ctx, first.trust); err != nil {
		return err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := d.makeCluster(groupCtx, healthy, Healthy, Scenario{own: roots()}); err != nil {
			return err
		}
		d.say("cluster %s/%s is ready", namespace, healthy)
		return d.populate(groupCtx, healthy, Scenario{})
	})
	group.Go(func() error { return d.makeNodes(groupCtx, first) })
	if err := group.Wait(); err != nil {
		return err
	}
	if err := d.show(ctx, first); err != nil {
		return err
	}
	d.setScenario(first, Ready)
	return nil
}

// populate applies the workload and waits until its pods show what they should.
func (d *daemon) populate(ctx context.Context, name string, as Scenario) error {
	config, err := d.guestConfig(name)
	if err != nil {
		return err
	}
	if err := applyWorkload(ctx, config, workloadYAML(as.imageOrOwn(), as.replicas())); err != nil {
		return err
	}
	if err := waitWorkload(ctx, config, as); err != nil {
		return fmt.Errorf("cluster %s: %w", name, err)
	}
	state := "run"
	if as.shows != running {
		state = "cannot pull their image"
	}
	d.say("the %d pods of %s/%s %s", as.replicas(), namespace, name, state)
	return nil
}

func (d *daemon) initState() error {
	started, err := proc.StartTime(os.Getpid())
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state = State{
		PID: os.Getpid(), PIDStarted: started, Phase: Starting, Scenario: d.opts.Scenario,
		SSHPort: vm.SSHPort, Registry: net.JoinHostPort(registryHost, registryPort), Image: d.current.imageOrOwn(),
		Kube: d.opts.Kube, MadeDir: d.opts.MadeDir, Nodes: d.opts.Nodes, Generation: string(d.opts.Generation),
		Clusters: []ClusterState{},
	}
	if d.opts.Nodes == RealNodes {
		d.state.SSHPort = real.SSHPort
	}
	return d.state.save(d.opts.Dir)
}

func (d *daemon) setScenario(to Scenario, phase Phase) {
	d.mu.Lock()
	d.current = to
	d.state.Phase, d.state.Scenario, d.state.Image = phase, to.Name, to.imageOrOwn()
	d.mu.Unlock()
	d.refresh()
}

// refresh writes lab.json anew, with the clusters as they are now.
func (d *daemon) refresh() {
	clusters := d.service.Clusters()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state.Clusters = d.state.Clusters[:0]
	for _, c := range clusters {
		name := c.Ref().Namespace + "-" + c.Ref().Name
		entry := ClusterState{
			Namespace: c.Ref().Namespace, Name: c.Ref().Name, Kubeconfig: kubeconfigPath(d.opts.Dir, name),
			Audit: filepath.Join(d.opts.Dir, "audit", name+".log"), Nodes: []NodeState{},
		}
		if kubeconfig, err := c.Kubeconfig(); err == nil {
			entry.Endpoint = "https://" + net.JoinHostPort(c.Address(), fmt.Sprint(plane.Port))
			if err := os.WriteFile(entry.Kubeconfig, kubeconfig, 0o600); err != nil {
				d.opts.Log.Warn("writing a kubeconfig", "error", err)
			}
		}
		for _, n := range c.Nodes() {
			entry.Nodes = append(entry.Nodes, NodeState(n))
		}
		d.state.Clusters = append(d.state.Clusters, entry)
	}
	if err := d.state.save(d.opts.Dir); err != nil {
		d.opts.Log.Warn("writing the state", "error", err)
	}
}
