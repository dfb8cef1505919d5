package source_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/source"
	"github.com/tkgfix/tkgfix/plugins"
)

// TestParseAddress reads addresses as they are written, and refuses what git would read as something else.
func TestParseAddress(t *testing.T) {
	t.Parallel()
	sum := strings.Repeat("ab", 20)
	for name, tc := range map[string]struct {
		reason  string
		address string
		want    source.Address
		err     string
		hint    string
	}{
		"HTTPS":  {"as in the help", "https://h/t/r.git//w/f.yaml?ref=main", source.Address{Repository: "https://h/t/r.git", Path: "w/f.yaml", Ref: "main"}, "", ""},
		"NoRef":  {"HEAD", "https://h/r//f.yaml", source.Address{Repository: "https://h/r", Path: "f.yaml"}, "", ""},
		"Port":   {"a port", "git::https://h:8443/r//f.yaml", source.Address{Repository: "https://h:8443/r", Path: "f.yaml"}, "", ""},
		"SSH":    {"a user to log in by is no credential", "ssh://git@h/r.git//f.yaml", source.Address{Repository: "ssh://git@h/r.git", Path: "f.yaml"}, "", ""},
		"Short":  {"ssh's short form", "git@h:t/r.git//f.yaml?ref=v1", source.Address{Repository: "git@h:t/r.git", Path: "f.yaml", Ref: "v1"}, "", ""},
		"Getter": {"as go-getter has it, a user may be left out", "git::h:t/r.git//f.yaml", source.Address{Repository: "h:t/r.git", Path: "f.yaml"}, "", ""},
		"File":   {"a repository of this machine", "file:///srv/r.git//f.yaml", source.Address{Repository: "file:///srv/r.git", Path: "f.yaml"}, "", ""},
		"Pinned": {"the name of what was read", "https://h/r//f.yaml@" + sum, source.Address{Repository: "https://h/r", Path: "f.yaml", Ref: sum}, "", ""},
		"At":     {"an @ before less than a commit is part of the name", "https://h/r//f@1.yaml", source.Address{Repository: "https://h/r", Path: "f@1.yaml"}, "", ""},
		"Escape": {"a ref is a query's value", "https://h/r//f.yaml?ref=a%2Fb", source.Address{Repository: "https://h/r", Path: "f.yaml", Ref: "a/b"}, "", ""},

		"Password":    {"it would stand in the journal", "https://u:hunter2@h/r//f.yaml", source.Address{}, "holds a user or a password", "git help credentials"},
		"Token":       {"a token is written as a user", "https://hunter2@h/r//f.yaml", source.Address{}, "holds a user or a password", "git help credentials"},
		"SSHPassword": {"ssh takes none", "ssh://u:hunter2@h/r//f.yaml", source.Address{}, "holds a user or a password", "git help credentials"},
		"BadPassword": {"nor is one told that makes no URL", "https://u:hunter2%zz@h/r//f.yaml", source.Address{}, "cannot be read", ""},
		"ShortSecret": {"nor in the short form", "git::u:hunter2@h:r//f.yaml", source.Address{}, "", ""},
		"HTTP":        {"nobody knows who answers", "http://h/r//f.yaml", source.Address{}, "over http nobody knows who answers", "sslCAInfo"},
		"GitProtocol": {"as well", "git://h/r//f.yaml", source.Address{}, "over git nobody knows", ""},
		"Program":     {"git would run it", "git::ext::sh -c x//f.yaml", source.Address{}, "", ""},
		"Other":       {"another scheme", "s3::https://h/r//f.yaml", source.Address{}, "", ""},
		"FTP":         {"another scheme of git", "ftp://h/r//f.yaml", source.Address{}, "ftp is not fetched", ""},
		"NoFile":      {"which file?", "https://h/r.git?ref=main", source.Address{}, "names a repository and no file in it", "path after //"},
		"Nothing":     {"no repository at all", "//f.yaml", source.Address{}, "begins with no repository", ""},
		"NoPath":      {"which file?", "https://h/r.git//?ref=main", source.Address{}, `path ""`, ""},
		"Up":          {"out of the repository", "https://h/r.git//../f.yaml", source.Address{}, "not one of a file below", ""},
		"Absolute":    {"out of the repository", "https://h/r.git///etc/passwd", source.Address{}, "not one of a file below", ""},
		"NoHost":      {"no host", "https:///r.git//f.yaml", source.Address{}, "names no host", ""},
		"Dash":        {"ssh would read it as an option", "ssh://-oProxyCommand=x/r.git//f.yaml", source.Address{}, "", ""},
		"ShortDash":   {"as well", "git::-oProxyCommand=x:r.git//f.yaml", source.Address{}, "", ""},
		"RefDash":     {"git would read it as an option", "https://h/r//f.yaml?ref=--upload-pack=x", source.Address{}, "ref", ""},
		"RefSpec":     {"a refspec writes", "https://h/r//f.yaml?ref=main:main", source.Address{}, "not one of git's", ""},
		"RefForce":    {"as well", "https://h/r//f.yaml?ref=%2Bmain", source.Address{}, "not one of git's", ""},
		"RefReflog":   {"an expression", "https://h/r//f.yaml?ref=main@{1}", source.Address{}, "not one of git's", ""},
		"RefEmpty":    {"nothing is not HEAD", "https://h/r//f.yaml?ref=", source.Address{}, "not one of git's", ""},
		"RefTwice":    {"which?", "https://h/r//f.yaml?ref=a&ref=b", source.Address{}, "more than once", ""},
		"Parameter":   {"go-getter's others are the user's configuration", "https://h/r//f.yaml?sshkey=x", source.Address{}, `no parameter "sshkey"`, "only ref"},
		"Relative":    {"where does it begin?", "file://r.git//f.yaml", source.Address{}, "not an absolute path", ""},
		"Control":     {"what cannot be shown", "https://h/r\n//f.yaml", source.Address{}, "cannot be read", ""},
		"Long":        {"what nobody types", "https://h/" + strings.Repeat("r", 5000) + "//f.yaml", source.Address{}, "cannot be read", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := source.ParseAddress(tc.address)
			if tc.want == (source.Address{}) {
				checkError(t, tc.reason, err, tc.err, plugins.KindFailed, tc.hint)
				return
			}
			if diff := cmp.Diff(tc.want, got); diff != "" || err != nil {
				t.Errorf("%s: %v (-want, +got):\n%s", tc.reason, err, diff)
			}
		})
	}
}

