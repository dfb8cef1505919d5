package lab

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"
)

const (
	workloadNamespace = "demo"
	workloadName      = "web"
	// workloadReplicas is as many as on the vendor's page.
	workloadReplicas = 6
	stateTimeout     = 2 * time.Minute
	stateEvery       = 100 * time.Millisecond
	settledEvery     = 20 * time.Millisecond
	// manager is the field manager of the workload that Up applies.
	manager = "tkgfix-lab"
)

// workloadYAML is the workload that is to run: what a team has in its repository.
func workloadYAML(image string, replicas int) []byte {
	return fmt.Appendf(nil, `apiVersion: v1
kind: Namespace
metadata:
  name: demo
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: demo
  labels: {app: web}
spec:
  replicas: %d
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
    spec:
      automountServiceAccountToken: false
      containers:
      - name: web
        image: %s
`, replicas, image)
}

// guestConfig is a client configuration for a workload cluster from its admin's kubeconfig.
func guestConfig(kubeconfig []byte) (*rest.Config, error) {
	config, err := clientcmd.RESTConfigFromKubeConfig(kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("reading a cluster's kubeconfig: %w", err)
	}
	config.QPS, config.Burst = 50, 100
	config.UserAgent = manager
	return config, nil
}

// applyWorkload applies Namespaces and Deployments of the manifest.
func applyWorkload(ctx context.Context, config *rest.Config, manifest []byte) error {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	kinds := map[string]schema.GroupVersionResource{
		"Namespace":  {Version: "v1", Resource: "namespaces"},
		"Deployment": {Group: "apps", Version: "v1", Resource: "deployments"},
	}
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(manifest)))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading the workload: %w", err)
		}
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(document, &u.Object); err != nil {
			return fmt.Errorf("reading the workload: %w", err)
		}
		_, err = client.Resource(kinds[u.GetKind()]).Namespace(u.GetNamespace()).Apply(ctx, u.GetName(), u, metav1.ApplyOptions{FieldManager: manager})
		if err != nil {
			return fmt.Errorf("applying %s %s: %w", u.GetKind(), u.GetName(), err)
		}
	}
}

// clearWorkload deletes the workload and what is told of it, and returns when that is gone.
func clearWorkload(ctx context.Context, config *rest.Config) error {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	foreground := metav1.DeletePropagationForeground
	err = client.AppsV1().Deployments(workloadNamespace).Delete(ctx, workloadName, metav1.DeleteOptions{PropagationPolicy: &foreground})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting the workload: %w", err)
	}
	now := int64(0)
	err = wait.PollUntilContextTimeout(ctx, stateEvery, stateTimeout, true, func(ctx context.Context) (bool, error) {
		_, err := client.AppsV1().Deployments(workloadNamespace).Get(ctx, workloadName, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return true, nil
		}
		// Nobody needs the grace of containers that never run.
		_ = client.CoreV1().Pods(workloadNamespace).DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: &now}, metav1.ListOptions{}) // seen at the next look
		return false, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for the end of the workload: %w", err)
	}
	if err := client.CoreV1().Events(workloadNamespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		return fmt.Errorf("deleting events: %w", err)
	}
	return nil
}

// waitWorkload returns when all pods of the workload show what the scenario has them show.
func waitWorkload(ctx context.Context, config *rest.Config, as Scenario) error {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	seen := "no pod yet"
	err = wait.PollUntilContextTimeout(ctx, stateEvery, stateTimeout, true, func(ctx context.Context) (bool, error) {
		pods, err := client.CoreV1().Pods(workloadNamespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, nil // asked again; the timeout tells
		}
		told := ""
		if as.shows == sandbox {
			told = eventsOf(ctx, client)
		}
		var states []string
		ready := 0
		for i := range pods.Items {
			pod := &pods.Items[i]
			states = append(states, strings.TrimSpace(podState(pod)+" "+waitMessage(pod)))
			if as.shownBy(pod, told) {
				ready++
			}
		}
		seen = strings.Join(slices.Compact(states), ", ")
		return ready == as.replicas(), nil
	})
	if err != nil {
		return fmt.Errorf("waiting for the workload's pods to show %q (now: %s): %w", cmp.Or(as.says, "Running"), seen, err)
	}
	return nil
}

// shownBy says whether a pod shows the scenario's fault. told is what is told of sandboxes.
func (s Scenario) shownBy(pod *corev1.Pod, told string) bool {
	state := podState(pod)
	switch s.shows {
	case failing:
		return pullFails(state) && strings.Contains(waitMessage(pod), s.says)
	case backOff:
		return state == "ImagePullBackOff" && strings.Contains(waitMessage(pod), s.says)
	case sandbox:
		return state == "ContainerCreating" && strings.Contains(told, pod.Name+": FailedCreatePodSandBox") && strings.Contains(told, s.says)
	}
	return state == string(corev1.PodRunning)
}

// eventsOf returns a line for each event of the workload.
func eventsOf(ctx context.Context, client kubernetes.Interface) string {
	events, err := client.CoreV1().Events(workloadNamespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return "" // asked again
	}
	var out strings.Builder
	for _, e := range events.Items {
		fmt.Fprintf(&out, "%s: %s: %s\n", e.InvolvedObject.Name, e.Reason, e.Message)
	}
	return out.String()
}

func pullFails(state string) bool { return state == "ErrImagePull" || state == "ImagePullBackOff" }

// podState is what `kubectl get pods` shows.
func podState(pod *corev1.Pod) string {
	for _, c := range pod.Status.ContainerStatuses {
		if c.State.Waiting != nil {
			return c.State.Waiting.Reason
		}
	}
	return string(pod.Status.Phase)
}
