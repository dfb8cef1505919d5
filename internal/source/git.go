package source

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/tkgfix/tkgfix/plugins"
)

const (
	gitTimeout = 5 * time.Minute
	// maxRepository bounds what one commit of a repository may take on the disk, in bytes.
	maxRepository = 1 << 30
	// maxTree bounds the list of names in which a file of a missing one's name is looked for, in bytes.
	maxTree = 4 << 20
)

// Git fetches files out of repositories by the user's git, with the logins, certificates and hosts that it is configured for.
type Git struct {
	// Environ is the environment that git gets, less what would point it to another repository.
	Environ []string
	// Interactive says that a person is there whom git and ssh may ask for a login.
	Interactive bool
	// Temp is the folder for what is fetched, which is gone afterwards; empty for the system's.
	Temp string
	// Timeout bounds a fetch as a whole, MaxSize what it may take on the disk, in bytes; 0 for five minutes and 1 GiB.
	Timeout time.Duration
	MaxSize int64
}

// File fetches one commit, without its history, of an address that ParseAddress let through, and returns the file at its path there. The
// file is read from the commit's objects: nothing is checked out, and no hook, filter or submodule takes part. The file's name and its
// revision hold the commit, so that the same name gives the same bytes again.
//
// It blocks on the network and on the disk. What git cannot reach is plugins.KindTransient; a repository, a ref or a path that is not
// there and a login that is refused are not.
func (g Git) File(ctx context.Context, a Address) (File, error) {
	file, err := g.file(ctx, a)
	if err != nil {
		named := fmt.Errorf("workflow %s in %s: %w", a.Path, a.Repository, err)
		return File{}, plugins.Hint(named, "%s", cmp.Or(plugins.HintOf(err), "git ls-remote -- "+a.Repository))
	}
	return file, nil
}

func (g Git) file(ctx context.Context, a Address) (File, error) {
	program, err := exec.LookPath("git")
	if err != nil {
		return File{}, plugins.Hint(errors.New("there is no git on this machine"), "install git, or fetch the file yourself and give its path")
	}
	dir, err := os.MkdirTemp(g.Temp, "tkgfix-git-")
	if err != nil {
		return File{}, fmt.Errorf("make a folder for what is fetched: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // private, and in the system's folder for such
	ctx, cancel := context.WithTimeoutCause(ctx, cmp.Or(g.Timeout, gitTimeout), errTooLong)
	defer cancel()

	r := &repository{git: g, program: program, dir: dir}
	if _, err := r.run(ctx, 0, "init", "--quiet", "--bare", "--template=", "--", dir); err != nil {
		return File{}, err
	}
	if err := r.fetch(ctx, a); err != nil {
		return File{}, err
	}
	out, err := r.run(ctx, 0, "rev-parse", "--verify", "--end-of-options", "FETCH_HEAD^{commit}")
	commit := strings.TrimSpace(string(out))
	if err != nil || !objectID.MatchString(commit) {
		return File{}, fmt.Errorf("%s is no commit: %w", cmp.Or(a.Ref, "HEAD"), err)
	}
	data, err := r.read(ctx, commit, a.Path)
	if err != nil {
		return File{}, err
	}
	return File{Name: a.Repository + "//" + a.Path + "@" + commit, Data: data, Revision: commit}, nil
}

var errTooLong = errors.New("git took too long")

// fetch gets the commit of a ref without its history.
func (r *repository) fetch(ctx context.Context, a Address) error {
	stop, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go r.watch(stop, cancel)
	_, err := r.run(stop, 0, "fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--", a.Repository, cmp.Or(a.Ref, "HEAD"))
	if err == nil && r.size() > cmp.Or(r.git.MaxSize, maxRepository) {
		return r.tooLarge("fetch")
	}
	return err
}

// read returns a file of a commit.
func (r *repository) read(ctx context.Context, commit, name string) ([]byte, error) {
	out, err := r.run(ctx, 0, "ls-tree", "-z", "--full-tree", "--long", "--end-of-options", commit, "--", name)
	if err != nil {
		return nil, err
	}
	// mode SP type SP object SP size TAB path NUL
	line, _, _ := bytes.Cut(out, []byte{0})
	about, found, _ := bytes.Cut(line, []byte{'\t'})
	fields := strings.Fields(string(about))
	if len(fields) != 4 || string(found) != name {
		return nil, r.missing(ctx, commit, name)
	}
	mode, object := fields[0], fields[2]
	size, err := strconv.ParseInt(fields[3], 10, 64)
	switch {
	case mode == "120000":
		return nil, plugins.Hint(errors.New("it is a link in the repository, and links are not followed"), "name the file that it leads to")
	case !strings.HasPrefix(mode, "100"):
		return nil, errors.New("it is not a file in the repository")
	case err != nil || size > MaxFile:
		return nil, fmt.Errorf("it is larger than %d bytes", MaxFile)
	}
	return r.run(ctx, MaxFile, "cat-file", "blob", object)
}

// missing says that a file is not in a commit, and where one of its name is.
func (r *repository) missing(ctx context.Context, commit, name string) error {
	err := fmt.Errorf("commit %s has no such file", commit)
	names, listErr := r.run(ctx, maxTree, "ls-tree", "-r", "-z", "--full-tree", "--name-only", "--end-of-options", commit)
	if listErr != nil {
		return err
	}
	for other := range bytes.SplitSeq(names, []byte{0}) {
		if path.Base(string(other)) == path.Base(name) {
			return plugins.Hint(err, "it has %s: name that after the //", printable(string(other)))
		}
	}
	return plugins.Hint(err, "look at another branch, tag or commit: ?ref=REF")
}
