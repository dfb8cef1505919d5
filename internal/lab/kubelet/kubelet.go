// Package kubelet does for the laboratory's nodes what kubelet and containerd do as far as images go: it pulls each pod's images by
// a real handshake with the node's own roots, and reports as they do (tkg-facts.md §6.1, §9.1). Containers are not run, but commands run in them: it serves exec.
package kubelet

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/flowcontrol"
)

const (
	// A pod whose pull failed is looked at again soon, which then finds it in back-off, and from then on every ten seconds.
	soon  = 2 * time.Second
	later = 10 * time.Second
)

// Node is what a kubelet needs of the node it runs on.
type Node interface {
	Name() string
	Address() string
	// Trusted returns the roots that containerd loaded when it started.
	Trusted() *x509.CertPool
	// Dial connects from the node.
	Dial(ctx context.Context, network, hostport string) (net.Conn, error)
}

// Kubelet looks after the pods of one node.
type Kubelet struct {
	client   kubernetes.Interface
	node     Node
	podCIDR  string // the first three numbers of its pods' addresses
	runtime  *runtime
	backOff  *flowcontrol.Backoff
	events   record.EventBroadcaster
	recorder record.EventRecorder
	now      func() time.Time
	serving  *Serving
	informer cache.SharedIndexInformer

	mu   sync.Mutex
	pods map[types.UID]*worker
	ips  int
	wait sync.WaitGroup
}

// Options are what a kubelet is told.
type Options struct {
	Client kubernetes.Interface
	Node   Node
	// Serving is how the kubelet answers the API server; one without it answers nothing.
	Serving *Serving
	// Images are on the node from the start.
	Images []corev1.ContainerImage
	// PodNet is the first three numbers of the addresses of its pods, as in 192.168.4.
	PodNet string
	Now    func() time.Time
}

// New returns a kubelet that does nothing until Run.
func New(opts Options) *Kubelet {
	events := record.NewBroadcaster()
	return &Kubelet{
		client: opts.Client, node: opts.Node, podCIDR: opts.PodNet, now: opts.Now,
		runtime:  &runtime{node: opts.Node, images: onNode(opts.Images)},
		serving:  opts.Serving,
		backOff:  flowcontrol.NewBackOff(backOffFirst, backOffMax),
		events:   events,
		recorder: events.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "kubelet", Host: opts.Node.Name()}),
		pods:     map[types.UID]*worker{},
	}
}

// Run looks after the pods until ctx ends.
func (k *Kubelet) Run(ctx context.Context) error {
	k.events.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: k.client.CoreV1().Events("")})
	defer k.events.Shutdown()
	factory := informers.NewSharedInformerFactoryWithOptions(k.client, 0, informers.WithTweakListOptions(func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector("spec.nodeName", k.node.Name()).String()
	}))
	k.informer = factory.Core().V1().Pods().Informer()
	_, err := k.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { k.changed(ctx, obj) },
		UpdateFunc: func(_, obj any) { k.changed(ctx, obj) },
		DeleteFunc: k.gone,
	})
	if err != nil {
		return fmt.Errorf("watching the pods of %s: %w", k.node.Name(), err)
	}
	factory.Start(ctx.Done())
	if err := k.serve(ctx); err != nil {
		return err
	}
	factory.Shutdown()
	k.wait.Wait()
	return nil
}

// changed starts looking after a pod, or tells who does that it is being deleted.
func (k *Kubelet) changed(ctx context.Context, obj any) {
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	w, known := k.pods[pod.UID]
	if !known {
		k.ips++
		ctx, cancel := context.WithCancel(ctx)
		w = &worker{over: never(), kubelet: k, pod: pod, ip: fmt.Sprintf("%s.%d", k.podCIDR, 2+k.ips%250), cancel: cancel, deleted: make(chan struct{}), life: ctx}
		k.pods[pod.UID] = w
		k.wait.Go(func() { w.run(ctx) })
	}
	w.limit(pod)
	if pod.DeletionTimestamp != nil {
		w.once.Do(func() { close(w.deleted) })
	}
}

