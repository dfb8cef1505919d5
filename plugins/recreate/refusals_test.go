package recreate

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
)

// reasons returns what blocks say, and fails the test for one that says no next thing to do.
func reasons(t *testing.T, blocks []plugins.Block) string {
	t.Helper()
	var out []string
	for _, b := range blocks {
		if b.Hint == "" {
			t.Errorf("no next command: %s", b.Reason)
		}
		out = append(out, b.Reason)
	}
	return strings.Join(out, "\n")
}

func TestReuseBlocks(t *testing.T) {
	t.Parallel()
	ref := tkg.Ref{Namespace: "team-a", Name: "dev1"}
	cluster := func(host string) string {
		return `{apiVersion: cluster.x-k8s.io/v1beta2, kind: Cluster, metadata: {name: dev1, namespace: team-a, uid: c1}, spec: {controlPlaneEndpoint: {host: "` + host + `"}}}`
	}
	service := func(metadata, selector string) string {
		return `{apiVersion: vmoperator.vmware.com/v1alpha3, kind: VirtualMachineService, metadata: {name: dev1, namespace: team-a, uid: s1, ` + metadata + `}, ` +
			`spec: {selector: {` + selector + `}}, status: {loadBalancer: {ingress: [{ip: 10.0.0.10}]}}}`
	}
	const own = `capv.vmware.com/cluster.name: dev1`
	for name, tc := range map[string]struct {
		reason, cluster, service, newest string
		allowed                          bool
		want                             []string
	}{
		"free":       {reason: "its own service, its own address", cluster: cluster("10.0.0.10"), service: service("", own), newest: "builtin-generic-v3.6.0"},
		"no service": {reason: "a Supervisor without the kind", cluster: cluster("10.0.0.10")},
		"reused": {
			reason: "the fault of name reuse has happened already", cluster: cluster("10.0.0.14"), service: service("", own), allowed: true,
			want: []string{"was used before: the cluster's endpoint is 10.0.0.14, but its VirtualMachineService has 10.0.0.10"},
		},
		"another's by label": {
			reason: "a service of another cluster stays when this one goes", cluster: cluster("10.0.0.10"), service: service("labels: {cluster.x-k8s.io/cluster-name: dev2}", ""),
			want: []string{"is not this cluster's (cluster.x-k8s.io/cluster-name: dev2)"},
		},
		"another's by owner": {
			reason: "an owner that is not this cluster", cluster: cluster("10.0.0.10"), service: service("ownerReferences: [{apiVersion: x/v1, kind: VirtualMachine, name: db, uid: v}]", ""),
			want: []string{"is not this cluster's (owned by VirtualMachine db)"},
		},
		"somebody's": {reason: "one that a person made", cluster: cluster("10.0.0.10"), service: service("", "app: web"), want: []string{"nothing on it names a cluster"}},
		"ours by owner": {
			reason: "the Cluster owns it", cluster: cluster("10.0.0.10"), service: service("ownerReferences: [{apiVersion: cluster.x-k8s.io/v1beta2, kind: Cluster, name: dev1, uid: c1}]", ""),
		},
		"VKS 3.7":         {reason: "there the trap is", cluster: cluster("10.0.0.10"), service: service("", own), newest: "builtin-generic-v3.7.0", want: []string{"with VKS 3.7 (the class builtin-generic-v3.7.0 is there)"}},
		"VKS 3.7 allowed": {reason: "a person takes the risk", cluster: cluster("10.0.0.10"), service: service("", own), newest: "builtin-generic-v3.7.0", allowed: true},
		"VKS 4":           {reason: "nobody has said that it is mended", cluster: cluster("10.0.0.10"), service: service("", own), newest: "builtin-generic-v4.0.0", want: []string{"with VKS 3.7"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := world{owner: object(t, tc.cluster), cluster: object(t, tc.cluster), service: object(t, tc.service)}
			blocks := reuseBlocks(w, ref, tc.newest, tc.allowed)
			if len(blocks) != len(tc.want) {
				t.Fatalf("%s: %d blocks, want %d: %+v", tc.reason, len(blocks), len(tc.want), blocks)
			}
			said := reasons(t, blocks)
			for _, want := range tc.want {
				if !strings.Contains(said, want) {
					t.Errorf("%s: %q lacks %q", tc.reason, said, want)
				}
			}
		})
	}
}

func TestNewer(t *testing.T) {
	t.Parallel()
	for _, tc := range [][3]string{
		{"", "builtin-generic-v3.3.0", "builtin-generic-v3.3.0"}, {"builtin-generic-v3.10.0", "builtin-generic-v3.7.0", "builtin-generic-v3.10.0"},
		{"builtin-generic-v3.6.0", "builtin-generic-v4.0.0", "builtin-generic-v4.0.0"}, {"builtin-generic-v3.6.0", "tanzukubernetescluster", "builtin-generic-v3.6.0"},
		{"builtin-generic-v3.6.0", "builtin-generic-vX.Y", "builtin-generic-v3.6.0"},
	} {
		if got := newer(tc[0], tc[1]); got != tc[2] {
			t.Errorf("of %q and %q: %q, want %q", tc[0], tc[1], got, tc[2])
		}
	}
}

