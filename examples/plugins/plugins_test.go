// Package plugins_test builds the examples of plugins as their authors would, and runs them through the real tkgfix.
package plugins_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// bench is a user's folder with a tkgfix of its own.
type bench struct {
	tkgfix, dir string
	env         []string
}

// builtEnv names the tkgfix that TestMain has built.
const builtEnv = "TKGFIX_UNDER_TEST"

// TestMain builds tkgfix once.
func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "tkgfix-examples")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = os.RemoveAll(dir) }()
		binary := filepath.Join(dir, "tkgfix")
		if out, err := exec.Command("go", "build", "-trimpath", "-o", binary, "../../cmd/tkgfix").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build tkgfix: %v\n%s", err, out)
			return 1
		}
		if err := os.Setenv(builtEnv, binary); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

// newBench makes the folders in which a user will work.
func newBench(t *testing.T) *bench {
	t.Helper()
	dir := t.TempDir()
	b := &bench{tkgfix: os.Getenv(builtEnv), dir: filepath.Join(dir, "here")}
	b.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}
	if err := os.MkdirAll(b.plugin(""), 0o700); err != nil {
		t.Fatal(err)
	}
	return b
}

// plugin returns the path of a plugin, in the folder where tkgfix looks first.
func (b *bench) plugin(name string) string {
	return filepath.Join(b.dir, ".tkgfix", "plugins", name)
}

// run runs tkgfix, which must exit with the code, and returns what it printed.
func (b *bench) run(t *testing.T, code int, args ...string) (stdout, stderr string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), b.tkgfix, args...)
	var out, said bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = b.dir, b.env, &out, &said
	err := cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatal(err)
	}
	if got := cmd.ProcessState.ExitCode(); got != code {
		t.Fatalf("tkgfix %s: exit %d, want %d\n%s%s", strings.Join(args, " "), got, code, out.String(), said.String())
	}
	return out.String(), said.String()
}

func (b *bench) write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(b.dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// approveAll carries a run through its one gate and returns the run's id.
func (b *bench) approveAll(t *testing.T, args ...string) string {
	t.Helper()
	_, said := b.run(t, 3, append([]string{"run"}, args...)...)
	gate := regexp.MustCompile(`tkgfix approve (\S+) (\S+) --digest (\S+)`).FindStringSubmatch(said)
	if gate == nil {
		t.Fatalf("no line to approve in:\n%s", said)
	}
	b.run(t, 0, "approve", gate[1], gate[2], "--digest", gate[3])
	b.run(t, 0, "resume", gate[1])
	return gate[1]
}

// goIn runs the go command in a folder, as somebody who has only that module.
func goIn(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=readonly")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("in %s: go %s: %v\n%s", dir, strings.Join(args, " "), err, out)
	}
}

// contains checks that a text has all of the words.
func contains(t *testing.T, what, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%s: want %q in:\n%s", what, w, text)
		}
	}
}

// alertmanager keeps silences.
type alertmanager struct {
	mu  sync.Mutex
	all []map[string]any
}

func (a *alertmanager) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r.Method == http.MethodPost {
		var s map[string]any
		if err := json.NewDecoder(r.Body).Decode(&s); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s["id"] = fmt.Sprintf("s-%d", len(a.all)+1)
		a.all = append(a.all, s)
	}
	_ = json.NewEncoder(w).Encode(append([]map[string]any{}, a.all...))
}

func (a *alertmanager) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.all)
}

const quietWorkflow = `apiVersion: tkgfix.dev/v1alpha1
kind: Workflow
metadata: {name: quiet}
spec:
  inputs:
    alertmanager: {type: string, description: address of the Alertmanager}
  steps:
    - id: quiet
      uses: silence
      with: {url: "${{ inputs.alertmanager }}", labels: {cluster: dev1}}
      approval: {message: "Nobody is woken about dev1."}
`

// TestSilence takes the example in Go from its source to a run, and then alters one byte of it.
func TestSilence(t *testing.T) {
	t.Parallel()
	goIn(t, "silence", "vet", "./...")
	goIn(t, "silence", "test", "./...")
	b := newBench(t)
	plugin := b.plugin("tkgfix-plugin-silence")
	goIn(t, "silence", "build", "-trimpath", "-o", plugin, ".")
	am := &alertmanager{}
	server := httptest.NewServer(am)
	t.Cleanup(server.Close)
	b.write(t, "quiet.yaml", quietWorkflow)
	input := "alertmanager=" + server.URL

	_, said := b.run(t, 1, "validate", "quiet.yaml")
	contains(t, "unlocked", said, "plugin silence: ", plugin, "is not locked", "hint: if you trust it, which starts it: tkgfix plugins lock silence")
	_, said = b.run(t, 1, "plugins", "verify")
	contains(t, "unlocked", said, "1 of 1 plugins are not what ")

	_, said = b.run(t, 0, "plugins", "lock")
	contains(t, "lock", said, "locked silence 1.0.0 for ")
	out, _ := b.run(t, 0, "plugins", "list")
	if !regexp.MustCompile(`(?m)^silence +1\.0\.0 +change +locked +.*/tkgfix-plugin-silence$`).MatchString(out) {
		t.Errorf("list:\n%s", out)
	}
	b.run(t, 0, "plugins", "verify")
	b.run(t, 0, "validate", "quiet.yaml")

	out, _ = b.run(t, 2, "plan", "quiet.yaml", "--input", input, "--detailed-exitcode", "--output", "json")
	sum := regexp.MustCompile(`[0-9a-f]{64}`).FindString(b.lock(t))
	contains(t, "the plan names the plugin's code", out, `"silence"`, `"1.0.0"`, sum)
	if am.count() != 0 {
		t.Fatal("planning made a silence")
	}
	id := b.approveAll(t, "quiet.yaml", "--input", input)
	if am.count() != 1 {
		t.Errorf("a run made %d silences", am.count())
	}
	out, _ = b.run(t, 0, "report", id)
	contains(t, "report", out, "silence")

	flip(t, plugin)
	for _, args := range [][]string{{"validate", "quiet.yaml"}, {"plan", "quiet.yaml", "--input", input}, {"run", "quiet.yaml", "--input", input}} {
		_, said = b.run(t, 1, args...)
		contains(t, strings.Join(args, " "), said, "plugin silence: "+plugin+" is not the file that is locked: wanted sha256 "+sum+", found ", "tkgfix plugins lock silence")
	}
	out, said = b.run(t, 1, "plugins", "verify")
	contains(t, "verify", out+said, "mismatch", sum)
	if err := os.Chmod(plugin, 0o722); err != nil {
		t.Fatal(err)
	}
	_, said = b.run(t, 1, "plugins", "lock", "silence")
	contains(t, "writable", said, "its group and others may write to "+plugin, "hint: chmod go-w "+plugin)
}

