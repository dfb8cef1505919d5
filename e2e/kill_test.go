package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestKill kills tkgfix with SIGKILL at the instants that matter. Each time resume finishes, and the audit log shows
// each effect exactly once.
func TestKill(t *testing.T) {
	t.Parallel()
	const (
		tsc = "/tkgserviceconfigurations/tkg-service-configuration"
		tkc = "/namespaces/team-a/tanzukubernetesclusters"
	)
	for name, m := range map[string]moment{
		"PatchIntendedNotSent":  {"PATCH", tsc, false},
		"PatchedNotKnown":       {"PATCH", tsc, true},
		"DeletionUnderWay":      {"DELETE", tkc + "/dev1", true},
		"CreatedNotKnown":       {"POST", tkc, true},
		"CreateIntendedNotSent": {"POST", tkc, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			killedAt(t, m)
		})
	}
}

func killedAt(t *testing.T, m moment) {
	lab := up(t, "missing-ca")
	kill := make(chan *os.Process, 1)
	config := lab.interpose(t, m, func() {
		select {
		case p := <-kill:
			if err := p.Kill(); err != nil {
				t.Errorf("kill: %v", err)
			}
		case <-time.After(time.Minute):
			t.Error("the moment came while nothing was to be killed")
		}
	})
	inputs := lab.inputs("team-a/dev1", lab.ca("root"))
	waiting := lab.tkgfix(t, config, append([]string{"run", documentedFix}, inputs...)...).wantCode(t, 3)
	id := waiting.runID(t)
	lab.approveAll(t, waiting)

	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "tkgfix"), "resume", id)
	cmd.Env = append(os.Environ(), "TKGFIX_STATE="+lab.state)
	var stderr bytes.Buffer
	cmd.Stderr, cmd.WaitDelay = &stderr, time.Minute
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill <- cmd.Process
	err := cmd.Wait()
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || ws.Signal() != syscall.SIGKILL {
		t.Fatalf("tkgfix was not killed: %v\n%s", err, stderr.String())
	}
	lab.tkgfix(t, config, "resume", id).wantCode(t, 0)
	lab.wantOneOfEach(t)
	if diff := cmp.Diff(map[string]int{"Running": 6}, lab.phases(t, "dev1")); diff != "" {
		t.Errorf("pods of the workload (-want, +got):\n%s", diff)
	}
}
