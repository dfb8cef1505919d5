//go:build matrix

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tellEnv names the file that a line is written to for each cell that there is, and one for each that is through: hack/matrix.sh makes the
// table of it, and counts as failed what has no second line.
const tellEnv = "TKGFIX_E2E_MATRIX"

// fault is a column of the matrix.
type fault struct {
	name, reason string
	// ofTKC and ofClass are the scenarios that plant it for a TanzuKubernetesCluster and for a Cluster with a class.
	ofTKC, ofClass string
	cause, remedy  string
	// editor is the remedy for somebody who may edit the namespace and no more; empty if that is no cell.
	editor string
}

func faults() []fault {
	return []fault{
		{"missing", "the CA is declared nowhere", "missing-ca", "missing-ca", "missing-ca", "cluster-trust", "cluster-trust"},
		{"wrong-ca", "a root of the same name and another key", "wrong-ca", "own-wrong-ca", "wrong-ca", "cluster-trust", ""},
		{"wrong-encoding", "a layer of base64 too many, or one too few", "own-encoding", "own-encoding", "wrong-encoding", "cluster-trust", ""},
		{"stale-node", "what is declared is right, and the nodes are older", "stale-node", "stale-node", "stale-nodes", "roll-nodes", "cluster-trust"},
		{"server", "nothing that the cluster trusts mends it", "expired-leaf", "expired-leaf", "expired", "server", ""},
	}
}

// cell is one fault of one generation, for one login.
type cell struct {
	supervisor
	fault
	user string
}

func (c cell) id() string { return c.generation.name + " " + c.column() }

func (c cell) column() string {
	if c.user == "editor" {
		return "editor:" + c.fault.name
	}
	return c.fault.name
}

func (c cell) want() string {
	if c.user == "editor" {
		return c.editor
	}
	return c.remedy
}

func (c cell) scenario() string {
	if c.class == nil {
		return c.ofTKC
	}
	return c.ofClass
}

// cells are those of a generation. The namespace's editor has one of a TanzuKubernetesCluster and one of a Cluster.
func cells(g generation) []cell {
	var out []cell
	for _, f := range faults() {
		out = append(out, cell{supervisor{generation: g}, f, "platform"})
	}
	for _, f := range faults() {
		if f.editor != "" && (g.name == "v1alpha3" || g.name == "builtin-generic-v1beta2") {
			out = append(out, cell{supervisor{generation: g}, f, "editor"})
		}
	}
	return out
}

// told writes the lines that hack/matrix.sh counts.
type told struct {
	mu   sync.Mutex
	path string
}

func (w *told) line(t *testing.T, format string, args ...any) {
	t.Helper()
	if w.path == "" {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	f, err := os.OpenFile(w.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintf(f, format+"\n", args...)
	if cerr := f.Close(); err != nil || cerr != nil {
		t.Fatal(err, cerr)
	}
}

// TestMatrix plants each fault in a laboratory of each generation, holds the plan of registry-trust.yaml against what was reviewed, carries
// it out with the approvals that a person gives, and wants the pods to pull. A cluster is recreated in no cell.
func TestMatrix(t *testing.T) {
	tell := &told{path: os.Getenv(tellEnv)}
	for _, g := range generations() {
		for _, c := range cells(g) {
			tell.line(t, "cell %s", c.id())
		}
	}
	two := make(chan struct{}, 2) // laboratories at a time
	for _, g := range generations() {
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			two <- struct{}{}
			t.Cleanup(func() { <-two })
			all := cells(g)
			lab := upOf(t, g.name, all[0].scenario())
			for i, c := range all {
				c.laboratory = lab
				t.Run(strings.ReplaceAll(c.column(), ":", "/"), func(t *testing.T) {
					if i > 0 {
						lab.plant(t, c.scenario())
					}
					remedy := "none"
					// The line is written when all is over, and a cell that was left at any place has failed.
					defer func() {
						if !t.Failed() && !t.Skipped() {
							tell.line(t, "passed %s %s", c.id(), remedy)
						}
					}()
					remedy = c.carry(t)
				})
			}
		})
	}
}

