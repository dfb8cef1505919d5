package e2e

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// TestTwoEngines has a second tkgfix go on with a run that one holds: it is refused, with who does. Then the first is stopped with
// SIGSTOP in the middle of an act and its lock broken. When it wakes it can neither append nor act, and the run goes on elsewhere.
func TestTwoEngines(t *testing.T) {
	lab := up(t, "missing-ca")
	first := make(chan *os.Process, 1)
	stopped := make(chan error, 1)
	m := moment{"PATCH", "/tkgserviceconfigurations/tkg-service-configuration", false}
	config := lab.interpose(t, m, func() {
		select {
		case p := <-first:
			stopped <- stop(p)
		case <-time.After(time.Minute):
			stopped <- errors.New("the moment came while nothing was to be stopped")
		}
	})
	waiting := lab.tkgfix(t, config, append([]string{"run", documentedFix}, lab.inputs("team-a/dev1", lab.ca("root"))...)...).wantCode(t, 3)
	id := waiting.runID(t)
	lab.approveAll(t, waiting)

	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "tkgfix"), "resume", id)
	cmd.Env = append(os.Environ(), "TKGFIX_STATE="+lab.state)
	var said bytes.Buffer
	cmd.Stderr, cmd.WaitDelay = &said, time.Minute
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	first <- cmd.Process
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	holder := "(pid " + strconv.Itoa(cmd.Process.Pid) + ")"
	lab.tkgfix(t, config, "resume", id).wantCode(t, 5).wantSaid(t, "is locked by ", holder, "hint: ")
	lab.tkgfix(t, config, "state", "unlock", id, "--force", "--reason", "it hangs").wantCode(t, 0).wantSaid(t, holder)

	before := lab.journal(t, id)
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	err := cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 1 {
		t.Errorf("the one that lost its lock: exit %d (%v), want 1\n%s", code, err, said.String())
	}
	if !strings.Contains(said.String(), "the journal has moved on") {
		t.Errorf("the one that lost its lock does not say so:\n%s", said.String())
	}
	if diff := cmp.Diff(before, lab.journal(t, id)); diff != "" {
		t.Errorf("the one that lost its lock appended (-before, +after):\n%s", diff)
	}
	if got := lab.writes(t, "tkgserviceconfigurations", "tkg-service-configuration"); len(got) > 0 {
		t.Errorf("the one that lost its lock acted: %v", got)
	}

	lab.tkgfix(t, config, "resume", id).wantCode(t, 0)
	lab.wantOneOfEach(t)
}

// stop stops a process, and returns when it stands still.
func stop(p *os.Process) error {
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for {
		err := unix.Waitid(unix.P_PID, p.Pid, nil, unix.WSTOPPED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// journal returns the bytes of a run's journal.
func (l *laboratory) journal(t *testing.T, id string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(l.state, "runs", id, "journal.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
