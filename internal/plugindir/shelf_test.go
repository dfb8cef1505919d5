package plugindir_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/plugindir"
	"github.com/tkgfix/tkgfix/internal/pluginhost"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

// TestMain lets the test binary be a plugin: its first argument is the file with what it says of itself.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "plugin" {
		raw, err := os.ReadFile(os.Args[2])
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		switch string(raw) {
		case "crash":
			fmt.Fprintln(os.Stderr, "out of cheese")
			os.Exit(9)
		case "hang":
			<-time.NewTimer(time.Hour).C
		}
		var d plugins.Description
		if err := json.Unmarshal(raw, &d); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		sdk.Serve(talker{d})
		return
	}
	os.Exit(m.Run())
}

// talker is a step that only says what it is.
type talker struct{ d plugins.Description }

func (s talker) Describe() plugins.Description { return s.d }

func (s talker) Plan(context.Context, plugins.PlanRequest) (plugins.PlanResponse, error) {
	return plugins.PlanResponse{}, nil
}

func (s talker) Apply(context.Context, plugins.ApplyRequest, plugins.Host) (plugins.ApplyResponse, error) {
	return plugins.ApplyResponse{}, nil
}

func description() plugins.Description {
	return plugins.Description{
		Name: "talker", Version: "1.0.0", Summary: "Talks.", Effect: plugins.Read,
		Input: json.RawMessage(`{"type":"object"}`), Output: json.RawMessage(`{"type":"object"}`),
	}
}

// talk makes a plugin that says what is given, and counts in a file how often it was started.
func talk(t *testing.T, dir, name, says string) (path, starts string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	words := filepath.Join(folder(t), "words")
	if err := os.WriteFile(words, []byte(says), 0o600); err != nil {
		t.Fatal(err)
	}
	starts = words + ".starts"
	path = put(t, filepath.Join(dir, "tkgfix-plugin-"+name), 0o700)
	script := fmt.Sprintf("#!/bin/sh\necho x >> '%s'\nexec '%s' plugin '%s'\n", starts, self, words)
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return path, starts
}

func encode(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestDescribeIsChecked(t *testing.T) {
	t.Parallel()
	with := func(change func(*plugins.Description)) func(*testing.T) string {
		return func(t *testing.T) string {
			t.Helper()
			d := description()
			change(&d)
			return encode(t, d)
		}
	}
	input := func(schema string) func(*testing.T) string {
		return with(func(d *plugins.Description) { d.Input = json.RawMessage(schema) })
	}
	// Each definition has eight fields of the next kind: followed to the end they are more than a billion.
	bomb := `{"type":"object","$ref":"#/$defs/a","$defs":{"a":{"type":"object","properties":{` +
		strings.TrimSuffix(strings.Repeat(`"KEY":{"$ref":"#/$defs/a"},`, 8), ",") + `}}}}`
	for n := range 8 {
		bomb = strings.Replace(bomb, "KEY", string(rune('a'+n)), 1)
	}
	cases := map[string]struct {
		reason string
		says   func(*testing.T) string
		want   string // empty for none
	}{
		"Good":       {reason: "one that is right is taken", says: with(func(*plugins.Description) {})},
		"Name":       {reason: "a plugin serves what its file is named after", says: with(func(d *plugins.Description) { d.Name = "other" }), want: `plugin talker serves the step "other"`},
		"Version":    {reason: "the lock file needs a version", says: with(func(d *plugins.Description) { d.Version = "v1" }), want: `version "v1" is not a semantic version`},
		"Summary":    {reason: "a summary must not steer a terminal", says: with(func(d *plugins.Description) { d.Summary = "a\x1b[2J" }), want: "summary is not one line"},
		"Connection": {reason: "there are two connections", says: with(func(d *plugins.Description) { d.Connections = []string{"vcenter"} }), want: `connection "vcenter" is unknown`},
		"Schema":     {reason: "a schema must compile", says: input(`{"type":"object","properties":{"a":{"type":"strng"}}}`), want: "input schema: "},
		"NoObject":   {reason: "inputs are objects", says: input(`{"type":"string"}`), want: "input schema: not of type object"},
		"Loads":      {reason: "a schema fetches nothing", says: input(`{"type":"object","properties":{"a":{"$ref":"file:///etc/passwd"}}}`), want: "must stand alone"},
		"Bomb":       {reason: "a schema does not take for ever", says: input(bomb), want: "more than 20000 parts"},
		"Crash":      {reason: "a crash shows the last words", says: func(*testing.T) string { return "crash" }, want: "out of cheese"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path, _ := talk(t, folder(t), "talker", tc.says(t))
			sum, err := pluginhost.Digest(path)
			if err != nil {
				t.Fatal(err)
			}
			got, err := plugindir.Describe(t.Context(), "talker", path, sum)
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("%s: %v", tc.reason, err)
			case tc.want == "":
				if diff := cmp.Diff(description(), got); diff != "" {
					t.Errorf("%s (-want, +got):\n%s", tc.reason, diff)
				}
			case err == nil || !strings.Contains(err.Error(), tc.want):
				t.Errorf("%s: want %q, got %v", tc.reason, tc.want, err)
			}
		})
	}
}

