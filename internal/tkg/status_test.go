package tkg_test

import (
	"testing"

	"github.com/tkgfix/tkgfix/internal/tkg"
)

func TestInitialized(t *testing.T) {
	t.Parallel()
	const (
		tkcHead     = "{apiVersion: run.tanzu.vmware.com/v1alpha3, kind: TanzuKubernetesCluster, metadata: {name: dev1, namespace: team-a}, status: {"
		clusterHead = "{apiVersion: cluster.x-k8s.io/v1beta1, kind: Cluster, metadata: {name: dev1, namespace: team-a}, status: {"
		end         = "}}"
		kubeconfig  = "{apiVersion: v1, kind: Secret, metadata: {name: dev1-kubeconfig, namespace: team-a}, data: {value: eA==}}"
	)
	cases := map[string]struct {
		reason  string
		objects []string
		forbid  []string
		want    bool
	}{
		"v1beta2":                 {reason: "its conditions", objects: []string{clusterHead + "conditions: [{type: ControlPlaneInitialized, status: 'True'}]" + end}, want: true},
		"v1beta2, never":          {reason: "said, and a kubeconfig is made before the control plane is up", objects: []string{clusterHead + "conditions: [{type: ControlPlaneInitialized, status: 'False'}]" + end, kubeconfig}},
		"v1beta2, unknown":        {reason: "not said: the Secret tells", objects: []string{clusterHead + "conditions: [{type: ControlPlaneInitialized, status: Unknown}]" + end, kubeconfig}, want: true},
		"v1beta1, new conditions": {reason: "those of v1beta2 lie deeper", objects: []string{clusterHead + "conditions: [{type: Ready, status: 'False'}], v1beta2: {conditions: [{type: ControlPlaneInitialized, status: 'True'}]}" + end}, want: true},
		"v1beta2, old conditions": {reason: "and those of v1beta1", objects: []string{clusterHead + "conditions: [], deprecated: {v1beta1: {conditions: [{type: ControlPlaneInitialized, status: 'True'}]}}" + end}, want: true},
		"boolean":                 {reason: "v1beta1 has one beside its conditions", objects: []string{clusterHead + "controlPlaneReady: true" + end}, want: true},
		"initialization":          {reason: "so has v1beta2", objects: []string{clusterHead + "initialization: {controlPlaneInitialized: true}" + end}, want: true},
		"down now":                {reason: "it has been up", objects: []string{clusterHead + "conditions: [{type: ControlPlaneInitialized, status: 'True'}, {type: ControlPlaneReady, status: 'False'}]" + end}, want: true},
		"TKC running":             {reason: "v1alpha1 has a phase alone", objects: []string{tkcHead + "phase: running" + end}, want: true},
		"TKC updating":            {reason: "a roll needs a control plane", objects: []string{tkcHead + "phase: updating" + end}, want: true},
		"TKC creating":            {reason: "not yet", objects: []string{tkcHead + "phase: creating" + end, kubeconfig}},
		"TKC conditions":          {reason: "v1alpha2", objects: []string{tkcHead + "conditions: [{type: ControlPlaneReady, status: 'True'}]" + end}, want: true},
		"TKC waits":               {reason: "by its reason", objects: []string{tkcHead + "conditions: [{type: ControlPlaneReady, status: 'False', reason: WaitingForControlPlaneInitialized}]" + end, kubeconfig}},
		"TKC failed":              {reason: "its Cluster knows more", objects: []string{tkcHead + "phase: failed" + end, clusterHead + "conditions: [{type: ControlPlaneInitialized, status: 'True'}]" + end}, want: true},
		"TKC, Cluster hidden":     {reason: "an editor of vSphere 7 may not read Clusters", objects: []string{tkcHead + "phase: failed" + end, clusterHead + end, kubeconfig}, forbid: []string{"clusters"}, want: true},
		"nothing":                 {reason: "no word and no Secret", objects: []string{clusterHead + end}},
		"Secret alone":            {reason: "no word, and a Secret", objects: []string{clusterHead + end, kubeconfig}, want: true},
		"Secret hidden":           {reason: "nothing says that it has not", objects: []string{clusterHead + end}, forbid: []string{"secrets"}, want: true},
		"hostile":                 {reason: "what is no list of conditions says nothing", objects: []string{clusterHead + "conditions: {a: b}, v1beta2: [1], phase: [x], controlPlaneReady: maybe" + end}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := client(t, tc.objects, tc.forbid)
			owner, err := tkg.FindOwner(t.Context(), c, tkg.Ref{Namespace: "team-a", Name: "dev1"})
			if err != nil {
				t.Fatal(err)
			}
			got, err := tkg.Initialized(t.Context(), c, owner)
			if err != nil || got != tc.want {
				t.Errorf("%s: got %v, %v", tc.reason, got, err)
			}
		})
	}
}
