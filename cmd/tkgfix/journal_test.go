package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tkgfix/tkgfix/internal/state"
	"github.com/tkgfix/tkgfix/internal/state/file"
)

// makeRun ID FILE writes a run whose journal holds the lines of FILE: a kind and its data. So scripts can have runs that it would
// take clusters to bring about.
func makeRun(ts *testscript.TestScript, _ bool, args []string) {
	data, err := os.ReadFile(ts.MkAbs(args[1]))
	ts.Check(err)
	var drafts []state.Draft
	at := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	for line := range bytes.Lines(data) {
		if kind, text, ok := bytes.Cut(bytes.TrimSpace(line), []byte(" ")); ok {
			at = at.Add(time.Second)
			drafts = append(drafts, state.Draft{Time: at, Kind: string(kind), Data: json.RawMessage(bytes.Clone(text))})
		}
	}
	_, err = file.New(ts.Getenv("TKGFIX_STATE")).Append(context.Background(), args[0], 1, drafts...)
	ts.Check(err)
}

// stopped is the value under which a script keeps the release of a lock whose holder does not go on.
type stopped struct{}

// stopLock takes $RUN for another, who goes on only at lostlock.
func stopLock(ts *testscript.TestScript, _ bool, _ []string) {
	holder := state.Holder{User: "bob", Host: "elsewhere", PID: 7, Since: time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)}
	release, err := file.New(ts.Getenv("TKGFIX_STATE")).Lock(context.Background(), ts.Getenv("RUN"), holder)
	ts.Check(err)
	releases(ts).release = release
}

// lostLock has the holder of stoplock release, and wants it to have lost the lock.
func lostLock(ts *testscript.TestScript, _ bool, _ []string) {
	if err := releases(ts).release(); !errors.Is(err, state.ErrNotLocked) {
		ts.Fatalf("release: got %v, want ErrNotLocked", err)
	}
}

type held struct{ release func() error }

func releases(ts *testscript.TestScript) *held { return ts.Value(stopped{}).(*held) }
