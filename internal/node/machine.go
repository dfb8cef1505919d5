package node

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"syscall"

	"github.com/tkgfix/tkgfix/plugins"
)

// machine is what of the machine that this runs on, and of its user, a connection depends on.
type machine struct {
	// user is the login name here, which jump hosts are logged in to with.
	user string
	// home is the user's folder, whose .ssh is read; empty if there is none.
	home string
	// agent is the socket of the SSH agent; empty if there is none.
	agent string
	// knownHosts are the files of host keys that are read and never written.
	knownHosts []string
	patience   patience
}

// here returns this machine.
func here() machine {
	m := machine{agent: os.Getenv("SSH_AUTH_SOCK"), patience: usualPatience()}
	if u, err := user.Current(); err == nil {
		m.user = u.Username
	}
	if home, err := os.UserHomeDir(); err == nil {
		m.home = home
		m.knownHosts = append(m.knownHosts, filepath.Join(home, ".ssh", "known_hosts"), filepath.Join(home, ".ssh", "known_hosts2"))
	}
	m.knownHosts = append(m.knownHosts, "/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")
	return m
}

// readSecret reads a regular file that nobody but its owner may read or write, of at most max bytes.
func readSecret(what, path string, max int64) ([]byte, error) {
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("connections.nodes.%s is %q: it must be an absolute path", what, path)
	}
	// Not blocking: a pipe without a writer would keep us here.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, plugins.Hint(fmt.Errorf("connections.nodes.%s: %s: no such file", what, path), "ls -l %s", filepath.Dir(path))
	}
	if err != nil {
		return nil, fmt.Errorf("connections.nodes.%s: %w", what, err)
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("connections.nodes.%s: %w", what, err)
	}
	switch {
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("connections.nodes.%s: %s is not a regular file", what, path)
	case info.Mode().Perm()&0o077 != 0:
		return nil, plugins.Hint(fmt.Errorf("connections.nodes.%s: others may use %s: its mode is %04o", what, path, info.Mode().Perm()), "chmod 600 %s", path)
	}
	data, err := io.ReadAll(io.LimitReader(file, max+1))
	if err != nil {
		return nil, fmt.Errorf("connections.nodes.%s: %w", what, err)
	}
	if int64(len(data)) > max {
		return nil, fmt.Errorf("connections.nodes.%s: %s is longer than %d bytes", what, path, max)
	}
	return data, nil
}
