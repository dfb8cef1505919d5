package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"

	"github.com/tkgfix/tkgfix/internal/handshake"
)

// older is a connection that only the rules of a newer Go refuse.
type older struct {
	rule  rule
	chain []*x509.Certificate
	// note says what the rule is against.
	note string
}

// lookOlder looks whether only a rule of a newer Go is in the way, of which a containerd that is built with an older one knows nothing.
func (r route) lookOlder(ctx context.Context, s sight, direct bool) *older {
	id, note := s.verdict()
	switch id {
	case ruleNegativeSerial.verdict:
		if s.wide != nil {
			return olderOf(ruleNegativeSerial, parseAllOlder(s.wide.certs), note)
		}
	case ruleTinyKey.verdict:
		if len(s.shown.Chain) == 0 && s.wide != nil {
			return olderOf(ruleTinyKey, parseAllOlder(s.wide.certs), note)
		}
		return olderOf(ruleTinyKey, s.shown.Chain, note)
	case ruleRSAExchange.verdict:
		got, err := r.again(ctx, s, direct, handshake.Offer{CipherSuites: olderSuites()})
		if err == nil {
			return olderOf(suiteRule(got.State.CipherSuite), got.Chain, "the server wants "+tls.CipherSuiteName(got.State.CipherSuite)+", which Go no longer offers")
		}
	case "handshake-timeout", "closed", "reset":
		got, err := r.again(ctx, s, direct, handshake.Offer{Curves: olderCurves()})
		if err == nil {
			return olderOf(ruleLargeHello, got.Chain, note+" unless Go's greeting fits into one packet, without the post-quantum key exchange")
		}
	}
	return nil
}

func olderOf(r rule, chain []*x509.Certificate, note string) *older {
	if len(chain) == 0 {
		return nil
	}
	return &older{rule: r, chain: chain, note: note}
}

func (r route) again(ctx context.Context, s sight, direct bool, offer handshake.Offer) (handshake.Result, error) {
	conn, err := r.open(ctx, s.host, s.port, direct)
	if err != nil {
		return handshake.Result{}, err
	}
	return shake(ctx, conn, s.serverName, stageTime/2, offer)
}
