package trigger

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
	"github.com/tkgfix/tkgfix/internal/metrics"
	"github.com/tkgfix/tkgfix/internal/tkg"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func minutes(n int) time.Time { return noon.Add(time.Duration(n) * time.Minute) }

// opens is a Run that was opened at a time for a registry.
func ran(at time.Time, registry string, phase v1alpha1.Phase) v1alpha1.Run {
	return v1alpha1.Run{
		ObjectMeta: metav1.ObjectMeta{
			Name: "r", UID: types.UID(at.String()), CreationTimestamp: metav1.NewTime(at),
			Annotations: map[string]string{AnnotationCluster: "team/dev1", AnnotationRegistry: registry},
		},
		Status: v1alpha1.RunStatus{Phase: phase},
	}
}

func trigger() *v1alpha1.Trigger {
	t := &v1alpha1.Trigger{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "pulls", UID: "uid"}}
	t.Spec.Cooldown.Duration, t.Spec.Storm.Per.Duration, t.Spec.Storm.MaxRuns = time.Hour, 30*time.Minute, 2
	return t
}

// TestJudge holds what a failure at noon opens, with the Runs that there are.
func TestJudge(t *testing.T) {
	t.Parallel()
	const done, planned = v1alpha1.PhaseDone, v1alpha1.PhasePlanned
	for name, tc := range map[string]struct {
		reason string
		runs   []v1alpha1.Run
		now    time.Time
		want   hold
	}{
		"None":        {"nothing holds the first", nil, noon, hold{}},
		"Open":        {"one that waits for a person holds the next", []v1alpha1.Run{ran(minutes(-600), "a", planned)}, noon, hold{reason: metrics.Open}},
		"New":         {"one that nobody has looked at yet, too", []v1alpha1.Run{ran(minutes(-600), "a", "")}, noon, hold{reason: metrics.Open}},
		"Blocked":     {"one that is blocked waits for a person", []v1alpha1.Run{ran(minutes(-600), "a", v1alpha1.PhaseBlocked)}, noon, hold{reason: metrics.Open}},
		"Cooldown":    {"one that is over, for the cool-down", []v1alpha1.Run{ran(minutes(-40), "a", done)}, noon, hold{metrics.Cooldown, minutes(20)}},
		"Over":        {"not after it", []v1alpha1.Run{ran(minutes(-60), "a", done)}, noon, hold{}},
		"Late":        {"a failure is judged by its own time: what was seen in the cool-down does not open a Run after it", []v1alpha1.Run{ran(minutes(-40), "a", done)}, minutes(50), hold{metrics.Cooldown, minutes(20)}},
		"Before":      {"a failure of before a Run is that Run's", []v1alpha1.Run{ran(minutes(5), "a", done)}, minutes(30), hold{metrics.Cooldown, minutes(65)}},
		"Other":       {"another registry is another matter", []v1alpha1.Run{ran(minutes(-40), "b", done)}, noon, hold{}},
		"Storm":       {"too many of late, for whatever", []v1alpha1.Run{ran(minutes(-20), "b", done), ran(minutes(-10), "c", planned)}, noon, hold{metrics.Storm, minutes(10)}},
		"StormOver":   {"the first of them is long enough ago", []v1alpha1.Run{ran(minutes(-30), "b", done), ran(minutes(-10), "c", planned)}, noon, hold{}},
		"StormLater":  {"the brake looks at when a Run would be opened", []v1alpha1.Run{ran(minutes(-20), "b", done), ran(minutes(-10), "c", done)}, minutes(11), hold{}},
		"StormMore":   {"with more than the brake's it is the second last", []v1alpha1.Run{ran(minutes(-9), "b", done), ran(minutes(-20), "c", done), ran(minutes(-1), "d", done)}, noon, hold{metrics.Storm, minutes(21)}},
		"OpenAndMore": {"whose Run there is does not wait for the brake", []v1alpha1.Run{ran(minutes(-9), "b", done), ran(minutes(-1), "a", planned)}, noon, hold{reason: metrics.Open}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := judge(trigger(), tc.runs, failure{key: key{"team/dev1", "a"}, at: noon}, tc.now)
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(hold{})); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// TestNames holds that the same Runs make the same name, and others another, which a Run can have.
func TestNames(t *testing.T) {
	t.Parallel()
	f := failure{key: key{"team/dev1", "a"}}
	first, second := ran(minutes(0), "a", ""), ran(minutes(1), "a", "")
	name := func(runs ...v1alpha1.Run) string { return next(trigger(), runs, f).Name }
	if name() != name(ran(minutes(0), "b", "")) || name(first, second) != name(second, first) || name(second) != name(first, second) {
		t.Error("the same last Run makes different names")
	}
	if name() == name(first) || name(first) == name(second) || name() == next(trigger(), nil, failure{key: key{"team/dev1a", ""}}).Name {
		t.Error("different Runs make the same name")
	}
	for _, n := range []string{"pulls", "a.b", strings.Repeat("x", 253), strings.Repeat("x.", 30) + "y", "1"} {
		tr := trigger()
		tr.Name = n
		run := next(tr, nil, f)
		if !regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,48}[a-z0-9])?$`).MatchString(run.Name) || len(run.Labels[v1alpha1.LabelTrigger]) > 63 || len(run.Spec.Requester) > 256 {
			t.Errorf("%s: name %s, label %s, requester %s", n, run.Name, run.Labels[v1alpha1.LabelTrigger], run.Spec.Requester)
		}
	}
}

// TestSee reads Events of a workload cluster, which whoever is in it may have written.
func TestSee(t *testing.T) {
	t.Parallel()
	const message = `Failed to pull image "r.test/a:1": failed to do request: Head "https://r.test/v2/a/manifests/1": x509: certificate signed by unknown authority`
	event := func(change func(*corev1.Event)) *corev1.Event {
		e := &corev1.Event{
			InvolvedObject: corev1.ObjectReference{Kind: "Pod", Namespace: "apps", Name: "app"}, Reason: "Failed", Message: message,
			LastTimestamp: metav1.NewTime(minutes(-5)),
		}
		if change != nil {
			change(e)
		}
		return e
	}
	want := func(at time.Time) []failure {
		return []failure{{key{"team/dev1", "r.test"}, at, "pod apps/app cannot pull r.test/a:1: x509: certificate signed by unknown authority"}}
	}
	for name, tc := range map[string]struct {
		reason string
		event  *corev1.Event
		want   []failure
	}{
		"Last": {"when it was last seen", event(nil), want(minutes(-5))},
		"Series": {"a series has its own time", event(func(e *corev1.Event) {
			e.Series = &corev1.EventSeries{LastObservedTime: metav1.NewMicroTime(minutes(-2))}
		}), want(minutes(-2))},
		"Once": {"the newer form has only this", event(func(e *corev1.Event) {
			e.LastTimestamp, e.EventTime = metav1.Time{}, metav1.NewMicroTime(minutes(-3))
		}), want(minutes(-3))},
		"Ahead":   {"a clock that is ahead holds no cool-down longer", event(func(e *corev1.Event) { e.LastTimestamp = metav1.NewTime(minutes(500)) }), want(noon)},
		"Old":     {"what is an hour old may be mended", event(func(e *corev1.Event) { e.LastTimestamp = metav1.NewTime(minutes(-61)) }), nil},
		"Never":   {"nor is what was never seen", event(func(e *corev1.Event) { e.LastTimestamp = metav1.Time{} }), nil},
		"Node":    {"a selector may be ignored", event(func(e *corev1.Event) { e.InvolvedObject.Kind = "Node" }), nil},
		"Mount":   {"as well", event(func(e *corev1.Event) { e.Reason = "FailedMount" }), nil},
		"Backoff": {"it names no cause", event(func(e *corev1.Event) { e.Message = "Error: ErrImagePull" }), nil},
		"Expired": {"no CA mends it", event(func(e *corev1.Event) {
			e.Message = strings.ReplaceAll(message, "signed by unknown authority", "has expired or is not yet valid")
		}), nil},
		"NoHost":   {"no registry to name", event(func(e *corev1.Event) { e.Message = strings.ReplaceAll(message, "r.test/", "%/") }), nil},
		"Combined": {"what the recorder combined", event(func(e *corev1.Event) { e.Message = "(combined from similar events): " + message }), want(minutes(-5))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(tc.event)
			if err != nil {
				t.Fatal(err)
			}
			var got []failure
			w := &watcher{cluster: tkg.Ref{Namespace: "team", Name: "dev1"}, now: func() time.Time { return noon }, found: func(f failure) { got = append(got, f) }}
			w.see(&unstructured.Unstructured{Object: fields})
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(failure{}, key{}), cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// TestBounded holds that whoever writes Events fills no memory.
func TestBounded(t *testing.T) {
	t.Parallel()
	w := &watched{now: func() time.Time { return noon }, wake: func() {}, failures: map[key]*known{}}
	for i := range 3 * maxFailures {
		w.found(failure{key: key{"team/dev1", strings.Repeat("r", i)}, at: noon})
	}
	if got := len(w.toJudge(noon)); got != maxFailures {
		t.Errorf("%d failures are kept, want %d", got, maxFailures)
	}
	if got := len(w.toJudge(noon.Add(maxAge + time.Second))); got != 0 || len(w.failures) != 0 {
		t.Errorf("%d failures are kept after an hour", got)
	}
}
