package remedy

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/tkgfix/tkgfix/internal/node"
	"github.com/tkgfix/tkgfix/internal/nodelook"
	"github.com/tkgfix/tkgfix/internal/probe"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
)

// Sight is what one worker sees of the registry, by its own roots and, if there is one, with the candidate CA beside them.
type Sight struct {
	Node   tkg.Node
	Look   nodelook.Look
	Report probe.Report
	// Err is why the worker could not be asked; nil if it was.
	Err error
	// Joined says that the worker has joined its cluster. One that has not does not speak against a proof: its trust may be what keeps it.
	Joined bool
}

// See lets each worker dial the registry, eight at a time. A worker that cannot be asked has an Err and does not hide what the others say.
// joined are the UIDs of the machines that are in the cluster. It blocks on the network.
func See(ctx context.Context, workers nodelook.Workers, ask probe.Request, joined map[string]bool) []Sight {
	out := make([]Sight, len(workers.Nodes))
	errs := workers.Ask(ctx, func(ctx context.Context, i int, conn *node.Conn) error {
		var err error
		out[i].Look, out[i].Report, err = nodelook.Probe(ctx, conn, ask)
		return err
	})
	for i, n := range workers.Nodes {
		out[i].Node, out[i].Err, out[i].Joined = n, errs[i], joined[string(n.MachineUID)]
	}
	return out
}

// Joined returns the UIDs of the machines that have joined their cluster, for See.
func Joined(roll tkg.Roll) map[string]bool {
	out := map[string]bool{}
	for _, m := range roll.Machines {
		out[string(m.UID)] = m.Joined
	}
	return out
}

// Asked returns the sights of the workers that are in the cluster and could be asked.
func Asked(sights []Sight) []Sight {
	return slices.DeleteFunc(slices.Clone(sights), func(s Sight) bool { return s.Err != nil || !s.Joined })
}

// AllTrust reports whether each worker that was asked trusts the registry as it is. None proves nothing.
func AllTrust(sights []Sight) bool {
	asked := Asked(sights)
	return len(asked) > 0 && !slices.ContainsFunc(asked, func(s Sight) bool { return !s.Report.Accepted })
}

// Older reports that the worker's trust is right and that its containerd has not read it.
func (s Sight) Older() bool { return s.Err == nil && s.Report.Remedy == probe.Restart }

// AllOlder reports that nothing but the restart of containerd is missing on the workers that do not trust the registry.
func AllOlder(sights []Sight) bool {
	bad := slices.DeleteFunc(Asked(sights), func(s Sight) bool { return s.Report.Accepted })
	return len(bad) > 0 && !slices.ContainsFunc(bad, func(s Sight) bool { return !s.Older() })
}

// withError is the error that stays with the candidate added.
func (s Sight) withError() string {
	if s.Report.WithCandidate == nil {
		return s.Report.GoError
	}
	return s.Report.WithCandidate.GoError
}

// ProofBlocks says why what the workers saw does not prove that the candidate CA is the cure: it must complete the chain that the registry
// presents to each of those that are in the cluster and can be asked, and there must be one. Workers that say the same share a block.
func ProofBlocks(registry string, sights []Sight) []plugins.Block {
	asked := Asked(sights)
	if len(asked) == 0 {
		reason := "no node of the cluster can be asked, so that nothing proves that the candidate CA is the cure"
		for _, s := range sights {
			if s.Err != nil {
				reason += ": " + s.Err.Error()
				break
			}
		}
		return []plugins.Block{{Reason: reason, Hint: "see which nodes there are and reach one: kubectl get machines -A; connections.nodes says how they are reached"}}
	}
	return Blocks(asked, func(s Sight) (plugins.Block, bool) { return s.Unproved(registry) })
}

// Blocks returns what each worker says against a change, after the names of those that say the same.
func Blocks(sights []Sight, against func(Sight) (plugins.Block, bool)) []plugins.Block {
	var blocks []plugins.Block
	nodes := map[string][]string{}
	for _, s := range sights {
		b, ok := against(s)
		if !ok {
			continue
		}
		if nodes[b.Reason] == nil {
			blocks = append(blocks, b)
		}
		nodes[b.Reason] = append(nodes[b.Reason], s.Node.Name)
	}
	for i, b := range blocks {
		blocks[i].Reason = "as seen from " + strings.Join(nodes[b.Reason], ", ") + ", " + b.Reason
	}
	return blocks
}

// Unproved says why what one worker saw does not prove that the candidate CA is the cure, without its name; false if nothing speaks
// against it.
func (s Sight) Unproved(registry string) (plugins.Block, bool) {
	v := s.Report.Verdict
	if s.Report.Accepted || s.Older() || s.Report.CandidateAccepted() {
		return plugins.Block{}, false
	}
	hint := fmt.Sprintf("%s; see docs/checks.md#%s", v.Do, v.ID)
	if missing := s.Report.MissingName(); missing != "" && v.Trust {
		hint = "give a CA file with " + missing
	}
	return plugins.Block{
		Reason: fmt.Sprintf("the candidate CA does not make the certificate of %s valid: %s", registry, s.withError()), Hint: hint,
	}, true
}

// Unasked says of which workers nothing is known, and why.
func Unasked(sights []Sight) []string {
	var out []string
	for _, s := range sights {
		switch {
		case s.Err != nil && s.Joined:
			out = append(out, fmt.Sprintf("node %s could not be asked, the others prove: %s", s.Node.Name, s.Err))
		case s.Err != nil:
			out = append(out, fmt.Sprintf("node %s has not joined the cluster and could not be asked: %s", s.Node.Name, s.Err))
		}
	}
	return out
}

// ProofEvidence says what each worker saw, with its own roots and with the candidate.
func ProofEvidence(registry string, sights []Sight) []plugins.Evidence {
	var out []plugins.Evidence
	for _, s := range sights {
		if s.Err != nil {
			out = append(out, plugins.Evidence{Subject: "node " + s.Node.Name, Check: "handshake", Verdict: plugins.Info, Text: "it could not be asked: " + s.Err.Error()})
			continue
		}
		r := s.Report
		out = append(out, s.evidence("handshake", fmt.Sprintf("%s with the node's own roots", registry), r.Accepted, r.GoError))
		if r.WithCandidate != nil {
			out = append(out, s.evidence("handshake-with-candidate", fmt.Sprintf("%s with the candidate CA added", registry), r.CandidateAccepted(), s.withError()))
		}
		for _, note := range r.Notes {
			out = append(out, plugins.Evidence{Subject: "node " + s.Node.Name, Check: "node-note", Verdict: plugins.Info, Text: note})
		}
	}
	return out
}

func (s Sight) evidence(check, what string, ok bool, text string) plugins.Evidence {
	e := plugins.Evidence{Subject: "node " + s.Node.Name, Check: check, Verdict: plugins.OK, Text: what + ": valid"}
	if !ok {
		e.Verdict, e.Text = plugins.Bad, fmt.Sprintf("%s: %s", what, text)
	}
	e.Data, _ = json.Marshal(struct { // plain fields: it cannot go wrong
		OK      bool         `json:"ok"`
		Verdict string       `json:"verdict"`
		Error   string       `json:"error"`
		Missing string       `json:"missing"`
		Chain   []probe.Cert `json:"chain"`
	}{ok, s.Report.ID, text, s.Report.MissingName(), s.Report.Chain})
	return e
}

// Names returns the names of the workers, comma-separated.
func Names(sights []Sight) string {
	names := make([]string, len(sights))
	for i, s := range sights {
		names[i] = s.Node.Name
	}
	return strings.Join(names, ", ")
}
