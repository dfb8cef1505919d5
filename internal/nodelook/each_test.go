package nodelook

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/internal/kube/kubetest"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
)

// Who needs an answer of every worker is not held up by one that never joined; who looks at machines gets them all.
func TestFindWorkers(t *testing.T) {
	t.Parallel()
	machine := func(name, labels, status string) string {
		return "{apiVersion: cluster.x-k8s.io/v1beta1, kind: Machine, metadata: {name: " + name + ", namespace: team-a, labels: {cluster.x-k8s.io/cluster-name: dev1" + labels + "}}, status: {" + status + "}}"
	}
	const plane, up = `, cluster.x-k8s.io/control-plane: ""`, "nodeRef: {name: %}"
	joined := func(name, labels string) string { return machine(name, labels, strings.ReplaceAll(up, "%", name)) }
	cases := map[string]struct {
		reason               string
		machines             []string
		nodes, unjoined, all []string
		err                  string
	}{
		"settled":   {reason: "workers alone", machines: []string{joined("cp", plane), joined("a", "")}, nodes: []string{"a"}, all: []string{"a"}},
		"wedged":    {reason: "the new ones are apart", machines: []string{joined("a", ""), machine("b", "", ""), machine("cp2", plane, "")}, nodes: []string{"a"}, unjoined: []string{"b"}, all: []string{"a", "b", "cp2"}},
		"new":       {reason: "none has joined yet: they are all that there is", machines: []string{machine("a", "", "")}, nodes: []string{"a"}, all: []string{"a"}},
		"never up":  {reason: "workers are made once the control plane is up", machines: []string{machine("cp", plane, "")}, all: []string{"cp"}, err: "has no workers"},
		"no worker": {reason: "a control plane alone", machines: []string{joined("cp", plane)}, err: "has no workers"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := kubetest.Server{Objects: append(tc.machines, "{apiVersion: v1, kind: Secret, metadata: {name: dev1-ssh-password, namespace: team-a}, data: {ssh-passwordkey: eA==}}")}
			c, err := kube.New(server.Start(t))
			if err != nil {
				t.Fatal(err)
			}
			names := func(nodes []tkg.Node) (out []string) {
				for _, n := range nodes {
					out = append(out, n.Name)
				}
				return out
			}
			ref := tkg.Ref{Namespace: "team-a", Name: "dev1"}
			workers, err := FindWorkers(t.Context(), c, plugins.Nodes{}, ref)
			if (err != nil) != (tc.err != "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%s: error %v, want %q", tc.reason, err, tc.err)
			}
			all, err := FindAll(t.Context(), c, plugins.Nodes{}, ref)
			if (err != nil) != (tc.all == nil) {
				t.Errorf("%s: error of all: %v", tc.reason, err)
			}
			if diff := cmp.Diff([][]string{tc.nodes, tc.unjoined, tc.all}, [][]string{names(workers.Nodes), names(workers.Unjoined), names(all.Nodes)}); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
