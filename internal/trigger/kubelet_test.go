package trigger_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"
)

// trust is what containerd 2 says of a registry whose CA the node does not trust.
const trust = `failed to pull and unpack image "IMAGE": failed to resolve reference "IMAGE": failed to do request: ` +
	`Head "https://HOST/v2/app/manifests/1": tls: failed to verify certificate: x509: certificate signed by unknown authority`

// auth is what it says when the registry wants another login.
const auth = `failed to pull and unpack image "IMAGE": failed to resolve reference "IMAGE": pull access denied, repository does not exist or may ` +
	`require authorization: authorization failed: no basic auth credentials`

// fail writes the Events of a pod that cannot pull, as the kubelet does: by client-go's recorder, in its words.
func fail(t *testing.T, pod, registry, cause string) {
	t.Helper()
	b := record.NewBroadcaster()
	w := b.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: node.CoreV1().Events("")})
	defer b.Shutdown()
	defer w.Stop()
	r := b.NewRecorder(scheme, corev1.EventSource{Component: "kubelet", Host: "node-1"})
	ref := &corev1.ObjectReference{Kind: "Pod", APIVersion: "v1", Namespace: "apps", Name: pod, UID: types.UID("uid-" + pod), FieldPath: "spec.containers{app}"}
	image := registry + "/app:1"
	said := strings.NewReplacer("IMAGE", image, "HOST", registry).Replace(cause)
	r.Eventf(ref, corev1.EventTypeNormal, "Pulling", "Pulling image %q", image)
	r.Eventf(ref, corev1.EventTypeWarning, "Failed", "Failed to pull image %q: %s", image, said)
	r.Event(ref, corev1.EventTypeWarning, "Failed", "Error: ErrImagePull")
	r.Eventf(ref, corev1.EventTypeNormal, "BackOff", "Back-off pulling image %q", image)
	eventually(t, "the kubelet's Events are written", func() bool {
		list, err := node.CoreV1().Events("apps").List(t.Context(), metav1.ListOptions{FieldSelector: "reason=BackOff,involvedObject.name=" + pod})
		return err == nil && len(list.Items) > 0
	})
}
