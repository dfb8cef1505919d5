//go:build matrix

package e2e

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden plans anew")

// The parts of a plan that are held against a golden file.
type (
	matrixRun struct {
		Status string
		Plan   matrixPlan
	}
	matrixPlan struct {
		Steps []matrixStep
		Gates []struct{ Step string }
	}
	matrixStep struct {
		ID, Uses, Status, Summary, Why string

		Outputs   json.RawMessage
		Instances []matrixStep
		Changes   []matrixChange
		Blocks    []struct{ Reason, Hint string }
		Warnings  []string
	}
	matrixChange struct {
		Action, Reason string
		Target         struct{ Group, Kind, Namespace, Name string }
		Before, After  json.RawMessage
		Impact, Lost   []string
	}
	matrixVerdict struct {
		Cause, Remedy, Summary string
		RuledOut               []struct{ Remedy, Reason string }
	}
)

func (p matrixPlan) step(id string) matrixStep {
	if i := slices.IndexFunc(p.Steps, func(s matrixStep) bool { return s.ID == id }); i >= 0 {
		return p.Steps[i]
	}
	return matrixStep{}
}

func (s matrixStep) outputs(t *testing.T) matrixVerdict {
	t.Helper()
	if len(s.Outputs) == 0 {
		t.Fatalf("step %s told nothing: %s, %s", s.ID, s.Status, s.Why)
	}
	return decode[matrixVerdict](t, s.Outputs)
}

// text is the plan as a reviewer reads it: the verdict with its reasons, each step's status, and each change.
func (p matrixPlan) text(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	v := p.step("diagnose").outputs(t)
	fmt.Fprintf(&b, "cause   %s\nremedy  %s\n%s\n\nwhy not\n", v.Cause, v.Remedy, v.Summary)
	for _, r := range v.RuledOut {
		fmt.Fprintf(&b, "  %-15s %s\n", r.Remedy, r.Reason)
	}
	b.WriteString("\nsteps\n")
	for _, s := range p.Steps {
		why := s.Why
		if s.Status == "deferred" && !strings.HasPrefix(why, "known after ") {
			why = "not so yet" // what verify-pull waits for differs from look to look
		}
		fmt.Fprintf(&b, "  %-19s %s\n", s.ID, strings.TrimRight(s.Status+" "+why, " "))
	}
	for _, s := range p.Steps {
		for _, in := range append([]matrixStep{s}, s.Instances...) {
			in.write(&b)
		}
	}
	return b.String()
}

func (s matrixStep) write(b *strings.Builder) {
	for _, k := range s.Blocks {
		fmt.Fprintf(b, "\n%s is blocked: %s\n  hint: %s\n", s.ID, k.Reason, k.Hint)
	}
	if len(s.Changes) == 0 {
		return
	}
	for _, w := range s.Warnings {
		fmt.Fprintf(b, "\n%s warns: %s\n", s.ID, w)
	}
	for _, c := range s.Changes {
		fmt.Fprintf(b, "\n%s: %s %s %s/%s\n  why: %s\n", s.ID, c.Action, c.Target.Kind, c.Target.Namespace, c.Target.Name, c.Reason)
		for _, part := range []struct {
			name string
			raw  json.RawMessage
		}{{"before", c.Before}, {"after", c.After}} {
			if len(part.raw) > 0 {
				fmt.Fprintf(b, "  %s: %s\n", part.name, compact(part.raw))
			}
		}
		for _, i := range c.Impact {
			fmt.Fprintf(b, "  touches: %s\n", i)
		}
		for _, l := range c.Lost {
			fmt.Fprintf(b, "  lost: %s\n", l)
		}
	}
}

func compact(raw json.RawMessage) string {
	var out bytes.Buffer
	if err := json.Compact(&out, raw); err != nil {
		return err.Error()
	}
	return out.String()
}

// normal replaces what differs from laboratory to laboratory.
func normal(text string) string {
	for _, r := range []struct {
		what *regexp.Regexp
		by   string
	}{
		{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`), "UID"},
		{regexp.MustCompile(`\b(?:sha256:)?[0-9a-f]{64}\b`), "SHA256"},
		{regexp.MustCompile(`\b[0-9a-f]{16}\.\.\.`), "SHA256"},
		{regexp.MustCompile(`(?:[0-9A-F]{2}:){19}[0-9A-F]{2}`), "KEYID"},
		{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z`), "TIME"},
		{regexp.MustCompile(`[A-Za-z0-9+/]{60,}={0,2}(?:…)?`), "BASE64"},
		{regexp.MustCompile(`\bdev1-(np1|workers)(-[a-z0-9]{5})*-[a-z0-9]{5}\b`), "dev1-$1-NODE"},
		{regexp.MustCompile(`\bdev1-[a-z0-9]{5}\b`), "dev1-NODE"},
		{regexp.MustCompile(`\b127(?:\.\d+){3}\b`), "ADDRESS"},
		{regexp.MustCompile(`-20\d\d\b`), "-YEAR"},
		{regexp.MustCompile(`[^ "=]*/ca/root\.pem`), "ROOT.pem"},
	} {
		text = r.what.ReplaceAllString(text, r.by)
	}
	return text
}

// golden holds text against a file, or writes it.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Errorf("%v: write it with -update, and review it", err)
		return
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want, +got):\n%s", path, diff)
	}
}
