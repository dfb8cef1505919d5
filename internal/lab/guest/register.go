package guest

import (
	"context"
	"crypto/rand"
	"fmt"
	"math/big"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"

	"github.com/tkgfix/tkgfix/internal/lab/kubelet"
)

const passwordLength = 32

// letters are those of Kubernetes' own generated names: no vowels, nothing that looks alike.
const letters = "bcdfghjklmnpqrstvwxz2456789"

// Random returns n random letters and digits, as generated names have them.
func Random(n int) (string, error) {
	out := make([]byte, n)
	for i := range out {
		k, err := rand.Int(rand.Reader, big.NewInt(int64(len(letters))))
		if err != nil {
			return "", fmt.Errorf("making a random name: %w", err)
		}
		out[i] = letters[k.Int64()]
	}
	return string(out), nil
}

// register makes the Node object as kubelet would, ready.
func register(ctx context.Context, client kubernetes.Interface, spec NodeSpec, m *imitation, now time.Time) error {
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: spec.Name, Labels: map[string]string{
			"kubernetes.io/hostname": spec.Name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
		}},
		Spec: corev1.NodeSpec{ProviderID: spec.ProviderID},
	}
	var taints []corev1.Taint
	if spec.ControlPlane {
		node.Labels["node-role.kubernetes.io/control-plane"] = ""
		taints = []corev1.Taint{{Key: "node-role.kubernetes.io/control-plane", Effect: corev1.TaintEffectNoSchedule}}
	}
	if _, err := client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("registering node %s: %w", spec.Name, err)
	}
	// Admission taints each new node as not ready; the controller that would take that away does not run here.
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		live, err := client.CoreV1().Nodes().Get(ctx, spec.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		live.Spec.Taints = taints
		if live, err = client.CoreV1().Nodes().Update(ctx, live, metav1.UpdateOptions{}); err != nil {
			return err
		}
		live.Status = nodeStatus(spec, m, metav1.NewTime(now))
		_, err = client.CoreV1().Nodes().UpdateStatus(ctx, live, metav1.UpdateOptions{})
		return err
	})
	if err != nil {
		return fmt.Errorf("reporting node %s ready: %w", spec.Name, err)
	}
	return nil
}

func nodeStatus(spec NodeSpec, m *imitation, now metav1.Time) corev1.NodeStatus {
	condition := func(kind corev1.NodeConditionType, status corev1.ConditionStatus, reason, message string) corev1.NodeCondition {
		return corev1.NodeCondition{Type: kind, Status: status, Reason: reason, Message: message, LastHeartbeatTime: now, LastTransitionTime: now}
	}
	has := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("4"), corev1.ResourceMemory: resource.MustParse("16Gi"),
		corev1.ResourcePods: resource.MustParse("110"), corev1.ResourceEphemeralStorage: resource.MustParse("40Gi"),
	}
	return corev1.NodeStatus{
		Capacity: has, Allocatable: has,
		Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: m.Address()}, {Type: corev1.NodeHostName, Address: spec.Name}},
		Conditions: []corev1.NodeCondition{
			condition(corev1.NodeMemoryPressure, corev1.ConditionFalse, "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
			condition(corev1.NodeDiskPressure, corev1.ConditionFalse, "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
			condition(corev1.NodePIDPressure, corev1.ConditionFalse, "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
			condition(corev1.NodeReady, corev1.ConditionTrue, "KubeletReady", "kubelet is posting ready status"),
		},
		DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: kubelet.Port}},
		Images:          kubelet.Images(spec.Version),
		NodeInfo: corev1.NodeSystemInfo{
			OSImage: m.profile.Family.Name(), OperatingSystem: "linux", Architecture: "amd64", KernelVersion: "6.1.62",
			ContainerRuntimeVersion: "containerd://1.7.27", KubeletVersion: spec.Version, KubeProxyVersion: spec.Version,
		},
	}
}
