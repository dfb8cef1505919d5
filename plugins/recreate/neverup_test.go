package recreate

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/internal/kube/kubetest"
	"github.com/tkgfix/tkgfix/internal/probe"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/internal/remedy"
)

// newOne is a Cluster as it stands before its control plane has ever been up, with more of its status.
func newOne(status string) string {
	return "{apiVersion: cluster.x-k8s.io/v1beta2, kind: Cluster, metadata: {name: dev1, namespace: team-a, uid: u, creationTimestamp: 2026-11-28T10:00:00Z}, status: {" + status + "}}"
}

const (
	notInitialized = "conditions: [{type: ControlPlaneInitialized, status: 'False'}]"
	cpMachine      = `{apiVersion: cluster.x-k8s.io/v1beta2, kind: Machine, metadata: {name: cp, namespace: team-a, labels: {cluster.x-k8s.io/cluster-name: dev1, cluster.x-k8s.io/control-plane: ""}}, status: {%}}`
)

// serving is a Supervisor that has these objects, and what there is of dev1.
func serving(t *testing.T, objects ...string) (supervisor, world) {
	t.Helper()
	server := kubetest.Server{
		Objects: objects, Kinds: []string{"cluster.x-k8s.io/v1beta2/Cluster", "cluster.x-k8s.io/v1beta2/Machine", "v1/Secret", "v1/PersistentVolumeClaim"},
	}
	c, err := kube.New(server.Start(t))
	if err != nil {
		t.Fatal(err)
	}
	s := supervisor{c: c, ref: tkg.Ref{Namespace: "team-a", Name: "dev1"}, kind: tkg.ClusterKind}
	w, err := s.look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s, w
}

func TestNeverUp(t *testing.T) {
	t.Parallel()
	machine := func(status string) string { return strings.ReplaceAll(cpMachine, "%", status) }
	const kubeconfig = "{apiVersion: v1, kind: Secret, metadata: {name: dev1-kubeconfig, namespace: team-a}}"
	for name, tc := range map[string]struct {
		reason  string
		objects []string
		want    bool
	}{
		"never":      {"it says so, and no machine has joined", []string{newOne(notInitialized), machine(""), kubeconfig}, true},
		"joined":     {"a machine that joined had an API to join", []string{newOne(notInitialized), machine("nodeRef: {name: cp}")}, false},
		"gone sick":  {"what has been up may hold something, however it is now", []string{newOne("conditions: [{type: ControlPlaneInitialized, status: 'True'}, {type: Available, status: 'False'}]"), machine("")}, false},
		"no machine": {"not even that", []string{newOne(notInitialized)}, true},
		"silent":     {"nothing says anything, and there is a way in", []string{newOne(""), kubeconfig}, false},
		"no way in":  {"nothing says anything, and there is none", []string{newOne("")}, true},
		"gone":       {"of a cluster that is gone nothing is said", nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, w := serving(t, tc.objects...)
			got, err := s.neverUp(t.Context(), w)
			if err != nil || got != tc.want {
				t.Errorf("%s: %v, %v", tc.reason, got, err)
			}
		})
	}
}

