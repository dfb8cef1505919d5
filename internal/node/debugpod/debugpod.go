package debugpod

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/internal/node"
	"github.com/tkgfix/tkgfix/plugins"
)

const (
	// startTimeout bounds the start of one pod, and proveTimeout the first command in it.
	startTimeout = time.Minute
	proveTimeout = 20 * time.Second
	// tidyTimeout bounds the making and the deletion of a pod, which the end of the caller's context does not interrupt.
	tidyTimeout = 20 * time.Second
)

// Dial makes a pod on a node of a workload cluster and returns a connection over it, in some seconds as a rule. The image is conf.Image, or
// else one of the node's own that is likely to have a shell. Close deletes the pod. Pods that killed runs left on this node are
// deleted as well, once their time is over. A node that does not answer is plugins.KindTransient. Dial blocks on the network.
func Dial(ctx context.Context, cluster *kube.Client, conf plugins.Nodes, target node.Target) (*node.Conn, error) {
	t, err := dial(ctx, cluster, conf.Image, target.Name)
	if err != nil {
		return nil, fmt.Errorf("reach node %s by a debug pod: %w", target.Name, err)
	}
	return node.New(target, "", t), nil
}

func dial(ctx context.Context, cluster *kube.Client, image, name string) (*transport, error) {
	m, err := newMaker(ctx, cluster, name)
	if err != nil {
		return nil, err
	}
	images := []string{image}
	if image == "" {
		if images, err = m.images(); err != nil {
			return nil, err
		}
	}
	var tried []string
	for _, image := range images {
		t, err := m.try(ctx, image)
		unfit, next := errors.AsType[*unfitError](err)
		if !next {
			return t, err
		}
		tried = append(tried, fmt.Sprintf("%s: %s", quoted(image), unfit.why))
	}
	return nil, plugins.Hint(fmt.Errorf("no image will do: %s", strings.Join(tried, "; ")),
		"name one that is on the node and has sh and chroot, in connections.nodes.image; see: kubectl get node %s -o jsonpath='{.status.images[*].names}'", name)
}

// maker makes debug pods on one node.
type maker struct {
	cluster      *kube.Client
	pods, events kube.Resource
	node         *corev1.Node
}

func newMaker(ctx context.Context, cluster *kube.Client, name string) (*maker, error) {
	m := &maker{cluster: cluster}
	for kind, r := range map[string]*kube.Resource{"Pod": &m.pods, "Event": &m.events} {
		found, err := cluster.Resource(ctx, "", kind)
		if err != nil {
			return nil, err
		}
		*r = found
	}
	nodes, err := cluster.Resource(ctx, "", "Node")
	if err != nil {
		return nil, err
	}
	obj, err := cluster.Get(ctx, nodes, "", name)
	if apierrors.IsNotFound(err) {
		return nil, plugins.Hint(fmt.Errorf("it has not joined the cluster: %w", err), "only SSH reaches such a node: connections.nodes.via: ssh")
	}
	if err != nil {
		return nil, err
	}
	if m.node, err = kube.As[corev1.Node](obj); err != nil {
		return nil, err
	}
	return m, checkNode(m.node)
}

// checkNode refuses a node on which no debug pod can start, before one is made.
func checkNode(n *corev1.Node) error {
	if os := n.Labels[corev1.LabelOSStable]; os != "" && os != string(corev1.Linux) {
		return plugins.Hint(fmt.Errorf("its operating system is %s, a debug pod needs Linux", quoted(os)), "reach it by SSH: connections.nodes.via: ssh")
	}
	for _, c := range n.Status.Conditions {
		// A kubelet that is not ready, but reports, runs pods in the host's network. Unknown means that it stopped reporting.
		if c.Type == corev1.NodeReady && c.Status == corev1.ConditionUnknown {
			return plugins.Hint(plugins.WithKind(plugins.KindTransient, fmt.Errorf("its kubelet does not report: %s", quoted(c.Message))),
				"see: kubectl describe node %s; SSH may still reach it: connections.nodes.via: ssh", n.Name)
		}
	}
	return nil
}

// try makes a pod with an image and returns when a command has run in it. The error is an *unfitError if another image may do.
func (m *maker) try(ctx context.Context, image string) (*transport, error) {
	t, made, err := m.create(ctx, image)
	if err != nil {
		return nil, err
	}
	if err := m.ready(ctx, t, made); err != nil {
		return nil, abandon(t, err)
	}
	return t, nil
}

