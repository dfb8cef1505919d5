package recreate

import (
	"context"
	"crypto/x509"
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
	"github.com/tkgfix/tkgfix/plugins/internal/remedy"
)

// proof is what was seen before the deletion.
type proof struct {
	// never says that the cluster never came up, so that it is machines of any kind that looked.
	never    bool
	sights   []remedy.Sight
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

// see lets each worker dial the registry. It is an error when one cannot be asked: nothing is proved then.
func see(ctx context.Context, workers nodelook.Workers, req probe.Request) ([]remedy.Sight, error) {
	out := make([]remedy.Sight, len(workers.Nodes))
	err := workers.Each(ctx, func(ctx context.Context, i int, conn *node.Conn) error {
		_, report, err := nodelook.Probe(ctx, conn, req)
		out[i] = sightOf(workers.Nodes[i], report)
		return err
	})
	return out, err
}

// sightOf is what a node saw. Here it counts whether the node has joined or not: a cluster that never came up has none that did.
func sightOf(n tkg.Node, report probe.Report) remedy.Sight {
	return remedy.Sight{Node: n, Report: report, Joined: true}
}

// proofBlocks says why what the nodes saw does not prove that the candidate CA, on new nodes, is the cure. One whose trust is right and
// whose containerd has not read it speaks against a recreate, too.
func proofBlocks(registry string, sights []remedy.Sight) []plugins.Block {
	return remedy.Blocks(sights, func(s remedy.Sight) (plugins.Block, bool) {
		if v := s.Report.Verdict; s.Older() {
			return plugins.Block{
				Reason: "the trust is right already, and containerd has not read it (" + v.ID + "): new nodes would bring nothing but the restart",
				Hint:   v.Do,
			}, true
		}
		return s.Unproved(registry)
	})
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

// mixedWarning speaks when some workers trust the registry already: a roll may be under way that makes the deletion needless.
func mixedWarning(sights []remedy.Sight) []string {
	trusting := 0
	for _, s := range sights {
		if s.Report.Accepted {
			trusting++
		}
	}
	if trusting == 0 || trusting == len(sights) {
		return nil
	}
	return []string{fmt.Sprintf("%d of %d workers trust the registry already: if a rolling update is under way, waiting for it is gentler than this",
		trusting, len(sights))}
}
