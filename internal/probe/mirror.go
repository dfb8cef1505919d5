package probe

import (
	"context"
	"crypto/x509"
	"net"
	"net/url"
	"strings"

	"github.com/tkgfix/tkgfix/internal/certs"
)

// Hosts is what containerd's hosts.toml says of a registry. The zero value is that there is none.
type Hosts struct {
	// File is its path.
	File string
	// List are the hosts in the order in which they are asked, the registry's own server last. Only the first ten are.
	List []Mirror
	// Fault says why containerd cannot go by the file: then it pulls nothing from the registry.
	Fault string
}

// Mirror is a host that is asked in the place of a registry (tkg-facts.md §6.4 row 12).
type Mirror struct {
	// URL is what the repository's path is put behind, such as https://mirror.lab/v2.
	URL *url.URL
	// CA are the certificates that are trusted beside the roots, for this host alone.
	CA []*x509.Certificate
	// SkipVerify says that any certificate is taken.
	SkipVerify bool
	// Client says that containerd has a client certificate for it, which the probe has not.
	Client bool
}

// asked is what became of one host.
type asked struct {
	*prober
	sight      sight
	conclusion Conclusion
	// pull is nil when no image was asked for.
	pull *pulled
}

// hosts are what is asked, in order: each a prober of its own, with the trust that holds for it.
func (p *prober) hosts() []*prober {
	list := p.req.Hosts.List
	if len(list) == 0 {
		list = []Mirror{p.registry()}
	}
	var out []*prober
	for _, m := range list[:min(len(list), maxHops)] {
		out = append(out, p.at(m))
	}
	return out
}

// registry is the registry itself, as it is asked without a hosts.toml.
func (p *prober) registry() Mirror {
	return Mirror{URL: &url.URL{Scheme: "https", Host: hostPort(p.req.Host, p.req.Port), Path: "/v2"}}
}

func (p *prober) at(m Mirror) *prober {
	next := *p
	next.mirror = m
	next.host, next.port, _ = net.SplitHostPort(hostOf(m.URL))
	next.serverName = next.host
	if next.home() {
		next.serverName = p.req.ServerName
	}
	if len(m.CA) > 0 {
		next.req.Trust = p.req.Trust.With(m.CA...)
		if p.req.Loaded != nil { // hosts.toml and its files are read anew at each pull
			next.req.Loaded = p.req.Loaded.With(m.CA...)
		}
	}
	next.route.pool = next.config
	return &next
}

// home says whether the host is the registry itself.
func (p *prober) home() bool { return p.host == p.req.Host && p.port == p.req.Port }

// role is the host's in Report.Hops.
func (p *prober) role() string {
	if p.home() {
		return "registry"
	}
	return "mirror"
}

// ask looks at the host and, if it is accepted, goes on with the image.
func (p *prober) ask(ctx context.Context, img *image) asked {
	out := asked{prober: p}
	if p.mirror.URL.Scheme == "http" {
		out.sight, out.conclusion = p.plain(ctx)
	} else {
		out.sight = p.route.look(ctx, p.host, p.port, p.serverName, false)
		out.conclusion = p.asMirror(p.conclude(ctx, out.sight))
	}
	switch {
	case !out.conclusion.Accepted || img == nil:
	case p.unasked(out.conclusion) != "":
		out.conclusion.Note = sentence(out.conclusion.Note, "it is not asked for the image: "+p.unasked(out.conclusion))
	default:
		out.pull = p.pull(ctx, img)
	}
	return out
}

// unasked says why a host that containerd accepts is not asked for an image; empty if it is.
func (p *prober) unasked(c Conclusion) string {
	switch {
	case c.ID == "trusted-unverified" && p.mirror.SkipVerify:
		return "tkgfix sends nothing to whom it has not verified"
	case c.ID == "trusted-by-older-go":
		return "tkgfix itself goes by the rules of today's Go"
	case p.mirror.Client:
		return "its client certificate is containerd's"
	}
	return ""
}

// plain looks at a host that is asked in plain HTTP.
func (p *prober) plain(ctx context.Context) (sight, Conclusion) {
	s := p.unseen()
	conn, err := p.route.open(ctx, p.host, p.port, false)
	if err != nil {
		s.fail(err)
		return s, judge(p.question(s), s)
	}
	s.address = p.route.shownAddress(s, conn)
	_ = conn.Close()
	return s, Conclusion{Accepted: true, Verdict: VerdictOf("trusted-unverified"), Note: "hosts.toml says that it is asked in plain HTTP"}
}

// asMirror puts what hosts.toml says of certificates over a conclusion.
func (p *prober) asMirror(c Conclusion) Conclusion {
	switch {
	case c.ID == "client-certificate-required" && p.mirror.Client:
		c.Accepted, c.GoError, c.Verdict = true, "", VerdictOf("trusted")
		c.Note = "it demands a client certificate, and hosts.toml gives one, which only containerd has"
	case p.mirror.SkipVerify && !c.Accepted && c.shaken:
		was := Further{c.Verdict, c.Note}
		c = Conclusion{Accepted: true, Verdict: VerdictOf("trusted-unverified"), Note: "hosts.toml says skip_verify: any certificate is taken", Also: []Further{was}}
	}
	return c
}

// settle puts what became of each host together, as containerd does: it goes on to the next host after whatever goes wrong. The pod is
// shown the first error but for a 404, and the true cause is what the first host said.
func (p *prober) settle(ctx context.Context, all []asked) Report {
	at := decisive(all)
	a := all[at]
	out := a.complete(ctx, a.sight, a.conclusion)
	if a.pull != nil {
		a.finish(&out)
	}
	if len(p.req.Hosts.List) == 0 {
		return out
	}
	var hops []Hop
	for i, b := range all {
		c := b.verdict()
		hops = append(hops, Hop{Role: b.role(), Host: certs.Clean(hostPort(b.host, b.port)), Accepted: b.conclusion.Accepted,
			Verdict: c.ID, GoError: c.GoError, Chain: certsOf(b.sight.shown.Chain)})
		if b.pull != nil {
			hops = append(hops, b.pull.hops...)
		}
		if i != at && (!c.Accepted || b.failed()) {
			out.Also = append(out.Also, Further{c.Verdict, certs.Clean(hostPort(b.host, b.port)) + ": " + c.Note})
		}
	}
	out.Hops = hops
	if text := shownError(all); text != "" && a.failed() {
		out.GoError = text
	}
	head, tail, _ := strings.Cut(out.Message, "; see docs/")
	var names []string
	for _, b := range all {
		names = append(names, certs.Clean(hostPort(b.host, b.port)))
	}
	out.Message = head + "; containerd asks by " + certs.Clean(p.req.Hosts.File) + ", in this order: " + strings.Join(names, ", ") + "; see docs/" + tail
	return out
}

// failed says whether containerd goes on to the next host.
func (a asked) failed() bool { return !a.conclusion.Accepted || a.pull != nil && a.pull.end != nil }

// verdict is that on the connection, or on what came after it.
func (a asked) verdict() Conclusion {
	if a.pull != nil && a.pull.end != nil {
		return *a.pull.end
	}
	return a.conclusion
}

// decisive is the host that gives the verdict: the first that does not fail, else the first.
func decisive(all []asked) int {
	for i, a := range all {
		if !a.failed() {
			return i
		}
	}
	return 0
}

// shownError is what the pod is shown when no host helps (containerd, core/remotes/docker/resolver.go: firstErr).
func shownError(all []asked) string {
	for _, a := range all {
		if c := a.verdict(); c.ID != "not-found" {
			return c.GoError
		}
	}
	return ""
}
