// Package service does on the laboratory's Supervisor what the TKG Service is documented to do with a TanzuKubernetesCluster, or with a
// Cluster of a ClusterClass (tkg-facts.md §1 to §4): it makes the Cluster API objects, the machines with their trust, the Secrets and the
// workload cluster itself, and takes them down again in order.
//
// TkgServiceConfiguration is read when a node is made and never again: an edit changes no node that is there (tkg-facts.md §2 has three
// conflicting statements about that; the laboratory takes the one that a repair has to survive). So are the Secrets that a Cluster's
// trust names. An edit of a TanzuKubernetesCluster's spec, or of a Cluster's topology, replaces the nodes, the control plane's as well, one
// at a time.
package service

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

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

// PlantingAnnotation on an owner makes the service replace, all at once, the nodes that were not made for its value. It is the
// laboratory's own, for the time in which it plants; nothing of TKG has it.
const PlantingAnnotation = "lab.tkgfix.dev/planting"

// Service is the TKG Service of one Supervisor.
type Service struct {
	client dynamic.Interface
	host   *guest.Host
	log    *slog.Logger
	kinds  resources
	// generation is that of the Supervisor, and kinds are its kinds.
	generation Generation
	// changed is called after a cluster's parts have changed.
	changed func()

	mu       sync.Mutex
	clusters map[types.UID]*cluster
	// used are the addresses of clusters that are gone, by their names.
	used map[types.NamespacedName]string
}

// cluster is what the service remembers of an owner.
type cluster struct {
	guest *guest.Cluster
	ref   types.NamespacedName
	uid   types.UID
	// nodes are those that there are, in the order of their making. Only reconcile, which is one at a time, touches them.
	nodes []*node
	// told says that the state names the nodes as they are; ever that the cluster has been complete.
	told, ever bool

	mu sync.Mutex
	// settled is the generation that is completely carried out, and planting what it was planted for.
	settled  int64
	planting string
	// hanging says that a node has booted that will never join, misplaced that the Cluster's endpoint is not its own.
	hanging, misplaced bool
}

// Options say what a service works on.
type Options struct {
	Client     dynamic.Interface
	Generation Generation
	Host       *guest.Host
	Log        *slog.Logger
	// Changed is called, from any goroutine, after the parts of a cluster have changed.
	Changed func()
}

// New returns a service that does nothing until Run.
func New(opts Options) *Service {
	return &Service{client: opts.Client, host: opts.Host, log: opts.Log, changed: opts.Changed, generation: opts.Generation, kinds: opts.Generation.resources(), clusters: map[types.UID]*cluster{}, used: map[types.NamespacedName]string{}}
}

// Run reconciles until ctx ends and then ends all workload clusters.
func (s *Service) Run(ctx context.Context) error {
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[types.NamespacedName](pace, slow))
	factory := dynamicinformer.NewDynamicSharedInformerFactory(s.client, 0)
	for _, kind := range []schema.GroupVersionResource{s.kinds.tkcs, s.kinds.clusters, s.kinds.machines} {
		enqueue := func(obj any) {
			if ref, ok := s.clusterOf(kind, obj); ok {
				queue.Add(ref)
			}
		}
		_, err := factory.ForResource(kind).Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: enqueue, UpdateFunc: func(_, obj any) { enqueue(obj) }, DeleteFunc: enqueue,
		})
		if err != nil {
			return fmt.Errorf("watching clusters: %w", err)
		}
	}
	if err := s.watchFaults(ctx, factory, queue); err != nil {
		return err
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

// watchFaults looks again at all clusters when faults are planted or taken away, and at the releases when one comes or goes.
func (s *Service) watchFaults(ctx context.Context, factory dynamicinformer.DynamicSharedInformerFactory, queue workqueue.TypedInterface[types.NamespacedName]) error {
	planted := func(config any) {
		if u, ok := config.(*unstructured.Unstructured); ok && u.GetNamespace() == LabNamespace && u.GetName() == FaultsName {
			for ref := range FaultsOf(u) {
				queue.Add(ref)
			}
		}
	}
	_, err := factory.ForResource(ConfigMaps).Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: planted, UpdateFunc: func(before, now any) { planted(before); planted(now) }, DeleteFunc: planted,
	})
	if err != nil {
		return fmt.Errorf("watching faults: %w", err)
	}
	releases := func(any) {
		if err := s.noteReleases(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("noting releases", "error", err)
		}
	}
	_, err = factory.ForResource(s.kinds.releases).Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: releases, DeleteFunc: releases})
	if err != nil {
		return fmt.Errorf("watching releases: %w", err)
	}
	return nil
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

