package diagnosis

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/detect"
	"github.com/tkgfix/tkgfix/plugins/diagnose"
	"github.com/tkgfix/tkgfix/plugins/encoding"
	"github.com/tkgfix/tkgfix/plugins/nodecert"
	"github.com/tkgfix/tkgfix/plugins/owner"
	"github.com/tkgfix/tkgfix/plugins/probe"
	"github.com/tkgfix/tkgfix/plugins/sdk"
	"github.com/tkgfix/tkgfix/workflow"
)

// shipped are the real steps. What needs a cluster is answered by scripted.
func shipped() map[string]plugins.Step {
	env := sdk.Env{Now: time.Now}
	out := map[string]plugins.Step{}
	for _, s := range []plugins.Step{detect.New(env), owner.New(env), nodecert.New(env), probe.New(env), encoding.New(env), diagnose.New(env)} {
		out[s.Describe().Name] = s
	}
	return out
}

type schemas map[string]plugins.Step

func (s schemas) Step(uses string) (workflow.StepInfo, bool) {
	step, ok := s[uses]
	if !ok {
		return workflow.StepInfo{}, false
	}
	d := step.Describe()
	return workflow.StepInfo{Effect: string(d.Effect), Input: d.Input, Output: d.Output, Connections: d.Connections}, true
}

func (s schemas) Names() []string { return nil }

