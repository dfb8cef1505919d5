package recreate

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/internal/node"
	"github.com/tkgfix/tkgfix/internal/nodelook"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
)

// sight is what one worker sees of the registry.
type sight struct {
	node tkg.Node
	// own is judged with the node's own roots, with is judged with the candidate CA beside them.
	own, with certs.Verdict
	notes     []string
}

// see lets each worker dial the registry. It is an error when one cannot be asked: nothing is proved then.
func see(ctx context.Context, workers nodelook.Workers, req nodelook.ProofRequest) ([]sight, error) {
	out := make([]sight, len(workers.Nodes))
	err := workers.Each(ctx, func(ctx context.Context, i int, conn *node.Conn) error {
		proof, err := nodelook.Prove(ctx, conn, req)
		if err != nil {
			return err
		}
		out[i] = sight{node: workers.Nodes[i], own: proof.Own, with: proof.With, notes: proof.Notes}
		return nil
	})
	return out, err
}

// allTrust reports whether each worker trusts the registry as it is. A cluster without workers proves nothing.
func allTrust(sights []sight) bool {
	return len(sights) > 0 && !slices.ContainsFunc(sights, func(s sight) bool { return !s.own.OK })
}

// proofBlocks says why what the workers saw does not prove that the candidate CA is the cure. Workers that say the same share a block.
func proofBlocks(registry string, sights []sight) []plugins.Block {
	type answer struct {
		verdict certs.Verdict
		nodes   []string
	}
	var answers []answer
	for _, s := range sights {
		if s.with.OK {
			continue
		}
		i := slices.IndexFunc(answers, func(a answer) bool { return a.verdict.Error == s.with.Error && a.verdict.Missing == s.with.Missing })
		if i < 0 {
			i = len(answers)
			answers = append(answers, answer{verdict: s.with})
		}
		answers[i].nodes = append(answers[i].nodes, s.node.Name)
	}
	var blocks []plugins.Block
	for _, a := range answers {
		hint := cmp.Or(a.verdict.Note, "see what the registry presents: openssl s_client -showcerts -connect "+registry)
		if a.verdict.Missing != "" {
			hint = "give a CA file with " + a.verdict.Missing
		}
		blocks = append(blocks, plugins.Block{
			Reason: fmt.Sprintf("as seen from %s, the candidate CA does not make the certificate of %s valid: %s",
				strings.Join(a.nodes, ", "), registry, a.verdict.Error),
			Hint: hint,
		})
	}
	return blocks
}

// trustHolds reports whether the list that TkgServiceConfiguration will hold gives new nodes every certificate of the candidate, encoded
// as that API wants it: once (tkg-facts.md §1.0).
func trustHolds(trust []tkg.TrustEntry, candidate []*x509.Certificate) bool {
	return len(missingFrom(trust, candidate)) == 0
}

func missingFrom(trust []tkg.TrustEntry, candidate []*x509.Certificate) []*x509.Certificate {
	var held []*x509.Certificate
	for _, e := range trust {
		d := tkg.Decode(e.Data, 1)
		if d.Layers != 1 || d.Problem != "" {
			continue
		}
		if bundle, err := certs.ParseBundle(d.PEM); err == nil {
			held = append(held, bundle.Certs...)
		}
	}
	return slices.DeleteFunc(slices.Clone(candidate), func(c *x509.Certificate) bool { return slices.ContainsFunc(held, c.Equal) })
}

// trustBlocks says why new nodes would not get the candidate.
func trustBlocks(trust []tkg.TrustEntry, candidate []*x509.Certificate) []plugins.Block {
	var names []string
	for _, c := range missingFrom(trust, candidate) {
		names = append(names, fmt.Sprintf("%s (sha256 %s)", certs.Subject(c), certs.Fingerprint(c)))
	}
	if len(names) == 0 {
		return nil
	}
	return []plugins.Block{{
		Reason: "new nodes would not get the candidate CA: TkgServiceConfiguration will not hold " + strings.Join(names, ", "),
		Hint:   "let the step patch-tkgserviceconfiguration come first, and give its output trust to this step",
	}}
}

// ownTrustWarning speaks of the cluster's own trust. Whether it adds to TkgServiceConfiguration's or takes its place is not established
// (tkg-facts.md §10).
func ownTrustWarning(own []tkg.TrustEntry, candidate []*x509.Certificate) []string {
	if len(own) == 0 || trustHolds(own, candidate) {
		return nil
	}
	return []string{fmt.Sprintf("the manifest has trusted CAs of its own (%d) without the candidate; on some releases they may take the place of "+
		"TkgServiceConfiguration's: if new nodes lack the CA, add it to spec.settings.network.trust too", len(own))}
}

// proofEvidence says what each worker saw, twice.
func proofEvidence(registry string, sights []sight) []plugins.Evidence {
	var out []plugins.Evidence
	for _, s := range sights {
		out = append(out,
			handshakeEvidence(s.node, "handshake", fmt.Sprintf("%s with the node's own roots", registry), s.own),
			handshakeEvidence(s.node, "handshake-with-candidate", fmt.Sprintf("%s with the candidate CA added", registry), s.with))
		for _, note := range s.notes {
			out = append(out, plugins.Evidence{Subject: "node " + s.node.Name, Check: "node-note", Verdict: plugins.Info, Text: note})
		}
	}
	return out
}

func handshakeEvidence(node tkg.Node, check, what string, v certs.Verdict) plugins.Evidence {
	e := plugins.Evidence{Subject: "node " + node.Name, Check: check, Verdict: plugins.OK, Text: what + ": valid"}
	if !v.OK {
		e.Verdict, e.Text = plugins.Bad, fmt.Sprintf("%s: %s", what, v.Error)
	}
	e.Data, _ = json.Marshal(v) // plain fields: it cannot go wrong
	return e
}

// mixedWarning speaks when some workers trust the registry already: a roll may be under way that makes the deletion needless.
func mixedWarning(sights []sight) []string {
	trusting := 0
	for _, s := range sights {
		if s.own.OK {
			trusting++
		}
	}
	if trusting == 0 || trusting == len(sights) {
		return nil
	}
	return []string{fmt.Sprintf("%d of %d workers trust the registry already: if a rolling update is under way, waiting for it is gentler than this",
		trusting, len(sights))}
}