// clusterOf names the cluster that an object of the kind is, or belongs to.
func (s *Service) clusterOf(kind schema.GroupVersionResource, obj any) (types.NamespacedName, bool) {
	if tombstone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = tombstone.Obj
	}
	u, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return types.NamespacedName{}, false
	}
	name := u.GetName()
	if kind == s.kinds.machines {
		name = u.GetLabels()[clusterLabel]
	}
	return types.NamespacedName{Namespace: u.GetNamespace(), Name: name}, name != ""
}

// reconcile takes one look at a cluster. It says whether there is nothing left to do until an object changes.
func (s *Service) reconcile(ctx context.Context, ref types.NamespacedName) (bool, error) {
	if err := s.syncAddonFinalizer(ctx, ref); err != nil {
		return false, err
	}
	o, err := s.findOwner(ctx, ref)
	if err != nil {
		return false, err
	}
	if o == nil {
		return true, s.sweepService(ctx, ref)
	}
	if paused, _, _ := unstructured.NestedBool(o.object().Object, "spec", "paused"); paused {
		return true, nil // neither changed nor deleted
	}
	deleting := o.object().GetDeletionTimestamp() != nil
	if deleting && !slices.Contains(o.object().GetFinalizers(), o.finalizer()) {
		return true, nil // it waits for somebody else
	}
	c, err := s.remember(o)
	if err != nil {
		return false, err
	}
	if deleting {
		gone, err := s.remove(ctx, c, o)
		if err != nil {
			err = s.tellRefusal(ctx, c, o, err)
		}
		return gone, err
	}
	if s.Settled(c.uid, o.object().GetGeneration(), o.object().GetAnnotations()[PlantingAnnotation]) {
		whole, err := s.whole(ctx, c)
		if err != nil {
			return false, err
		}
		if whole {
			_, err := s.retireOwner(ctx, c, o)
			return err == nil, err
		}
	}
	return s.provide(ctx, c, o)
}

// whole says whether all nodes of a settled cluster still have their Machines.
func (s *Service) whole(ctx context.Context, c *cluster) (bool, error) {
	if err := s.sync(ctx, c); err != nil {
		return false, err
	}
	return !slices.ContainsFunc(c.nodes, func(n *node) bool { return n.leaving }), nil
}

// remember returns what is known of the cluster, by UID: one that was made again under the same name is another.
func (s *Service) remember(o owner) (*cluster, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	uid := o.object().GetUID()
	if c, ok := s.clusters[uid]; ok {
		return c, nil
	}
	ref := types.NamespacedName{Namespace: o.object().GetNamespace(), Name: o.object().GetName()}
	g, err := s.host.New(ref, uid)
	if err != nil {
		return nil, err
	}
	c := &cluster{guest: g, ref: ref, uid: uid}
	s.clusters[uid] = c
	return c, nil
}

// Settled says whether the generation of the owner of that UID is completely carried out, and, if planting is not empty, for that value
// of PlantingAnnotation.
func (s *Service) Settled(uid types.UID, generation int64, planting string) bool {
	s.mu.Lock()
	c, ok := s.clusters[uid]
	s.mu.Unlock()
	if !ok {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.settled >= generation && (planting == "" || c.planting == planting)
}

// Hanging says whether a node of the owner of that UID has booted and will never join.
func (s *Service) Hanging(uid types.UID) bool {
	s.mu.Lock()
	c, ok := s.clusters[uid]
	s.mu.Unlock()
	if !ok {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hanging
}

// unsettle notes that something is being done.
func (c *cluster) unsettle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settled = 0
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
