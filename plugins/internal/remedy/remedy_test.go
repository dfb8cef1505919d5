package remedy

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/tkgfix/tkgfix/internal/probe"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/plugintest"
)

// trusts, cured, lost and older are workers that accept the registry, that would with the candidate, that would not, and whose containerd
// is older than a trust that is right; silent cannot be asked.
func trusts(name string) Sight {
	return Sight{Node: tkg.Node{Name: name}, Joined: true, Report: probe.Report{Accepted: true, Verdict: probe.VerdictOf("trusted")}}
}

func cured(name string) Sight {
	return Sight{Node: tkg.Node{Name: name}, Joined: true, Report: probe.Report{
		Verdict: probe.VerdictOf("untrusted-root"), GoError: "unknown authority", WithCandidate: &probe.Candidate{Accepted: true},
	}}
}

func lost(name string) Sight {
	return Sight{Node: tkg.Node{Name: name}, Joined: true, Report: probe.Report{
		Verdict: probe.VerdictOf("untrusted-root"), GoError: "unknown authority", WithCandidate: &probe.Candidate{GoError: "still unknown"}, Missing: &probe.Missing{Name: "Corp Root"},
	}}
}

func older(name string) Sight {
	return Sight{Node: tkg.Node{Name: name}, Joined: true, Report: probe.Report{Verdict: probe.VerdictOf("runtime-older"), GoError: "unknown authority"}}
}

func silent(name string) Sight {
	return Sight{Node: tkg.Node{Name: name}, Joined: true, Err: errors.New("no route to " + name)}
}

func apart(s Sight) Sight { s.Joined = false; return s }

func TestProof(t *testing.T) {
	t.Parallel()
	type answer struct {
		AllTrust, AllOlder bool
		Blocks             []string
		Unasked            int
	}
	for name, tc := range map[string]struct {
		reason string
		sights []Sight
		want   answer
	}{
		"all trust":      {"nothing to mend", []Sight{trusts("a"), trusts("b")}, answer{AllTrust: true}},
		"cure":           {"the candidate is the cure on each", []Sight{cured("a"), cured("b")}, answer{}},
		"half way":       {"a new one trusts already", []Sight{trusts("a"), cured("b")}, answer{}},
		"wrong CA":       {"one word for all that say the same", []Sight{lost("a"), lost("b"), cured("c")}, answer{Blocks: []string{"as seen from a, b, the candidate CA does not make the certificate of reg.lab valid: still unknown"}}},
		"one is silent":  {"the others prove", []Sight{silent("a"), cured("b")}, answer{Unasked: 1}},
		"all are silent": {"nobody proves", []Sight{silent("a")}, answer{Unasked: 1, Blocks: []string{"no node of the cluster can be asked, so that nothing proves that the candidate CA is the cure: no route to a"}}},
		"never joined":   {"its trust may be what keeps it: it does not speak against the candidate", []Sight{cured("a"), apart(lost("b"))}, answer{}},
		"not joined and silent": {
			"a wedge has no address as a rule", []Sight{trusts("a"), apart(silent("b"))}, answer{AllTrust: true, Unasked: 1},
		},
		"none joined": {"nobody proves", []Sight{apart(cured("a"))}, answer{Blocks: []string{"no node of the cluster can be asked, so that nothing proves that the candidate CA is the cure"}}},
		"older":       {"a restart is enough", []Sight{older("a"), trusts("b")}, answer{AllOlder: true}},
		"some older":  {"a restart is not enough", []Sight{older("a"), cured("b")}, answer{}},
		"none":        {"no worker", nil, answer{Blocks: []string{"no node of the cluster can be asked, so that nothing proves that the candidate CA is the cure"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := answer{AllTrust: AllTrust(tc.sights), AllOlder: AllOlder(tc.sights), Unasked: len(Unasked(tc.sights))}
			for _, b := range ProofBlocks("reg.lab", tc.sights) {
				got.Blocks = append(got.Blocks, b.Reason)
				if b.Hint == "" {
					t.Errorf("%s: no hint for %q", tc.reason, b.Reason)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", tc.reason, diff)
			}
			for _, e := range ProofEvidence("reg.lab", tc.sights) {
				if e.Subject == "" || e.Check == "" || e.Verdict == "" || e.Text == "" {
					t.Errorf("%s: incomplete evidence %+v", tc.reason, e)
				}
			}
		})
	}
}

func TestPoll(t *testing.T) {
	t.Parallel()
	errBoom := errors.New("boom")
	type answer struct {
		done bool
		note string
		err  error
	}
	for name, tc := range map[string]struct {
		reason   string
		answers  []answer // the last one is given for ever
		progress []string
		err      string
	}{
		"done":     {"each note is shown", []answer{{note: "a"}, {note: "b"}, {done: true}}, []string{"a", "b"}, ""},
		"may pass": {"an error that may pass is a note like any other", []answer{{err: plugins.WithKind(plugins.KindTransient, errBoom)}, {done: true}}, []string{"boom"}, ""},
		"final":    {"any other error ends the waiting", []answer{{err: errBoom}}, nil, "wait: boom"},
		"deadline": {"the deadline ends it with what was waited for, and the hint", []answer{{note: "a"}, {note: "b"}}, []string{"a", "b"}, "wait (b): context deadline exceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				host, i := &plugintest.Host{}, -1
				err := Poll(ctx, host, "wait", "look there", func(context.Context) (bool, string, error) {
					i = min(i+1, len(tc.answers)-1)
					return tc.answers[i].done, tc.answers[i].note, tc.answers[i].err
				})
				text, progress := "", []string(nil)
				if err != nil {
					text = err.Error()
				}
				for _, c := range host.Calls(plugintest.MethodProgress) {
					progress = append(progress, c.Text)
				}
				if diff := cmp.Diff([]any{tc.err, tc.progress}, []any{text, slices.Compact(progress)}); diff != "" {
					t.Errorf("%s (-want, +got):\n%s", tc.reason, diff)
				}
				if strings.Contains(tc.err, "deadline") && plugins.HintOf(err) != "look there" {
					t.Errorf("%s: hint %q", tc.reason, plugins.HintOf(err))
				}
			})
		})
	}
}

