package nodelook

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/tkgfix/tkgfix/internal/handshake"
	"github.com/tkgfix/tkgfix/internal/node"
	"github.com/tkgfix/tkgfix/internal/probe"
)

// Probe looks at a node, lets it dial a registry, and judges what it meets as that node's containerd would: by its trust files and what
// it has loaded of them, its clock, proxy, hosts.toml and Go. What the request brings of Trust takes the place of the node's files; Dial,
// Proxy, From, Hosts, Loaded, Build and Said are the node's always. Now tells the time of this machine.
//
// A registry that cannot be reached is a report; an error means that the node could not be asked. It blocks on the network, for the
// look and the request's timeout at most.
func Probe(ctx context.Context, conn *node.Conn, req probe.Request) (Look, probe.Report, error) {
	return probeFrom(ctx, conn, req, "")
}

// Request is a request for Probe about a registry given as host[:port].
func Request(registry string) (probe.Request, error) {
	_, hostport, err := handshake.HostPort(registry)
	if err != nil {
		return probe.Request{}, err
	}
	host, port, err := net.SplitHostPort(hostport)
	return probe.Request{Host: host, Port: port}, err
}

// probeFrom is Probe; root goes before each path on the node, in tests.
func probeFrom(ctx context.Context, conn *node.Conn, req probe.Request, root string) (Look, probe.Report, error) {
	if req.Now == nil {
		req.Now = time.Now
	}
	registry := net.JoinHostPort(req.Host, req.Port)
	look, err := Take(ctx, conn, LookRequest{
		Registry: registry, OpenSSL: true, Connect: req.Address(), ServerName: req.ServerName, Now: req.Now, root: root,
	})
	if err != nil {
		return look, probe.Report{}, err
	}
	return look.probe(ctx, conn, req)
}

// probe asks with what the look knows.
func (l Look) probe(ctx context.Context, conn *node.Conn, req probe.Request) (Look, probe.Report, error) {
	hosts, notes, err := l.hosts(ctx, conn, req)
	if err != nil {
		return l, probe.Report{}, err
	}
	dialer := &nodeDialer{conn: conn}
	now := req.Now
	req.Dial, req.Proxy, req.Hosts, req.Said = dialer.dial, l.Proxy(), hosts, l.OpenSSL
	req.From, req.OpenSSL, req.Shown = "node/"+conn.Name(), "", nil
	req.Now = func() time.Time { return now().Add(l.Skew) }
	req.Build = probe.Build{Name: strings.TrimSpace("this node's containerd " + l.Containerd.Release), Go: l.Containerd.Go, Debug: l.Containerd.Debug}
	req.Loaded = nil
	if req.Trust.Roots == nil {
		req.Trust, req.Loaded = l.trust(), l.LoadedRoots()
	}
	report, err := probe.Run(ctx, req)
	if err == nil && dialer.failed() == nil && len(report.Chain) == 0 && !report.Accepted {
		dialer.note(conn.Alive(ctx)) // what looks like the registry's end may be the node's
	}
	switch cause := dialer.failed(); {
	case err != nil:
		return l, report, err
	case errors.Is(cause, node.ErrForwarding):
		if report, err = l.fromOpenSSL(ctx, req, cause); err != nil {
			return l, report, err
		}
		notes = append(notes, "the node's SSH server forbids TCP forwarding: the chain is the one that the node's openssl was shown, without a proxy, and nothing else was asked")
	case cause != nil:
		return l, probe.Report{}, cause
	}
	if l.Skew != 0 {
		notes = append(notes, fmt.Sprintf("the node's clock is off by %s; dates are judged by it, as containerd does", l.Skew))
	}
	if dirs := l.Emptied(); len(dirs) > 0 && !report.Accepted && report.Verdict.Trust {
		notes = append(notes, "files were taken out of "+strings.Join(dirs, " and ")+" after containerd was started: it may still accept what they held, until its next start")
	}
	report.Notes = append(append(report.Notes, l.Notes...), notes...)
	return l, report, nil
}

// fromOpenSSL judges the chain that the node's openssl was shown, when the node does not dial for us. Only the bytes are taken: the
// verdict stays Go's. The error is cause if there is no openssl or it got no chain.
func (l Look) fromOpenSSL(ctx context.Context, req probe.Request, cause error) (probe.Report, error) {
	if l.OpenSSL == nil {
		return probe.Report{}, cause
	}
	if req.Shown = l.OpenSSL.Chain(); len(req.Shown) == 0 {
		return probe.Report{}, cause
	}
	return probe.Run(ctx, req)
}

// nodeDialer lets a node dial, and remembers when the node itself was at fault.
type nodeDialer struct {
	conn *node.Conn

	mu  sync.Mutex
	err error
}

func (d *nodeDialer) dial(ctx context.Context, _, address string) (net.Conn, error) {
	conn, err := d.conn.DialTCP(ctx, address)
	if err == nil {
		return conn, nil
	}
	if errors.Is(err, node.ErrForwarding) || errors.Is(err, node.ErrLost) {
		d.note(err)
	}
	if op, ok := errors.AsType[*net.OpError](err); ok { // containerd's words, without ours
		return nil, op
	}
	return nil, err
}

func (d *nodeDialer) note(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err == nil || errors.Is(err, node.ErrLost) {
		d.err = err
	}
}

func (d *nodeDialer) failed() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

// trust is what Go would trust on this node if containerd were started now, with what it would drop.
func (l Look) trust() probe.Trust {
	files := map[string][]byte{}
	for _, f := range l.Files {
		if f.Go {
			files[f.Path] = f.Data
		}
	}
	return probe.TrustOf(files)
}
