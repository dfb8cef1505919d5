package nodelook

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/internal/handshake"
	"github.com/tkgfix/tkgfix/internal/node"
)

// ProofRequest says what to prove.
type ProofRequest struct {
	// Registry is the host[:port] to shake hands with.
	Registry string
	// Candidate are the certificates that may be added to the node's trust; none is fine.
	Candidate []*x509.Certificate
	// OpenSSL asks also for the answer of the node's own openssl.
	OpenSSL bool
	// Now tells the time of this machine.
	Now func() time.Time
}

// Proof is what a node would say of a registry.
type Proof struct {
	Look Look
	// Chain is what the registry presented, its own certificate first; empty when there was no handshake.
	Chain []*x509.Certificate
	// Own is the verdict with the roots that are on the node.
	Own certs.Verdict
	// With is the verdict with the candidate added to them; the zero value when there is no candidate.
	With certs.Verdict
	// Notes are lines for people: what may make a pull differ from this.
	Notes []string
}

// Prove looks at a node, lets it dial the registry, and judges what the registry presents: by Go's rules, by the node's own
// clock and roots, and again with the candidate added. A registry that cannot be reached or does not speak TLS is a
// verdict and no error; an error means that the node could not be asked. It blocks for two minutes at most.
func Prove(ctx context.Context, conn *node.Conn, req ProofRequest) (Proof, error) {
	return prove(ctx, conn, req, "")
}

func prove(ctx context.Context, conn *node.Conn, req ProofRequest, root string) (Proof, error) {
	look, err := Take(ctx, conn, LookRequest{Registry: req.Registry, OpenSSL: req.OpenSSL, Now: req.Now, root: root})
	if err != nil {
		return Proof{}, err
	}
	out := Proof{Look: look}
	err = out.judge(ctx, conn, req)
	return out, err
}

// judge shakes hands and gives the verdicts with the roots of the look.
func (p *Proof) judge(ctx context.Context, conn *node.Conn, req ProofRequest) error {
	host, hostport, err := handshake.HostPort(req.Registry)
	if err != nil {
		return err
	}
	look := p.Look
	p.Notes = slices.Clone(look.Notes)
	if look.Skew != 0 {
		p.Notes = append(p.Notes, fmt.Sprintf("the node's clock is off by %s; dates are judged by it, as containerd does", look.Skew))
	}
	err = p.shake(ctx, conn, hostport)
	if errors.Is(err, node.ErrForwarding) {
		err = p.fromOpenSSL(ctx, conn, req, err)
	}
	if err != nil || p.Own.Class != "" {
		return err
	}
	roots, now := look.Roots(), req.Now().Add(look.Skew)
	p.Own = certs.Judge(p.Chain, host, roots, now)
	if len(req.Candidate) > 0 {
		p.With = certs.Judge(p.Chain, host, roots.With(req.Candidate...), now)
	}
	if p.Own.OK && !certs.Judge(p.Chain, host, look.LoadedRoots(), now).OK {
		p.Notes = append(p.Notes, "containerd was started before the trust file that makes this valid was written: it may not know it until it is restarted")
	}
	return nil
}

// shake fills in the chain, or the verdict on what came instead.
func (p *Proof) shake(ctx context.Context, conn *node.Conn, hostport string) error {
	got, err := handshake.From(ctx, conn.DialTCP, hostport)
	switch {
	case err == nil:
		p.Chain = got.Chain
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("shake hands with %s from node %s: %w", hostport, conn.Name(), ctx.Err())
	case errors.Is(err, node.ErrForwarding), errors.Is(err, node.ErrLost):
		return err
	}
	if lost := conn.Alive(ctx); lost != nil {
		return lost
	}
	p.Chain = got.Chain
	p.Own = certs.Verdict{Class: certs.ClassifyDial(err), Error: verdictText(err)}
	p.With = p.Own
	return nil
}

// fromOpenSSL takes the chain that the node's openssl shows, when the node does not dial for us. Only the bytes are taken: the
// verdict stays Go's. The error is cause if there is no openssl or it got no chain.
func (p *Proof) fromOpenSSL(ctx context.Context, conn *node.Conn, req ProofRequest, cause error) error {
	if !req.OpenSSL {
		look, err := Take(ctx, conn, LookRequest{Registry: req.Registry, OpenSSL: true, Now: req.Now})
		if err != nil {
			return err
		}
		p.Look.OpenSSL = look.OpenSSL
	}
	bundle, err := certs.ParseBundle(p.Look.OpenSSL.chain)
	if err != nil {
		return cause
	}
	p.Chain = bundle.Certs
	p.Notes = append(p.Notes, "the node's SSH server forbids TCP forwarding: the chain is the one that the node's openssl showed")
	return nil
}

// verdictText returns the error without our own words around it.
func verdictText(err error) string {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Error()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	return err.Error()
}
