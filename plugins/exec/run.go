package exec

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	osexec "os/exec"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tkgfix/tkgfix/internal/wire"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/internal/redact"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

// What is kept of a command's output.
const (
	maxStdout = 64 << 10
	maxStderr = 16 << 10
	lastLines = 10
	maxLine   = 400
)

// endTime is how long a command may take to end once it was asked to, and its pipes to close once it has ended. It is less than
// the host waits for a cancelled step.
const endTime = 3 * time.Second

// markEnv marks a command and all that it starts.
const markEnv = "TKGFIX_COMMAND"

// The statuses of observe.
const (
	statusYes = iota
	statusNo
	statusUnderway
	statusUnknowable
)

// runner runs what was approved.
type runner struct {
	approved approved
	environ  []string
	secrets  redact.Secrets
	mark     func() string
}

// result is how a command ended. Its texts are redacted.
type result struct {
	code      int
	stdout    string
	truncated bool
	stderr    []string
}

// runner prepares the environment of what is run: what each program needs, what the workflow gives, what is passed on.
func (s step) runner(ok approved) (runner, error) {
	r := runner{approved: ok, mark: func() string {
		return fmt.Sprintf("%d-%d-%d", os.Getpid(), s.env.Now().UnixNano(), s.count.Add(1))
	}}
	vars := map[string]string{}
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "LANG"} {
		if v, found := s.lookup(name); found {
			vars[name] = v
		}
	}
	maps.Copy(vars, ok.Env)
	var values []string
	for _, name := range ok.Pass {
		v, found := s.lookup(name)
		if !found {
			err := fmt.Errorf("pass: %s is not in the environment of the step", name)
			return r, plugins.Hint(err, "a step sees PATH, HOME, TMPDIR, LANG, SSL_CERT_FILE, SSL_CERT_DIR, HTTP_PROXY, HTTPS_PROXY and NO_PROXY only; "+
				"export it if it is one of these, else keep it in a file of mode 0600 and give the command its path in env")
		}
		vars[name] = v
		values = append(values, v)
	}
	// With this the engine finds what a killed plugin left behind.
	if v, found := s.lookup(wire.LifelineEnv); found {
		vars[wire.LifelineEnv] = v
	}
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		r.environ = append(r.environ, name+"="+vars[name])
	}
	r.secrets = redact.Of(values...)
	return r, nil
}

// name is what is run, for people.
func (r runner) name() string {
	return redact.Line(r.secrets.Text(strings.Join(r.approved.Command, " ")), maxLine)
}

// command runs the command. It returns a result also with the error of a command that ended badly.
func (r runner) command(ctx context.Context) (*result, error) {
	res, err := r.run(ctx, r.approved.Program, r.approved.Command)
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", r.name(), err)
	}
	if res.code != 0 && !slices.Contains(r.approved.Accept, res.code) {
		return &res, plugins.Hint(fmt.Errorf("run %s: %w", r.name(), res.err()), "run it by hand to see more: %s", r.byHand(r.approved.Command))
	}
	return &res, nil
}

// observe asks whether the command's effect has happened.
func (r runner) observe(ctx context.Context, target plugins.Target) (sdk.Observation, plugins.Evidence, error) {
	seen := plugins.Evidence{Subject: target.String(), Check: "observe", Verdict: plugins.Info}
	res, err := r.run(ctx, r.approved.ObserveWith, r.approved.Observe)
	if err != nil {
		return sdk.Observation{}, seen, fmt.Errorf("observe %s: %w", target.Name, err)
	}
	said := redact.Line(res.stdout, maxLine)
	obs := sdk.Observation{Note: said}
	switch res.code {
	case statusYes:
		obs.State, seen.Verdict, seen.Text = sdk.Yes, plugins.OK, "it has happened"
	case statusNo:
		obs.State, seen.Text = sdk.No, "it has not happened"
	case statusUnderway:
		obs.State, seen.Text = sdk.Underway, "it is under way"
	case statusUnknowable:
		obs.State, seen.Verdict, seen.Text = sdk.Unknowable, plugins.Bad, "it cannot be known"
	default:
		return obs, seen, plugins.Hint(fmt.Errorf("observe %s: %w", target.Name, res.err()),
			"exit status 0, 1, 2 or 3 is an answer, any other an error; run it by hand to see more: %s", r.byHand(r.approved.Observe))
	}
	seen.Text = fmt.Sprintf("%s (exit status %d)", seen.Text, res.code)
	if said == "" {
		obs.Note = seen.Text
	} else {
		seen.Text += ": " + said
	}
	if obs.State == sdk.Unknowable {
		obs.Note = fmt.Sprintf("%s; look at %s yourself, and ask again with: %s", obs.Note, target.Name, r.byHand(r.approved.Observe))
	}
	return obs, seen, nil
}