// carry takes one cell through plan, gates and run, and returns the remedy that was planned.
func (c cell) carry(t *testing.T) string {
	owner := c.get(t, c.owners(), "team-a", "dev1")
	before := len(c.written(t))
	p := c.planned(t)
	told := p.step("diagnose").outputs(t)
	if diff := cmp.Diff([]string{c.cause, c.want()}, []string{told.Cause, told.Remedy}); diff != "" && c.user != "editor" || told.Remedy != c.want() {
		t.Errorf("%s: cause and remedy (-want, +got):\n%s%s", c.reason, diff, told.Summary)
	}
	golden(t, filepath.Join("testdata/matrix", c.generation.name+"-"+strings.ReplaceAll(c.column(), ":", "-")+".txt"), normal(p.text(t)))
	if n := len(c.written(t)); n != before {
		t.Errorf("the plan wrote: %v", c.written(t)[before:])
	}
	if c.want() == "server" {
		c.blockedRun(t, before)
	} else {
		c.mend(t)
	}
	if diff := cmp.Diff(map[string]int{"Running": 6}, c.phases(t, "dev1")); diff != "" {
		t.Errorf("%s: pods (-want, +got):\n%s", c.reason, diff)
	}
	if now := c.get(t, c.owners(), "team-a", "dev1"); now.GetUID() != owner.GetUID() {
		t.Errorf("%s: the cluster was recreated", c.reason)
	}
	for _, a := range c.written(t)[before:] {
		if a.ObjectRef.Resource != "machines" && a.Verb == "delete" && a.ObjectRef.Name == "dev1" || strings.HasPrefix(a.ObjectRef.Name, "dev2") {
			t.Errorf("%s: %s", c.reason, a)
		}
		if c.user == "editor" && a.ObjectRef.Resource == "tkgserviceconfigurations" {
			t.Errorf("an editor of the namespace: %s", a)
		}
	}
	return told.Remedy
}

// inputs are the flags of the workflow.
func (c cell) inputs() []string {
	return []string{"--input", "cluster=team-a/dev1", "--input", "ca=" + c.ca("root"), "--input", "sshPort=" + c.ssh}
}

func (c cell) planned(t *testing.T) matrixPlan {
	t.Helper()
	r := c.tkgfix(t, c.kubeconfig(c.user), append([]string{"plan", registryTrust, "--output", "json"}, c.inputs()...)...)
	if want := map[bool]int{true: 1}[c.want() == "server"]; r.code != want {
		t.Fatalf("plan: exit %d\n%s", r.code, r.stderr)
	}
	return decode[matrixPlan](t, []byte(r.stdout))
}

// mend runs the workflow to its end. Each gate is opened by the line that tkgfix prints for it.
func (c cell) mend(t *testing.T) {
	t.Helper()
	login := c.kubeconfig(c.user)
	r := c.tkgfix(t, login, append([]string{"run", registryTrust}, c.inputs()...)...).wantCode(t, 3)
	id := r.runID(t)
	c.approveAll(t, r)
	c.tkgfix(t, login, "resume", id).wantCode(t, 0)
	shown := c.ran(t, id)
	var pulls struct{ OK bool }
	s := shown.Plan.step("verify")
	if err := json.Unmarshal(s.Outputs, &pulls); err != nil || shown.Status != "done" || s.Status != "done" || !pulls.OK {
		t.Errorf("the run is %s, and verify %s: %s %s (%v)", shown.Status, s.Status, s.Why, s.Outputs, err)
	}
	for _, g := range shown.Plan.Gates {
		if g.Step == "recreate" {
			t.Errorf("the run came to a recreate")
		}
	}
	again := c.tkgfix(t, login, append([]string{"plan", registryTrust, "--detailed-exitcode"}, c.inputs()...)...)
	if again.code != 0 || !strings.Contains(again.stdout, "No changes.") {
		t.Errorf("a second plan has something to do: exit %d\n%s%s", again.code, again.stdout, again.stderr)
	}
}

// blockedRun wants a run to be refused before it writes anything; then the server is mended, and the pods pull.
func (c cell) blockedRun(t *testing.T, before int) {
	t.Helper()
	r := c.tkgfix(t, c.kubeconfig(c.user), append([]string{"run", registryTrust}, c.inputs()...)...).wantCode(t, 1).wantSaid(t, "hint: ")
	shown := c.ran(t, r.runID(t))
	if shown.Status != "blocked" || len(shown.Plan.Gates) != 0 {
		t.Errorf("the run is %s with the gates %v", shown.Status, shown.Plan.Gates)
	}
	if n := len(c.written(t)); n != before {
		t.Errorf("a blocked run wrote: %v", c.written(t)[before:])
	}
	c.plant(t, "healthy")
	c.eventually(t, "the pods pull", func() bool { return c.phases(t, "dev1")["Running"] == 6 })
}

// ran returns how a run stands.
func (c cell) ran(t *testing.T, id string) matrixRun {
	t.Helper()
	r := c.tkgfix(t, "/nonexistent", "runs", "show", id, "--output", "json").wantCode(t, 0)
	return decode[matrixRun](t, []byte(r.stdout))
}

// written returns what tkgfix wrote to the Supervisor and to dev1, in order.
func (c cell) written(t *testing.T) []audited {
	t.Helper()
	var out []audited
	for _, server := range []string{"supervisor", "team-a-dev1"} {
		out = append(out, c.audit(t, server, func(a audited) bool {
			return strings.HasPrefix(a.UserAgent, "tkgfix/") && a.writes() && a.ResponseStatus.Code < 300
		})...)
	}
	return out
}
