package kubelet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/util/flowcontrol"
)

// The reasons that kubelet gives while a container waits for its image (pkg/kubelet/images/types.go; tkg-facts.md §6.1).
const (
	reasonPull    = "ErrImagePull"
	reasonBackOff = "ImagePullBackOff"
	reasonNever   = "ErrImageNeverPull"
	// reasonCreating is given while the sandbox is not there yet.
	reasonCreating = "ContainerCreating"
)

// The back-off between pulls of one image for one pod is kubelet's: 10 s, doubled up to 5 min.
const (
	backOffFirst = 10 * time.Second
	backOffMax   = 5 * time.Minute
)

// waiting is why a container waits.
type waiting struct{ reason, message string }

// puller decides as kubelet's image manager does (pkg/kubelet/images/image_manager.go): pull, or wait because a pull failed lately.
type puller struct {
	runtime *runtime
	backOff *flowcontrol.Backoff
	// old says that the kubelet is one of those that forget the cause while they wait and pass on the runtime's own prefix.
	old bool
	// last is the error of the last pull by back-off key; recent kubelets show it while they wait.
	last map[string]string
	emit func(eventType, reason, message string)
}

// ensure returns the image or why there is none yet. It is called from one goroutine per pod.
func (p *puller) ensure(ctx context.Context, pod *corev1.Pod, container *corev1.Container) (Image, *waiting) {
	ref := container.Image
	if image, ok := p.runtime.present(ref); ok && container.ImagePullPolicy != corev1.PullAlways {
		p.emit(corev1.EventTypeNormal, "Pulled", fmt.Sprintf("Container image %q already present on machine and can be accessed by the pod", ref))
		return image, nil
	}
	if container.ImagePullPolicy == corev1.PullNever {
		message := fmt.Sprintf("Container image %q is not present with pull policy of Never", ref)
		p.emit(corev1.EventTypeWarning, reasonNever, message)
		return Image{}, &waiting{reasonNever, message}
	}
	key := fmt.Sprintf("%s_%s", pod.UID, ref)
	if p.backOff.IsInBackOffSinceUpdate(key, p.backOff.Clock.Now()) {
		message := fmt.Sprintf("Back-off pulling image %q", ref)
		p.emit(corev1.EventTypeNormal, "BackOff", message)
		if last, ok := p.last[key]; ok && !p.old {
			message += ": " + last
		}
		return Image{}, &waiting{reasonBackOff, message}
	}
	return p.pull(ctx, key, ref)
}

func (p *puller) pull(ctx context.Context, key, ref string) (Image, *waiting) {
	p.emit(corev1.EventTypeNormal, "Pulling", fmt.Sprintf("Pulling image %q", ref))
	began := p.backOff.Clock.Now()
	image, err := p.runtime.pull(ctx, ref)
	if err != nil {
		err = asAnswered(err, p.old)
		p.emit(corev1.EventTypeWarning, "Failed", fmt.Sprintf("Failed to pull image %q: %v", ref, err))
		p.backOff.Next(key, p.backOff.Clock.Now())
		p.last[key] = fmt.Sprintf("%s: %s", reasonPull, err)
		return Image{}, &waiting{reasonPull, err.Error()}
	}
	took := p.backOff.Clock.Since(began).Truncate(time.Millisecond)
	p.emit(corev1.EventTypeNormal, "Pulled", fmt.Sprintf("Successfully pulled image %q in %v (%v including waiting). Image size: %v bytes.", ref, took, took, image.Size))
	delete(p.last, key)
	return image, nil
}

func parseManifest(data []byte) (ocispec.Manifest, error) {
	var manifest ocispec.Manifest
	if err := json.Unmarshal(data, &manifest); err != nil {
		return manifest, fmt.Errorf("reading the manifest: %w", err)
	}
	if manifest.Config.Digest == "" {
		return manifest, errors.New("no match for platform in manifest: not found")
	}
	return manifest, nil
}
