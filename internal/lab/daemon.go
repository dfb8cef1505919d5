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

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"golang.org/x/sync/errgroup"

	"github.com/tkgfix/tkgfix/internal/lab/ca"
	"github.com/tkgfix/tkgfix/internal/lab/guest"
	"github.com/tkgfix/tkgfix/internal/lab/plane"
	"github.com/tkgfix/tkgfix/internal/lab/proc"
	"github.com/tkgfix/tkgfix/internal/lab/registry"
	"github.com/tkgfix/tkgfix/internal/lab/service"
	"github.com/tkgfix/tkgfix/internal/lab/vm"
)

const (
	registryHost = "registry.lab"
	registryPort = "5443"
	repository   = "demo/web"
	tag          = "1"
	// setupUser is who makes the scenario, so that the audit log tells it from what users do later.
	setupUser = "lab-setup"
)

// DaemonOptions say what a daemon runs.
type DaemonOptions struct {
	Dir, Scenario, Kube string
	// MadeDir says that the folder is the laboratory's own.
	MadeDir bool
	// Helper is the program that has service/vm's helper subcommand: the one that is running.
	Helper string
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
	pki        *ca.Corporate
	supervisor *plane.Plane
	registry   *registry.Registry
	service    *service.Service
	config     *rest.Config // of setupUser on the Supervisor

	mu    sync.Mutex
	state State
}

