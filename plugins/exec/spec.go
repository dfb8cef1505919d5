package exec

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	osexec "os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

// What a command may be at most. The kernel takes more; a plan that a person can read does not.
const (
	maxArgs    = 1024
	maxText    = 128 << 10
	maxTarget  = 253
	maxProgram = 1 << 30
)

// The preconditions of a change.
const (
	fieldCommand = "command.sha256"
	fieldObserve = "observe.sha256"
)

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// parse reads the input and refuses what does not fit the declared effect.
func parse(raw json.RawMessage, effect plugins.Effect) (input, error) {
	in, err := sdk.Input[input](raw)
	if err != nil {
		return in, err
	}
	if err := checkArgv("command", in.Command); err != nil {
		return in, err
	}
	if err := checkEnv(in); err != nil {
		return in, err
	}
	switch effect {
	case plugins.Read:
		if len(in.Observe) > 0 || in.Target != "" || in.Undo != "" || len(in.Lost) > 0 {
			err := errors.New("observe, target, undo and lost are for a command that changes something")
			return in, plugins.Hint(err, "say effect: change or effect: destroy at the step, or leave them out")
		}
	case plugins.Change, plugins.Destroy:
		if len(in.Observe) == 0 {
			err := fmt.Errorf("a command with effect %s needs observe", effect)
			return in, plugins.Hint(err, "give the command that tells whether it has happened (exit status 0 yes, 1 no, 2 under way, 3 cannot be known)")
		}
		if err := checkArgv("observe", in.Observe); err != nil {
			return in, err
		}
		if len(in.Target) == 0 || len(in.Target) > maxTarget || strings.ContainsFunc(in.Target, unicode.IsControl) {
			return in, fmt.Errorf("a command with effect %s needs a target: the name of what it changes, %d characters at most", effect, maxTarget)
		}
	default:
		err := fmt.Errorf("exec cannot run with effect %q", effect)
		return in, plugins.Hint(err, "say effect: read, effect: change or effect: destroy at the step")
	}
	return in, nil
}

func checkArgv(what string, argv []string) error {
	if len(argv) == 0 || argv[0] == "" {
		return fmt.Errorf("%s: no program is given", what)
	}
	size := 0
	for _, a := range argv {
		size += len(a)
		if strings.ContainsRune(a, 0) {
			return fmt.Errorf("%s: an argument holds a zero byte", what)
		}
	}
	if len(argv) > maxArgs || size > maxText {
		return fmt.Errorf("%s: %d arguments of %d bytes, %d of %d at most", what, len(argv), size, maxArgs, maxText)
	}
	return nil
}

func checkEnv(in input) error {
	size := 0
	for name, value := range in.Env {
		size += len(name) + len(value)
		if err := checkName("env", name); err != nil {
			return err
		}
		if strings.ContainsRune(value, 0) {
			return fmt.Errorf("env: %s holds a zero byte", name)
		}
		if slices.Contains(in.Pass, name) {
			return fmt.Errorf("%s is both in env and in pass", name)
		}
	}
	if size > maxText {
		return fmt.Errorf("env: %d bytes, %d at most", size, maxText)
	}
	for _, name := range in.Pass {
		if err := checkName("pass", name); err != nil {
			return err
		}
	}
	return nil
}

func checkName(what, name string) error {
	if !variableName.MatchString(name) {
		return fmt.Errorf("%s: %q cannot be the name of a variable", what, name)
	}
	if strings.HasPrefix(name, "TKGFIX_") {
		return fmt.Errorf("%s: %s is a variable of tkgfix itself", what, name)
	}
	return nil
}

// resolve finds folder and programs, so that the plan names the very files.
func resolve(in input) (approved, error) {
	ok := approved{
		Command: in.Command, Observe: in.Observe, Env: in.Env,
		Pass: slices.Compact(slices.Sorted(slices.Values(in.Pass))), Accept: slices.Compact(slices.Sorted(slices.Values(in.Accept))),
	}
	var err error
	if ok.Dir, err = filepath.Abs(in.Dir); err != nil {
		return ok, fmt.Errorf("find the folder to run in: %w", err)
	}
	if info, err := os.Stat(ok.Dir); err != nil || !info.IsDir() {
		return ok, plugins.Hint(fmt.Errorf("dir: %s is no folder", ok.Dir), "make it, or give another dir; it is relative to where tkgfix was started")
	}
	if ok.Program, err = program("command", in.Command[0], ok.Dir); err != nil {
		return ok, err
	}
	if len(in.Observe) > 0 {
		ok.ObserveWith, err = program("observe", in.Observe[0], ok.Dir)
	}
	return ok, err
}

