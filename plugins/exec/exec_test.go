package exec

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/plugintest"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

// newStep returns the step with an environment of its own beside PATH.
func newStep(env map[string]string) step {
	return step{env: sdk.Env{}.Complete(), count: new(atomic.Uint64), lookup: func(name string) (string, bool) {
		if name == "PATH" {
			return os.Getenv(name), true
		}
		v, ok := env[name]
		return v, ok
	}}
}

// script writes a program.
func script(t *testing.T, body string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o700); err != nil { //nolint:gosec // a program must be executable
		t.Fatal(err)
	}
	return path
}

func encode(t *testing.T, in any) json.RawMessage {
	t.Helper()
	raw, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

type m = map[string]any

func read(t *testing.T, s plugins.Step, in m) (plugins.PlanResponse, output, error) {
	t.Helper()
	resp, err := s.Plan(t.Context(), plugins.PlanRequest{StepID: "s", Effect: plugins.Read, Input: encode(t, in)})
	var out output
	if err == nil {
		if err := json.Unmarshal(resp.Outputs, &out); err != nil {
			t.Fatal(err)
		}
	}
	return resp, out, err
}

// acts is a command that leaves a mark each time it acts, and its observe, which sees the mark.
type acts struct {
	marks string
	in    m
}

func newActs(t *testing.T, extra m) acts {
	t.Helper()
	a := acts{marks: filepath.Join(t.TempDir(), "marks")}
	a.in = m{
		"command": []string{script(t, `echo acted >>"$MARKS"; echo '{"acted": true}'`)},
		"observe": []string{script(t, `test -s "$MARKS"`)},
		"env":     m{"MARKS": a.marks}, "target": "the marks", "undo": "rm it",
	}
	for k, v := range extra {
		a.in[k] = v
	}
	return a
}

// count is how often the command acted.
func (a acts) count(t *testing.T) int {
	t.Helper()
	raw, err := os.ReadFile(a.marks)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.Count(string(raw), "acted")
}

func (a acts) request(t *testing.T, s plugins.Step) plugins.ApplyRequest {
	t.Helper()
	resp, err := s.Plan(t.Context(), plugins.PlanRequest{StepID: "s", Effect: plugins.Change, Input: encode(t, a.in)})
	if err != nil {
		t.Fatal(err)
	}
	return plugins.ApplyRequest{RunID: "r", StepID: "s", Effect: plugins.Change, Input: encode(t, a.in), Changes: resp.Changes}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	a := newActs(t, nil)
	checkChange := func(action plugins.Action) func(*testing.T, plugins.PlanResponse) {
		return func(t *testing.T, resp plugins.PlanResponse) {
			t.Helper()
			if len(resp.Changes) != 1 || resp.Changes[0].Action != action {
				t.Errorf("want one change, %s, got %+v", action, resp.Changes)
			}
			if a.count(t) != 0 {
				t.Error("the command ran while planning")
			}
		}
	}
	plugintest.Conformance(t, New(sdk.Env{}), plugintest.Cases{Samples: map[string]plugintest.Sample{
		"Read": {
			Reason: "a command that only reads", Effect: plugins.Read, Input: encode(t, m{"command": []string{"echo", "hello"}}),
			Check: func(t *testing.T, resp plugins.PlanResponse) {
				t.Helper()
				if !strings.Contains(string(resp.Outputs), `"stdout":"hello\n"`) {
					t.Errorf("outputs: %s", resp.Outputs)
				}
			},
		},
		"Change":  {Reason: "a command that changes", Effect: plugins.Change, Input: encode(t, a.in), Check: checkChange(plugins.Update)},
		"Destroy": {Reason: "a command that destroys", Effect: plugins.Destroy, Input: encode(t, a.in), Check: checkChange(plugins.Delete)},
	}})
}

func TestRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cases := map[string]struct {
		reason string
		in     m
		want   output
	}{
		"Text":      {reason: "what it prints", in: m{"command": []string{"printf", "a\\nb"}}, want: output{Ran: true, Stdout: "a\nb"}},
		"NoShell":   {reason: "arguments are not read by a shell", in: m{"command": []string{"echo", "$HOME;`id`"}}, want: output{Ran: true, Stdout: "$HOME;`id`\n"}},
		"Env":       {reason: "values come by the environment", in: m{"command": []string{"printenv", "A"}, "env": m{"A": "x; y"}}, want: output{Ran: true, Stdout: "x; y\n"}},
		"Dir":       {reason: "it runs in dir", in: m{"command": []string{"pwd"}, "dir": dir}, want: output{Ran: true, Stdout: dir + "\n"}},
		"Stdin":     {reason: "its input is empty", in: m{"command": []string{"cat"}}, want: output{Ran: true}},
		"Object":    {reason: "an object is read", in: m{"command": []string{"echo", `{"a": {"b": [1]}}`}}, want: output{Ran: true, Stdout: "{\"a\": {\"b\": [1]}}\n", JSON: m{"a": m{"b": []any{1.0}}}}},
		"List":      {reason: "a list is no object", in: m{"command": []string{"echo", `[1]`}}, want: output{Ran: true, Stdout: "[1]\n"}},
		"TwoObject": {reason: "two objects are none", in: m{"command": []string{"echo", `{}{}`}}, want: output{Ran: true, Stdout: "{}{}\n"}},
		"Accepted":  {reason: "a status that is an answer", in: m{"command": []string{"false"}, "accept": []int{1}}, want: output{Ran: true, ExitCode: 1}},
		"Bytes":     {reason: "what is no UTF-8 is made so", in: m{"command": []string{"printf", `a\377b`}}, want: output{Ran: true, Stdout: "a\uFFFDb"}},
		"Long":      {reason: "output is bounded, the program is not stopped by that", in: m{"command": []string{"sh", "-c", "yes x | head -c 200000"}}, want: output{Ran: true, Truncated: true, Stdout: strings.Repeat("x\n", 32<<10)}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, got, err := read(t, newStep(nil), tc.in)
			if err != nil {
				t.Fatalf("%s: %v", tc.reason, err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestRefuses(t *testing.T) {
	t.Parallel()
	change := newActs(t, nil).in
	without := func(keys ...string) m {
		out := m{}
		for k, v := range change {
			out[k] = v
		}
		for _, k := range keys {
			delete(out, k)
		}
		return out
	}
	echo := []string{"echo"}
	cases := map[string]struct {
		reason string
		effect plugins.Effect
		in     m
		want   string
		hint   string
	}{
		"NoEffect":   {reason: "the workflow must say", in: m{"command": echo}, want: `effect ""`, hint: "effect: read"},
		"Announce":   {reason: "a command is no message", effect: plugins.Announce, in: m{"command": echo}, want: `effect "announce"`},
		"Empty":      {reason: "no program", effect: plugins.Read, in: m{"command": []string{}}, want: "command: no program"},
		"Zero":       {reason: "a zero byte", effect: plugins.Read, in: m{"command": []string{"a\x00b"}}, want: "zero byte"},
		"NotThere":   {reason: "no such program", effect: plugins.Read, in: m{"command": []string{"no-such-program"}}, want: "not found", hint: "command -v"},
		"NoDir":      {reason: "no such folder", effect: plugins.Read, in: m{"command": echo, "dir": "/no/such"}, want: "/no/such is no folder"},
		"EnvName":    {reason: "no name", effect: plugins.Read, in: m{"command": echo, "env": m{"A B": ""}}, want: `"A B"`},
		"Ours":       {reason: "our own variables", effect: plugins.Read, in: m{"command": echo, "env": m{"TKGFIX_X": ""}}, want: "tkgfix itself"},
		"Both":       {reason: "shown and hidden", effect: plugins.Read, in: m{"command": echo, "env": m{"A": ""}, "pass": []string{"A"}}, want: "both in env and in pass"},
		"Scrubbed":   {reason: "what a plugin is not given", effect: plugins.Read, in: m{"command": echo, "pass": []string{"TOKEN"}}, want: "TOKEN is not in the environment", hint: "mode 0600"},
		"Fails":      {reason: "a failure has its last lines and the line to type", effect: plugins.Read, in: m{"command": []string{"sh", "-c", "echo one >&2; echo two >&2; exit 9"}, "env": m{"A": "b c"}}, want: "exit status 9; its last lines:\n  one\n  two", hint: "A='b c' sh -c"},
		"Killed":     {reason: "a signal is no status", effect: plugins.Read, in: m{"command": []string{"sh", "-c", "kill -9 $$"}}, want: "signal: killed"},
		"ReadTarget": {reason: "a read has no target", effect: plugins.Read, in: change, want: "observe, target, undo and lost", hint: "effect: change"},
		"NoObserve":  {reason: "a change must be seen", effect: plugins.Change, in: without("observe"), want: "needs observe"},
		"NoTarget":   {reason: "a change has a name", effect: plugins.Destroy, in: without("target"), want: "needs a target"},
		"Observe9": {
			reason: "observe must answer", effect: plugins.Change,
			in: m{"command": echo, "observe": []string{"sh", "-c", "exit 9"}, "target": "t"}, want: "observe t: exit status 9", hint: "0, 1, 2 or 3",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := newStep(nil).Plan(t.Context(), plugins.PlanRequest{Effect: tc.effect, Input: encode(t, tc.in)})
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(plugins.HintOf(err), tc.hint) {
				t.Errorf("%s: want %q with hint %q, got %v with %q", tc.reason, tc.want, tc.hint, err, plugins.HintOf(err))
			}
		})
	}
}

func TestPlanOfChange(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason  string
		status  int
		changes int
		blocks  string
	}{
		"Yes":        {reason: "what has happened is not done again", status: 0},
		"No":         {reason: "what has not is planned", status: 1, changes: 1},
		"Underway":   {reason: "what somebody does already is shown, and blocked", status: 2, changes: 1, blocks: "under way"},
		"Unknowable": {reason: "what nobody knows is shown, and blocked", status: 3, changes: 1, blocks: "nobody can know"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newActs(t, m{"observe": []string{"sh", "-c", fmt.Sprintf("echo seen; exit %d", tc.status)}, "pass": []string{"TOKEN"}, "undo": ""})
			resp, err := newStep(map[string]string{"TOKEN": "hunter2"}).Plan(t.Context(), plugins.PlanRequest{Effect: plugins.Change, Input: encode(t, a.in)})
			if err != nil {
				t.Fatal(err)
			}
			blocked := ""
			for _, b := range resp.Blocks {
				blocked += b.Reason
			}
			if len(resp.Changes) != tc.changes || (tc.blocks == "") != (blocked == "") || !strings.Contains(blocked, tc.blocks) {
				t.Errorf("%s: want %d changes, blocked by %q; got %+v, %q", tc.reason, tc.changes, tc.blocks, resp.Changes, blocked)
			}
			if a.count(t) != 0 {
				t.Error("the command ran while planning")
			}
			if tc.changes == 0 {
				if diff := cmp.Diff(`{"ran":false,"stdout":"","truncated":false,"exitCode":0}`, string(resp.Outputs)); diff != "" {
					t.Errorf("outputs (-want, +got):\n%s", diff)
				}
				return
			}
			after := string(resp.Changes[0].After)
			for _, want := range []string{`"command":["`, `"MARKS":"` + a.marks, `"pass":["TOKEN"]`} {
				if !strings.Contains(after, want) {
					t.Errorf("what is approved does not hold %s: %s", want, after)
				}
			}
			if n := len(resp.Changes[0].Preconditions); n != 2 {
				t.Errorf("want the digests of both programs, got %d preconditions", n)
			}
		})
	}
}

func TestApply(t *testing.T) {
	t.Parallel()
	type want struct {
		Acts  int
		State plugins.EffectState
		Kind  plugins.ErrorKind
		Ran   bool
	}
	cases := map[string]struct {
		reason string
		before plugins.EffectState
		extra  m
		mess   func(t *testing.T, a acts)
		want   want
	}{
		"First":      {reason: "it runs once and is seen", want: want{Acts: 1, State: plugins.EffectDone, Ran: true}},
		"Done":       {reason: "what is done is not done again", before: plugins.EffectDone, want: want{State: plugins.EffectDone}},
		"CrashedNo":  {reason: "it had not happened", before: plugins.EffectIntended, want: want{Acts: 1, State: plugins.EffectDone, Ran: true}},
		"CrashedYes": {reason: "it had happened", before: plugins.EffectIntended, mess: func(t *testing.T, a acts) { write(t, a.marks, "acted") }, want: want{Acts: 1, State: plugins.EffectDone}},
		"CrashedUnknowable": {
			reason: "nobody knows: a person must say", before: plugins.EffectIntended, extra: m{"observe": []string{script(t, `test -s "$MARKS" || exit 1; exit 3`)}},
			mess: func(t *testing.T, a acts) { write(t, a.marks, "-") }, want: want{State: plugins.EffectIntended, Kind: plugins.KindUnknowable},
		},
		"Fails": {
			reason: "a command that fails leaves the intent open", extra: m{"command": []string{script(t, `echo acted >>"$MARKS"; exit 4`)}},
			want: want{Acts: 1, State: plugins.EffectIntended, Kind: plugins.KindFailed},
		},
		"OtherProgram": {
			reason: "what was approved is that file", mess: func(t *testing.T, a acts) { write(t, a.in["command"].([]string)[0], "#!/bin/sh\necho evil") },
			want: want{State: plugins.EffectNone, Kind: plugins.KindConflict},
		},
		"OtherObserve": {
			reason: "and that observe", before: plugins.EffectIntended,
			mess: func(t *testing.T, a acts) { write(t, a.in["observe"].([]string)[0], "#!/bin/sh\nexit 0") },
			want: want{State: plugins.EffectIntended, Kind: plugins.KindConflict},
		},
		"OtherProgramAfterCrash": {
			reason: "nor is another program run after a crash", before: plugins.EffectIntended,
			mess: func(t *testing.T, a acts) { write(t, a.in["command"].([]string)[0], "#!/bin/sh\necho evil") },
			want: want{State: plugins.EffectIntended, Kind: plugins.KindConflict},
		},
		"GoneAfterDone": {
			reason: "what has happened needs no program", before: plugins.EffectIntended,
			mess: func(t *testing.T, a acts) {
				write(t, a.marks, "acted")
				write(t, a.in["command"].([]string)[0], "gone")
			},
			want: want{Acts: 1, State: plugins.EffectDone},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newActs(t, tc.extra)
			s := plugintest.Connect(t, newStep(nil))
			req := a.request(t, s)
			if tc.mess != nil {
				tc.mess(t, a)
			}
			host := &plugintest.Host{}
			if tc.before != "" {
				host.Set(effectKey, tc.before)
			}
			resp, err := s.Apply(t.Context(), req, host)
			got := want{Acts: a.count(t), State: host.State(effectKey), Ran: strings.Contains(string(resp.Outputs), `"ran":true`)}
			if err != nil {
				got.Kind = plugins.KindOf(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: %v (-want, +got):\n%s", tc.reason, err, diff)
			}
			if got.Ran && !strings.Contains(string(resp.Outputs), `"json":{"acted":true}`) {
				t.Errorf("outputs: %s", resp.Outputs)
			}
		})
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil { //nolint:gosec // may be a program
		t.Fatal(err)
	}
}

// TestApplyEnded has a context that ends at the worst time: between intent and act.
func TestApplyEnded(t *testing.T) {
	t.Parallel()
	a := newActs(t, nil)
	s := newStep(nil)
	req := a.request(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	host := &plugintest.Host{After: func(c plugintest.Call) error {
		if c.Method == plugintest.MethodIntend {
			cancel()
		}
		return nil
	}}
	if _, err := s.Apply(ctx, req, host); !errors.Is(err, context.Canceled) || a.count(t) != 0 {
		t.Errorf("acted %d times with %v, want none", a.count(t), err)
	}
	if _, err := s.Apply(t.Context(), req, host); err != nil || a.count(t) != 1 {
		t.Errorf("resumed: acted %d times with %v, want once", a.count(t), err)
	}
}

// TestUnderwayIsWaitedFor has an effect that takes a moment to show after the command has ended.
func TestUnderwayIsWaitedFor(t *testing.T) {
	t.Parallel()
	looks := filepath.Join(t.TempDir(), "looks")
	a := newActs(t, m{"observe": []string{script(t, `test -s "$MARKS" || exit 1
echo x >>"$LOOKS"; test $(wc -l <"$LOOKS") -gt 1 && exit 0
echo rolling; exit 2`)}})
	a.in["env"].(m)["LOOKS"] = looks
	s := newStep(nil)
	host := &plugintest.Host{}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := s.Apply(ctx, a.request(t, s), host); err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, c := range host.Calls(plugintest.MethodProgress) {
		said = append(said, c.Text)
	}
	if a.count(t) != 1 || len(said) != 2 || said[1] != "rolling" {
		t.Errorf("acted %d times, said %q", a.count(t), said)
	}
}
