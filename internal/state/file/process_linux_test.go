package file_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tkgfix/tkgfix/internal/state"
	"github.com/tkgfix/tkgfix/internal/state/file"
)

// childEnv names what this test binary does instead of testing, when it is started again as another process.
const childEnv = "TKGFIX_FILE_TEST_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childEnv) {
	case "append":
		os.Exit(childAppends(os.Args[1]))
	case "hold":
		os.Exit(childHolds(os.Args[1]))
	}
	os.Exit(m.Run())
}

// childAppends appends until it is killed, and says each number once it is acknowledged.
func childAppends(dir string) int {
	s := file.New(dir)
	data := append(append([]byte(`"`), bytes.Repeat([]byte("x"), 200_000)...), '"')
	for at := uint64(1); ; at++ {
		seq, err := s.Append(context.Background(), "a", at, state.Draft{Time: time.Unix(int64(at), 0), Kind: "k", Data: data})
		if err != nil {
			fmt.Println(err)
			return 1
		}
		fmt.Println(seq)
	}
}

// childHolds locks the run, says so, and when told to go on appends entry 2 and releases, saying what came of each.
func childHolds(dir string) int {
	s := file.New(dir)
	release, err := s.Lock(context.Background(), "a", state.Holder{User: "ann", Host: "jump", PID: os.Getpid()})
	fmt.Println("locked", err)
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return 1
	}
	_, err = s.Append(context.Background(), "a", 2, state.Draft{Kind: "late"})
	fmt.Println("conflict", errors.Is(err, state.ErrConflict))
	fmt.Println("lost", errors.Is(release(), state.ErrNotLocked))
	return 0
}

// child starts this binary again as a child of that name and returns what it says, line by line.
func child(t *testing.T, name, dir string) (*exec.Cmd, io.WriteCloser, *bufio.Scanner) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, dir)
	cmd.Env = append(os.Environ(), childEnv+"="+name)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, in, bufio.NewScanner(out)
}

// says reads the child's next line.
func says(t *testing.T, lines *bufio.Scanner) string {
	t.Helper()
	if !lines.Scan() {
		t.Fatalf("the child said no more: %v", lines.Err())
	}
	return lines.Text()
}

// TestKilledWriter kills a writer in the middle of its work, again and again: what it acknowledged is there, and what may be
// cut off behind it was never acknowledged.
func TestKilledWriter(t *testing.T) {
	t.Parallel()
	for round := range 8 {
		dir := t.TempDir()
		cmd, _, lines := child(t, "append", dir)
		acknowledged := uint64(0)
		for range 3 + round {
			n, err := strconv.ParseUint(says(t, lines), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			acknowledged = n
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() {
			if n, err := strconv.ParseUint(lines.Text(), 10, 64); err == nil {
				acknowledged = n
			}
		}
		_ = cmd.Wait() // it was killed: that is no success
		entries, err := file.New(dir).Read(t.Context(), "a", 1)
		if corrupt, ok := errors.AsType[*state.CorruptError](err); err != nil && (!ok || !corrupt.Torn) {
			t.Errorf("round %d: %v; want nothing worse than a torn tail", round, err)
		}
		if n := uint64(len(entries)); n < acknowledged || n > acknowledged+1 {
			t.Errorf("round %d: %d entries, %d were acknowledged", round, n, acknowledged)
		}
	}
}

// TestPausedWriter stops a writer that holds the lock, breaks its lock as the engine does, and wakes it: it cannot append, and
// its release leaves the new holder's lock alone.
func TestPausedWriter(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := file.New(dir)
	if _, err := s.Append(t.Context(), "a", 1, state.Draft{Kind: "k"}); err != nil {
		t.Fatal(err)
	}
	cmd, in, lines := child(t, "hold", dir)
	if got := says(t, lines); got != "locked <nil>" {
		t.Fatal(got)
	}
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	// Returns when the child has stopped, and leaves its end to be waited for later.
	if err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WSTOPPED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(t.Context(), "a", 2, state.Draft{Kind: "lock.broken"}); err != nil {
		t.Fatal(err)
	}
	was, err := s.Break(t.Context(), "a")
	if err != nil || was.PID != cmd.Process.Pid {
		t.Fatalf("Break: %v, %v; want the child as the holder", was, err)
	}
	release, err := s.Lock(t.Context(), "a", state.Holder{User: "bob"})
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(in, "go on")
	for _, want := range []string{"conflict true", "lost true"} {
		if got := says(t, lines); got != want {
			t.Errorf("the woken writer says %q, want %q", got, want)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if _, err := s.Lock(t.Context(), "a", state.Holder{User: "eve"}); err == nil || !strings.Contains(err.Error(), "bob") {
		t.Errorf("third lock: got %v, want one that names bob", err)
	}
	if err := release(); err != nil {
		t.Error(err)
	}
	entries, err := s.Read(t.Context(), "a", 1)
	if err != nil || len(entries) != 2 {
		t.Errorf("%d entries, %v; want 2", len(entries), err)
	}
}

// TestKilledHolder kills a process that holds the lock: the lock is free at once, and nobody is named.
func TestKilledHolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := file.New(dir)
	if _, err := s.Append(t.Context(), "a", 1, state.Draft{Kind: "k"}); err != nil {
		t.Fatal(err)
	}
	cmd, _, lines := child(t, "hold", dir)
	if got := says(t, lines); got != "locked <nil>" {
		t.Fatal(got)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed: that is no success
	if h, err := s.Break(t.Context(), "a"); !errors.Is(err, state.ErrNotLocked) || h != (state.Holder{}) {
		t.Errorf("Break: %v, %v; want ErrNotLocked", h, err)
	}
	release, err := s.Lock(t.Context(), "a", state.Holder{User: "bob"})
	if err != nil {
		t.Fatal(err)
	}
	if err := release(); err != nil {
		t.Error(err)
	}
}
