package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/gofrs/flock"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/tkgfix/tkgfix/plugins"
)

// The ways to treat a host key that is not pinned, the values of plugins.Nodes.HostKeys.
const (
	acceptNew = "accept-new"
	strict    = "strict"
)

// maxKnownHosts bounds the file of pinned keys, in bytes.
const maxKnownHosts = 16 << 20

// aliasForm keeps what would be a pattern, a list or a second line out of known_hosts.
var aliasForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]{0,127}$`)

// pins is the file of host keys, in OpenSSH's known_hosts form, with the alias as host: a Machine's UID, since an address
// is used again by the next node with another key (tkg-facts.md §3).
type pins struct {
	path  string
	mode  string
	alias string
	node  string
}

func newPins(conf plugins.Nodes, target Target) (*pins, error) {
	if conf.HostKeys != acceptNew && conf.HostKeys != strict {
		return nil, fmt.Errorf("connections.nodes.hostKeys is %q: it must be %s or %s", conf.HostKeys, acceptNew, strict)
	}
	if !filepath.IsAbs(conf.KnownHosts) {
		return nil, fmt.Errorf("connections.nodes.knownHosts is %q: it must be an absolute path", conf.KnownHosts)
	}
	if !aliasForm.MatchString(target.HostKeyAlias) {
		return nil, fmt.Errorf("node %s: %q cannot name a host key", target.Name, target.HostKeyAlias)
	}
	return &pins{path: conf.KnownHosts, mode: conf.HostKeys, alias: target.HostKeyAlias, node: target.Name}, nil
}

// algorithms returns the host key algorithms of the pinned keys, so that a server with several keys presents the one that is
// pinned; nil if none is.
func (p *pins) algorithms() ([]string, error) {
	check, err := p.load()
	if err != nil {
		return nil, err
	}
	var mismatch *knownhosts.KeyError
	if !errors.As(check(p.host(), noAddr{}, noKey{}), &mismatch) {
		return nil, nil
	}
	var out []string
	for _, known := range mismatch.Want {
		switch t := known.Key.Type(); t {
		case ssh.KeyAlgoRSA:
			out = append(out, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
		default:
			out = append(out, t)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// check accepts a pinned key, pins one at first sight if that is allowed, and refuses the rest.
func (p *pins) check(ctx context.Context, remote net.Addr, key ssh.PublicKey) error {
	err := p.known(remote, key)
	if !isUnknown(err) || p.mode == strict {
		return p.explain(err, key)
	}
	if err := os.MkdirAll(filepath.Dir(p.path), 0o700); err != nil {
		return fmt.Errorf("pin the host key of node %s: %w", p.node, err)
	}
	lock := flock.New(p.path+".lock", flock.SetPermissions(0o600))
	if _, err := lock.TryLockContext(ctx, 20*time.Millisecond); err != nil {
		return fmt.Errorf("lock %s: %w", p.path, err)
	}
	defer func() { _ = lock.Close() }()
	// Another process may have pinned it while we waited.
	if err := p.known(remote, key); !isUnknown(err) {
		return p.explain(err, key)
	}
	return p.pin(key)
}

func (p *pins) known(remote net.Addr, key ssh.PublicKey) error {
	check, err := p.load()
	if err != nil {
		return err
	}
	return check(p.host(), remote, key)
}

func (p *pins) pin(key ssh.PublicKey) (err error) {
	file, err := os.OpenFile(p.path, os.O_APPEND|os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("pin the host key of node %s: %w", p.node, err)
	}
	defer func() {
		if cerr := file.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("pin the host key of node %s: %w", p.node, cerr)
		}
	}()
	line := knownhosts.Line([]string{p.alias}, key) + "\n"
	if torn(file) {
		line = "\n" + line
	}
	if _, err := file.WriteString(line); err != nil {
		return fmt.Errorf("pin the host key of node %s: %w", p.node, err)
	}
	if err := file.Sync(); err != nil {
		return fmt.Errorf("pin the host key of node %s: %w", p.node, err)
	}
	return nil
}

// torn reports whether the last line of the file has no end.
func torn(file *os.File) bool {
	info, err := file.Stat()
	if err != nil || info.Size() == 0 {
		return false
	}
	last := make([]byte, 1)
	_, err = file.ReadAt(last, info.Size()-1)
	return err == nil && last[0] != '\n'
}

func (p *pins) load() (ssh.HostKeyCallback, error) {
	info, err := os.Stat(p.path)
	if errors.Is(err, fs.ErrNotExist) {
		return knownhosts.New() // knows none
	}
	if err != nil {
		return nil, fmt.Errorf("read the pinned host keys: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxKnownHosts {
		return nil, fmt.Errorf("read the pinned host keys: %s is not a regular file of at most %d MiB", p.path, maxKnownHosts>>20)
	}
	check, err := knownhosts.New(p.path)
	if err != nil {
		return nil, plugins.Hint(fmt.Errorf("read the pinned host keys: %w", err), "mend or remove that line of %s", p.path)
	}
	return check, nil
}

// host is the alias in the form that knownhosts takes; port 22 is the one that it leaves out.
func (p *pins) host() string { return net.JoinHostPort(p.alias, "22") }

func isUnknown(err error) bool {
	mismatch, ok := errors.AsType[*knownhosts.KeyError](err)
	return ok && len(mismatch.Want) == 0
}

func (p *pins) explain(err error, key ssh.PublicKey) error {
	if err == nil {
		return nil
	}
	found := ssh.FingerprintSHA256(key)
	if revoked, ok := errors.AsType[*knownhosts.RevokedError](err); ok {
		return fmt.Errorf("node %s: its host key %s is revoked by %s:%d", p.node, found, revoked.Revoked.Filename, revoked.Revoked.Line)
	}
	mismatch, ok := errors.AsType[*knownhosts.KeyError](err)
	switch {
	case !ok:
		return err
	case len(mismatch.Want) == 0:
		return plugins.Hint(fmt.Errorf("node %s: its host key %s (%s) is not pinned, and hostKeys is strict", p.node, found, key.Type()),
			"compare it with ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub on the node's console, then add to %s: %s",
			p.path, knownhosts.Line([]string{p.alias}, key))
	}
	want := mismatch.Want[0]
	return plugins.Hint(fmt.Errorf("node %s: its host key changed: %s:%d pins %s, the node now presents %s; it may be another machine",
		p.node, want.Filename, want.Line, ssh.FingerprintSHA256(want.Key), found),
		"a Machine keeps its key for life; find out why, and only if it is right: ssh-keygen -R %s -f %s", p.alias, p.path)
}

// noKey asks the file for what it holds: no key equals it.
type noKey struct{}

func (noKey) Type() string                        { return "none" }
func (noKey) Marshal() []byte                     { return nil }
func (noKey) Verify([]byte, *ssh.Signature) error { return errors.New("no key") }

type noAddr struct{}

func (noAddr) Network() string { return "tcp" }
func (noAddr) String() string  { return "0.0.0.0:0" }
