package source_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/source"
	"github.com/tkgfix/tkgfix/plugins"
)

// forge is a folder with a bare repository as a server has it, fleet.git, and what was committed to it.
type forge struct {
	dir           string
	first, second string // commits of main
	environ       []string
}

// newForge makes a repository: main with two commits, the annotated tag v1 at the first, and the branch feature/x.
func newForge(t *testing.T) *forge {
	t.Helper()
	f := &forge{dir: t.TempDir()}
	f.environ = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@test",
		"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@test", "GIT_AUTHOR_DATE=2026-01-02T03:04:05Z", "GIT_COMMITTER_DATE=2026-01-02T03:04:05Z",
	}
	work := t.TempDir()
	f.git(t, work, "init", "-q", "-b", "main")
	f.write(t, work, "workflows/fix.yaml", fix)
	f.write(t, work, "large.yaml", strings.Repeat("#", source.MaxFile+1))
	f.write(t, work, "-x.yaml", fix)
	f.first = f.commit(t, work)
	f.git(t, work, "tag", "-a", "-m", "one", "v1")
	f.git(t, work, "branch", "feature/x")
	if err := errors.Join(os.Symlink("fix.yaml", filepath.Join(work, "workflows", "link.yaml")), os.Symlink("workflows", filepath.Join(work, "linked"))); err != nil {
		t.Fatal(err)
	}
	f.write(t, work, "workflows/fix.yaml", fix+"# second\n")
	f.write(t, work, ".gitattributes", "*.yaml text eol=crlf ident\n")
	f.write(t, work, "all*.yaml", fix)
	f.second = f.commit(t, work)
	f.git(t, f.dir, "clone", "-q", "--bare", work, "fleet.git")
	return f
}

func (f *forge) commit(t *testing.T, work string) string {
	t.Helper()
	f.git(t, work, "add", "-A")
	f.git(t, work, "commit", "-q", "-m", "c")
	return strings.TrimSpace(f.git(t, work, "rev-parse", "HEAD"))
}

func (f *forge) git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir, cmd.Env = dir, f.environ
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v: %s", args, err, out)
	}
	return string(out)
}

func (f *forge) write(t *testing.T, dir, name, text string) {
	t.Helper()
	name = filepath.Join(dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// fetch reads the address and checks that nothing of it is left behind.
func fetch(t *testing.T, g source.Git, address string) (source.File, error) {
	t.Helper()
	a, err := source.ParseAddress(address)
	if err != nil {
		t.Fatal(err)
	}
	g.Temp = t.TempDir()
	file, err := g.File(t.Context(), a)
	if left, globErr := filepath.Glob(filepath.Join(g.Temp, "*")); globErr != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, globErr)
	}
	return file, err
}

// TestGit reads files of a repository on this machine, by the real git.
func TestGit(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	repository := "file://" + f.dir + "/fleet.git"
	g := source.Git{Environ: append(f.environ, "GIT_DIR=/nowhere", "GIT_TRACE=2", "GIT_ALLOW_PROTOCOL=none", "GIT_INDEX_FILE=/nowhere/index")}
	for name, tc := range map[string]struct {
		reason  string
		address string
		path    string
		commit  string
		text    string
		err     string
		hint    string
	}{
		"HEAD":    {"without a ref it is what the repository has as HEAD", repository + "//workflows/fix.yaml", "workflows/fix.yaml", f.second, fix + "# second\n", "", ""},
		"Prefix":  {"go-getter's prefix", "git::" + repository + "//workflows/fix.yaml?ref=main", "workflows/fix.yaml", f.second, fix + "# second\n", "", ""},
		"Tag":     {"an annotated tag is of a commit", repository + "//workflows/fix.yaml?ref=v1", "workflows/fix.yaml", f.first, fix, "", ""},
		"Branch":  {"a branch may hold a slash", repository + "//workflows/fix.yaml?ref=feature/x", "workflows/fix.yaml", f.first, fix, "", ""},
		"FullRef": {"a full name", repository + "//workflows/fix.yaml?ref=refs/heads/main", "workflows/fix.yaml", f.second, fix + "# second\n", "", ""},
		"Commit":  {"a commit that no ref names any more may be asked for", repository + "//workflows/fix.yaml?ref=" + f.first, "workflows/fix.yaml", f.first, fix, "", ""},
		"Again":   {"the name of what was read is an address", repository + "//workflows/fix.yaml@" + f.first, "workflows/fix.yaml", f.first, fix, "", ""},
		"Dash":    {"a path is never an option", repository + "//-x.yaml", "-x.yaml", f.second, fix, "", ""},
		"Star":    {"a path is never a pattern", repository + "//all*.yaml?ref=main", "all*.yaml", f.second, fix, "", ""},

		"NoPattern":    {"nor does a pattern find anything", repository + "//workflows/f*.yaml", "", "", "", "has no such file", "look at another branch"},
		"Short":        {"half a commit is no ref", repository + "//workflows/fix.yaml?ref=" + f.first[:8], "", "", "", "no such branch, tag or commit", "all its characters"},
		"NoRef":        {"a ref that is not there", repository + "//workflows/fix.yaml?ref=none", "", "", "", "no such branch, tag or commit", "git ls-remote"},
		"NoCommit":     {"a commit that is not there", repository + "//workflows/fix.yaml?ref=" + strings.Repeat("0", 39) + "1", "", "", "", "no such branch, tag or commit", "git ls-remote"},
		"NoFile":       {"the hint names the file that may be meant", repository + "//fix.yaml", "", "", "", "workflow fix.yaml in " + repository + ": commit " + f.second + " has no such file", "it has workflows/fix.yaml: name that after the //"},
		"NoRepository": {"a repository that is not there", "file://" + f.dir + "/none.git//fix.yaml", "", "", "", "does not appear to be a git repository", "git ls-remote -- file://"},
		"Link":         {"a link is not followed", repository + "//workflows/link.yaml", "", "", "", "links are not followed", "name the file"},
		"Linked":       {"nor one on the way", repository + "//linked/fix.yaml", "", "", "", "no such file", "it has workflows/fix.yaml"},
		"Folder":       {"a folder is no workflow", repository + "//workflows", "", "", "", "it is not a file", ""},
		"Large":        {"what is larger than a workflow may be is not read", repository + "//large.yaml", "", "", "", "larger than 1048576 bytes", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := fetch(t, g, tc.address)
			if tc.err != "" {
				checkError(t, tc.reason, err, tc.err, plugins.KindFailed, tc.hint)
				return
			}
			want := source.File{Name: repository + "//" + tc.path + "@" + tc.commit, Data: []byte(tc.text), Revision: tc.commit}
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Errorf("%s: %v (-want, +got):\n%s", tc.reason, err, diff)
			}
		})
	}
}