func TestDescribeGivesUp(t *testing.T) {
	t.Parallel()
	path, _ := talk(t, folder(t), "talker", "hang")
	sum, err := pluginhost.Digest(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = plugindir.Describe(t.Context(), "talker", path, sum)
	if err == nil || !strings.Contains(err.Error(), "plugin talker: it did not say what it is within 10s") {
		t.Errorf("want that it hangs, got %v", err)
	}
}

// shelf makes a folder of plugins and a lock file, and opens both.
func shelf(t *testing.T, dir string, lock *plugindir.Lock) *plugindir.Shelf {
	t.Helper()
	file := filepath.Join(folder(t), "lock.yaml")
	if err := lock.Write(file); err != nil {
		t.Fatal(err)
	}
	s, err := plugindir.Open([]string{dir}, file, []string{"probe"})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestShelfStates(t *testing.T) {
	t.Parallel()
	dir, lock := folder(t), &plugindir.Lock{}
	sums := map[string]string{}
	for _, name := range []string{"good", "changed", "new", "other-platform", "open"} {
		path, _ := talk(t, dir, name, "crash") // none of them may be started
		sum, err := pluginhost.Digest(path)
		if err != nil {
			t.Fatal(err)
		}
		sums[name] = sum
	}
	if err := os.Chmod(filepath.Join(dir, "tkgfix-plugin-open"), 0o777); err != nil {
		t.Fatal(err)
	}
	lock.Set("good", "1.0.0", plugindir.Platform(), sums["good"])
	lock.Set("open", "1.0.0", plugindir.Platform(), sums["open"])
	lock.Set("changed", "1.0.0", plugindir.Platform(), sumA)
	lock.Set("other-platform", "1.0.0", "plan9/arm", sumA)
	lock.Set("gone", "1.0.0", plugindir.Platform(), sumA)
	lock.Set("elsewhere", "1.0.0", "plan9/arm", sumA)
	s := shelf(t, dir, lock)
	var got []string
	for _, st := range s.Status() {
		got = append(got, st.Name+" "+string(st.State))
		if (st.Err == nil) != (st.State == plugindir.Locked) {
			t.Errorf("%s is %s with the error %v", st.Name, st.State, st.Err)
		}
	}
	want := []string{"changed mismatch", "gone missing", "good locked", "new unlocked", "open refused", "other-platform unlocked"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want, +got):\n%s", diff)
	}
	for name, want := range map[string][]string{
		"changed":        {"plugin changed: ", "/tkgfix-plugin-changed", "wanted sha256 " + sumA, "found " + sums["changed"]},
		"new":            {"plugin new: ", "/tkgfix-plugin-new", "is not locked", "lock.yaml does not have it", "found sha256 " + sums["new"]},
		"other-platform": {"does not have its file for " + plugindir.Platform()},
		"open":           {"its group and others may write to "},
		"gone":           {"plugin gone 1.0.0 is locked, and not found in " + dir},
		"none":           {"there is no plugin none in " + dir},
	} {
		_, err := s.Plugin(t.Context(), name)
		if err == nil {
			t.Errorf("%s may be started", name)
			continue
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: want %q in: %v", name, w, err)
			}
		}
		if plugins.HintOf(err) == "" {
			t.Errorf("%s: no next command with: %v", name, err)
		}
	}
}

func TestShelfAsksOnce(t *testing.T) {
	t.Parallel()
	dir, lock := folder(t), &plugindir.Lock{}
	path, starts := talk(t, dir, "talker", encode(t, description()))
	sum, err := pluginhost.Digest(path)
	if err != nil {
		t.Fatal(err)
	}
	lock.Set("talker", "1.0.0", plugindir.Platform(), sum)
	s := shelf(t, dir, lock)
	s.Status()
	if _, err := os.Stat(starts); err == nil {
		t.Error("it was started before it was asked for")
	}
	for range 3 {
		got, err := s.Plugin(t.Context(), "talker")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(plugindir.Plugin{Description: description(), Path: path, SHA256: sum}, got); diff != "" {
			t.Errorf("(-want, +got):\n%s", diff)
		}
	}
	if raw, err := os.ReadFile(starts); err != nil || string(raw) != "x\n" {
		t.Errorf("want one start, got %q %v", raw, err)
	}
}

func TestShelfHoldsVersionToLock(t *testing.T) {
	t.Parallel()
	dir, lock := folder(t), &plugindir.Lock{}
	path, _ := talk(t, dir, "talker", encode(t, description()))
	sum, err := pluginhost.Digest(path)
	if err != nil {
		t.Fatal(err)
	}
	lock.Set("talker", "3.0.0", plugindir.Platform(), sum)
	_, err = shelf(t, dir, lock).Plugin(t.Context(), "talker")
	if err == nil || !strings.Contains(err.Error(), "says that it is version 1.0.0, and") {
		t.Errorf("the lock says 3.0.0: %v", err)
	}
}