// Daemon runs a laboratory until ctx ends, and then ends all of it. It does not remove the folder: Down does.
func Daemon(ctx context.Context, opts DaemonOptions) error {
	d := &daemon{opts: opts}
	// The children's thread has to outlive everything, also the orderly end.
	threads, release := context.WithCancel(context.WithoutCancel(ctx))
	defer release()
	var err error
	if d.group, err = proc.NewGroup(threads, filepath.Join(opts.Dir, "processes")); err != nil {
		return err
	}
	if d.pool, err = guest.NewPool(ctx); err != nil {
		return err
	}
	defer d.pool.Close()
	began := opts.Now()
	// First of all, so that Down finds this process however early it comes.
	if err := d.initState(); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	defer d.stop()
	if err := d.prepare(ctx); err != nil {
		return err
	}
	serviceCtx, stopService := context.WithCancel(ctx)
	defer stopService()
	group.Go(func() error { return d.service.Run(serviceCtx) })
	group.Go(func() error {
		if err := d.scenario(ctx); err != nil {
			return err
		}
		d.setPhase(Ready)
		d.say("ready after %s", opts.Now().Sub(began).Round(100*time.Millisecond))
		d.say(readyLine)
		return nil
	})
	err = group.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// say tells who started the daemon what has been done. Nobody may be listening any more.
func (d *daemon) say(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	d.opts.Log.Info(line)
	_, _ = fmt.Fprintln(d.opts.Progress, line)
}

// stop ends what is left, in order. The service has ended its clusters.
func (d *daemon) stop() {
	if d.registry != nil {
		_ = d.registry.Close()
	}
	if d.supervisor != nil {
		d.supervisor.Stop()
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
	// The registry outlives the group's context.
	group.Go(func() error { return d.startRegistry(ctx) })
	if err := group.Wait(); err != nil {
		return err
	}
	client, err := dynamic.NewForConfig(d.config)
	if err != nil {
		return fmt.Errorf("making a client of the Supervisor: %w", err)
	}
	if err := service.InstallCRDs(ctx, client); err != nil {
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
	if err := os.WriteFile(filepath.Join(d.opts.Dir, "workload.yaml"), workloadYAML(image()), 0o644); err != nil {
		return fmt.Errorf("writing the workload: %w", err)
	}
	pair, err := d.pki.Registry(registryHost)
	if err != nil {
		return err
	}
	if d.registry, err = registry.Start(ctx, net.JoinHostPort(d.pool.Registry(), registryPort), pair); err != nil {
		return err
	}
	if err := d.registry.Seed(ctx, d.pki.Root.PEM(), net.JoinHostPort(registryHost, registryPort), repository, tag); err != nil {
		return err
	}
	d.say("registry at %s, as %s:%s on the nodes", net.JoinHostPort(d.pool.Registry(), registryPort), registryHost, registryPort)
	return nil
}

func image() string {
	return net.JoinHostPort(registryHost, registryPort) + "/" + repository + ":" + tag
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
	d.service = service.New(service.Options{
		Client: client, Log: d.opts.Log, Changed: d.refresh,
		Host: &guest.Host{
			Group: d.group, Pool: d.pool, Dir: d.opts.Dir, Binary: d.opts.Kube, Helper: d.opts.Helper,
			Names: map[string]string{registryHost: d.pool.Registry()}, SystemRoots: d.pki.Public.PEM(), Now: d.opts.Now,
		},
	})
	return nil
}

// scenario makes the clusters and waits until the fault shows.
func (d *daemon) scenario(ctx context.Context) error {
	client, err := dynamic.NewForConfig(d.config)
	if err != nil {
		return fmt.Errorf("making a client of the Supervisor: %w", err)
	}
	run := schema.GroupVersion{Group: "run.tanzu.vmware.com", Version: "v1alpha3"}
	_, err = client.Resource(run.WithResource("tkgserviceconfigurations")).Create(ctx, serviceConfiguration(d.opts.Scenario, d.pki), metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("making TkgServiceConfiguration: %w", err)
	}
	tkcs := client.Resource(run.WithResource("tanzukubernetesclusters")).Namespace(namespace)
	group, ctx := errgroup.WithContext(ctx)
	for _, name := range []string{sick, healthy} {
		if _, err := tkcs.Create(ctx, workloadCluster(name, d.pki), metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("making cluster %s: %w", name, err)
		}
		group.Go(func() error { return d.populate(ctx, tkcs, name) })
	}
	if d.opts.Scenario == VSpherePod {
		group.Go(func() error { return d.vspherePods(ctx) })
	}
	return group.Wait()
}

// populate waits for the cluster, applies the workload and waits until its pods show what they should.
func (d *daemon) populate(ctx context.Context, tkcs dynamic.ResourceInterface, name string) error {
	if err := waitReady(ctx, tkcs, name); err != nil {
		return err
	}
	d.say("cluster %s/%s is ready", namespace, name)
	cluster, ok := d.service.Cluster(types.NamespacedName{Namespace: namespace, Name: name})
	if !ok {
		return fmt.Errorf("cluster %s is ready and unknown", name)
	}
	kubeconfig, err := cluster.Kubeconfig()
	if err != nil {
		return err
	}
	config, err := guestConfig(kubeconfig)
	if err != nil {
		return err
	}
	if err := applyWorkload(ctx, config, workloadYAML(image())); err != nil {
		return err
	}
	failing := name == sick && pullsFail(d.opts.Scenario)
	if err := waitWorkload(ctx, config, failing); err != nil {
		return fmt.Errorf("cluster %s: %w", name, err)
	}
	state := "run"
	if failing {
		state = "cannot pull their image"
	}
	d.say("the %d pods of %s/%s %s", workloadReplicas, namespace, name, state)
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
		SSHPort: vm.SSHPort, Registry: net.JoinHostPort(registryHost, registryPort),
		RegistryAddress: net.JoinHostPort(d.pool.Registry(), registryPort), Image: image(),
		Supervisor: "https://" + net.JoinHostPort(d.pool.Supervisor(), fmt.Sprint(plane.Port)), Network: d.pool.Network(), Kube: d.opts.Kube, MadeDir: d.opts.MadeDir,
		Clusters: []ClusterState{},
	}
	return d.state.save(d.opts.Dir)
}

func (d *daemon) setPhase(phase Phase) {
	d.mu.Lock()
	d.state.Phase = phase
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
