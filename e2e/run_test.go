package e2e

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"
)

// shown is what tkgfix runs show --output json says of a run.
type shown struct {
	ID     string
	Status string
	Plan   *shownPlan
}

type shownPlan struct {
	Steps []shownStep
	Gates []struct{ Step, Digest string }
}

type shownStep struct {
	ID, Status, Summary, Why string
	// Outputs are an object, or of a step with forEach a list.
	Outputs json.RawMessage
	Changes []struct {
		Action string
		Target struct{ Kind, Namespace, Name, UID string }
		Lost   []string
	}
	Blocks []struct{ Reason, Hint string }
}

func (p *shownPlan) step(t *testing.T, id string) shownStep {
	t.Helper()
	i := slices.IndexFunc(p.Steps, func(s shownStep) bool { return s.ID == id })
	if i < 0 {
		t.Fatalf("the plan has no step %s: %+v", id, p.Steps)
	}
	return p.Steps[i]
}

// outputs returns what a step that is taken once told; nil for nothing.
func (s shownStep) outputs(t *testing.T) map[string]any {
	t.Helper()
	if len(s.Outputs) == 0 {
		return nil
	}
	return decode[map[string]any](t, s.Outputs)
}

// actions returns what a plan would do, in order.
func (p *shownPlan) actions() []string {
	var out []string
	for _, s := range p.Steps {
		for _, c := range s.Changes {
			out = append(out, c.Action+" "+c.Target.Kind+" "+c.Target.Name)
		}
	}
	return out
}

var (
	runLine     = regexp.MustCompile(`tkgfix: run ([0-9a-z]{26})\n`)
	approveLine = regexp.MustCompile(`to approve: (tkgfix [^\n]+)`)
	resumeLine  = regexp.MustCompile(`then: (tkgfix resume [^\n]+)`)
)

// runID returns the id of the run that a command began.
func (r result) runID(t *testing.T) string {
	t.Helper()
	m := runLine.FindStringSubmatch(r.stderr)
	if m == nil {
		t.Fatalf("no run id in:\n%s", r.stderr)
	}
	return m[1]
}

// show returns how a run stands.
func (l *laboratory) show(t *testing.T, id string) shown {
	t.Helper()
	r := l.tkgfix(t, "/nonexistent", "runs", "show", id, "--output", "json").wantCode(t, 0)
	return decode[shown](t, []byte(r.stdout))
}

// approveAll types the lines that a waiting run printed, as they are.
func (l *laboratory) approveAll(t *testing.T, waiting result) {
	t.Helper()
	lines := approveLine.FindAllStringSubmatch(waiting.stderr, -1)
	if len(lines) == 0 {
		t.Fatalf("no line to approve in:\n%s", waiting.stderr)
	}
	for _, m := range lines {
		l.shell(t, m[1]).wantCode(t, 0)
	}
}

// shell runs a line as a person would type it.
func (l *laboratory) shell(t *testing.T, line string) result {
	t.Helper()
	return command(t, []string{"TKGFIX_STATE=" + l.state}, "sh", "-c", line)
}

// down ends a laboratory.
func down(dir string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	return exec.CommandContext(ctx, filepath.Join(bin, "tkgfix-lab"), "down", "--dir", dir).CombinedOutput()
}

func unbase64(t *testing.T, s string) []byte {
	t.Helper()
	out, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