func (k *Kubelet) gone(obj any) {
	if tombstone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = tombstone.Obj
	}
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if w, known := k.pods[pod.UID]; known {
		w.cancel()
		delete(k.pods, pod.UID)
	}
}

// worker looks after one pod.
type worker struct {
	kubelet *Kubelet
	pod     *corev1.Pod
	ip      string
	cancel  context.CancelFunc
	once    sync.Once
	deleted chan struct{}
	// life ends with the pod, and with it the commands in it.
	life context.Context
	// over tells when the pod's time is.
	over    *time.Timer
	started started
	// running are the images of containers that have started; they are not looked at again.
	running map[string]Image
}

func (w *worker) run(ctx context.Context) {
	defer w.cancel()
	w.running = map[string]Image{}
	p := &puller{
		runtime: w.kubelet.runtime, backOff: w.kubelet.backOff, last: map[string]string{},
	}
	wait := time.NewTimer(0)
	defer wait.Stop()
	failures := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.deleted:
			w.remove(ctx)
			return
		case <-w.over.C:
			w.expire(ctx)
			return
		case <-wait.C:
		}
		if w.sync(ctx, p) {
			wait.Stop() // nothing to do until it is deleted
			continue
		}
		failures++
		if failures == 1 {
			wait.Reset(soon)
		} else {
			wait.Reset(later)
		}
	}
}

// sync ensures the images of the pod's containers and reports. It says whether all of them run.
func (w *worker) sync(ctx context.Context, p *puller) bool {
	outcomes := make([]outcome, len(w.pod.Spec.Containers))
	all := true
	for i := range w.pod.Spec.Containers {
		container := &w.pod.Spec.Containers[i]
		if image, ok := w.running[container.Name]; ok {
			outcomes[i] = outcome{image: image}
			continue
		}
		emit := w.emitter(container.Name)
		p.emit = emit
		image, why := p.ensure(ctx, w.pod, container)
		outcomes[i] = outcome{image: image, waiting: why}
		if why != nil {
			emit(corev1.EventTypeWarning, "Failed", "Error: "+why.reason)
			all = false
			continue
		}
		emit(corev1.EventTypeNormal, "Created", fmt.Sprintf("Created container: %s", container.Name))
		emit(corev1.EventTypeNormal, "Started", fmt.Sprintf("Started container %s", container.Name))
		w.running[container.Name] = image
		w.started.add(container.Name)
	}
	return w.report(ctx, outcomes) && all
}

func (w *worker) emitter(container string) func(eventType, reason, message string) {
	ref := &corev1.ObjectReference{
		Kind: "Pod", APIVersion: "v1", Namespace: w.pod.Namespace, Name: w.pod.Name, UID: w.pod.UID,
		ResourceVersion: w.pod.ResourceVersion, FieldPath: fmt.Sprintf("spec.containers{%s}", container),
	}
	return func(eventType, reason, message string) { w.kubelet.recorder.Event(ref, eventType, reason, message) }
}

// report writes the status and says whether that worked; if not it is written with the next look.
func (w *worker) report(ctx context.Context, outcomes []outcome) bool {
	pods := w.kubelet.client.CoreV1().Pods(w.pod.Namespace)
	live, err := pods.Get(ctx, w.pod.Name, metav1.GetOptions{})
	if err != nil || live.UID != w.pod.UID {
		return false
	}
	live.Status = podStatus(live, outcomes, place{w.kubelet.node.Address(), w.ip}, w.kubelet.now())
	_, err = pods.UpdateStatus(ctx, live, metav1.UpdateOptions{})
	return err == nil
}

// remove ends the pod's deletion, which waits for kubelet.
func (w *worker) remove(ctx context.Context) {
	now := int64(0)
	err := w.kubelet.client.CoreV1().Pods(w.pod.Namespace).Delete(ctx, w.pod.Name, metav1.DeleteOptions{
		GracePeriodSeconds: &now, Preconditions: &metav1.Preconditions{UID: &w.pod.UID},
	})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		w.kubelet.recorder.Event(w.pod, corev1.EventTypeWarning, "FailedKillPod", err.Error())
	}
}
