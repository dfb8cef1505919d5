package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"time"

	"github.com/tkgfix/tkgfix/internal/certs"
)

// DefaultTimeout bounds a probe.
const DefaultTimeout = 45 * time.Second

// Request says what to probe, and with what.
type Request struct {
	// Host and Port are the registry's.
	Host, Port string
	// ServerName is the name that is asked for and that the certificate must have; Host if empty.
	ServerName string
	// Connect says what is dialled in the place of a host, or of a host:port: an address, or address:port.
	Connect map[string]string
	// Trust replaces the system's roots.
	Trust Trust
	// Candidate are certificates that might be added to them.
	Candidate []*x509.Certificate
	// Stored are CAs that are configured somewhere; which of them would do is said.
	Stored []Stored
	// Image is a repository with a tag or digest that is asked for as containerd would; nothing is if it is empty.
	Image string
	// Timeout bounds the probe; DefaultTimeout if zero.
	Timeout time.Duration
	// From says where Dial dials from; local if empty.
	From string
	// Dial opens connections; this machine's if nil.
	Dial Dialer
	// Proxy returns the proxy for an address, as containerd would use one; none if nil.
	Proxy func(*url.URL) (*url.URL, error)
	// OpenSSL is the path of an openssl on this machine; none is asked if it is empty.
	OpenSSL string
	// Said is what an openssl elsewhere has answered, in place of one on this machine; nil if none was asked.
	Said *Said
	// Now tells the time by which dates are judged.
	Now func() time.Time
	// Hosts is containerd's hosts.toml for the registry.
	Hosts Hosts
	// Loaded and Build are those of Question.
	Loaded *certs.Roots
	Build  Build
	// Shown is the chain that somebody else's handshake got; nothing is dialled then, and no image is asked for.
	Shown []*x509.Certificate
}

// Address is the host:port that is dialled for the target.
func (r Request) Address() string { return route{connect: r.Connect}.address(r.Host, r.Port) }

// prober carries out one request, at one host.
type prober struct {
	req    Request
	route  route
	mirror Mirror
	// host, port and serverName are those that are asked.
	host, port, serverName string
}

// Run probes. A registry that cannot be reached or is not trusted is a report and no error; an error is an end of ctx from outside, or
// an image that is none. It blocks for the request's timeout at most.
func Run(ctx context.Context, req Request) (Report, error) {
	req = req.complete()
	outer := ctx
	ctx, cancel := context.WithTimeout(ctx, req.Timeout)
	defer cancel()
	image, err := parseImage(req.Host, req.Port, req.Image)
	if err != nil {
		return Report{}, err
	}
	p := &prober{req: req, route: route{dial: req.Dial, connect: req.Connect, proxy: req.Proxy}}
	out := p.run(ctx, image)
	if outer.Err() != nil {
		return Report{}, fmt.Errorf("probe %s: %w", hostPort(req.Host, req.Port), context.Cause(outer))
	}
	return out, nil
}

// run asks the hosts one after the other, up to the one that has the image. Without an image it looks at each.
func (p *prober) run(ctx context.Context, img *image) Report {
	home := p.at(p.registry())
	switch {
	case p.req.Hosts.Fault != "":
		text := certs.Clean(p.req.Hosts.Fault)
		s := home.unseen()
		return home.complete(ctx, s, Conclusion{
			Verdict: VerdictOf("hosts-unreadable"), Note: "containerd cannot go by " + certs.Clean(p.req.Hosts.File) + ": " + text, GoError: text,
			With: home.question(s).withCandidate(false, text),
		})
	case len(p.req.Shown) > 0:
		s := home.unseen()
		s.shown.Chain = p.req.Shown
		return home.complete(ctx, s, judge(home.question(s), s))
	}
	var all []asked
	for _, at := range p.hosts() {
		a := at.ask(ctx, img)
		all = append(all, a)
		if img != nil && !a.failed() {
			break
		}
	}
	return p.settle(ctx, all)
}

// unseen is a host that is not dialled.
func (p *prober) unseen() sight { return sight{host: p.host, port: p.port, serverName: p.serverName} }

// complete makes the report, and compares with openssl.
func (p *prober) complete(ctx context.Context, s sight, c Conclusion) Report {
	out := p.report(s, c)
	out.OpenSSL = p.openssl(ctx, s, c)
	return out
}