// TestIsAddress tells addresses from the paths of files.
func TestIsAddress(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]bool{
		"https://h/r//f.yaml": true, "http://h/r//f.yaml": true, "ssh://h/r//f": true, "file:///r//f": true, "git::h:r//f": true, "git@h:r//f": true, "x://y": true,
		"fix.yaml": false, "./git@h:r": false, "/srv/a//b.yaml": false, "a:b.yaml": false, "h:r//f": false, "C:/fix.yaml": false, "": false, "-": false,
	} {
		if got := source.IsAddress(s); got != want {
			t.Errorf("%q: got %t, want %t", s, got, want)
		}
	}
}

// FuzzParseAddress holds that what is let through cannot be an option, leads nowhere up, and is read the same again.
func FuzzParseAddress(f *testing.F) {
	for _, seed := range []string{"https://h/r//f?ref=x", "git::ssh://git@h:22/r//f", "git@h:r//f@" + strings.Repeat("0", 40), "file:///r//a/b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := source.ParseAddress(s)
		if err != nil {
			return
		}
		if strings.HasPrefix(a.Repository, "-") || strings.HasPrefix(a.Ref, "-") || strings.HasPrefix(a.Path, "/") || strings.Contains("/"+a.Path+"/", "/../") ||
			strings.Contains(a.Repository, "::") && !strings.Contains(a.Repository, "[") {
			t.Fatalf("%q: %+v", s, a)
		}
		again, err := source.ParseAddress(a.Repository + "//" + a.Path + "@" + strings.Repeat("0", 40))
		if err != nil || again.Repository != a.Repository || again.Path != a.Path {
			t.Fatalf("%q: %+v, then %+v, %v", s, a, again, err)
		}
	})
}
