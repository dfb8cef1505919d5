package cli

import "testing"

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
