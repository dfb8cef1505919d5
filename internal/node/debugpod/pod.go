package debugpod

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const (
	// namespace is one of those that TKG exempts from Pod Security Admission, with tkg-system and vmware-system-cloud-provider.
	namespace = "kube-system"
	// deadline is when the kubelet ends the pod if nobody has deleted it. No look at a node takes nearly as long.
	deadline  = 15 * time.Minute
	container = "debug"
	// host is where the node's root is in the pod.
	host = "/host"

	managedBy = "app.kubernetes.io/managed-by"
	manager   = "tkgfix"
	nodeLabel = "tkgfix.dev/debug-node"
)

// labels are what the debug pods of a node have.
func labels(nodeName string) map[string]string {
	return map[string]string{managedBy: manager, nodeLabel: nodeName}
}

// newPod returns the pod for a node. The kubelet starts it without a scheduler's or a registry's help.
func newPod(nodeName, image string) *corev1.Pod {
	yes, no, root := true, false, int64(0)
	seconds, now := int64(deadline/time.Second), int64(0)
	return &corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{GenerateName: "tkgfix-debug-", Namespace: namespace, Labels: labels(nodeName)},
		Spec: corev1.PodSpec{
			NodeName: nodeName, Tolerations: []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
			RestartPolicy: corev1.RestartPolicyNever, ActiveDeadlineSeconds: &seconds, TerminationGracePeriodSeconds: &now,
			HostNetwork: true, HostPID: true, DNSPolicy: corev1.DNSDefault,
			AutomountServiceAccountToken: &no, EnableServiceLinks: &no,
			Containers: []corev1.Container{{
				Name: container, Image: image, ImagePullPolicy: corev1.PullNever,
				// By a shell, so that an image without one does not even start.
				Command:         []string{"sh", "-c", fmt.Sprintf("exec sleep %d", seconds)},
				SecurityContext: &corev1.SecurityContext{Privileged: &yes, RunAsUser: &root},
				Resources: corev1.ResourceRequirements{
					Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("32Mi")},
					Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("256Mi")},
				},
				VolumeMounts: []corev1.VolumeMount{{Name: "host", MountPath: host, ReadOnly: true}},
			}},
			Volumes: []corev1.Volume{{Name: "host", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}}},
		},
	}
}

func nameOf(pod *corev1.Pod) types.NamespacedName {
	return types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}
}
