package detect

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tkgfix/tkgfix/internal/pull"
)

// maxOpen bounds the failing pods that are kept in memory. Beyond it they are counted.
const maxOpen = 10000

// open are the pods of one scope whose story is not complete yet: failing ones, and those whose sandbox is being made.
type open struct {
	scope string
	// failing are indexed by the pod's UID.
	failing  []*record
	byPod    map[types.UID][]*record
	creating map[types.UID]*record
	dropped  int
}

// record is a failing container while Events may still say more of it.
type record struct {
	failing
	// guess says that the class follows from the reason alone, so that an Event which names the cause tells more.
	guess bool
	// when is the time of the Event that the cause was taken from, as the server wrote it: RFC 3339 sorts by text.
	when string
	// real is false for a pod that may only be slow to start.
	real bool
}

func newOpen(scope string) *open {
	return &open{scope: scope, byPod: map[types.UID][]*record{}, creating: map[types.UID]*record{}}
}

// pullReasons are the waiting reasons of the kubelet that mean that an image is not there (tkg-facts.md §6.1).
func pullReason(reason string) bool {
	switch reason {
	case "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "RegistryUnavailable", "ErrImageNeverPull", "ImageInspectError", "SignatureValidationFailed":
		return true
	}
	return false
}

// pod takes in one pod: each container, of each kind, that waits for its image.
func (f *found) pod(u *unstructured.Unstructured, o *open) {
	if u.GetDeletionTimestamp() != nil {
		return
	}
	waiting, starting := false, false
	for kind, statuses := range map[string]string{
		"initContainers": "initContainerStatuses", "containers": "containerStatuses", "ephemeralContainers": "ephemeralContainerStatuses",
	} {
		for _, s := range children(u, "status", statuses) {
			state, _, _ := unstructured.NestedFieldNoCopy(s, "state", "waiting")
			wait, _ := state.(map[string]any)
			if wait == nil {
				continue
			}
			reason := text(wait, "reason")
			if !pullReason(reason) {
				starting = starting || reason == "ContainerCreating" || reason == "PodInitializing" || reason == ""
				continue
			}
			waiting = true
			name := text(s, "name")
			o.add(u, name, imageOf(u, kind, name, text(s, "image")), reason, text(wait, "message"))
		}
	}
	if waiting || len(o.creating) >= maxOpen {
		return
	}
	// A vSphere Pod that waits for its images may show no status of its containers.
	silent := o.scope == scopeSupervisor && len(children(u, "status", "containerStatuses")) == 0
	if starting || silent {
		r := o.record(u, "", "", "", "")
		for _, uid := range identities(u) {
			o.creating[uid] = r
		}
	}
}

func (o *open) add(u *unstructured.Unstructured, container, image, reason, message string) {
	if len(o.failing) >= maxOpen {
		o.dropped++
		return
	}
	r := o.record(u, container, image, reason, message)
	r.real = true
	o.failing = append(o.failing, r)
	for _, uid := range identities(u) {
		o.byPod[uid] = append(o.byPod[uid], r)
	}
}

func (o *open) record(u *unstructured.Unstructured, container, image, reason, message string) *record {
	node, _, _ := unstructured.NestedString(u.Object, "spec", "nodeName")
	r := &record{failing: failing{
		Scope: o.scope, Namespace: word(u.GetNamespace()), Pod: word(u.GetName()), Container: word(container), Node: word(node), Image: image,
		Reason: word(reason),
	}}
	r.tell(reason, message, "")
	return r
}

// tell takes in what a status or an Event says.
func (r *record) tell(reason, message, when string) {
	p := pull.Parse(r.Image, reason, message)
	r.guess = p.Reason == "" // the message names no cause
	if r.Scope == scopeSupervisor {
		p.Class = pull.VSpherePod
	}
	r.Image, r.Registry, r.Class, r.Message, r.when = p.Image, p.Registry, p.Class, short(p.Message), when
	r.ImageRegistry, r.Sandbox = p.Asked, p.Sandbox
}

// wantsCauses reports whether a status has lost its cause.
func (o *open) wantsCauses() bool {
	for _, r := range o.failing {
		if r.guess || r.Class == pull.Unknown || o.scope == scopeSupervisor {
			return true
		}
	}
	return false
}

func (o *open) wantsSandboxes() bool { return len(o.creating) > 0 }