// TestByHand starts the plugin as a curious person would.
func TestByHand(t *testing.T) {
	t.Parallel()
	plugin := filepath.Join(t.TempDir(), "tkgfix-plugin-silence")
	goIn(t, "silence", "build", "-trimpath", "-o", plugin, ".")
	out, err := exec.CommandContext(t.Context(), plugin).CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 {
		t.Errorf("want exit 1, got %v", err)
	}
	contains(t, "by hand", string(out), "This binary is a plugin")
}

// lock returns the lock file's content.
func (b *bench) lock(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(b.dir, "tkgfix.lock.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// flip alters the last byte of a file.
func flip(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	last := make([]byte, 1)
	if _, err := f.ReadAt(last, info.Size()-1); err != nil {
		t.Fatal(err)
	}
	last[0] ^= 1
	if _, err := f.WriteAt(last, info.Size()-1); err != nil {
		t.Fatal(err)
	}
}

const pythonWorkflow = `apiVersion: tkgfix.dev/v1alpha1
kind: Workflow
metadata: {name: check}
spec:
  inputs:
    url: {type: string, description: address}
    file: {type: string, description: path of the file to make}
  steps:
    - id: check
      uses: http-check
      with: {url: "${{ inputs.url }}", status: 418}
    - id: touch
      uses: touch-file
      if: "${{ steps.check.ok }}"
      with: {path: "${{ inputs.file }}"}
      approval: {message: "Makes a file."}
`

// TestPython takes the examples in Python to a plan and through a run: a step that reads, and one that acts.
func TestPython(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, module := range []string{"python/http_check.py", "testdata/touch_file.py"} {
		if out, err := exec.CommandContext(t.Context(), "python/build.sh", b.plugin(""), module).CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", module, err, out)
		}
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	t.Cleanup(server.Close)
	b.write(t, "check.yaml", pythonWorkflow)
	made := filepath.Join(b.dir, "made")
	inputs := []string{"--input", "url=" + server.URL, "--input", "file=" + made}

	b.run(t, 0, "plugins", "lock")
	out, _ := b.run(t, 0, append([]string{"plan", "check.yaml"}, inputs...)...)
	contains(t, "plan", out, server.URL+" answers 418, and 418 is wanted", "create File "+made)
	if _, err := os.Stat(made); !errors.Is(err, os.ErrNotExist) {
		t.Fatal("planning made the file")
	}
	id := b.approveAll(t, append([]string{"check.yaml"}, inputs...)...)
	if _, err := os.Stat(made); err != nil {
		t.Errorf("the run is done: %v", err)
	}
	out, _ = b.run(t, 0, "runs", "show", id, "--output", "json")
	if !regexp.MustCompile(`"states": *\[\s*1,\s*2,\s*3\s*\]`).MatchString(out) {
		t.Errorf("the journal must hold none, intended, done:\n%s", out)
	}
	_, said := b.run(t, 1, "plan", "check.yaml", "--input", "url=ftp://x", "--input", "file=/x")
	contains(t, "an error crosses", said, `input "url" must be an http or https address`)
}

// TestPythonIsNoOrphan holds the lifeline of a plugin in Python, and lets go of it: the process must end.
func TestPythonIsNoOrphan(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "python/build.sh", dir).CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	plugin := filepath.Join(dir, "tkgfix-plugin-http-check")
	out, err := exec.CommandContext(t.Context(), plugin).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "This is a plugin of tkgfix.") {
		t.Errorf("by hand it must say what it is: %v %s", err, out)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	cmd := exec.CommandContext(t.Context(), plugin)
	cmd.ExtraFiles = []*os.File{r}
	cmd.Env = []string{
		"TKGFIX_PLUGIN=dd1b2a4b-3a0e-4b6a-9a6c-6f1d4c0b6f7e", "PLUGIN_PROTOCOL_VERSIONS=1", "TKGFIX_PLUGIN_LIFELINE=3",
		"PLUGIN_UNIX_SOCKET_DIR=" + shortDir(t), "PLUGIN_CLIENT_CERT=" + certificate(t),
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 4)
	if _, err := stdout.Read(line); err != nil || string(line) != "1|1|" {
		t.Fatalf("want a handshake of version 1, got %q %v", line, err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("it ends as asked to: %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("its host is gone and it lives on")
	}
}
