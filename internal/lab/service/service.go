// Package service does on the laboratory's Supervisor what the TKG Service is documented to do with a TanzuKubernetesCluster
// (tkg-facts.md §1.1, §1.2, §2, §3, §4): it makes the Cluster API objects, the machines with their trust, the Secrets and the workload
// cluster itself, and takes them down again in order.
//
// TkgServiceConfiguration is read when a node is made and never again: an edit changes no node that is there (tkg-facts.md §2 has three
// conflicting statements about that; the laboratory takes the one that a repair has to survive). An edit of a TanzuKubernetesCluster's
// spec replaces its nodes, the control plane's as well.
package service

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"github.com/tkgfix/tkgfix/internal/lab/guest"
)

// User is the name by which the audit log knows what the service did.
const User = "tkg-service"

const (
	// pace is how long a step of a cluster's making or ending is left to be seen before the next look.
	pace = 300 * time.Millisecond
	// slow bounds the wait after errors.
	slow    = 5 * time.Second
	workers = 4
)

// resources are the kinds that the service works with.
type resources struct {
	configurations, tkcs, clusters, machines, vms, services, secrets schema.GroupVersionResource
}

func supervisorResources() resources {
	run := func(r string) schema.GroupVersionResource {
		return schema.GroupVersionResource{Group: "run.tanzu.vmware.com", Version: "v1alpha3", Resource: r}
	}
	capi := func(r string) schema.GroupVersionResource {
		return schema.GroupVersionResource{Group: "cluster.x-k8s.io", Version: "v1beta2", Resource: r}
	}
	vmop := func(r string) schema.GroupVersionResource {
		return schema.GroupVersionResource{Group: "vmoperator.vmware.com", Version: "v1alpha3", Resource: r}
	}
	return resources{
		configurations: run("tkgserviceconfigurations"), tkcs: run("tanzukubernetesclusters"),
		clusters: capi("clusters"), machines: capi("machines"),
		vms: vmop("virtualmachines"), services: vmop("virtualmachineservices"),
		secrets: schema.GroupVersionResource{Version: "v1", Resource: "secrets"},
	}
}

// Service is the TKG Service of one Supervisor.
type Service struct {
	client dynamic.Interface
	host   *guest.Host
	log    *slog.Logger
	kinds  resources
	// changed is called after a cluster's parts have changed.
	changed func()

	mu       sync.Mutex
	clusters map[types.UID]*cluster
}

// cluster is what the service remembers of a TanzuKubernetesCluster.
type cluster struct {
	guest *guest.Cluster
	ref   types.NamespacedName
	uid   types.UID
	nodes []nodePlan
	// old are nodes that go when those in their place are there.
	old []nodePlan
	// settled is the generation that is completely carried out.
	settled atomic.Int64
}

// Options say what a service works on.
type Options struct {
	Client dynamic.Interface
	Host   *guest.Host
	Log    *slog.Logger
	// Changed is called, from any goroutine, after the parts of a cluster have changed.
	Changed func()
}

// New returns a service that does nothing until Run.
func New(opts Options) *Service {
	return &Service{client: opts.Client, host: opts.Host, log: opts.Log, changed: opts.Changed, kinds: supervisorResources(), clusters: map[types.UID]*cluster{}}
}

// Run reconciles until ctx ends and then ends all workload clusters.
func (s *Service) Run(ctx context.Context) error {
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[types.NamespacedName](pace, slow))
	factory := dynamicinformer.NewDynamicSharedInformerFactory(s.client, 0)
	informer := factory.ForResource(s.kinds.tkcs).Informer()
	enqueue := func(obj any) {
		if tombstone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
			obj = tombstone.Obj
		}
		if tkc, ok := obj.(*unstructured.Unstructured); ok {
			queue.Add(types.NamespacedName{Namespace: tkc.GetNamespace(), Name: tkc.GetName()})
		}
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: enqueue, UpdateFunc: func(_, obj any) { enqueue(obj) }, DeleteFunc: enqueue,
	})
	if err != nil {
		return fmt.Errorf("watching clusters: %w", err)
	}
	factory.Start(ctx.Done())
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for s.next(ctx, queue) {
			}
		})
	}
	<-ctx.Done()
	queue.ShutDown()
	factory.Shutdown()
	group.Wait()
	return s.stopAll()
}

func (s *Service) next(ctx context.Context, queue workqueue.TypedRateLimitingInterface[types.NamespacedName]) bool {
	ref, shutdown := queue.Get()
	if shutdown {
		return false
	}
	defer queue.Done(ref)
	done, err := s.reconcile(ctx, ref)
	switch {
	case err != nil && ctx.Err() == nil:
		s.log.Warn("reconciling", "cluster", ref.String(), "error", err)
		queue.AddRateLimited(ref)
	case err == nil && !done:
		queue.Forget(ref)
		queue.AddAfter(ref, pace)
	default:
		queue.Forget(ref)
	}
	return true
}

// reconcile takes one look at a cluster. It says whether there is nothing left to do until the object changes.
func (s *Service) reconcile(ctx context.Context, ref types.NamespacedName) (bool, error) {
	tkc, err := s.client.Resource(s.kinds.tkcs).Namespace(ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading the cluster: %w", err)
	}
	c, err := s.remember(tkc)
	if err != nil {
		return false, err
	}
	if tkc.GetDeletionTimestamp() != nil {
		return s.remove(ctx, c, tkc)
	}
	settled := c.settled.Load()
	if settled == tkc.GetGeneration() {
		return true, nil
	}
	if settled != 0 {
		if err := c.roll(tkc); err != nil {
			return false, err
		}
	}
	return s.provide(ctx, c, tkc)
}

// remember returns what is known of the cluster, by UID: one that was made again under the same name is another.
func (s *Service) remember(tkc *unstructured.Unstructured) (*cluster, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.clusters[tkc.GetUID()]; ok {
		return c, nil
	}
	ref := types.NamespacedName{Namespace: tkc.GetNamespace(), Name: tkc.GetName()}
	g, err := s.host.New(ref, tkc.GetUID())
	if err != nil {
		return nil, err
	}
	nodes, err := planNodes(tkc)
	if err != nil {
		return nil, err
	}
	c := &cluster{guest: g, ref: ref, uid: tkc.GetUID(), nodes: nodes}
	s.clusters[tkc.GetUID()] = c
	return c, nil
}

// Settled returns the generation of the TanzuKubernetesCluster that is completely carried out; 0 for none.
func (s *Service) Settled(uid types.UID) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.clusters[uid]; ok {
		return c.settled.Load()
	}
	return 0
}

func (s *Service) forget(uid types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clusters, uid)
}

// Cluster returns the workload cluster of that name, for the laboratory's own use.
func (s *Service) Cluster(ref types.NamespacedName) (*guest.Cluster, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.clusters {
		if c.ref == ref {
			return c.guest, true
		}
	}
	return nil, false
}

// Clusters returns the workload clusters that there are, by name.
func (s *Service) Clusters() []*guest.Cluster {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*guest.Cluster, 0, len(s.clusters))
	for _, c := range s.clusters {
		out = append(out, c.guest)
	}
	slices.SortFunc(out, func(a, b *guest.Cluster) int { return strings.Compare(a.Ref().String(), b.Ref().String()) })
	return out
}

func (s *Service) stopAll() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var group sync.WaitGroup
	errs := make(chan error, len(s.clusters))
	for _, c := range s.clusters {
		group.Go(func() { errs <- c.guest.Stop() })
	}
	group.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return fmt.Errorf("ending a workload cluster: %w", err)
		}
	}
	return nil
}