// TestGitBounds ends a fetch that takes too long or too much, and what a user interrupts.
func TestGitBounds(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	silent := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(silent.Close)
	g := source.Git{Environ: append(f.environ, "GIT_SSL_CAINFO="+authority(t, silent)), Timeout: time.Second}
	_, err := fetch(t, g, silent.URL+"/fleet.git//fix.yaml")
	checkError(t, "a server that says nothing", err, "git took too long: longer than 1s", plugins.KindTransient, "git ls-remote -- https://127.0.0.1")

	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("interrupted")
	cancel(stopped)
	if _, err := g.File(ctx, source.Address{Repository: silent.URL, Path: "fix.yaml"}); !errors.Is(err, stopped) {
		t.Errorf("got %v, want that it was interrupted", err)
	}

	work := filepath.Join(t.TempDir(), "work")
	f.git(t, f.dir, "clone", "-q", f.dir+"/fleet.git", work)
	noise := make([]byte, 16<<20)
	if _, err := rand.Read(noise); err != nil {
		t.Fatal(err)
	}
	f.write(t, work, "noise", string(noise))
	f.commit(t, work)
	g = source.Git{Environ: f.environ, MaxSize: 1 << 20}
	_, err = fetch(t, g, "file://"+work+"//workflows/fix.yaml")
	checkError(t, "a commit that would fill the disk", err, "the commit is too large: more than 1048576 bytes", plugins.KindFailed, "")
}

// TestGitHTTPS reads over git's own HTTP server: the user's configuration decides what CA is trusted and how git logs in.
func TestGitHTTPS(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	path := strings.TrimSpace(f.git(t, f.dir, "--exec-path"))
	backend := &cgi.Handler{Path: filepath.Join(path, "git-http-backend"), Env: []string{"GIT_PROJECT_ROOT=" + f.dir, "GIT_HTTP_EXPORT_ALL=1"},
		InheritEnv: []string{"PATH"}}
	mux := http.NewServeMux()
	mux.Handle("/open/", http.StripPrefix("/open", withProtocol(backend)))
	mux.HandleFunc("/closed/", func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "bot" || password != "hunter2" {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		http.StripPrefix("/closed", withProtocol(backend)).ServeHTTP(w, r)
	})
	server := httptest.NewTLSServer(mux)
	t.Cleanup(server.Close)
	ca := "GIT_SSL_CAINFO=" + authority(t, server)
	helper := []string{"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=credential.helper", `GIT_CONFIG_VALUE_0=!printf 'username=bot\npassword=hunter2\n';:`}
	wrong := []string{"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=credential.helper", `GIT_CONFIG_VALUE_0=!printf 'username=bot\npassword=other\n';:`}
	rewritten := []string{"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=url.https://bot:hunter2@127.0.0.1:1/.insteadOf", "GIT_CONFIG_VALUE_0=" + server.URL + "/"}
	for name, tc := range map[string]struct {
		reason string
		path   string
		env    []string
		err    string
		kind   plugins.ErrorKind
		hint   string
	}{
		"Private":     {"a private CA that git knows", "/open", []string{ca}, "", "", ""},
		"UnknownCA":   {"nobody is trusted whom git does not trust", "/open", nil, "certificate", plugins.KindFailed, "sslCAInfo"},
		"Helper":      {"the user's credential helper logs in", "/closed", append(helper, ca), "", "", ""},
		"NoLogin":     {"without a terminal nobody is asked", "/closed", []string{ca}, "could not read Username", plugins.KindFailed, "git help credentials"},
		"WrongLogin":  {"a login that is refused", "/closed", append(wrong, ca), "Authentication failed", plugins.KindFailed, "git help credentials"},
		"Rewritten":   {"a login in the user's own configuration is not told", "/open", append(rewritten, ca), "127.0.0.1:1/open", plugins.KindTransient, "git ls-remote"},
		"NotFound":    {"another path", "/none", []string{ca}, "not found", plugins.KindFailed, "git ls-remote -- https://127.0.0.1"},
		"PlainByWay":  {"nor does the user's configuration lead to plain http", "/open", []string{ca, "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=url.http://127.0.0.1:1/.insteadOf", "GIT_CONFIG_VALUE_0=" + server.URL + "/"}, "transport 'http' not allowed", plugins.KindFailed, ""},
		"HelperByWay": {"nor to a program", "/open", []string{ca, "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=url.ext::sh -c touch% /tmp/x .insteadOf", "GIT_CONFIG_VALUE_0=" + server.URL + "/"}, "transport 'ext' not allowed", plugins.KindFailed, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			repository := server.URL + tc.path + "/fleet.git"
			got, err := fetch(t, source.Git{Environ: append(f.environ[:len(f.environ):len(f.environ)], tc.env...)}, repository+"//workflows/fix.yaml?ref="+f.first)
			if tc.err != "" {
				checkError(t, tc.reason, err, tc.err, tc.kind, tc.hint)
				return
			}
			want := source.File{Name: repository + "//workflows/fix.yaml@" + f.first, Data: []byte(fix), Revision: f.first}
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Errorf("%s: %v (-want, +got):\n%s", tc.reason, err, diff)
			}
		})
	}
}

