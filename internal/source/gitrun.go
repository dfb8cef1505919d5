package source

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/tkgfix/tkgfix/plugins"
)

const (
	// maxOutput bounds what a command of git may answer where nothing else does, maxSaid what is kept of what it says, in bytes.
	maxOutput = 64 << 10
	maxSaid   = 4 << 10
	// sizeEvery is the pause between two looks at how much was fetched; git itself knows no bound for a fetch.
	sizeEvery = 200 * time.Millisecond
	// grace is what git gets to end in, and to end what it started.
	grace = 3 * time.Second
)

var errTooLarge = errors.New("the commit is too large")

// repository is the bare one into which a commit is fetched.
type repository struct {
	git     Git
	program string
	dir     string
}

// run runs git in the repository and returns its output, which may have so many bytes (0 for maxOutput).
func (r *repository) run(ctx context.Context, most int, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, r.program, append(r.settings(), args...)...)
	cmd.Dir, cmd.Env = r.dir, r.environ()
	out := &capped{left: cmp.Or(most, maxOutput) + 1}
	said := &ending{}
	cmd.Stdout, cmd.Stderr = out, said
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = grace
	if !r.git.Interactive {
		// Without a terminal of theirs neither git nor ssh can ask anybody. With a session of theirs they are ended together: git leaves
		// alone what it started. On a terminal an interrupt reaches them all, and http.lowSpeedTime ends who only waits.
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	}
	err := cmd.Run()
	if ctx.Err() != nil && cmd.Process != nil && !r.git.Interactive {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // who is left of them
	}
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // git is done; ssh's shared connection (ControlPersist) stays and holds the pipe
	}
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errTooLong):
		return nil, plugins.WithKind(plugins.KindTransient, fmt.Errorf("git %s: %w: longer than %s", args[0], cause, cmp.Or(r.git.Timeout, gitTimeout)))
	case errors.Is(cause, errTooLarge):
		return nil, r.tooLarge(args[0])
	case cause != nil:
		return nil, cause
	case err != nil:
		return nil, explainGit(args[0], err, said.String())
	case out.left <= 0:
		return nil, fmt.Errorf("git %s: its answer is longer than %d bytes", args[0], cmp.Or(most, maxOutput))
	}
	return out.kept.Bytes(), nil
}

func (r *repository) tooLarge(command string) error {
	return fmt.Errorf("git %s: %w: more than %d bytes", command, errTooLarge, cmp.Or(r.git.MaxSize, maxRepository))
}

// settings are set over the user's own: they only take away what a fetch of one file does not need.
func (r *repository) settings() []string {
	set := []string{"--git-dir=" + r.dir, "--literal-pathspecs", "--no-pager"}
	for _, s := range []string{
		"core.hooksPath=" + os.DevNull, "core.fsmonitor=false", "submodule.recurse=false", "fetch.recurseSubmodules=false",
		"fetch.unpackLimit=1", "transfer.bundleURI=false", "gc.auto=0", "maintenance.auto=false", "fetch.writeCommitGraph=false",
		// What is large is streamed to the disk, where it is counted, and not held in memory.
		"core.bigFileThreshold=1m", "pack.threads=1",
		"protocol.version=2",                           // a commit can be asked for by its name
		"http.lowSpeedLimit=1", "http.lowSpeedTime=60", // bytes a second, and seconds
		"advice.detachedHead=false", "init.defaultBranch=main",
	} {
		set = append(set, "-c", s)
	}
	return set
}

