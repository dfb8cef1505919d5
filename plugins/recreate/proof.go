package recreate

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/internal/node"
	"github.com/tkgfix/tkgfix/internal/nodelook"
	"github.com/tkgfix/tkgfix/internal/probe"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
)

// proof is what was seen before the deletion.
type proof struct {
	// never says that the cluster never came up, so that it is machines of any kind that looked.
	never    bool
	sights   []sight
	blocks   []plugins.Block
	warnings []string
}

// proveBefore lets each worker dial the registry. Of a cluster that never came up it asks the machines that answer.
func (s supervisor) proveBefore(ctx context.Context, conf plugins.Nodes, r request, w world, now func() time.Time) (proof, error) {
	ask, err := nodelook.Request(r.Registry)
	if err != nil {
		return proof{}, err
	}
	ask.Candidate, ask.Now = r.candidate, now
	never, err := s.neverUp(ctx, w)
	if err != nil {
		return proof{}, err
	}
	if never {
		return s.proveByMachines(ctx, conf, r.Registry, ask, w)
	}
	workers, err := nodelook.FindWorkers(ctx, s.c, conf, r.ref)
	if err != nil {
		return proof{}, err
	}
	sights, err := see(ctx, workers, ask)
	return proof{sights: sights, blocks: proofBlocks(r.Registry, sights), warnings: mixedWarning(sights)}, err
}

// sight is what one worker sees of the registry, by its own roots and with the candidate CA beside them.
type sight struct {
	node   tkg.Node
	report probe.Report
}

// see lets each worker dial the registry. It is an error when one cannot be asked: nothing is proved then.
func see(ctx context.Context, workers nodelook.Workers, req probe.Request) ([]sight, error) {
	out := make([]sight, len(workers.Nodes))
	err := workers.Each(ctx, func(ctx context.Context, i int, conn *node.Conn) error {
		_, report, err := nodelook.Probe(ctx, conn, req)
		out[i] = sight{node: workers.Nodes[i], report: report}
		return err
	})
	return out, err
}

// allTrust reports whether each worker trusts the registry as it is. A cluster without workers proves nothing.
func allTrust(sights []sight) bool {
	return len(sights) > 0 && !slices.ContainsFunc(sights, func(s sight) bool { return !s.report.Accepted })
}

// withError is the error that stays with the candidate added.
func (s sight) withError() string {
	if s.report.WithCandidate == nil {
		return s.report.GoError
	}
	return s.report.WithCandidate.GoError
}

// proofBlocks says why what the workers saw does not prove that the candidate CA, on new nodes, is the cure. Workers that say the same
// share a block.
func proofBlocks(registry string, sights []sight) []plugins.Block {
	var blocks []plugins.Block
	nodes := map[string][]string{}
	for _, s := range sights {
		b, ok := s.block(registry)
		if !ok {
			continue
		}
		if nodes[b.Reason] == nil {
			blocks = append(blocks, b)
		}
		nodes[b.Reason] = append(nodes[b.Reason], s.node.Name)
	}
	for i, b := range blocks {
		blocks[i].Reason = "as seen from " + strings.Join(nodes[b.Reason], ", ") + ", " + b.Reason
	}
	return blocks
}

// block says why one worker speaks against it, without its name.
func (s sight) block(registry string) (plugins.Block, bool) {
	v := s.report.Verdict
	switch {
	case s.report.Remedy == probe.Restart:
		return plugins.Block{
			Reason: "the trust is right already, and containerd has not read it (" + v.ID + "): new nodes would bring nothing but the restart",
			Hint:   v.Do,
		}, true
	case s.report.CandidateAccepted():
		return plugins.Block{}, false
	}
	hint := fmt.Sprintf("%s; see docs/checks.md#%s", v.Do, v.ID)
	if missing := s.report.MissingName(); missing != "" && v.Trust {
		hint = "give a CA file with " + missing
	}
	return plugins.Block{
		Reason: fmt.Sprintf("the candidate CA does not make the certificate of %s valid: %s", registry, s.withError()), Hint: hint,
	}, true
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
		r := s.report
		out = append(out,
			handshakeEvidence(s, "handshake", fmt.Sprintf("%s with the node's own roots", registry), r.Accepted, r.GoError),
			handshakeEvidence(s, "handshake-with-candidate", fmt.Sprintf("%s with the candidate CA added", registry), r.CandidateAccepted(), s.withError()))
		for _, note := range r.Notes {
			out = append(out, plugins.Evidence{Subject: "node " + s.node.Name, Check: "node-note", Verdict: plugins.Info, Text: note})
		}
	}
	return out
}

func handshakeEvidence(s sight, check, what string, ok bool, text string) plugins.Evidence {
	e := plugins.Evidence{Subject: "node " + s.node.Name, Check: check, Verdict: plugins.OK, Text: what + ": valid"}
	if !ok {
		e.Verdict, e.Text = plugins.Bad, fmt.Sprintf("%s: %s", what, text)
	}
	e.Data, _ = json.Marshal(struct { // plain fields: it cannot go wrong
		OK      bool         `json:"ok"`
		Verdict string       `json:"verdict"`
		Error   string       `json:"error"`
		Missing string       `json:"missing"`
		Chain   []probe.Cert `json:"chain"`
	}{ok, s.report.ID, text, s.report.MissingName(), s.report.Chain})
	return e
}

// mixedWarning speaks when some workers trust the registry already: a roll may be under way that makes the deletion needless.
func mixedWarning(sights []sight) []string {
	trusting := 0
	for _, s := range sights {
		if s.report.Accepted {
			trusting++
		}
	}
	if trusting == 0 || trusting == len(sights) {
		return nil
	}
	return []string{fmt.Sprintf("%d of %d workers trust the registry already: if a rolling update is under way, waiting for it is gentler than this",
		trusting, len(sights))}
}
