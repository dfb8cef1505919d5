package probe

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
)

// puller asks for an image as containerd does, hop by hop.
type puller struct {
	*prober
	hops   []Hop
	client *http.Client
	image  *image
	token  string
	seen   map[string]bool
}

// pulled is what became of a pull.
type pulled struct {
	hops []Hop
	// end is why it came to an end, and where; nil if the image is there and each host of the pull is accepted.
	end   *Conclusion
	where string
}

// ended is the end of a pull, with its verdict.
type ended struct {
	verdict Verdict
	note    string
	goError string
	// judged is set when a host was not accepted.
	judged *Conclusion
}

func (e *ended) Error() string { return e.note }

// pull asks the host for the image.
func (p *prober) pull(ctx context.Context, img *image) *pulled {
	at := hostPort(p.host, p.port)
	l := &puller{prober: p, image: img, seen: map[string]bool{at: true}, hops: []Hop{}}
	transport := p.transport()
	defer transport.CloseIdleConnections()
	l.client = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	err := l.fetch(ctx)
	out := &pulled{hops: l.hops, where: at}
	if err == nil {
		return out
	}
	var end *ended
	if !errors.As(err, &end) {
		end = &ended{verdict: VerdictOf("registry-error"), note: "the registry does not answer: " + withoutQuery(err), goError: withoutQuery(err)}
	}
	if n := len(out.hops); n > 0 {
		out.where = out.hops[n-1].Host
	}
	out.end = &Conclusion{Verdict: end.verdict, Note: end.note, GoError: end.goError, Accepted: true}
	if end.judged != nil {
		out.end = end.judged
		out.end.Note = sentence("not the registry but "+out.where+", to which it refers, is not accepted", out.end.Note)
	}
	return out
}

// transport opens the pull's connections by the route, each verified.
func (p *prober) transport() *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			host, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			return p.route.open(ctx, host, port, false)
		},
		DialTLSContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			host, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			name := host
			if host == p.host && port == p.port {
				name = p.serverName
			}
			return p.route.dialTLS(ctx, host, port, name)
		},
		MaxResponseHeaderBytes: maxHeader, ResponseHeaderTimeout: stageTime, DisableCompression: true,
	}
}

// finish puts the end of a pull over the report on the connection.
func (a asked) finish(out *Report) {
	out.Hops = a.pull.hops
	c := a.pull.end
	if c == nil {
		out.Message = strings.Replace(out.Message, ": ", ": the image is there and each host of the pull is accepted; ", 1)
		return
	}
	if !c.Accepted {
		out.Missing = c.Missing
	}
	out.Verdict, out.GoError, out.Message = c.Verdict, c.GoError, c.message(a.pull.where)
	out.Also = append([]Further{}, c.Also...)
	if out.WithCandidate != nil && c.With != nil {
		out.WithCandidate = c.With
	}
}
