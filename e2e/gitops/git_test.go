//go:build gitops

package gitops

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// pullEvery is how often the loop pulls.
const pullEvery = 500 * time.Millisecond

// host is a Git server: git http-backend over HTTP. Anybody may read; who may push is said for each repository.
type host struct {
	root, backend, home string
	url                 *url.URL
	pushers             map[string][]string
	password            string
}

// newHost starts a server of empty repositories, by name, with those who may push to them.
func newHost(t *testing.T, pushers map[string][]string) *host {
	t.Helper()
	h := &host{root: t.TempDir(), home: t.TempDir(), pushers: pushers, password: rand.Text()}
	h.backend = filepath.Join(strings.TrimSpace(h.git(t, h.root, "", "--exec-path")), "git-http-backend")
	for name := range pushers {
		h.git(t, h.root, "", "init", "--quiet", "--bare", "--initial-branch=main", name)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	var err error
	if h.url, err = url.Parse(s.URL); err != nil {
		t.Fatal(err)
	}
	return h
}

// ServeHTTP asks for a name and a password before anything is pushed.
func (h *host) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	env := []string{"GIT_PROJECT_ROOT=" + h.root, "GIT_HTTP_EXPORT_ALL=1", "HOME=" + h.home}
	if r.URL.Query().Get("service") == "git-receive-pack" || strings.HasSuffix(r.URL.Path, "/git-receive-pack") {
		user, password, ok := r.BasicAuth()
		if !ok || password != h.password {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		repository, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		if !slices.Contains(h.pushers[repository], user) {
			http.Error(w, user+" may not push to "+repository, http.StatusForbidden)
			return
		}
		env = append(env, "REMOTE_USER="+user)
	}
	(&cgi.Handler{Path: h.backend, Root: "/", Dir: h.root, Env: env, Stderr: io.Discard}).ServeHTTP(w, r)
}

func (h *host) address(repository, user string) string {
	u := h.url.JoinPath(repository)
	if user != "" {
		u.User = url.UserPassword(user, h.password)
	}
	return u.String()
}

// command is git with nothing of the configuration of who runs the test.
func (h *host) command(ctx context.Context, dir, who string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + h.home, "LC_ALL=C", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=" + who, "GIT_AUTHOR_EMAIL=" + who, "GIT_COMMITTER_NAME=" + who, "GIT_COMMITTER_EMAIL=" + who,
	}
	return cmd
}

func (h *host) git(t *testing.T, dir, who string, args ...string) string {
	t.Helper()
	out, err := h.command(t.Context(), dir, who, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// workingCopy is a person's clone of a repository.
type workingCopy struct {
	*host
	dir, who string
}

// clone clones a repository for a person.
func (h *host) clone(t *testing.T, repository, who string) workingCopy {
	t.Helper()
	w := workingCopy{host: h, dir: filepath.Join(t.TempDir(), "clone"), who: who}
	h.git(t, h.root, who, "clone", "--quiet", h.address(repository, who), w.dir)
	return w
}

// commit writes files, by their paths, commits and pushes them. One without content is removed.
func (w workingCopy) commit(t *testing.T, message string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(w.dir, name)
		if content == "" {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	w.git(t, w.dir, w.who, "add", "--all")
	w.git(t, w.dir, w.who, "commit", "--quiet", "--message="+message)
	w.git(t, w.dir, w.who, "push", "--quiet", "origin", "HEAD:main")
}

// pull keeps a checkout of a repository at its newest commit until the test ends, and returns its path. The path is a link that moves from
// one commit's files to the next one's at once: in place, git takes a file away before it writes it anew, and who looks in between would
// prune what it holds.
func (h *host) pull(t *testing.T, repository string) (path string) {
	t.Helper()
	dir := t.TempDir()
	path = filepath.Join(dir, "current")
	h.git(t, dir, "", "clone", "--quiet", h.address(repository, ""), "clone")
	h.show(t, dir)
	done := make(chan struct{})
	t.Cleanup(func() { <-done })
	go func() {
		defer close(done)
		tick := time.NewTicker(pullEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-t.Context().Done():
				return
			}
			out, err := h.command(t.Context(), filepath.Join(dir, "clone"), "", "pull", "--quiet", "--ff-only").CombinedOutput()
			if err == nil {
				err = h.advance(t.Context(), dir)
			}
			if err != nil && t.Context().Err() == nil {
				t.Errorf("git pull: %v\n%s", err, out)
				return
			}
		}
	}()
	return path
}

func (h *host) show(t *testing.T, dir string) {
	t.Helper()
	if err := h.advance(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
}

// advance lets the link lead to the files of the commit that the clone is at.
func (h *host) advance(ctx context.Context, dir string) error {
	clone := filepath.Join(dir, "clone")
	out, err := h.command(ctx, clone, "", "rev-parse", "HEAD").Output()
	if err != nil {
		return err
	}
	tree := filepath.Join(dir, strings.TrimSpace(string(out)))
	if _, err := os.Stat(tree); err == nil {
		return nil
	}
	if out, err := h.command(ctx, clone, "", "worktree", "add", "--quiet", "--detach", tree).CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	next := filepath.Join(dir, "next")
	if err := os.Symlink(tree, next); err != nil {
		return err
	}
	return os.Rename(next, filepath.Join(dir, "current"))
}