// environ is the user's environment, with which git logs in as it does for them, less what leads it to another repository or lets it
// write somewhere.
func (r *repository) environ() []string {
	gone := []string{
		"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR", "GIT_NAMESPACE",
		"GIT_SHALLOW_FILE", "GIT_GRAFT_FILE", "GIT_REPLACE_REF_BASE", "GIT_PREFIX", "GIT_QUARANTINE_PATH", "GIT_EXTERNAL_DIFF", "GIT_TEMPLATE_DIR",
		"GIT_DEFAULT_HASH", "GIT_ALLOW_PROTOCOL", "GIT_PROTOCOL_FROM_USER", "LC_ALL", "LANGUAGE",
	}
	env := slices.DeleteFunc(slices.Clone(r.git.Environ), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return slices.Contains(gone, name) || strings.HasPrefix(name, "GIT_TRACE")
	})
	env = append(env, "GIT_ALLOW_PROTOCOL=https:ssh:file", "GIT_NO_REPLACE_OBJECTS=1", "GIT_NO_LAZY_FETCH=1", "LC_ALL=C")
	if !r.git.Interactive {
		env = append(env, "GIT_TERMINAL_PROMPT=0", "GCM_INTERACTIVE=never", "SSH_ASKPASS_REQUIRE=never")
	}
	return env
}

// watch ends a fetch that takes too much of the disk.
func (r *repository) watch(ctx context.Context, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(sizeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if r.size() > cmp.Or(r.git.MaxSize, maxRepository) {
			cancel(errTooLarge)
			return
		}
	}
}

func (r *repository) size() int64 {
	var sum int64
	_ = filepath.WalkDir(r.dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // git renames while this looks
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			sum += info.Size()
		}
		return nil
	})
	return sum
}

var userinfo = regexp.MustCompile(`://[^/@\s"']*@`)

// explainGit makes an error of what git said, and finds what to do about it.
func explainGit(command string, err error, said string) error {
	said = userinfo.ReplaceAllString(printable(said), "://[REDACTED]@") // the user's insteadOf may hold a login
	if said == "" {
		said = err.Error()
	}
	out := fmt.Errorf("git %s: %s", command, said)
	has := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(said, w) })
	}
	switch {
	case has("couldn't find remote ref", "not our ref", "unadvertised object"):
		return plugins.Hint(fmt.Errorf("the repository has no such branch, tag or commit: %w", out), "a commit is named with all its characters; the branches and tags are listed by git ls-remote")
	case has("could not read Username", "could not read Password", "Authentication failed", "terminal prompts disabled", "returned error: 401", "returned error: 403"):
		return plugins.Hint(out, "let git know the login (git help credentials), and see that git ls-remote gets through without a question")
	case has("Host key verification failed"):
		return plugins.Hint(out, "compare the host's key with the one that its owner gives, and put it into ~/.ssh/known_hosts")
	case has("Permission denied (publickey"):
		return plugins.Hint(out, "add the key to ssh-agent, and see that git ls-remote gets through without a question")
	case has("certificate", "SSL"):
		return plugins.Hint(out, "let git trust the CA: git config --global http.https://HOST/.sslCAInfo FILE")
	case has("dubious ownership"):
		return plugins.Hint(out, "the repository is another user's: git config --global --add safe.directory PATH")
	case has("Could not resolve host", "Connection refused", "Connection timed out", "Failed to connect", "Connection reset", "early EOF", "The requested URL returned error: 5"):
		return plugins.WithKind(plugins.KindTransient, out)
	}
	return out
}

// capped keeps what is written to it until there is no more room.
type capped struct {
	kept bytes.Buffer // not embedded: its ReadFrom knows no bound
	left int
}

func (c *capped) Write(p []byte) (int, error) {
	n := min(len(p), c.left)
	c.left -= n
	c.kept.Write(p[:n])
	return len(p), nil
}

// ending keeps the end of what is written to it, where the cause stands.
type ending struct{ kept []byte }

func (e *ending) Write(p []byte) (int, error) {
	e.kept = append(e.kept, p...)
	if over := len(e.kept) - maxSaid; over > 0 {
		e.kept = append(e.kept[:0], e.kept[over:]...)
	}
	return len(p), nil
}

func (e *ending) String() string { return string(e.kept) }
