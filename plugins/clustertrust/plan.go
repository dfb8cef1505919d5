package clustertrust

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/internal/remedy"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

// found is what Plan goes by.
type found struct {
	world
	roll   tkg.Roll
	sights []remedy.Sight
}

// Plan looks whether the workers trust the registry, proves that they would with the CA, picks the entry, and lets the server dry-run the
// changes. What speaks against them blocks the plan; what could not be looked at is an error. While a roll is under way that may bring
// what is declared already, it answers that it is not yet to be planned.
func (s step) Plan(ctx context.Context, req plugins.PlanRequest) (plugins.PlanResponse, error) {
	var none plugins.PlanResponse
	r, err := parse(req.Input)
	if err != nil {
		return none, err
	}
	c, nodes, err := remedy.Connect(req.Connections)
	if err != nil {
		return none, err
	}
	f, err := s.look(ctx, c, nodes, r)
	if err != nil {
		return none, err
	}
	trusted := remedy.AllTrust(f.sights)
	d, err := f.decide(r.Candidate, r.name, !trusted)
	if err != nil {
		return none, err
	}
	held := d.choice.Act == tkg.Keep
	again := d.choice.Act == tkg.Replace && f.entries[d.choice.Index].Right && f.entries[d.choice.Index].HoldsAll(r.Candidate)
	switch {
	// A wedge is mended even if the nodes that are left trust the registry: its new ones do not come up with what is declared.
	case trusted && (held || f.roll.State != tkg.RollStuck):
		return f.unchanged(r, d)
	case again && f.roll.State == tkg.Rolling:
		return none, plugins.NotYet("the CA is declared already, and machines are being replaced: %s", f.roll.Note)
	}
	return f.plan(ctx, c, r, d)
}

func (s step) look(ctx context.Context, c *kube.Client, nodes plugins.Nodes, r request) (found, error) {
	var f found
	var err error
	if f.world, err = read(ctx, c, r.Ref); err != nil {
		return f, err
	}
	if f.roll, err = tkg.ReadRoll(ctx, c, f.owner, time.Time{}, s.env.Now()); err != nil {
		return f, err
	}
	f.sights, err = r.SeeWorkers(ctx, c, nodes, f.roll, s.env.Now)
	return f, err
}

func (f found) unchanged(r request, d decision) (plugins.PlanResponse, error) {
	out := output{Cluster: r.Ref.String()}
	if d.choice.Act == tkg.Keep {
		out.Name, out.Secret = d.choice.Name, d.secret
	}
	raw, err := sdk.Output(out)
	asked := remedy.Asked(f.sights)
	return plugins.PlanResponse{
		Outputs:  raw,
		Evidence: append([]plugins.Evidence{f.evidence()}, remedy.ProofEvidence(r.Registry, f.sights)...),
		Warnings: remedy.Unasked(f.sights),
		Summary:  fmt.Sprintf("each of the %d workers of %s that were asked trusts %s: nothing to change", len(asked), r.Ref, r.Registry),
	}, err
}

// plan puts together the changes and what speaks against them.
func (f found) plan(ctx context.Context, c *kube.Client, r request, d decision) (plugins.PlanResponse, error) {
	var none plugins.PlanResponse
	changes, err := f.changes(d, r.Candidate)
	if err != nil {
		return none, err
	}
	a, err := readApproved(changes)
	if err != nil {
		return none, err
	}
	blocks, tried, err := rehearse(ctx, c, a)
	if err != nil {
		return none, err
	}
	raw, err := sdk.Output(output{Cluster: r.Ref.String(), Changed: true, Name: d.choice.Name, Secret: d.secret})
	if err != nil {
		return none, err
	}
	warnings := append(f.lostWarnings(d, r.Candidate), remedy.DrainWarnings(ctx, c, r.Ref)...)
	if f.roll.State == tkg.Rolling || f.roll.State == tkg.RollStuck {
		warnings = append(warnings, "machines are being replaced already, and this change begins anew: "+f.roll.Note)
	}
	if d.kept != "" {
		warnings = append(warnings, d.kept)
	}
	evidence := append([]plugins.Evidence{f.evidence()}, remedy.ProofEvidence(r.Registry, f.sights)...)
	return plugins.PlanResponse{
		Outputs:  raw,
		Changes:  changes,
		Blocks:   append(append(f.blocks(r), blocks...), f.overrideBlocks()...),
		Evidence: append(evidence, tried...),
		Warnings: append(warnings, remedy.Unasked(f.sights)...),
		Summary:  fmt.Sprintf("%s in the trust of %s: %s", f.act(d), r.Ref, d.choice.Why),
	}, nil
}

func (f found) blocks(r request) []plugins.Block {
	blocks := remedy.OwnerBlocks(f.owner, f.cluster)
	if remedy.AllOlder(f.sights) {
		blocks = append(blocks, plugins.Block{
			Reason: "the trust is right already, and containerd has not read it: new nodes would bring nothing but its restart",
			Hint:   "let the step restart-runtime restart it",
		})
	}
	return append(blocks, remedy.ProofBlocks(r.Registry, f.sights)...)
}

// rehearsal is one act to try.
type rehearsal struct {
	check  string
	target plugins.Target
	act    func(context.Context) error
}

// rehearse lets the server dry-run each act by the code that Apply uses. A refusal is a block; anything else that goes wrong is an error.
func rehearse(ctx context.Context, c *kube.Client, a approved) ([]plugins.Block, []plugins.Evidence, error) {
	dry := actor{c: c.DryRun(), approved: a}
	if !dry.c.IsDryRun() {
		return nil, nil, errors.New("the client would really change the cluster: nothing was tried")
	}
	var acts []rehearsal
	if a.write != nil {
		acts = append(acts, rehearsal{"dry-run-secret", a.write.change.Target, dry.writeKey})
	}
	acts = append(acts, rehearsal{"dry-run-owner", a.owner.Target, dry.declare})
	if a.retire != nil {
		acts = append(acts, rehearsal{"dry-run-retire", a.retire.change.Target, dry.retireKey})
	}
	var blocks []plugins.Block
	var evidence []plugins.Evidence
	for _, try := range acts {
		e := plugins.Evidence{Subject: try.target.String(), Check: try.check, Verdict: plugins.OK, Text: "the API server takes the change (dry-run)"}
		if err := try.act(ctx); err != nil {
			block, ok := refusal(try.target, err)
			if !ok {
				return nil, nil, err
			}
			e.Verdict, e.Text = plugins.Bad, err.Error()
			blocks = append(blocks, block)
		}
		evidence = append(evidence, e)
	}
	return blocks, evidence, nil
}

// refusal makes a block of what the server said no to, or would not store as it was sent.
func refusal(target plugins.Target, err error) (plugins.Block, bool) {
	other := errors.Is(err, errPruned) || errors.Is(err, errStoredOther)
	if !other && !remedy.Refused(err) {
		return plugins.Block{}, false
	}
	b := plugins.Block{Reason: fmt.Sprintf("the API server refuses the change of %s: %s", target, err), Hint: plugins.HintOf(err)}
	if other {
		b.Reason = err.Error()
	}
	if b.Hint == "" {
		b.Hint = fmt.Sprintf("see what it wants: kubectl get %s %s -n %s -o yaml", target.Kind, target.Name, target.Namespace)
	}
	return b, true
}