// program finds the file of a program as a shell in dir would, but never in a relative entry of PATH.
func program(what, name, dir string) (string, error) {
	lookup := name
	if strings.Contains(name, "/") && !filepath.IsAbs(name) {
		lookup = filepath.Join(dir, name)
	}
	path, err := osexec.LookPath(lookup)
	if err != nil {
		err = fmt.Errorf("%s: %w", what, err)
		return "", plugins.Hint(err, "give an absolute path, or one that begins with ./ and is relative to dir (%s); see: command -v %s", dir, quote(name))
	}
	if path, err = filepath.Abs(path); err != nil {
		return "", fmt.Errorf("%s: %w", what, err)
	}
	return path, nil
}

// digest is the SHA-256 of a program's file.
func digest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read program: %w", err)
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return "", fmt.Errorf("read program: %s is no file", path)
	}
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(f, maxProgram+1))
	if err != nil {
		return "", fmt.Errorf("read program: %w", err)
	}
	if n > maxProgram {
		return "", fmt.Errorf("read program: %s is larger than %d bytes", path, maxProgram)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}

// changeOf says what would be run. All of it is approved.
func changeOf(ok approved, in input, effect plugins.Effect) (plugins.PlannedChange, error) {
	after, err := json.Marshal(ok)
	if err != nil {
		return plugins.PlannedChange{}, fmt.Errorf("encode the command: %w", err)
	}
	c := plugins.PlannedChange{
		Action: plugins.Update, Target: plugins.Target{Kind: kind, Name: in.Target},
		Reason: in.Reason, After: after, Lost: in.Lost, Undo: in.Undo,
	}
	if effect == plugins.Destroy {
		c.Action = plugins.Delete
	}
	if c.Reason == "" {
		c.Reason = "the workflow asks for it"
	}
	if c.Undo == "" && len(c.Lost) == 0 {
		c.Undo = "the workflow does not say how"
	}
	for field, path := range map[string]string{fieldCommand: ok.Program, fieldObserve: ok.ObserveWith} {
		sum, err := digest(path)
		if err != nil {
			return c, err
		}
		c.Preconditions = append(c.Preconditions, plugins.Precondition{Target: c.Target, Field: field, Value: sum})
	}
	slices.SortFunc(c.Preconditions, func(a, b plugins.Precondition) int { return strings.Compare(a.Field, b.Field) })
	return c, nil
}

func warnings(in input, effect plugins.Effect) []string {
	if effect == plugins.Destroy && len(in.Lost) == 0 {
		return []string{fmt.Sprintf("the workflow does not say what is lost when %s is gone", in.Target)}
	}
	return nil
}

// approvedOf returns the one change and what it says that is to be run.
func approvedOf(changes []plugins.PlannedChange) (plugins.PlannedChange, approved, error) {
	var ok approved
	if len(changes) != 1 {
		return plugins.PlannedChange{}, ok, fmt.Errorf("%s was approved with %d changes, not one", Name, len(changes))
	}
	c := changes[0]
	if err := json.Unmarshal(c.After, &ok); err != nil {
		return c, ok, fmt.Errorf("read the approved command: %w", err)
	}
	if len(ok.Command) == 0 || len(ok.Observe) == 0 || !filepath.IsAbs(ok.Program) || !filepath.IsAbs(ok.ObserveWith) || !filepath.IsAbs(ok.Dir) {
		return c, ok, errors.New("read the approved command: it is not whole")
	}
	return c, ok, nil
}

// holds compares the programs with those that were approved.
func holds(c plugins.PlannedChange, ok approved, fields ...string) error {
	paths := map[string]string{fieldCommand: ok.Program, fieldObserve: ok.ObserveWith}
	for _, field := range fields {
		i := slices.IndexFunc(c.Preconditions, func(p plugins.Precondition) bool { return p.Field == field })
		if i < 0 {
			return fmt.Errorf("the approved change does not say %s", field)
		}
		sum, err := digest(paths[field])
		if err != nil {
			return err
		}
		if sum != c.Preconditions[i].Value {
			err := plugins.WithKind(plugins.KindConflict, fmt.Errorf("%s is another file than the one that was approved", paths[field]))
			return plugins.Hint(err, "look at what it does now, and plan again; see: sha256sum %s", quote(paths[field]))
		}
	}
	return nil
}