// run runs one program to its end, and ends whatever it leaves behind. A program that ends with any exit status is no error; one that
// cannot be started, is killed, or is still running when ctx ends, is.
func (r runner) run(ctx context.Context, program string, argv []string) (result, error) {
	if err := ctx.Err(); err != nil {
		return result{}, fmt.Errorf("not begun: %w", err)
	}
	mark := r.mark()
	cmd := osexec.CommandContext(ctx, program) //nolint:gosec // running a user's command is what the step is for
	cmd.Args = slices.Clone(argv)
	cmd.Dir = r.approved.Dir
	cmd.Env = append(slices.Clone(r.environ), markEnv+"="+mark)
	cmd.SysProcAttr = withParent()
	cmd.Cancel = func() error { return askToEnd(cmd.Process, mark) }
	cmd.WaitDelay = endTime
	room := max(r.secrets.Longest(), 1) - 1
	stdout, stderr := &head{limit: maxStdout + room}, &tail{limit: maxStderr + room}
	cmd.Stdout, cmd.Stderr = stdout, stderr

	// Linux sends the parent-death signal when the thread that started the child ends: it must not before the child has.
	runtime.LockOSThread()
	err := cmd.Run()
	runtime.UnlockOSThread()
	endAll(mark)

	res := result{stderr: r.lines(stderr, room)}
	res.stdout, res.truncated = bounded(r.secrets.Part(stdout.kept, 0, min(len(stdout.kept), maxStdout)))
	res.truncated = res.truncated || stdout.size > maxStdout
	var exit *osexec.ExitError
	switch {
	case ctx.Err() != nil && err != nil:
		return res, fmt.Errorf("stopped before it ended%s: %w", res.last(), ctx.Err())
	case err == nil, errors.Is(err, osexec.ErrWaitDelay): // what it left behind held its output open
		return res, nil
	case errors.As(err, &exit) && exit.Exited():
		res.code = exit.ExitCode()
		return res, nil
	case errors.As(err, &exit):
		return res, fmt.Errorf("%s%s", exit, res.last())
	default:
		return res, plugins.Hint(err, "is it a program that may be run? see: ls -l %s", quote(program))
	}
}

// lines returns the last lines of what was kept of stderr.
func (r runner) lines(t *tail, room int) []string {
	from := 0
	if t.cut {
		from = min(room, len(t.kept)) // before it the end of a secret may lie whose beginning is gone
	}
	text := redact.Printable(string(r.secrets.Part(t.kept, from, len(t.kept))))
	lines := strings.FieldsFunc(text, func(c rune) bool { return c == '\n' })
	if t.cut && len(lines) > 1 {
		lines = lines[1:]
	}
	lines = lines[max(0, len(lines)-lastLines):]
	for i := range lines {
		lines[i] = redact.Short(lines[i], maxLine)
	}
	return lines
}

// err says how a command ended.
func (r result) err() error { return fmt.Errorf("exit status %d%s", r.code, r.last()) }

// last is what it said last, ready to follow a message.
func (r result) last() string {
	if len(r.stderr) == 0 {
		return ""
	}
	return "; its last lines:\n  " + strings.Join(r.stderr, "\n  ")
}

// output is the step's output of a command that ended.
func (r runner) output(res *result) output {
	out := output{Ran: true, Stdout: res.stdout, Truncated: res.truncated, ExitCode: res.code}
	if object := objectOf(res.stdout); !res.truncated && object != nil {
		out.JSON = r.secrets.Object(object)
		if !reflect.DeepEqual(object, out.JSON) {
			// JSON can write a secret in any bytes: what was read of it must not stand beside it unread.
			raw, _ := json.Marshal(out.JSON) // was JSON a moment ago
			out.Stdout = string(raw)
		}
	}
	return out
}

// objectOf reads a text that is one JSON object; it is nil for any other.
func objectOf(text string) map[string]any {
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var object map[string]any
	if dec.Decode(&object) != nil {
		return nil
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil
	}
	return object
}

// evidence is what is kept of a command that ended.
func (r runner) evidence(res *result) plugins.Evidence {
	verdict := plugins.OK
	if res.code != 0 {
		verdict = plugins.Info
	}
	text := fmt.Sprintf("exit status %d, %d bytes of output", res.code, len(res.stdout))
	if res.truncated {
		text += " and more that was cut"
	}
	data, err := json.Marshal(map[string]any{"exitCode": res.code, "stderr": res.stderr, "truncated": res.truncated})
	if err != nil {
		data = nil
	}
	return plugins.Evidence{Subject: r.name(), Check: "command", Verdict: verdict, Text: text, Data: data}
}

// byHand is the line that a person types to run the same.
func (r runner) byHand(argv []string) string {
	words := []string{"cd", quote(r.approved.Dir), "&&"}
	for _, name := range slices.Sorted(maps.Keys(r.approved.Env)) {
		words = append(words, name+"="+quote(r.approved.Env[name]))
	}
	for _, a := range argv {
		words = append(words, quote(a))
	}
	return r.secrets.Text(strings.Join(words, " "))
}

// quote makes one word of a shell of s.
func quote(s string) string {
	plain := func(c rune) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("_-./:=@,+", c)
	}
	if s != "" && !strings.ContainsFunc(s, func(c rune) bool { return !plain(c) }) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// bounded makes UTF-8 of output, and cuts it again if that, or redaction, made it longer.
func bounded(raw []byte) (_ string, cutAgain bool) {
	s := strings.ToValidUTF8(string(raw), "\uFFFD")
	if len(s) <= maxStdout {
		return s, false
	}
	cut := maxStdout
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut], true
}

// head keeps the first bytes of what is written and counts the rest.
type head struct {
	limit int
	kept  []byte
	size  int
}

// Write never fails: a program must not be stopped by how much it says.
func (h *head) Write(p []byte) (int, error) {
	h.size += len(p)
	h.kept = append(h.kept, p[:min(len(p), h.limit-len(h.kept))]...)
	return len(p), nil
}

// tail keeps the last bytes of what is written.
type tail struct {
	limit int
	kept  []byte
	cut   bool
}

// Write never fails.
func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if over := len(t.kept) - t.limit; over > 0 {
		t.cut = true
		t.kept = bytes.Clone(t.kept[over:])
	}
	return len(p), nil
}
