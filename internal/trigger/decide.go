package trigger

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
	"github.com/tkgfix/tkgfix/internal/metrics"
)

// The annotations of a Run that a Trigger opened. By the first two the Trigger knows it again.
const (
	AnnotationCluster  = "tkgfix.dev/cluster"
	AnnotationRegistry = "tkgfix.dev/registry"
	// AnnotationSeen says what was seen: the pod, its image and the cause.
	AnnotationSeen = "tkgfix.dev/seen"
)

const (
	maxLabel = 63 // of Kubernetes
	maxName  = 50 // of a Run
	digits   = 10 // of the digest in a name
)

// key is what a Run is opened for.
type key struct{ cluster, registry string }

// failure is the last that was seen of pods that cannot pull.
type failure struct {
	key
	// at is when the kubelet last saw it.
	at time.Time
	// seen says which pod and image, and why.
	seen string
}

// hold is why no Run is opened for a failure, and until when; the zero hold is none.
type hold struct {
	reason metrics.Reason
	until  time.Time
}

// judge says whether a failure is to open a Run, given the Runs that the Trigger has opened. A failure belongs to a Run that was opened
// before it and less than the cool-down ago: it is judged by its own time, so that it makes no difference when it is judged.
func judge(t *v1alpha1.Trigger, runs []v1alpha1.Run, f failure, now time.Time) hold {
	for i := range runs {
		run := &runs[i]
		if keyOf(run) != f.key {
			continue
		}
		if !over(run) {
			return hold{reason: metrics.Open}
		}
		if until := run.CreationTimestamp.Add(t.Spec.Cooldown.Duration); f.at.Before(until) {
			return hold{metrics.Cooldown, until}
		}
	}
	if until := released(t, runs, now); until.After(now) {
		return hold{metrics.Storm, until}
	}
	return hold{}
}

// released returns when the brake lets the next Run through.
func released(t *v1alpha1.Trigger, runs []v1alpha1.Run, now time.Time) time.Time {
	var opened []time.Time
	for i := range runs {
		opened = append(opened, runs[i].CreationTimestamp.Time)
	}
	slices.SortFunc(opened, func(a, b time.Time) int { return b.Compare(a) })
	most := int(max(t.Spec.Storm.MaxRuns, 1))
	if len(opened) < most {
		return now
	}
	return opened[most-1].Add(t.Spec.Storm.Per.Duration)
}

// over says whether nothing more comes of a Run. One that is planned, waits or is blocked has a person to wait for.
func over(run *v1alpha1.Run) bool {
	switch run.Status.Phase {
	case v1alpha1.PhaseDone, v1alpha1.PhaseFailed, v1alpha1.PhaseRejected:
		return true
	}
	return false
}

func keyOf(run *v1alpha1.Run) key {
	return key{run.Annotations[AnnotationCluster], run.Annotations[AnnotationRegistry]}
}

// next returns the Run that a failure opens. Its name follows from the last Run for the same cluster and registry: two that know the
// same Runs make the same name, of which the API server creates one.
func next(t *v1alpha1.Trigger, runs []v1alpha1.Run, f failure) *v1alpha1.Run {
	var last *v1alpha1.Run
	for i := range runs {
		if r := &runs[i]; keyOf(r) == f.key && (last == nil || last.CreationTimestamp.Before(&r.CreationTimestamp)) {
			last = r
		}
	}
	words := []string{string(t.UID), f.cluster, f.registry}
	if last != nil {
		words = append(words, string(last.UID))
	}
	run := &v1alpha1.Run{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: t.Namespace, Name: runName(t.Name, words),
			Labels:      map[string]string{v1alpha1.LabelTrigger: Label(t.Name)},
			Annotations: map[string]string{AnnotationCluster: f.cluster, AnnotationRegistry: f.registry, AnnotationSeen: f.seen},
		},
		Spec: v1alpha1.RunSpec{RunTemplate: *t.Spec.Run.DeepCopy(), Requester: "trigger/" + t.Name, PlanOnly: true},
	}
	if len(run.Spec.Requester) > 256 {
		run.Spec.Requester = "trigger/" + Label(t.Name)
	}
	found := strings.NewReplacer("$(cluster)", f.cluster, "$(registry)", f.registry)
	for name, value := range run.Spec.Inputs {
		run.Spec.Inputs[name] = found.Replace(value)
	}
	return run
}

var notInNames = regexp.MustCompile(`[^a-z0-9]+`)

// runName is the Trigger's name, as far as there is room, and a digest.
func runName(trigger string, words []string) string {
	name := notInNames.ReplaceAllString(trigger, "-")
	name = strings.Trim(name[:min(len(name), maxName-digits-1)], "-")
	return name + "-" + short(words...)
}

// Label returns the value of the label tkgfix.dev/trigger on the Runs of the Trigger of that name: the name, or what of a longer one a
// label can hold.
func Label(trigger string) string {
	if len(trigger) <= maxLabel {
		return trigger
	}
	return trigger[:maxLabel-digits-1] + "-" + short(trigger)
}

func short(words ...string) string {
	sum := sha256.New()
	for _, w := range words {
		fmt.Fprintf(sum, "%d:%s", len(w), w)
	}
	return hex.EncodeToString(sum.Sum(nil))[:digits]
}
