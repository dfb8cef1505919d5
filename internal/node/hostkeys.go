package node

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"

	"github.com/tkgfix/tkgfix/plugins"
)

// The ways to treat a host key that is not known, the values of plugins.Nodes.HostKeys.
const (
	acceptNew = "accept-new"
	strict    = "strict"
)

// aliasForm keeps what would be a pattern, a list or a second line out of known_hosts.
var aliasForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]{0,127}$`)

// host is who a host key belongs to.
type host struct {
	// what names it for people.
	what string
	// address is its host:port, under which the user's files know it.
	address string
	// pin is its host:port in our own file. A node's host is the UID of its Machine, since an address is used again by the next node with
	// another key (tkg-facts.md §3); a jump host's is its own.
	pin string
	// machine says that it is a node.
	machine bool
}

// hostKeys knows hosts by our own file, which is written, and by the user's and the system's files, which are not.
type hostKeys struct {
	path   string
	mode   string
	own    *book
	others *book
}

func (m machine) openHostKeys(conf plugins.Nodes, target Target) (*hostKeys, error) {
	if conf.HostKeys != acceptNew && conf.HostKeys != strict {
		return nil, fmt.Errorf("connections.nodes.hostKeys is %q: it must be %s or %s", conf.HostKeys, acceptNew, strict)
	}
	if !filepath.IsAbs(conf.KnownHosts) {
		return nil, fmt.Errorf("connections.nodes.knownHosts is %q: it must be an absolute path", conf.KnownHosts)
	}
	if !aliasForm.MatchString(target.HostKeyAlias) {
		return nil, fmt.Errorf("node %s: %q cannot name a host key", target.Name, target.HostKeyAlias)
	}
	own, err := readBook(conf.KnownHosts)
	if err != nil {
		return nil, err
	}
	others, err := readBooks(m.knownHosts)
	if err != nil {
		return nil, err
	}
	return &hostKeys{path: conf.KnownHosts, mode: conf.HostKeys, own: own, others: others}, nil
}

// algorithms returns the host key algorithms of the known keys, so that a server with several keys presents the one that is known; nil
// if none is. Ours go before the others', as they do in check.
func (k *hostKeys) algorithms(h host) []string {
	found := k.own.db.HostKeyAlgorithms(h.pin)
	if len(found) == 0 {
		found = k.others.db.HostKeyAlgorithms(strings.ToLower(h.address))
	}
	// With the keys of RSA come the signatures by SHA-1, which prove nothing any more.
	return slices.DeleteFunc(found, func(a string) bool { return a == ssh.KeyAlgoRSA || a == ssh.CertAlgoRSAv01 })
}

// check accepts a known key, pins one at first sight if that is allowed, and refuses the rest. A key that any file revokes is refused. What
// our own file says of a host counts before what the others say: an address of theirs may have been another node's.
func (k *hostKeys) check(ctx context.Context, h host, key ssh.PublicKey) error {
	ours := k.own.look(h.pin, plain(key))
	theirs := k.others.look(strings.ToLower(h.address), key)
	for book, err := range map[*book]error{k.own: ours, k.others: theirs} {
		if revoked, ok := errors.AsType[*xknownhosts.RevokedError](err); ok {
			return plugins.Hint(fmt.Errorf("%s: its host key %s is revoked by %s", h.what, ssh.FingerprintSHA256(plain(key)), book.place(revoked.Revoked)),
				"whoever revoked it no longer trusts who holds it; do not log in before that is cleared up")
		}
	}
	switch {
	case ours == nil:
		return nil
	case !knownhosts.IsHostUnknown(ours):
		return k.changed(h, ours, k.own, plain(key))
	case theirs != nil && !knownhosts.IsHostUnknown(theirs):
		return k.changed(h, theirs, k.others, key)
	case theirs != nil && k.mode == strict:
		return plugins.Hint(fmt.Errorf("%s: its host key %s (%s) is not pinned, and hostKeys is strict", h.what, ssh.FingerprintSHA256(key), key.Type()),
			"compare it with ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub on its console, then add to %s: %s", k.path, knownhosts.Line([]string{h.pin}, key))
	case k.mode == strict:
		return nil
	}
	return k.pin(ctx, h, plain(key))
}

// changed refuses a key that is not the one that a file holds.
func (k *hostKeys) changed(h host, err error, in *book, key ssh.PublicKey) error {
	mismatch, ok := errors.AsType[*xknownhosts.KeyError](err)
	if !ok || len(mismatch.Want) == 0 {
		return fmt.Errorf("%s: its host key %s: %w", h.what, ssh.FingerprintSHA256(plain(key)), err)
	}
	want := mismatch.Want[0]
	why := "find out why"
	name, path := knownhosts.Normalize(strings.ToLower(h.address)), in.file(want)
	switch {
	case in == k.own && h.machine:
		why, name = "a Machine keeps its key for life; find out why", knownhosts.Normalize(h.pin)
	case h.machine:
		why = "addresses of nodes are used again: it may be the key of an earlier node"
	}
	return plugins.Hint(fmt.Errorf("%s: its host key changed: %s pins %s, it now presents %s; it may be another machine",
		h.what, in.place(want), ssh.FingerprintSHA256(want.Key), ssh.FingerprintSHA256(plain(key))),
		"%s, and only if it is right: ssh-keygen -R %s -f %s", why, shellWord(name), path)
}

// otherKind refuses a host that has no key of the kind that is known.
func (k *hostKeys) otherKind(h host) error {
	name, path := knownhosts.Normalize(h.pin), k.path
	if len(k.own.db.HostKeys(h.pin)) == 0 {
		name, path = knownhosts.Normalize(strings.ToLower(h.address)), strings.Join(k.others.files(), " or ")
	}
	return plugins.Hint(fmt.Errorf("%s (%s) no longer has a host key of the pinned kind", h.what, h.address),
		"it may be another machine; only if that is right: ssh-keygen -R %s -f %s", shellWord(name), path)
}

// shellWord quotes a name if a shell would read it as a pattern: [host]:port.
func shellWord(name string) string {
	if strings.HasPrefix(name, "[") {
		return quote(name)
	}
	return name
}

// plain returns the key that a host certificate certifies, and any other key as it is.
func plain(key ssh.PublicKey) ssh.PublicKey {
	if cert, ok := key.(*ssh.Certificate); ok {
		return cert.Key
	}
	return key
}
