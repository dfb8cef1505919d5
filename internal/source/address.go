package source

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"regexp"
	"strings"
	"unicode"

	"github.com/tkgfix/tkgfix/plugins"
)

const (
	maxAddress = 4096
	maxRef     = 256
	// addressForm is what an address looks like, for hints.
	addressForm = "https://git.example.com/team/fleet.git//workflows/fix.yaml?ref=main"
)

// Address is the place of a file in a Git repository, as Terraform and go-getter write it.
type Address struct {
	// Repository is what git is given: a URL of https, ssh or file, or user@host:path.
	Repository string
	// Path is the file's in the repository: relative, with no . and no .. in it.
	Path string
	// Ref is a branch, a tag, a full name such as refs/pull/1/head, or a whole commit; empty for what the repository has as HEAD.
	Ref string
}

var (
	scheme = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://`)
	// scp is the short form of an ssh address, as ssh and git have it, less what git takes for a helper (ext::) or hides a password.
	scp = regexp.MustCompile(`^([A-Za-z0-9_][A-Za-z0-9_.-]*@)?([A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9A-Fa-f:.]+\]):[^:@\s-][^:@\s]*`)
	// objectID is a whole name of a commit, of SHA-1 or SHA-256.
	objectID = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)
	pinned   = regexp.MustCompile(`@([0-9a-f]{40}|[0-9a-f]{64})$`)
)

// IsAddress reports whether what a user gave for a workflow's file is meant as an address in a Git repository. A file whose path looks
// like one is given as ./PATH.
func IsAddress(s string) bool {
	if strings.HasPrefix(s, "git::") || scheme.MatchString(s) {
		return true
	}
	m := scp.FindStringSubmatch(s)
	return m != nil && m[1] != ""
}

// ParseAddress reads an address: REPOSITORY//PATH[?ref=REF], with or without git:: before it. The name that a File of a Git repository
// has, REPOSITORY//PATH@COMMIT, is one too. It connects to nothing.
func ParseAddress(s string) (Address, error) {
	rest := strings.TrimPrefix(s, "git::")
	rest, query, _ := strings.Cut(rest, "?")
	if u, err := url.Parse(rest); len(s) > maxAddress || strings.ContainsFunc(s, unicode.IsControl) || (err != nil && scheme.MatchString(rest)) {
		return Address{}, plugins.Hint(errors.New("address of a workflow: it cannot be read as one"), "write it so: %s", addressForm)
	} else if err == nil && u.User != nil {
		if err := checkUser(u); err != nil {
			return Address{}, err
		}
	}
	start := len(scheme.FindString(rest))
	at := strings.Index(rest[start:], "//")
	if at < 0 {
		return Address{}, plugins.Hint(fmt.Errorf("address of a workflow: %s names a repository and no file in it", rest), "write the file's path after //: %s", addressForm)
	}
	a := Address{Repository: rest[:start+at], Path: rest[start+at+2:]}
	if m := pinned.FindStringSubmatch(a.Path); m != nil && query == "" {
		a.Path, a.Ref = strings.TrimSuffix(a.Path, m[0]), m[1]
	}
	if !fs.ValidPath(a.Path) || a.Path == "." || strings.Contains(a.Path, "#") {
		return Address{}, plugins.Hint(fmt.Errorf("address of a workflow: path %q is not one of a file below the repository's root", a.Path), "write it so: %s", addressForm)
	}
	if err := checkRepository(a.Repository); err != nil {
		return Address{}, err
	}
	if query == "" {
		return a, nil
	}
	var err error
	a.Ref, err = refOf(query)
	return a, err
}

// checkUser refuses a credential in an address: it would stand in the journal and in the report.
func checkUser(u *url.URL) error {
	if _, password := u.User.Password(); !password && u.Scheme == "ssh" {
		return nil // a name to log in by, which is none
	}
	return plugins.Hint(errors.New("address of a workflow: it holds a user or a password, which would be kept in the run's journal"),
		"leave it out, and let git know the login: git help credentials")
}

// checkRepository lets through what git fetches over a channel that it verifies, or from this machine.
func checkRepository(repository string) error {
	u, err := url.Parse(repository)
	if !scheme.MatchString(repository) {
		if repository == "" || scp.FindString(repository) != repository {
			return plugins.Hint(errors.New("address of a workflow: it begins with no repository"), "write it so: %s", addressForm)
		}
		return nil
	}
	if err != nil {
		return errors.New("address of a workflow: it begins with no repository")
	}
	switch u.Scheme {
	case "https", "ssh":
		if u.Hostname() == "" || strings.HasPrefix(u.Hostname(), "-") || strings.Trim(u.Path, "/") == "" {
			return plugins.Hint(fmt.Errorf("address of a workflow: %q names no host and repository", repository), "write it so: %s", addressForm)
		}
	case "file":
		if u.Host != "" || !strings.HasPrefix(u.Path, "/") {
			return plugins.Hint(fmt.Errorf("address of a workflow: %q is not an absolute path", repository), "file:///srv/git/fleet.git//workflows/fix.yaml")
		}
	case "http", "git":
		return plugins.Hint(fmt.Errorf("address of a workflow: over %s nobody knows who answers, and what is fetched is carried out", u.Scheme),
			"use https:// or ssh://; for a certificate of your own CA: git config --global http.https://%s/.sslCAInfo FILE", u.Host)
	default:
		return plugins.Hint(fmt.Errorf("address of a workflow: %s is not fetched: https, ssh and file are", u.Scheme), "write it so: %s", addressForm)
	}
	if u.Fragment != "" {
		return plugins.Hint(errors.New("address of a workflow: it has a part after #"), "name a branch or a tag so: ?ref=main")
	}
	return nil
}

// refOf reads what stands behind the ?.
func refOf(query string) (string, error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return "", fmt.Errorf("address of a workflow: %q behind the ? cannot be read", query)
	}
	for key := range values {
		if key != "ref" {
			return "", plugins.Hint(fmt.Errorf("address of a workflow: there is no parameter %q", key),
				"only ref is one; how git logs in stands in its configuration and in ssh's")
		}
	}
	if len(values["ref"]) != 1 {
		return "", errors.New("address of a workflow: ref is given more than once")
	}
	return values.Get("ref"), checkRef(values.Get("ref"))
}

// checkRef holds a ref to git-check-ref-format(1), so that none is an option, a refspec or an expression.
func checkRef(ref string) error {
	bad := func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`~^:?*[\`, r) }
	switch {
	case ref == "", len(ref) > maxRef, ref == "@", strings.ContainsFunc(ref, bad), strings.HasPrefix(ref, "-"), strings.HasPrefix(ref, "+"),
		strings.Contains(ref, ".."), strings.Contains(ref, "@{"), strings.Contains(ref, "//"), strings.HasPrefix(ref, "/"), strings.HasSuffix(ref, "/"),
		strings.HasSuffix(ref, "."), strings.HasSuffix(ref, ".lock"):
		return plugins.Hint(fmt.Errorf("address of a workflow: ref %q is not one of git's", ref), "name a branch, a tag or a whole commit: ?ref=main")
	}
	return nil
}