// abandon deletes a pod that is of no use and returns why it is none. A pod that cannot be deleted is worse: no more are made then.
func abandon(t *transport, why error) error {
	if err := t.Close(); err != nil {
		return fmt.Errorf("%w, of no use because: %s", err, why.Error())
	}
	return why
}

func (m *maker) ready(ctx context.Context, t *transport, made *corev1.Pod) error {
	if err := m.sweep(ctx, made); err != nil {
		return err
	}
	if err := m.wait(ctx, t); err != nil {
		return err
	}
	return t.prove(ctx)
}

// create makes the pod. It is not interrupted: a pod of which nobody knows would stay until its deadline.
func (m *maker) create(ctx context.Context, image string) (*transport, *corev1.Pod, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	pod := newPod(m.node.Name, image)
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(pod)
	if err != nil {
		return nil, nil, fmt.Errorf("encode the pod: %w", err)
	}
	creating, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyTimeout)
	defer cancel()
	obj, err := m.cluster.Create(creating, m.pods, &unstructured.Unstructured{Object: object})
	if err != nil {
		return nil, nil, explainCreate(err)
	}
	t := newTransport(ctx, m.cluster, m.pods, obj)
	made, err := kube.As[corev1.Pod](obj)
	if err == nil {
		err = checkMade(made, m.node.Name)
	}
	if err != nil {
		return nil, nil, abandon(t, err)
	}
	return t, made, nil
}

// explainCreate says what to do when the cluster does not take the pod.
func explainCreate(err error) error {
	text := err.Error()
	switch {
	case !apierrors.IsForbidden(err), plugins.HintOf(err) != "":
		return err
	case strings.Contains(text, "violates PodSecurity"):
		return plugins.Hint(err, "Pod Security Admission forbids privileged pods in %s; reach the nodes by SSH (connections.nodes.via: ssh), or see: kubectl get namespace %s -o yaml",
			namespace, namespace)
	}
	return plugins.Hint(err, "a policy of the cluster forbids the pod: exempt Pods labelled %s=%s in %s, or reach the nodes by SSH: connections.nodes.via: ssh",
		managedBy, manager, namespace)
}

// checkMade refuses a pod that the cluster's admission turned into one that would pull, or run elsewhere.
func checkMade(pod *corev1.Pod, nodeName string) error {
	if pod.Spec.NodeName != nodeName || len(pod.Spec.Containers) == 0 {
		return errors.New("the cluster changed the pod so that it would not run there")
	}
	for _, c := range pod.Spec.Containers {
		if c.ImagePullPolicy != corev1.PullNever {
			return plugins.Hint(fmt.Errorf("the cluster changed the pod's imagePullPolicy from Never to %s, and its nodes are not to pull for this", quoted(string(c.ImagePullPolicy))),
				"the admission plugin AlwaysPullImages or a policy does that; reach the nodes by SSH: connections.nodes.via: ssh")
		}
	}
	return nil
}

// sweep deletes the debug pods that killed runs left on this node: those that have ended, and those whose time was over when ours was made,
// by the API server's own clock. Pods of runs that are going on stay.
func (m *maker) sweep(ctx context.Context, ours *corev1.Pod) error {
	opts := metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(&metav1.LabelSelector{MatchLabels: labels(m.node.Name)})}
	var stale []*corev1.Pod
	err := m.cluster.Each(ctx, m.pods, namespace, opts, func(u *unstructured.Unstructured) error {
		pod, err := kube.As[corev1.Pod](u)
		if err != nil {
			return err
		}
		if len(stale) < maxStale && isStale(pod, ours) {
			stale = append(stale, pod)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("look for debug pods that were left: %w", err)
	}
	for _, pod := range stale {
		if err := m.cluster.DeleteNow(ctx, m.pods, nameOf(pod), pod.UID); err != nil && !gone(err) {
			return fmt.Errorf("delete a debug pod that was left: %w", err)
		}
	}
	return nil
}

// maxStale bounds what one Dial deletes; the next one goes on.
const maxStale = 50

func isStale(pod, ours *corev1.Pod) bool {
	if pod.UID == ours.UID || pod.Spec.NodeName != ours.Spec.NodeName {
		return false
	}
	return pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded ||
		ours.CreationTimestamp.Sub(pod.CreationTimestamp.Time) > deadline
}

// gone reports that what was to be deleted is not there any more.
func gone(err error) bool { return apierrors.IsNotFound(err) || apierrors.IsConflict(err) }
