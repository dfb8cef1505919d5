package node

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"regexp"
	"slices"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"

	"github.com/tkgfix/tkgfix/plugins"
)

// maxKnownHosts bounds a file of host keys, in bytes.
const maxKnownHosts = 16 << 20

// hashForm is a hashed name, of a salt and a sum by SHA-1.
var hashForm = regexp.MustCompile(`^\|1\|[A-Za-z0-9+/]{27}=\|[A-Za-z0-9+/]{27}=$`)

// book holds what files in OpenSSH's known_hosts form say.
type book struct {
	db *knownhosts.HostKeyDB
	// names has the file that each one that was read stands for.
	names map[string]string
}

// look says what the files know: nil for a key that is right, else an error of package knownhosts.
func (b *book) look(hostport string, key ssh.PublicKey) error {
	return b.db.HostKeyCallback()(hostport, &net.TCPAddr{IP: net.IPv4zero}, key)
}

// file is where a known key stands, place the line of it.
func (b *book) file(k xknownhosts.KnownKey) string { return b.names[k.Filename] }
func (b *book) place(k xknownhosts.KnownKey) string {
	return fmt.Sprintf("%s:%d", b.file(k), k.Line)
}

func (b *book) files() []string {
	var out []string
	for _, name := range b.names {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// readBook reads our own file, in which every line must be right. One that does not exist knows nobody.
func readBook(path string) (*book, error) {
	there, err := isThere(path)
	if err != nil {
		return nil, err
	}
	var paths []string
	if there {
		paths = []string{path}
	}
	db, err := knownhosts.NewDB(paths...)
	if err != nil {
		return nil, plugins.Hint(fmt.Errorf("read the pinned host keys: %w", err), "mend or remove that line of %s", path)
	}
	return &book{db: db, names: map[string]string{path: path}}, nil
}

// readBooks reads the files of others. As ssh does, it passes over lines that it cannot read, and files that it may not.
func readBooks(paths []string) (*book, error) {
	b := &book{names: map[string]string{}}
	for _, path := range paths {
		switch there, err := isThere(path); {
		case errors.Is(err, fs.ErrPermission):
		case err != nil:
			return nil, err
		case there:
			b.names[path] = path
		}
	}
	var err error
	if b.db, err = knownhosts.NewDB(b.files()...); err == nil {
		return b, nil
	}
	return b.cleaned()
}

// cleaned reads copies of the files without the lines that cannot be read: the library takes files, and no file with such a line.
func (b *book) cleaned() (*book, error) {
	out := &book{names: map[string]string{}}
	dir, err := os.MkdirTemp("", "tkgfix-known-hosts-")
	if err != nil {
		return nil, fmt.Errorf("read the user's known_hosts: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	var copies []string
	for n, path := range b.files() {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read the user's known_hosts: %w", err)
		}
		to := fmt.Sprintf("%s/%d", dir, n)
		if err := os.WriteFile(to, readableLines(data), 0o600); err != nil {
			return nil, fmt.Errorf("read the user's known_hosts: %w", err)
		}
		copies, out.names[to] = append(copies, to), path
	}
	if out.db, err = knownhosts.NewDB(copies...); err != nil {
		for to, path := range out.names {
			err = errors.New(string(bytes.ReplaceAll([]byte(err.Error()), []byte(to), []byte(path))))
		}
		return nil, plugins.Hint(fmt.Errorf("read the user's known_hosts: %w", err), "mend or remove that line")
	}
	return out, nil
}

// readableLines blanks the lines of a known_hosts file that the library would stumble over, so that the others keep their numbers.
func readableLines(data []byte) []byte {
	lines := bytes.Split(data, []byte("\n"))
	for n, line := range lines {
		if !readable(line) {
			lines[n] = nil
		}
	}
	return bytes.Join(lines, []byte("\n"))
}

// readable reports whether the library can read a line: [marker] hosts type key [comment].
func readable(line []byte) bool {
	const longest = 60 << 10 // its scanner takes 64 KiB
	marker, hosts, key, _, _, err := ssh.ParseKnownHosts(line)
	if err != nil || len(line) > longest || !slices.Contains([]string{"", "cert-authority", "revoked"}, marker) {
		return false
	}
	words := bytes.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' })
	if marker != "" {
		words = words[1:]
	}
	return len(words) > 2 && words[0][0] != '@' && string(words[1]) == key.Type() && plainHosts(hosts)
}

// plainHosts reports whether each pattern is one that the library reads: a hash of three parts, or a name with or without a port.
func plainHosts(hosts []string) bool {
	for _, h := range hosts {
		switch {
		case h == "" || h == "!":
			return false
		case h[0] == '|' && (len(hosts) > 1 || !hashForm.MatchString(h)):
			return false
		case h[0] == '[' || len(h) > 1 && h[:2] == "![":
			if _, _, err := net.SplitHostPort(h[bytes.IndexByte([]byte(h), '['):]); err != nil {
				return false
			}
		}
	}
	return len(hosts) > 0
}

// isThere reports whether a regular file of a bearable size is at path.
func isThere(path string) (bool, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read host keys: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxKnownHosts {
		return false, fmt.Errorf("read host keys: %s is not a regular file of at most %d MiB", path, maxKnownHosts>>20)
	}
	return true, nil
}
