package cli

import (
	"testing"

	"github.com/tkgfix/tkgfix/internal/engine"
)

func TestParseKubeState(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		reason, in string
		want       kubeState
		kube, bad  bool
	}{
		"Folder":      {reason: "no cluster", in: "/var/lib/tkgfix"},
		"Default":     {reason: "no state is a folder's", in: ""},
		"Namespace":   {reason: "by the current context", in: "kube:team-a", want: kubeState{Namespace: "team-a"}, kube: true},
		"Context":     {reason: "by another", in: "kube:admin@management/team-a", want: kubeState{Context: "admin@management", Namespace: "team-a"}, kube: true},
		"Slashes":     {reason: "a context may hold them", in: "kube:arn:aws:eks:x/y/team-a", want: kubeState{Context: "arn:aws:eks:x/y", Namespace: "team-a"}, kube: true},
		"Nothing":     {reason: "no namespace", in: "kube:", kube: true, bad: true},
		"NoNamespace": {reason: "a context alone", in: "kube:management/", kube: true, bad: true},
		"NoContext":   {reason: "a slash alone", in: "kube:/team-a", kube: true, bad: true},
		"Capitals":    {reason: "no name of a namespace", in: "kube:Team", kube: true, bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, kube, err := parseKubeState(tc.in)
			if got != tc.want || kube != tc.kube || (err != nil) != tc.bad {
				t.Errorf("%s: got %+v, %t, %v", tc.reason, got, kube, err)
			}
		})
	}
}

func TestWaitsInCluster(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		reason string
		in     listed
		want   string
	}{
		"Running":     {"nobody need resume it", listed{Status: engine.Running, WaitsFor: "its tkgfix, or resume if that has ended"}, "its controller"},
		"Interrupted": {"another replica takes it up", listed{Status: engine.Interrupted, WaitsFor: "resume"}, "its controller"},
		"Approved":    {"the controller sees the last approval", listed{Status: engine.Waiting, WaitsFor: "resume"}, "its controller"},
		"Waiting":     {"people approve", listed{Status: engine.Waiting, WaitsFor: "approval of make"}, "approval of make"},
		"Failed":      {"people say when it is mended", listed{Status: engine.Failed, WaitsFor: "resume"}, "resume"},
		"Done":        {"it is over", listed{Status: engine.Done}, ""},
	} {
		if got := waitsInCluster(tc.in); got != tc.want {
			t.Errorf("%s: %s: %q, want %q", name, tc.reason, got, tc.want)
		}
	}
}
