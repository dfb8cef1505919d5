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
	// Now tells the time by which dates are judged.
	Now func() time.Time
}

// prober carries out one request.
type prober struct {
	req   Request
	route route
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
	p := &prober{req: req, route: route{dial: req.Dial, connect: req.Connect, proxy: req.Proxy, pool: func() *tls.Config {
		return &tls.Config{RootCAs: req.Trust.Roots.Pool(), Time: req.Now}
	}}}
	s := p.route.look(ctx, req.Host, req.Port, req.ServerName, false)
	if outer.Err() != nil {
		return Report{}, fmt.Errorf("probe %s: %w", hostPort(req.Host, req.Port), context.Cause(outer))
	}
	c := p.conclude(ctx, s)
	out := p.report(s, c)
	out.OpenSSL = p.openssl(ctx, s, c)
	if c.Accepted && image != nil {
		p.pull(ctx, image, &out)
	}
	if outer.Err() != nil {
		return Report{}, fmt.Errorf("probe %s: %w", hostPort(req.Host, req.Port), context.Cause(outer))
	}
	return out, nil
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
	return Question{Chain: s.shown.Chain, Host: s.serverName, Trust: p.req.Trust, Candidate: p.req.Candidate, Now: p.req.Now()}
}

// report puts a conclusion on the target into the form of the command.
func (p *prober) report(s sight, c Conclusion) Report {
	port, _ := strconv.Atoi(p.req.Port)
	out := Report{
		Target: Target{Host: certs.Clean(p.req.Host), Port: port, ServerName: certs.Clean(p.req.ServerName), Address: s.address},
		From:   p.req.From, Accepted: c.Accepted, Verdict: c.Verdict, GoError: c.GoError, Also: c.Also, Missing: c.Missing,
		Chain: certsOf(s.shown.Chain), WithCandidate: c.With, Proxy: shownProxy(s.proxy),
		Roots: Roots{Files: p.req.Trust.Files, Certificates: p.req.Trust.Roots.Len(), Rejected: p.req.Trust.Rejected},
	}
	if out.Also == nil {
		out.Also = []Further{}
	}
	if out.Roots.Rejected == nil {
		out.Roots.Rejected = []Rejected{}
	}
	if len(s.shown.Chain) == 0 && s.wide != nil {
		out.Chain = unread(s.wide.certs)
	}
	if n := len(s.shown.Chain); n > maxShown {
		c.Note = sentence(c.Note, fmt.Sprintf("of the %d certificates that the server sends %d are shown", n, maxShown))
	}
	out.Message = c.message(hostPort(out.Target.Host, p.req.Port))
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