func looks(t *testing.T) *Looks {
	t.Helper()
	l, err := New(schemas(shipped()))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// A diagnosis must be safe to make of any cluster at any time.
func TestOnlyReads(t *testing.T) {
	t.Parallel()
	l := looks(t)
	for _, s := range l.workflow.Steps {
		if d := shipped()[s.Uses].Describe(); d.Effect != plugins.Read || s.Approval != nil {
			t.Errorf("step %s uses %s, whose effect is %s", s.ID, s.Uses, d.Effect)
		}
	}
	changes := strings.Replace(string(source), "uses: check-encoding", "uses: check-encoding\n      approval: {message: x}", 1)
	steps := schemas(shipped())
	steps["check-encoding"] = changing{steps["check-encoding"]}
	if _, err := check([]byte(changes), steps); err == nil || !strings.Contains(err.Error(), "step encoding does not only read") {
		t.Errorf("a workflow that changes something: got %v", err)
	}
}

// changing is a step that is no longer one that only reads.
type changing struct{ plugins.Step }

func (c changing) Describe() plugins.Description {
	d := c.Step.Describe()
	d.Effect = plugins.Change
	return d
}

// scripted answers for a step that needs a cluster.
type scripted struct {
	plugins.Step
	answer func(ctx context.Context, input string) (plugins.PlanResponse, error)
}

func (s scripted) Plan(ctx context.Context, req plugins.PlanRequest) (plugins.PlanResponse, error) {
	return s.answer(ctx, string(req.Input))
}

func (s scripted) Apply(context.Context, plugins.ApplyRequest, plugins.Host) (plugins.ApplyResponse, error) {
	panic("a diagnosis applies nothing")
}

type answer = func(ctx context.Context, input string) (plugins.PlanResponse, error)

func tells(outputs string, evidence ...plugins.Evidence) answer {
	return func(context.Context, string) (plugins.PlanResponse, error) {
		return plugins.PlanResponse{Outputs: json.RawMessage(outputs), Summary: "seen", Evidence: evidence, Warnings: []string{"twice"}}, nil
	}
}

func fails(err error) answer {
	return func(context.Context, string) (plugins.PlanResponse, error) { return plugins.PlanResponse{}, err }
}

const (
	sickPods     = `{"affected":true,"class":"trust","registry":"r:5443","failingCount":6,"scanned":10,"failing":[{"scope":"cluster","registry":"r:5443","class":"trust"}]}`
	wellPods     = `{"affected":false,"class":"","registry":"","failingCount":0,"scanned":10,"failing":[]}`
	noHost       = `{"affected":true,"class":"trust","registry":"","failingCount":1,"scanned":1,"failing":[{"scope":"cluster","class":"trust"}]}`
	untrusted    = `{"registry":"r:5443","trusted":false,"candidateWorks":false,"verdict":"untrusted-root","missing":"CN=Root","nodes":[{"name":"w1","ok":false,"verdict":"untrusted-root","fixableByTrust":true,"error":"x509","missing":"CN=Root"}]}`
	expired      = `{"registry":"r:5443","trusted":false,"candidateWorks":false,"verdict":"expired","missing":"","nodes":[{"name":"w0","ok":true,"verdict":"trusted"},{"name":"w1","ok":false,"verdict":"expired","fixableByTrust":false,"error":"x509: expired"}]}`
	staleRuntime = `{"registry":"r:5443","trusted":false,"candidateWorks":false,"verdict":"runtime-older","missing":"","nodes":[{"name":"w1","ok":false,"verdict":"runtime-older","fixableByTrust":false,"error":"x509"}]}`
	goodNodes    = `{"nodes":[],"ok":true,"candidateOnAll":false}`
	noCA         = `{"ok":true,"entries":[],"candidate":{"given":false,"ok":false,"problem":"","subjects":[],"fingerprints":[],"configuredAs":""}}`
)

const ownedTKC = `{"cluster":"team-a/dev1","kind":"TanzuKubernetesCluster","apiVersion":"run.tanzu.vmware.com/v1alpha3","class":"","way":"tkc","retiring":false,"paused":false,"initialized":true,
	"managed":{"by":"","source":"","text":""},"roll":{"state":"settled","note":""},"may":{"clusterTrust":true,"serviceTrust":true,"deleteMachines":true,"deleteCluster":true},"declared":[]}`

func TestDiagnose(t *testing.T) {
	t.Parallel()
	refused := plugins.Hint(errors.New("2 of 2 workers could not be asked"), "try: ssh -p 22 x@y")
	forbidden := plugins.Hint(errors.New("secrets is forbidden"), "kubectl auth can-i get secrets")
	cases := map[string]struct {
		reason                     string
		registry                   string
		detect, nodes, probe, code answer
		owner                      answer
		cause, err, next, see      string
		fixable                    string
		summary                    string
		statuses                   string
	}{
		"Well": {
			reason: "nobody logs in to the nodes of a cluster that works", detect: tells(wellPods), cause: "healthy", statuses: "done done skipped done skipped done",
		},
		"Asked": {
			reason: "a registry that is asked about is dialled from the nodes of a cluster that works too", registry: "r:5443",
			detect: tells(wellPods), cause: "not-failing", fixable: "true", see: "docs/checks.md#untrusted-root", statuses: "done done done done done done",
		},
		"Sick": {
			reason: "trust can mend it, and the CA is not at hand", detect: tells(sickPods),
			cause: "missing-ca", fixable: "true", next: "tkgfix diagnose team-a/dev1 --ca FILE", see: "docs/checks.md#untrusted-root", statuses: "done done done done done done",
		},
		"Server": {
			reason: "no CA is asked for where none can help", detect: tells(sickPods), probe: tells(expired),
			cause: "expired", fixable: "false", next: "renew the registry's certificate", see: "docs/checks.md#expired", statuses: "done done done done done done",
		},
		"Unreached": {
			reason: "what the pods say is the best there is", detect: tells(sickPods), nodes: fails(refused), probe: fails(refused),
			cause: "not-probed", err: "nodes: 2 of 2 workers", next: "try: ssh", summary: "By the pods' own messages: seen", statuses: "done done failed done failed done",
		},
		"No rights": {
			reason: "nothing is said to be well that was not seen", detect: fails(forbidden), nodes: fails(forbidden),
			err: "detect: secrets is forbidden; nodes: secrets is forbidden", next: "kubectl auth can-i", summary: "could not be found out", statuses: "failed done failed done skipped skipped",
		},
		"No registry": {
			reason: "no pod names it", detect: tells(noHost), cause: "not-probed", next: "--registry HOST[:PORT]", statuses: "done done done done skipped done",
		},
		"Encoding": {
			reason: "one look that fails takes no other with it", detect: tells(sickPods), code: fails(forbidden), cause: "missing-ca", fixable: "true",
			err: "encoding: secrets is forbidden", next: "--ca FILE", see: "docs/checks.md#untrusted-root", statuses: "done done done failed done done",
		},
		"Slow": {
			reason: "what was seen in time is judged, and the rest is not waited for", detect: tells(sickPods),
			nodes: func(ctx context.Context, _ string) (plugins.PlanResponse, error) {
				<-ctx.Done()
				return plugins.PlanResponse{}, ctx.Err()
			},
			cause: "not-probed", err: "nodes: not done within 50ms", next: "tkgfix diagnose team-a/dev1 --timeout 100ms", summary: "seen", statuses: "done done failed failed failed done",
		},
		"Runtime": {
			reason: "what needs no CA from anybody is carried out with the one that is there", detect: tells(sickPods), probe: tells(staleRuntime),
			cause: "runtime-older", fixable: "false", next: "tkgfix init registry-trust.yaml, then: tkgfix plan registry-trust.yaml --input cluster=team-a/dev1 --input ca=FILE",
			see: "docs/checks.md#runtime-older", statuses: "done done done done done done",
		},
		"Owner": {
			reason: "without its owner the cluster is judged as the documented fix does", detect: tells(sickPods), owner: fails(forbidden), cause: "missing-ca", fixable: "true",
			err: "owner: secrets is forbidden", next: "--ca FILE", see: "docs/checks.md#untrusted-root", statuses: "done failed done done done done",
		},
		"Lies": {
			reason: "a step that plans a change is not one that reads", detect: func(context.Context, string) (plugins.PlanResponse, error) {
				return plugins.PlanResponse{Outputs: json.RawMessage(wellPods), Changes: []plugins.PlannedChange{{Action: plugins.Delete}}}, nil
			}, err: "says that it only reads", summary: "could not be found out", statuses: "failed done done done skipped skipped",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bad := plugins.Evidence{Subject: "pod a/b", Check: "image-pull", Verdict: plugins.Bad, Text: "x509"}
			answers := map[string]answer{"detect": tc.detect, "find-owner": tells(ownedTKC), "verify-node-cert": tells(goodNodes), "probe": tells(untrusted, bad), "check-encoding": tells(noCA)}
			for step, own := range map[string]answer{"find-owner": tc.owner, "verify-node-cert": tc.nodes, "probe": tc.probe, "check-encoding": tc.code} {
				if own != nil {
					answers[step] = own
				}
			}
			timeout := time.Minute
			if name == "Slow" {
				timeout = 50 * time.Millisecond
			}
			got, err := looks(t).Diagnose(t.Context(), Request{
				Cluster: "team-a/dev1", Registry: tc.registry, Timeout: timeout,
				Step: func(_ context.Context, uses string) (plugins.Step, error) {
					if own, ok := answers[uses]; ok {
						return scripted{Step: shipped()[uses], answer: own}, nil
					}
					return shipped()[uses], nil
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			var statuses []string
			for _, l := range got.Looks {
				statuses = append(statuses, string(l.Status))
			}
			fixable := ""
			if got.FixableByTrust != nil {
				fixable = map[bool]string{true: "true", false: "false"}[*got.FixableByTrust]
			}
			want := []string{tc.cause, tc.see, tc.fixable, tc.statuses}
			if diff := cmp.Diff(want, []string{got.Cause, got.See, fixable, strings.Join(statuses, " ")}); diff != "" {
				t.Errorf("%s: cause, section, fixable by trust, looks (-want, +got):\n%s", tc.reason, diff)
			}
			for what, pair := range map[string][2]string{"error": {tc.err, got.Error}, "next": {tc.next, got.Next}, "summary": {tc.summary, got.Summary}} {
				if !strings.Contains(pair[1], pair[0]) || pair[0] == "" && what != "summary" && pair[1] != "" {
					t.Errorf("%s: %s: want %q, got %q", tc.reason, what, pair[0], pair[1])
				}
			}
			if n := len(slices.Compact(slices.Clone(got.Warnings))); n != len(got.Warnings) {
				t.Errorf("%s: warnings are told twice: %q", tc.reason, got.Warnings)
			}
		})
	}
}

// Of a cluster that has never been up there are no pods to look at, and what its owner and its declared CAs say is enough.
func TestNeverUp(t *testing.T) {
	t.Parallel()
	gone := plugins.Hint(errors.New("the control plane of cluster team-a/dev1 has never been up"), "kubectl describe cluster dev1 -n team-a")
	never := strings.Replace(ownedTKC, `"initialized":true`, `"initialized":false`, 1)
	// In a form that keeps machines from joining.
	wedged := strings.NewReplacer(`"kind":"TanzuKubernetesCluster"`, `"kind":"Cluster"`, `"way":"tkc"`, `"way":"trust-variable"`,
		`"declared":[]`, `"declared":[{"where":"Secret team-a/s","name":"corp","path":"","ok":false,"fingerprints":[],"seen":"yes","why":""}]`).Replace(never)
	const stored = `{"ok":false,"entries":[{"where":"Secret team-a/s","name":"corp","ok":false,"problem":"encoded too seldom","found":1,"wanted":2,"subjects":[],"fingerprints":[]}],` +
		`"candidate":{"given":false,"ok":false,"problem":"","subjects":[],"fingerprints":[],"configuredAs":""}}`
	const plan = "tkgfix init recreate.yaml, then: tkgfix plan recreate.yaml --input cluster=team-a/dev1 --input registry="
	for name, tc := range map[string]struct {
		reason                string
		owner, code, registry string
		remedy, next          string
	}{
		"trust":    {"the registry's name and the CA are what is wanted", wedged, stored, "", "recreate", plan + "HOST[:PORT] --input ca=FILE"},
		"named":    {"what is known is not asked for again", wedged, stored, "r:5443", "recreate", plan + "r:5443 --input ca=FILE"},
		"anything": {"no new cluster is made where trust is not at fault", never, noCA, "", "nothing", "kubectl describe tanzukubernetescluster dev1 -n team-a"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			answers := map[string]answer{
				"detect": fails(gone), "find-owner": tells(tc.owner), "verify-node-cert": tells(goodNodes), "probe": tells(untrusted), "check-encoding": tells(tc.code),
			}
			got, err := looks(t).Diagnose(t.Context(), Request{
				Cluster: "team-a/dev1", Registry: tc.registry, Timeout: time.Minute,
				Step: func(_ context.Context, uses string) (plugins.Step, error) {
					if own, ok := answers[uses]; ok {
						return scripted{Step: shipped()[uses], answer: own}, nil
					}
					return shipped()[uses], nil
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{neverUp, tc.remedy, ""}, []string{got.Cause, got.Remedy, got.Error}); diff != "" {
				t.Errorf("%s: cause, remedy, error (-want, +got):\n%s", tc.reason, diff)
			}
			if !strings.Contains(got.Next, tc.next) {
				t.Errorf("%s: next: %s", tc.reason, got.Next)
			}
		})
	}
}

// A plugin that cannot be started spoils its own look only.
func TestNoPlugin(t *testing.T) {
	t.Parallel()
	got, err := looks(t).Diagnose(t.Context(), Request{Cluster: "team-a/dev1", Timeout: time.Minute, Step: func(_ context.Context, uses string) (plugins.Step, error) {
		switch uses {
		case "check-encoding":
			return nil, plugins.Hint(errors.New("exec format error"), "tkgfix version")
		case "detect":
			return scripted{Step: shipped()[uses], answer: tells(wellPods)}, nil
		}
		return shipped()[uses], nil
	}})
	if err != nil || got.Cause != Healthy || !strings.Contains(got.Error, "encoding: start step encoding[0]: exec format error") {
		t.Errorf("%+v, %v", got, err)
	}
}

// An interrupt is the caller's, and no finding.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped by hand")
	_, err := looks(t).Diagnose(ctx, Request{Cluster: "team-a/dev1", Timeout: time.Minute, Step: func(_ context.Context, uses string) (plugins.Step, error) {
		cancel(stopped)
		return scripted{Step: shipped()[uses], answer: fails(context.Canceled)}, nil
	}})
	if !errors.Is(err, stopped) {
		t.Errorf("got %v", err)
	}
}
