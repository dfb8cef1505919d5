package main

import (
	"bytes"
	"context"
	"encoding/json"
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
