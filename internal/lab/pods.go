package lab

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// podsTimeout bounds how long a cluster may take to list its pods: one that is being deleted does not answer.
const podsTimeout = 5 * time.Second

// PodState is a pod as kubectl get pods shows it.
type PodState struct {
	// Name is namespace/name.
	Name string
	// Status is the reason for which its first container waits, else the pod's phase.
	Status string
	Node   string
	// Message is what the waiting container says, empty if none waits.
	Message string
}

// Pods lists the pods of a cluster, in the order of their names. It blocks on the cluster's API for five seconds at most.
func Pods(ctx context.Context, c ClusterState) ([]PodState, error) {
	ctx, cancel := context.WithTimeout(ctx, podsTimeout)
	defer cancel()
	config, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("listing the pods of %s/%s: %w", c.Namespace, c.Name, err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("listing the pods of %s/%s: %w", c.Namespace, c.Name, err)
	}
	list, err := client.CoreV1().Pods("").List(ctx, metav1.ListOptions{Limit: 500})
	if err != nil {
		return nil, fmt.Errorf("listing the pods of %s/%s: %w", c.Namespace, c.Name, err)
	}
	var out []PodState
	for i := range list.Items {
		p := &list.Items[i]
		out = append(out, PodState{Name: p.Namespace + "/" + p.Name, Status: podState(p), Node: p.Spec.NodeName, Message: waitMessage(p)})
	}
	return out, nil
}

// waitMessage is what the first waiting container says.
func waitMessage(pod *corev1.Pod) string {
	for _, c := range pod.Status.ContainerStatuses {
		if c.State.Waiting != nil {
			return c.State.Waiting.Message
		}
	}
	return ""
}
