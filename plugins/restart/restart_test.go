package restart

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tkgfix/tkgfix/internal/nodelook"
	"github.com/tkgfix/tkgfix/internal/probe"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/internal/remedy"
	"github.com/tkgfix/tkgfix/plugins/plugintest"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	plugintest.Conformance(t, New(sdk.Env{}), plugintest.Cases{})
}

var started = time.Date(2026, 10, 1, 10, 0, 0, 0, time.UTC)

func worker(name, verdict string) remedy.Sight {
	return remedy.Sight{
		Node: tkg.Node{Name: name, MachineUID: types.UID("u-" + name)}, Joined: true, Look: nodelook.Look{Containerd: nodelook.Containerd{Started: started}},
		Report: probe.Report{Accepted: verdict == "trusted", Verdict: probe.VerdictOf(verdict), GoError: "unknown authority"},
	}
}

func TestPlan(t *testing.T) {
	t.Parallel()
	silent := worker("c", "trusted")
	silent.Err = errors.New("no route")
	unknown := worker("d", "runtime-older")
	unknown.Look.Containerd.Started = time.Time{}
	type answer struct {
		Restarted []string
		Changes   int
		Blocks    int
		Warnings  int
		Summary   string
	}
	for name, tc := range map[string]struct {
		reason string
		via    string
		sights []remedy.Sight
		want   answer
	}{
		"older":    {"the one that has not read its trust", viaSSH, []remedy.Sight{worker("a", "runtime-older"), worker("b", "trusted")}, answer{[]string{"a"}, 1, 0, 2, "restart containerd on 1 of the 2 workers of team-a/dev1"}},
		"trust":    {"nothing to restart", viaSSH, []remedy.Sight{worker("a", "trusted"), worker("b", "trusted")}, answer{[]string{}, 0, 0, 0, "each of the 2 workers of team-a/dev1 that were asked trusts reg.lab: nothing to restart"}},
		"no CA":    {"a restart would not help", viaSSH, []remedy.Sight{worker("a", "untrusted-root")}, answer{[]string{}, 0, 0, 0, "no containerd of team-a/dev1 is older than a trust that would be right: a restart would not help"}},
		"silent":   {"one that cannot be asked is told", viaSSH, []remedy.Sight{worker("a", "runtime-older"), silent}, answer{[]string{"a"}, 1, 0, 3, "restart containerd on 1 of the 2 workers of team-a/dev1"}},
		"unknown":  {"a restart could not be told from none", viaSSH, []remedy.Sight{unknown}, answer{[]string{"d"}, 1, 1, 2, "restart containerd on 1 of the 1 workers of team-a/dev1"}},
		"in a pod": {"the pod's session would end with containerd", "debug-pod", []remedy.Sight{worker("a", "runtime-older")}, answer{[]string{"a"}, 1, 1, 2, "restart containerd on 1 of the 1 workers of team-a/dev1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := request{remedy.Request{Registry: "reg.lab", Ref: tkg.Ref{Namespace: "team-a", Name: "dev1"}}}
			resp, err := r.plan(plugins.Nodes{Via: tc.via}, tc.sights)
			if err != nil {
				t.Fatal(err)
			}
			var out output
			if err := json.Unmarshal(resp.Outputs, &out); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, answer{out.Restarted, len(resp.Changes), len(resp.Blocks), len(resp.Warnings), resp.Summary}); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", tc.reason, diff)
			}
			if name == "unknown" || len(resp.Changes) == 0 {
				return
			}
			got, err := read(resp.Changes)
			if err != nil || len(got) != len(resp.Changes) || !got[0].started.Equal(started) {
				t.Errorf("%s: what is planned is not what is read: %+v, %v", tc.reason, got, err)
			}
		})
	}
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	r := request{remedy.Request{Registry: "reg.lab", Ref: tkg.Ref{Namespace: "team-a", Name: "dev1"}}}
	for name, change := range map[string]func(*plugins.PlannedChange){
		"delete":          func(c *plugins.PlannedChange) { c.Action = plugins.Delete },
		"another kind":    func(c *plugins.PlannedChange) { c.Target.Kind = "kubelet" },
		"no UID":          func(c *plugins.PlannedChange) { c.Target.UID = "" },
		"another cluster": func(c *plugins.PlannedChange) { c.Target.Cluster = "team-a/dev2" },
		"no precondition": func(c *plugins.PlannedChange) { c.Preconditions = nil },
		"no time":         func(c *plugins.PlannedChange) { c.Preconditions[0].Value = "yesterday" },
	} {
		good, bad := r.change(worker("a", "runtime-older")), r.change(worker("b", "runtime-older"))
		change(&bad)
		if got, err := read([]plugins.PlannedChange{good, bad}); err == nil {
			t.Errorf("%s is taken: %+v", name, got)
		}
	}
	if _, err := read(nil); err == nil {
		t.Error("nothing is taken")
	}
}

func TestSeen(t *testing.T) {
	t.Parallel()
	r := restart{started: started, change: plugins.PlannedChange{Target: plugins.Target{Name: "a"}}}
	for at, want := range map[time.Time]sdk.State{
		started: sdk.No, started.Add(time.Second): sdk.Yes, {}: sdk.Underway, started.Add(-time.Second): sdk.Unknowable,
	} {
		if got := r.seen(at); got.State != want || got.Note == "" {
			t.Errorf("started on %s: want %s and a note, got %+v", at, want, got)
		}
	}
}

func TestProved(t *testing.T) {
	t.Parallel()
	silent := worker("a", "trusted")
	silent.Err = errors.New("no route")
	for name, tc := range map[string]struct {
		sight remedy.Sight
		want  string
	}{
		"right": {worker("a", "trusted"), ""}, "silent": {silent, "no route"},
		"still older": {worker("a", "runtime-older"), "containerd on a is restarted, and the node does not trust reg.lab"},
		"no CA":       {worker("a", "untrusted-root"), "containerd on a is restarted, and the node does not trust reg.lab"},
	} {
		err := proved(tc.sight, "reg.lab")
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: want %q, got %v", name, tc.want, err)
		}
	}
}