func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	obj := &unstructured.Unstructured{}
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err == nil {
		err = obj.UnmarshalJSON(raw)
	}
	if err != nil {
		t.Fatal(err)
	}
	return obj
}

func TestBudgets(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"{disruptionsAllowed: 0, expectedPods: 2}": true, "{disruptionsAllowed: 1, expectedPods: 2}": false,
		"{disruptionsAllowed: 0, expectedPods: 0}": false, "{}": false, "{disruptionsAllowed: x}": false,
	} {
		if got := noneAllowed(object(t, "kind: PodDisruptionBudget\nstatus: "+text)); got != want {
			t.Errorf("%s: want %v, got %v", text, want, got)
		}
	}
}

func TestOwnerBlocks(t *testing.T) {
	t.Parallel()
	const tkc, cluster = "kind: TanzuKubernetesCluster\nmetadata: {name: dev1, namespace: team-a", "kind: Cluster\nmetadata: {name: dev1, namespace: team-a"
	for name, tc := range map[string]struct {
		reason, owner, cluster string
		retiring               bool
		want                   []string
	}{
		"free":          {"nobody else has a hand in it", tkc + "}", cluster + "}", false, nil},
		"paused":        {"controllers do not act on it", tkc + "}", cluster + "}\nspec: {paused: true}", false, []string{"Cluster team-a/dev1 is paused: its controllers would not act"}},
		"by a mark":     {"the annotation counts as well", tkc + ", annotations: {cluster.x-k8s.io/paused: ''}}", cluster + "}", false, []string{"TanzuKubernetesCluster team-a/dev1 is paused: its controllers would not act"}},
		"retiring":      {"the TanzuKubernetesCluster is about to go", tkc + "}", cluster + "}", true, []string{"TanzuKubernetesCluster team-a/dev1 is being retired: its Cluster is about to be the owner"}},
		"GitOps":        {"a change here would be put back", tkc + "}", cluster + ", labels: {kustomize.toolkit.fluxcd.io/name: clusters, kustomize.toolkit.fluxcd.io/namespace: flux-system}}", false, []string{"what is changed here would be put back: "}},
		"TMC":           {"and so it would", tkc + ", annotations: {run.tanzu.vmware.com/vmware-system-tmc-managed: 'true'}}", cluster + "}", false, []string{"what is changed here would be put back: "}},
		"several":       {"all are said", tkc + ", labels: {meta.helm.sh/release-name: x}}\nspec: {paused: true}", cluster + "}", true, []string{"TanzuKubernetesCluster team-a/dev1 is paused", "TanzuKubernetesCluster team-a/dev1 is being retired", "what is changed here would be put back: "}},
		"no Cluster":    {"the oldest releases", tkc + "}", "", false, nil},
		"being deleted": {"is told by Going", tkc + ", deletionTimestamp: '2026-10-01T00:00:00Z'}", "", false, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			owner := tkg.Owner{Kind: tkg.TKCKind, Object: object(t, tc.owner), Retiring: tc.retiring}
			var c *unstructured.Unstructured
			if tc.cluster != "" {
				c = object(t, tc.cluster)
			}
			blocks := OwnerBlocks(owner, c)
			if len(blocks) != len(tc.want) {
				t.Fatalf("%s: want %q, got %+v", tc.reason, tc.want, blocks)
			}
			for i, b := range blocks {
				if !strings.HasPrefix(b.Reason, tc.want[i]) || b.Hint == "" {
					t.Errorf("%s: want %q and a hint, got %+v", tc.reason, tc.want[i], b)
				}
			}
			if err := Going(owner, c); (err != nil) != (name == "being deleted") {
				t.Errorf("%s: %v", tc.reason, err)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	gr := schema.GroupResource{Resource: "secrets"}
	for name, tc := range map[string]struct {
		err  error
		want bool
	}{
		"forbidden": {apierrors.NewForbidden(gr, "s", errors.New("no")), true}, "webhook": {apierrors.NewBadRequest("no"), true},
		"logged out": {apierrors.NewUnauthorized("who"), false}, "busy": {apierrors.NewTooManyRequests("later", 1), false},
		"broken": {apierrors.NewInternalError(errors.New("x")), false}, "network": {errors.New("connection refused"), false},
	} {
		if got := Refused(tc.err); got != tc.want {
			t.Errorf("%s: want %v", name, tc.want)
		}
	}
}