// withProtocol hands git's protocol version on, as servers are configured to.
func withProtocol(h *cgi.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := *h
		c.Env = append(c.Env[:len(c.Env):len(c.Env)], "GIT_PROTOCOL="+r.Header.Get("Git-Protocol"))
		c.ServeHTTP(w, r)
	})
}

func authority(t *testing.T, server *httptest.Server) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.pem")
	data := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestGitSSH reads over ssh and sshd, which the user's ssh starts on a pipe.
func TestGitSSH(t *testing.T) {
	t.Parallel()
	f, dir := newForge(t), t.TempDir()
	for _, key := range []string{"host", "user", "other"} {
		if out, err := exec.CommandContext(t.Context(), "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, key)).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v: %s", err, out)
		}
	}
	if os.Geteuid() == 0 {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // where sshd of Debian locks itself in
			t.Fatal(err)
		}
	}
	authorized, err := os.ReadFile(filepath.Join(dir, "user.pub"))
	if err != nil {
		t.Fatal(err)
	}
	host, err := os.ReadFile(filepath.Join(dir, "host.pub"))
	if err != nil {
		t.Fatal(err)
	}
	f.write(t, dir, "authorized", string(authorized))
	f.write(t, dir, "known", "forge.test "+string(host))
	f.write(t, dir, "sshd_config", "HostKey "+dir+"/host\nAuthorizedKeysFile "+dir+"/authorized\nStrictModes no\nUsePAM no\nPidFile none\nAcceptEnv GIT_PROTOCOL\nPermitRootLogin yes\n")
	user := strings.TrimSpace(run(t, "id", "-un"))
	ssh := func(key, known string) string {
		return "GIT_SSH_COMMAND=ssh -F none -o ProxyCommand='/usr/sbin/sshd -i -e -f " + dir + "/sshd_config' -o UserKnownHostsFile=" + known +
			" -o IdentitiesOnly=yes -o IdentityAgent=none -i " + filepath.Join(dir, key)
	}
	repository := "ssh://" + user + "@forge.test" + f.dir + "/fleet.git"
	for name, tc := range map[string]struct {
		reason     string
		repository string
		ssh        string
		err        string
		hint       string
	}{
		"URL":         {"the user's key and known hosts", repository, ssh("user", dir+"/known"), "", ""},
		"Short":       {"the short form", user + "@forge.test:" + f.dir + "/fleet.git", ssh("user", dir+"/known"), "", ""},
		"UnknownHost": {"a host that is not known is not asked about without a terminal", repository, ssh("user", os.DevNull), "Host key verification failed", "known_hosts"},
		"OtherKey":    {"a key that is refused", repository, ssh("other", dir+"/known"), "Permission denied (publickey", "ssh-agent"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := fetch(t, source.Git{Environ: append(f.environ[:len(f.environ):len(f.environ)], tc.ssh)}, tc.repository+"//workflows/fix.yaml?ref=v1")
			if tc.err != "" {
				checkError(t, tc.reason, err, tc.err, plugins.KindFailed, tc.hint)
				return
			}
			if want := tc.repository + "//workflows/fix.yaml@" + f.first; err != nil || got.Name != want || !bytes.Equal(got.Data, []byte(fix)) {
				t.Errorf("%s: %v: got %s: %s", tc.reason, err, got.Name, got.Data)
			}
		})
	}
}

func run(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), program, args...).Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
