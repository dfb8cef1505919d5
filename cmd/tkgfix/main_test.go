package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tkgfix/tkgfix/internal/cli"
	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/state"
	"github.com/tkgfix/tkgfix/internal/state/file"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"tkgfix": main})
}

// TestExamples validates every workflow that is shipped as an example with the steps of this binary.
func TestExamples(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../examples/workflows/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for _, f := range files {
		var said bytes.Buffer
		code := cli.Main(t.Context(), cli.IO{In: strings.NewReader(""), Out: &said, Err: &said}, []string{"tkgfix", "validate", f})
		if code != cli.ExitDone {
			t.Errorf("%s: exit %d\n%s", f, code, said.String())
		}
	}
}

// TestScripts runs the command lines in testdata/script as a user would type them. What needs clusters is in e2e.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("TKGFIX_STATE", env.WorkDir+"/state")
			env.Setenv("HOME", env.WorkDir)
			env.Values[stopped{}] = &held{}
			env.Values[clusters{}] = &server{}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"setrun": setRun, "setgate": setGate, "holdlock": holdLock, "blackhole": blackhole, "makerun": makeRun, "stoplock": stopLock, "lostlock": lostLock,
			"apiserver": apiserver, "cluster": cluster, "annotated": annotated, "collector": collector,
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

// setRun sets $RUN to the id of the last run.
func setRun(ts *testscript.TestScript, _ bool, _ []string) {
	runs, err := file.New(ts.Getenv("TKGFIX_STATE")).List(context.Background())
	ts.Check(err)
	if len(runs) == 0 {
		ts.Fatalf("there is no run")
	}
	ts.Setenv("RUN", runs[len(runs)-1])
}

// setGate sets $GATE and $DIGEST to the first gate of $RUN that waits.
func setGate(ts *testscript.TestScript, _ bool, _ []string) {
	id := ts.Getenv("RUN")
	entries, err := file.New(ts.Getenv("TKGFIX_STATE")).Read(context.Background(), id, 1)
	ts.Check(err)
	run, err := engine.Replay(id, entries)
	ts.Check(err)
	gates := run.PendingGates(time.Now())
	if len(gates) == 0 {
		ts.Fatalf("no gate of run %s waits; it is %s: %s", id, run.Status, run.Error)
	}
	ts.Setenv("GATE", gates[0].Step)
	ts.Setenv("DIGEST", gates[0].Digest)
}

// holdLock takes $RUN for another until the script ends.
func holdLock(ts *testscript.TestScript, _ bool, _ []string) {
	holder := state.Holder{User: "bob", Host: "elsewhere", PID: 7, Since: time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)}
	release, err := file.New(ts.Getenv("TKGFIX_STATE")).Lock(context.Background(), ts.Getenv("RUN"), holder)
	ts.Check(err)
	ts.Defer(func() {
		if err := release(); !errors.Is(err, state.ErrNotLocked) { // a script may have broken it
			ts.Check(err)
		}
	})
}

// blackhole start sets $BLACKHOLE to the address of a server that takes connections and never answers; blackhole wait waits
// for one.
func blackhole(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs("blackhole.sock")
	if args[0] == "wait" {
		// The second listener passes the news on: the server writes to it when it is connected to.
		conn, err := net.Dial("unix", path)
		ts.Check(err)
		defer conn.Close()
		_, err = conn.Read(make([]byte, 1))
		ts.Check(err)
		return
	}
	server, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	news, err := net.Listen("unix", path)
	ts.Check(err)
	ts.Defer(func() { server.Close(); news.Close() })
	ts.Setenv("BLACKHOLE", server.Addr().String())
	go func() {
		conn, err := server.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if waiter, err := news.Accept(); err == nil {
			_, _ = waiter.Write([]byte{1})
			waiter.Close()
		}
		_, _ = io.Copy(io.Discard, conn) // until the client gives up
	}()
}
