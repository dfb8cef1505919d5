package kubelet

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Images returns what a node of a Kubernetes release has from its template, as kubelet reports it: the largest first, each by digest
// and by tag. TKG's nodes name them by a registry that exists only while the template is built.
func Images(version string) []corev1.ContainerImage {
	tag := strings.ReplaceAll(version, "+", "_")
	var out []corev1.ContainerImage
	for _, image := range []struct {
		name, tag string
		bytes     int64
	}{
		{"antrea/antrea-advanced-debian", "v1.11.1_vmware.4", 184_233_472},
		{"kube-apiserver", tag, 131_006_464},
		{"csi/vsphere-csi-driver", "v2.7.1_vmware.1", 96_468_992},
		{"kube-proxy", tag, 67_108_864},
		{"pause", "3.9", 744_448},
	} {
		name := "localhost:5000/vmware.io/" + image.name
		out = append(out, corev1.ContainerImage{Names: []string{digestOf(name), name + ":" + image.tag}, SizeBytes: image.bytes})
	}
	return out
}

func digestOf(name string) string {
	return fmt.Sprintf("%s@sha256:%x", name, sha256.Sum256([]byte(name)))
}

// onNode returns the images that need no pull, by each of their names.
func onNode(images []corev1.ContainerImage) map[string]Image {
	out := map[string]Image{}
	for _, image := range images {
		for _, name := range image.Names {
			out[name] = Image{ID: image.Names[0], Size: image.SizeBytes}
		}
	}
	return out
}

// with adds images that need no pull.
func (r *runtime) with(images []corev1.ContainerImage) *runtime {
	maps.Copy(r.images, onNode(images))
	return r
}
