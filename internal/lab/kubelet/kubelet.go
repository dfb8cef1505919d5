// Package kubelet does for the laboratory's nodes what kubelet and containerd do as far as images go: it pulls each pod's images by
// a real handshake with the node's own roots, and reports as they do (tkg-facts.md §6.1, §9.1). Containers are not run, but commands run in them: it serves exec.
package kubelet

import (
	"context"
	"fmt"
	"io/fs"
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

	"github.com/tkgfix/tkgfix/internal/lab/vm"
)

const (
	// A pod whose pull failed is looked at again soon, which then finds it in back-off, and from then on every ten seconds.
	soon  = 2 * time.Second
	later = 10 * time.Second
)

// Node is what a kubelet and its containerd need of the node they run on.
type Node interface {
	// Containerd returns what containerd took in when it started.
	Containerd() vm.Containerd
	// Dial connects from the node.
	Dial(ctx context.Context, network, hostport string) (net.Conn, error)
	// Now returns the time by the node's clock.
	Now() time.Time
	// FS returns the node's files.
	FS() fs.FS
}

// Kubelet looks after the pods of one node.
type Kubelet struct {
	opts     Options
	runtime  *runtime
	backOff  *flowcontrol.Backoff
	events   record.EventBroadcaster
	recorder record.EventRecorder
	informer cache.SharedIndexInformer

	mu   sync.Mutex
	pods map[types.UID]*worker
	ips  int
	wait sync.WaitGroup
}

// Options are what a kubelet is told.
type Options struct {
	Client kubernetes.Interface
	// Name and Address are the node's.
	Name, Address string
	Node          Node
	// Serving is how the kubelet answers the API server; one without it answers nothing.
	Serving *Serving
	// Images are on the node from the start.
	Images []corev1.ContainerImage
	// PodNet is the first three numbers of the addresses of its pods, as in 192.168.4.
	PodNet string
	Manner Manner
	Now    func() time.Time
}

// Manner is how a kubelet tells of what it does.
type Manner struct {
	// Old is the manner of older kubelets: while a container waits, its status has lost the cause (tkg-facts.md §6.1).
	Old bool
	// Silent leaves no Events: they live an hour, and a person may come later.
	Silent bool
}

// New returns a kubelet that does nothing until Run.
func New(opts Options) *Kubelet {
	events := record.NewBroadcaster()
	return &Kubelet{
		opts:     opts,
		runtime:  newRuntime(opts.Node).with(opts.Images),
		backOff:  flowcontrol.NewBackOff(backOffFirst, backOffMax),
		events:   events,
		recorder: events.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "kubelet", Host: opts.Name}),
		pods:     map[types.UID]*worker{},
	}
}

// Run looks after the pods until ctx ends.
func (k *Kubelet) Run(ctx context.Context) error {
	if !k.opts.Manner.Silent {
		k.events.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: k.opts.Client.CoreV1().Events("")})
	}
	defer k.events.Shutdown()
	factory := informers.NewSharedInformerFactoryWithOptions(k.opts.Client, 0, informers.WithTweakListOptions(func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector("spec.nodeName", k.opts.Name).String()
	}))
	k.informer = factory.Core().V1().Pods().Informer()
	_, err := k.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { k.changed(ctx, obj) },
		UpdateFunc: func(_, obj any) { k.changed(ctx, obj) },
		DeleteFunc: k.gone,
	})
	if err != nil {
		return fmt.Errorf("watching the pods of %s: %w", k.opts.Name, err)
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
		w = &worker{over: never(), kubelet: k, pod: pod, ip: fmt.Sprintf("%s.%d", k.opts.PodNet, 2+k.ips%250), cancel: cancel}
		w.living, w.deleted = context.WithCancel(ctx)
		k.pods[pod.UID] = w
		k.wait.Go(func() { w.run(ctx) })
	}
	w.limit(pod)
	if pod.DeletionTimestamp != nil {
		w.deleted()
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
	// over tells when the pod's time is.
	over    *time.Timer
	started started
	// living ends when the pod is to be deleted: a pull on its behalf is given up then.
	living  context.Context //nolint:containedctx // the pod's own life
	deleted context.CancelFunc
	// sandbox says that the pod's pause container runs.
	sandbox bool
	// running are the images of containers that have started; they are not looked at again.
	running map[string]Image
}