func TestReleaseBlocks(t *testing.T) {
	t.Parallel()
	const tkc = `{apiVersion: run.tanzu.vmware.com/v1alpha3, kind: TanzuKubernetesCluster, metadata: {name: dev1}, spec: {topology: {controlPlane: {tkr: {reference: {name: v1.26.5---vmware.2-fips.1-tkg.1}}}}}}`
	have := func(names ...string) releases { return releases{served: true, names: names} }
	for name, tc := range map[string]struct {
		reason string
		have   releases
		want   string
	}{
		"there":      {"it is in the library", have("v1.25.1---vmware.1", "v1.26.5---vmware.2-fips.1-tkg.1"), ""},
		"gone":       {"the new cluster could not be made", have("v1.25.1---vmware.1"), "the Kubernetes release v1.26.5---vmware.2-fips.1-tkg.1 is gone, which spec.topology.controlPlane.tkr.reference.name asks for"},
		"none":       {"an empty library has it neither", have(), "is gone"},
		"not served": {"a Supervisor without the kind says nothing", releases{}, ""},
	} {
		said := reasons(t, releaseBlocks(object(t, tkc), tc.have))
		if tc.want == "" && said != "" || !strings.Contains(said, tc.want) {
			t.Errorf("%s: %s: %q, want %q", name, tc.reason, said, tc.want)
		}
	}
}

// What this login may not do, and what the server refuses, are blocks with a next command each.
func TestActBlock(t *testing.T) {
	t.Parallel()
	gr := schema.GroupResource{Group: "cluster.x-k8s.io", Resource: "clusters"}
	may := plugins.Hint(apierrors.NewForbidden(gr, "dev1", errors.New(`User "viewer" cannot delete resource "clusters"`)), "kubectl auth can-i delete clusters.cluster.x-k8s.io -n team-a")
	webhook := &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: http.StatusUnprocessableEntity, Message: "variable is not defined"}}
	for name, tc := range map[string]struct {
		reason string
		act    act
		want   plugins.Block
	}{
		"may not": {
			"the command that shows it", act{what: "delete Cluster team-a/dev1", err: may},
			plugins.Block{
				Reason: `this login may not delete Cluster team-a/dev1, or a webhook forbids it: clusters.cluster.x-k8s.io "dev1" is forbidden: User "viewer" cannot delete resource "clusters"`,
				Hint:   "kubectl auth can-i delete clusters.cluster.x-k8s.io -n team-a",
			},
		},
		"refused": {
			"the user's own manifest is the way out", act{what: "create the new cluster", err: webhook},
			plugins.Block{
				Reason: "the API server refuses to create the new cluster: variable is not defined",
				Hint:   "give manifest: the file from which the cluster was made, corrected until the server takes it with --dry-run=server",
			},
		},
	} {
		if diff := cmp.Diff(tc.want, tc.act.block()); diff != "" {
			t.Errorf("%s: %s (-want, +got):\n%s", name, tc.reason, diff)
		}
	}
}

// A stuck deletion is told with the cause that is known of what is seen, not with the whole list.
func TestStuckHint(t *testing.T) {
	t.Parallel()
	ref := tkg.Ref{Namespace: "team-a", Name: "dev1"}
	going := func(finalizers, reason, message string) string {
		return `{apiVersion: cluster.x-k8s.io/v1beta2, kind: Cluster, metadata: {name: dev1, namespace: team-a, deletionTimestamp: "2026-10-01T10:00:00Z", finalizers: [` + finalizers +
			`]}, status: {v1beta2: {conditions: [{type: Deleting, status: "True", reason: ` + reason + `, message: "` + message + `"}]}}}`
	}
	for name, tc := range map[string]struct {
		reason, cluster, service string
		want                     string
	}{
		"addon":          {"an add-on's finalizer is left, and nothing else is waited for", going("tkg.tanzu.vmware.com/addon", "Other", ""), "", "the add-ons controller has left its finalizer"},
		"release":        {"the webhook's own words", going("cluster.cluster.x-k8s.io", "WaitingForWorkersDeletion", "admission webhook denied: could not resolve TKR/OSImage"), "", "no longer in the content library"},
		"etcd":           {"the control plane's own words", going("cluster.cluster.x-k8s.io", "WaitingForControlPlaneDeletion", "cluster has fewer than 2 control plane nodes; removing an etcd member is not supported"), "", "KB 427318"},
		"hook":           {"a hook holds it", going("", "WaitingForBeforeDeleteHook", ""), "", "a hook of the platform"},
		"workers":        {"a machine does not go", going("", "WaitingForWorkersDeletion", ""), "", "kubectl describe machines -n team-a -l cluster.x-k8s.io/cluster-name=dev1"},
		"control plane":  {"nor the control plane's", going("", "WaitingForControlPlaneDeletion", ""), "", "the control plane does not go"},
		"infrastructure": {"nor what is below", going("", "WaitingForInfrastructureDeletion", ""), "", "the load balancer or the infrastructure object"},
		"service":        {"all is gone but the address", "", vmService, "the VirtualMachineService survived its cluster"},
		"nothing known":  {"then no cause is guessed", going("", "Other", ""), "", "look at it with: kubectl get cluster,machine,virtualmachineservice -n team-a"},
	} {
		got := stuckHint(world{owner: object(t, tc.cluster), cluster: object(t, tc.cluster), service: object(t, tc.service)}, ref)
		if !strings.Contains(got, tc.want) || !strings.Contains(got, "Do not remove finalizers by hand") {
			t.Errorf("%s: %s: %q", name, tc.reason, got)
		}
		told := 0
		for _, c := range causes {
			if head, _, _ := strings.Cut(c.text, "CLUSTER"); strings.Contains(got, strings.SplitN(head, "NAMESPACE", 2)[0]) {
				told++
			}
		}
		if told > 1 {
			t.Errorf("%s: %d causes are told: %q", name, told, got)
		}
	}
}