// config is the trust for connections after the look, which are always verified: that of the running containerd.
func (p *prober) config() *tls.Config {
	roots := p.req.Trust.Roots
	if p.req.Loaded != nil {
		roots = p.req.Loaded
	}
	return &tls.Config{RootCAs: roots.Pool(), Time: p.req.Now}
}

func (r Request) complete() Request {
	if r.ServerName == "" {
		r.ServerName = r.Host
	}
	if r.Timeout <= 0 {
		r.Timeout = DefaultTimeout
	}
	if r.From == "" {
		r.From = "local"
	}
	if r.Dial == nil {
		r.Dial = (&net.Dialer{}).DialContext
	}
	if r.Trust.Roots == nil {
		r.Trust = r.Trust.done()
	}
	if r.Now == nil {
		r.Now = time.Now
	}
	return r
}

// conclude judges what was seen. Of a chain that came by a proxy and is not trusted it asks whose it is.
func (p *prober) conclude(ctx context.Context, s sight) Conclusion {
	c := judge(p.question(s), s)
	if s.proxy == nil || c.Accepted || len(s.shown.Chain) == 0 || !c.Trust {
		return c
	}
	direct := p.route.look(ctx, s.host, s.port, s.serverName, true)
	if len(direct.shown.Chain) == 0 || len(direct.shown.Chain[0].RawIssuer) == 0 || string(direct.shown.Chain[0].RawIssuer) == string(s.shown.Chain[0].RawIssuer) {
		c.Note = sentence(c.Note, "it came by the proxy "+shownProxy(s.proxy)+", which may be the one that made it")
		return c
	}
	also := append([]Further{{c.Verdict, c.Note}}, c.Also...)
	c.Verdict = VerdictOf("proxy-intercepts")
	c.Note = fmt.Sprintf("the proxy %s ends TLS itself: it shows a certificate by %s, and the registry itself one by %s",
		shownProxy(s.proxy), certs.Info(s.shown.Chain[0]).Issuer, certs.Info(direct.shown.Chain[0]).Issuer)
	c.Also = also
	return c
}

func (p *prober) question(s sight) Question {
	return Question{
		Chain: s.shown.Chain, Host: s.serverName, Trust: p.req.Trust, Candidate: p.req.Candidate, Stored: p.req.Stored, Now: p.req.Now(),
		Loaded: p.req.Loaded, Build: p.req.Build,
	}
}

// report puts a conclusion on the target into the form of the command.
func (p *prober) report(s sight, c Conclusion) Report {
	port, _ := strconv.Atoi(p.req.Port)
	out := Report{
		Target: Target{Host: certs.Clean(p.req.Host), Port: port, ServerName: certs.Clean(p.req.ServerName), Address: s.address},
		From:   p.req.From, Accepted: c.Accepted, Verdict: c.Verdict, GoError: c.GoError, Also: c.Also, Missing: c.Missing,
		Chain: certsOf(s.shown.Chain), Presented: s.shown.Chain, WithCandidate: c.With, CompletedBy: c.CompletedBy, Proxy: shownProxy(s.proxy),
		Roots: Roots{Files: p.req.Trust.Files, Certificates: p.req.Trust.Roots.Len(), Rejected: p.req.Trust.Rejected},
	}
	if out.Also == nil {
		out.Also = []Further{}
	}
	if out.Roots.Rejected == nil {
		out.Roots.Rejected = []Rejected{}
	}
	switch {
	case len(s.shown.Chain) > 0:
	case s.older != nil:
		out.Chain, out.Presented = certsOf(s.older.chain), s.older.chain
	case s.wide != nil:
		out.Chain = unread(s.wide.certs)
	}
	if n := len(s.shown.Chain); n > maxShown {
		c.Note = sentence(c.Note, fmt.Sprintf("of the %d certificates that the server sends %d are shown", n, maxShown))
	}
	out.Message = c.message(certs.Clean(hostPort(p.host, p.port)))
	return out
}

// dialTLS opens a verified connection, for the questions that come after the look.
func (r route) dialTLS(ctx context.Context, host, port, serverName string) (net.Conn, error) {
	conn, err := r.open(ctx, host, port, false)
	if err != nil {
		return nil, err
	}
	config := r.pool()
	config.ServerName = serverName
	config.NextProtos = []string{"http/1.1"}
	secured := tls.Client(conn, config)
	shake, cancel := context.WithTimeout(ctx, stageTime)
	defer cancel()
	if err := secured.HandshakeContext(shake); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secured, nil
}

// ErrNoImage is an image reference that containerd would not take.
var ErrNoImage = errors.New("no image reference")