// cause takes in an Event Failed: the newest one that names a cause and the image counts.
func (o *open) cause(u *unstructured.Unstructured) {
	message, when := text(u.Object, "message"), eventTime(u)
	for _, r := range o.byPod[involved(u)] {
		if r.Class != pull.Unknown && !r.guess && r.when == "" || when <= r.when || !strings.Contains(message, `"`+r.Image+`"`) {
			continue
		}
		if pull.ParseMessage(r.Image, message).Class != pull.Unknown {
			r.tell(r.Reason, message, when)
		}
	}
}

// sandbox takes in an Event FailedCreatePodSandBox: the image of the sandbox is pulled too, and may be the one that fails.
func (o *open) sandbox(u *unstructured.Unstructured) {
	message, when := text(u.Object, "message"), eventTime(u)
	r := o.creating[involved(u)]
	if r == nil || when <= r.when || !strings.Contains(message, "failed to pull image") && !strings.Contains(message, "failed to pull and unpack image") {
		return
	}
	r.Image = ""
	r.tell("FailedCreatePodSandBox", message, when)
	r.Reason, r.real = "FailedCreatePodSandBox", true
}

// supervisor takes in a warning about a vSphere Pod.
func (o *open) supervisor(u *unstructured.Unstructured) {
	message, when := text(u.Object, "message"), eventTime(u)
	if !strings.Contains(message, "failed to get images:") && !strings.Contains(message, "Failed to pull image") {
		return
	}
	for _, r := range o.byPod[involved(u)] {
		if when > r.when {
			r.tell(r.Reason, message, when)
		}
	}
	if r := o.creating[involved(u)]; r != nil && when > r.when {
		r.tell("", message, when)
		r.Reason, r.real = word(text(u.Object, "reason")), true
	}
}

// packaged takes in one object of kapp-controller that fails because of a registry.
func (o *open) packaged(u *unstructured.Unstructured) {
	failed := slices.ContainsFunc(children(u, "status", "conditions"), func(c map[string]any) bool {
		return text(c, "type") == "ReconcileFailed" && text(c, "status") == "True"
	})
	message, _, _ := unstructured.NestedString(u.Object, "status", "usefulErrorMessage")
	if failed && u.GetDeletionTimestamp() == nil && pull.ParseMessage("", message).Class == pull.KappController {
		o.add(u, "", "", "ReconcileFailed", message)
	}
}

// identities returns the UIDs under which Events speak of a pod: its own; and for a static pod that of the kubelet's own file, by which
// the kubelet knows it.
func identities(u *unstructured.Unstructured) []types.UID {
	out := []types.UID{u.GetUID()}
	if hash := u.GetAnnotations()["kubernetes.io/config.hash"]; hash != "" && types.UID(hash) != out[0] {
		out = append(out, types.UID(hash))
	}
	return slices.DeleteFunc(out, func(uid types.UID) bool { return uid == "" })
}

// word bounds a name that another gave, and keeps it on its line: it is shown to people.
func word(s string) string { return pull.Printable(s, 253) }

func involved(u *unstructured.Unstructured) types.UID {
	uid, _, _ := unstructured.NestedString(u.Object, "involvedObject", "uid")
	return types.UID(uid)
}

// eventTime returns when an Event was last seen, never empty.
func eventTime(u *unstructured.Unstructured) string {
	series, _, _ := unstructured.NestedString(u.Object, "series", "lastObservedTime")
	for _, t := range []string{series, text(u.Object, "lastTimestamp"), text(u.Object, "eventTime")} {
		if t != "" {
			return t
		}
	}
	return "0"
}

// children returns a list of objects without copying it.
func children(u *unstructured.Unstructured, path ...string) []map[string]any {
	value, _, _ := unstructured.NestedFieldNoCopy(u.Object, path...)
	list, _ := value.([]any)
	out := make([]map[string]any, 0, len(list))
	for _, item := range list {
		if m, ok := item.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

func text(m map[string]any, key string) string {
	s, _ := m[key].(string)
	return s
}

// imageOf returns the image that the container asks for; the status may show another name of it.
func imageOf(u *unstructured.Unstructured, kind, name, fallback string) string {
	for _, c := range children(u, "spec", kind) {
		if text(c, "name") == name && text(c, "image") != "" {
			return text(c, "image")
		}
	}
	return fallback
}

// short keeps the begin and the end of a message: the cause stands last.
func short(s string) string {
	const head, tail = 256, 768
	if len(s) <= head+tail {
		return s
	}
	return strings.ToValidUTF8(s[:head], "") + " ... " + strings.ToValidUTF8(s[len(s)-tail:], "")
}