// A plan is blocked unless a machine of the cluster says that the candidate is the cure.
func TestAnswered(t *testing.T) {
	t.Parallel()
	cured := probe.Report{Verdict: probe.VerdictOf("untrusted-root"), WithCandidate: &probe.Candidate{Accepted: true}}
	not := probe.Report{Verdict: probe.VerdictOf("untrusted-root"), WithCandidate: &probe.Candidate{GoError: "x509: unknown authority"}}
	sights := func(a, b probe.Report) []remedy.Sight {
		return []remedy.Sight{sightOf(tkg.Node{Name: "cp"}, a), sightOf(tkg.Node{Name: "w"}, b)}
	}
	refused := plugins.Hint(errors.New("node w: connection refused"), "try: ssh x@y")
	for name, tc := range map[string]struct {
		reason          string
		sights          []remedy.Sight
		errs            []error
		joined          error
		asked           int
		blocks, warning string
	}{
		"both":     {reason: "each would trust it", sights: sights(cured, cured), errs: []error{nil, nil}, asked: 2},
		"one":      {reason: "the control plane's machine is enough, and who did not answer is told", sights: sights(cured, probe.Report{}), errs: []error{nil, refused}, joined: refused, asked: 1, warning: "1 of 2 machines answered"},
		"none":     {reason: "nothing is proved, and the reason is told", sights: sights(probe.Report{}, probe.Report{}), errs: []error{refused, refused}, joined: refused, blocks: "none of its machines answers, so that nothing proves that a new one would pull: node w: connection refused"},
		"no cure":  {reason: "a wrong CA", sights: sights(not, not), errs: []error{nil, nil}, asked: 2, blocks: "as seen from cp, w, the candidate CA does not make the certificate of r:443 valid"},
		"one says": {reason: "one that speaks against it is enough", sights: sights(cured, not), errs: []error{nil, nil}, asked: 2, blocks: "as seen from w, the candidate"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := proof{}.answered("r:443", tc.sights, tc.errs, tc.joined)
			if len(p.sights) != tc.asked {
				t.Errorf("%s: %d sights, want %d", tc.reason, len(p.sights), tc.asked)
			}
			said, warned := reasons(t, p.blocks), strings.Join(p.warnings, "\n")
			if !strings.HasPrefix(strings.TrimPrefix(said, "the cluster never came up and "), tc.blocks) || tc.blocks == "" && said != "" {
				t.Errorf("%s: blocked by %q, want %q", tc.reason, said, tc.blocks)
			}
			if !strings.Contains(warned, tc.warning) || tc.warning == "" && warned != "" {
				t.Errorf("%s: warns %q, want %q", tc.reason, warned, tc.warning)
			}
		})
	}
}

// Where no machine can be asked at all the plan is blocked too, and says what to do.
func TestUnproved(t *testing.T) {
	t.Parallel()
	machine := strings.ReplaceAll(cpMachine, "%", "")
	for name, tc := range map[string]struct {
		reason, via string
		objects     []string
		want, hint  string
	}{
		"no machine": {"it has got none yet", "ssh", []string{newOne(notInitialized)}, "it has no machine", "kubectl describe cluster dev1 -n team-a"},
		"debug pod":  {"a pod needs the cluster's API", viaDebugPod, []string{newOne(notInitialized), machine}, "no pod can be made in it", "connections.nodes.via: ssh"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, w := serving(t, tc.objects...)
			p, err := s.proveByMachines(t.Context(), plugins.Nodes{Via: tc.via}, "r:443", probe.Request{}, w)
			if err != nil || len(p.blocks) != 1 || len(p.sights) != 0 {
				t.Fatalf("%s: %+v, %v", tc.reason, p, err)
			}
			if b := p.blocks[0]; !strings.Contains(b.Reason, tc.want) || !strings.Contains(b.Hint, tc.hint) {
				t.Errorf("%s: %+v", tc.reason, b)
			}
			if len(p.warnings) != 1 || !strings.Contains(p.warnings[0], "counted on the Supervisor alone") || !strings.Contains(p.warnings[0], "made at 2026-11-28T10:00:00Z") {
				t.Errorf("%s: warns %q", tc.reason, p.warnings)
			}
		})
	}
}

// The claims on the Supervisor under the name of a cluster that never came up are all that there is of volumes, and count as such.
func TestGatherOfAClusterThatNeverCameUp(t *testing.T) {
	t.Parallel()
	claim := func(name, labels string) string {
		return "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: " + name + ", namespace: team-a, labels: {" + labels + "}}}"
	}
	s, w := serving(t, newOne(notInitialized), claim("left-over", "dev1/TKGService: x"), claim("other", "dev2/TKGService: x"), claim("mine", "app: web"))
	inv, err := s.gather(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"team-a/left-over"}, inv.supervisorVolumes); diff != "" || !inv.empty {
		t.Errorf("empty %v, claims (-want, +got):\n%s", inv.empty, diff)
	}
	none := 0
	blocks := budget{Volumes: &none}.blocks(inv.price(), 0)
	if len(blocks) != 1 || !strings.Contains(blocks[0].Reason, "1 volumes would be lost") {
		t.Errorf("blocked by %+v", blocks)
	}
}