func (w *worker) run(ctx context.Context) {
	defer w.cancel()
	defer w.deleted()
	w.running = map[string]Image{}
	p := &puller{
		runtime: w.kubelet.runtime, backOff: w.kubelet.backOff, old: w.kubelet.opts.Manner.Old, last: map[string]string{},
	}
	wait := time.NewTimer(0)
	defer wait.Stop()
	failures := 0
	for {
		select {
		case <-w.living.Done():
			if ctx.Err() == nil {
				w.remove(ctx)
			}
			return
		case <-w.over.C:
			w.expire(ctx)
			return
		case <-wait.C:
		}
		if w.sync(w.living, p) {
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

// sync makes the pod's sandbox, ensures the images of its containers and reports. It says whether all of them run.
func (w *worker) sync(ctx context.Context, p *puller) bool {
	outcomes := make([]outcome, len(w.pod.Spec.Containers))
	if !w.ensureSandbox(ctx) {
		for i := range outcomes {
			outcomes[i].waiting = &waiting{reason: reasonCreating}
		}
		w.report(ctx, outcomes)
		return false
	}
	all := true
	for i := range w.pod.Spec.Containers {
		outcomes[i] = w.start(ctx, p, &w.pod.Spec.Containers[i])
		all = all && outcomes[i].waiting == nil
	}
	return w.report(ctx, outcomes) && all
}

// start ensures the image of a container that does not run yet.
func (w *worker) start(ctx context.Context, p *puller, container *corev1.Container) outcome {
	if image, ok := w.running[container.Name]; ok {
		return outcome{image: image}
	}
	emit := w.emitter(container.Name)
	p.emit = emit
	image, why := p.ensure(ctx, w.pod, container)
	if why != nil {
		emit(corev1.EventTypeWarning, "Failed", "Error: "+why.reason)
		return outcome{waiting: why}
	}
	emit(corev1.EventTypeNormal, "Created", "Container created")
	emit(corev1.EventTypeNormal, "Started", "Container started")
	w.running[container.Name] = image
	w.started.add(container.Name)
	return outcome{image: image}
}

// ensureSandbox pulls the image of the pause container if the node does not have it, and says whether the sandbox is there. Kubelet
// knows of no back-off here: it tries again at each look (tkg-facts.md §6.1).
func (w *worker) ensureSandbox(ctx context.Context) bool {
	image := w.kubelet.opts.Node.Containerd().SandboxImage
	if w.sandbox || image == vm.SandboxImage {
		w.sandbox = true
		return true
	}
	if _, ok := w.kubelet.runtime.present(image); !ok {
		if _, err := w.kubelet.runtime.pull(ctx, image); err != nil {
			w.kubelet.recorder.Eventf(w.reference(""), corev1.EventTypeWarning, "FailedCreatePodSandBox",
				"Failed to create pod sandbox: rpc error: code = Unknown desc = failed to get sandbox image %q: failed to pull image %q: %v", image, image, err)
			return false
		}
	}
	w.sandbox = true
	return true
}

func (w *worker) reference(field string) *corev1.ObjectReference {
	return &corev1.ObjectReference{
		Kind: "Pod", APIVersion: "v1", Namespace: w.pod.Namespace, Name: w.pod.Name, UID: w.pod.UID, ResourceVersion: w.pod.ResourceVersion, FieldPath: field,
	}
}

func (w *worker) emitter(container string) func(eventType, reason, message string) {
	ref := w.reference(fmt.Sprintf("spec.containers{%s}", container))
	return func(eventType, reason, message string) { w.kubelet.recorder.Event(ref, eventType, reason, message) }
}

// report writes the status and says whether that worked; if not it is written with the next look.
func (w *worker) report(ctx context.Context, outcomes []outcome) bool {
	pods := w.kubelet.opts.Client.CoreV1().Pods(w.pod.Namespace)
	live, err := pods.Get(ctx, w.pod.Name, metav1.GetOptions{})
	if err != nil || live.UID != w.pod.UID {
		return false
	}
	live.Status = podStatus(live, outcomes, place{w.kubelet.opts.Address, w.ip}, w.kubelet.opts.Now())
	_, err = pods.UpdateStatus(ctx, live, metav1.UpdateOptions{})
	return err == nil
}

// remove ends the pod's deletion, which waits for kubelet.
func (w *worker) remove(ctx context.Context) {
	now := int64(0)
	err := w.kubelet.opts.Client.CoreV1().Pods(w.pod.Namespace).Delete(ctx, w.pod.Name, metav1.DeleteOptions{
		GracePeriodSeconds: &now, Preconditions: &metav1.Preconditions{UID: &w.pod.UID},
	})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		w.kubelet.recorder.Event(w.pod, corev1.EventTypeWarning, "FailedKillPod", err.Error())
	}
}
