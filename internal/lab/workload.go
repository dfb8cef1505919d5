package lab

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
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
	workloadReplicas  = 6
	stateTimeout      = 2 * time.Minute
	stateEvery        = 250 * time.Millisecond
	// manager is the field manager of the workload that Up applies.
	manager = "tkgfix-lab"
)

// workloadYAML is the workload that is to run: what a team has in its repository. Six pods, as on the vendor's page.
func workloadYAML(image string) []byte {
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
`, workloadReplicas, image)
}

// waitReady returns when the TanzuKubernetesCluster says so.
func waitReady(ctx context.Context, tkcs dynamic.ResourceInterface, name string) error {
	seen := "nothing"
	err := wait.PollUntilContextTimeout(ctx, stateEvery, stateTimeout, true, func(ctx context.Context) (bool, error) {
		tkc, err := tkcs.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, nil // asked again; the timeout tells
		}
		conditions, _, _ := unstructured.NestedSlice(tkc.Object, "status", "conditions")
		for _, c := range conditions {
			if m, ok := c.(map[string]any); ok && m["type"] == "Ready" {
				seen = fmt.Sprint(m["reason"], " ", m["message"])
				return m["status"] == "True", nil
			}
		}
		return false, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for cluster %s (it says: %s): %w", name, seen, err)
	}
	return nil
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

// waitWorkload returns when all pods of the workload show what is expected: failing pulls, or running.
func waitWorkload(ctx context.Context, config *rest.Config, failing bool) error {
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
		var states []string
		as := 0
		for i := range pods.Items {
			state := podState(&pods.Items[i])
			states = append(states, state)
			if pullFails(state) == failing && (failing || state == string(corev1.PodRunning)) {
				as++
			}
		}
		seen = strings.Join(states, ", ")
		return as == workloadReplicas, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for the workload's pods (now: %s): %w", seen, err)
	}
	return nil
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
