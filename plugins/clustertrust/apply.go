package clustertrust

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/internal/remedy"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

// The keys of the effects.
const (
	effectWrite   = "write-secret"
	effectDeclare = "repoint"
	effectRetire  = "retire-key"
)

// run is one Apply.
type run struct {
	actor
	step
	nodes    plugins.Nodes
	registry string
	host     plugins.Host
}

// Apply makes the approved changes, waits until the nodes are replaced, and lets them prove themselves before the old key goes. The
// waiting leaves no trace: applied again after a crash it looks at the objects.
func (s step) Apply(ctx context.Context, req plugins.ApplyRequest, host plugins.Host) (plugins.ApplyResponse, error) {
	var none plugins.ApplyResponse
	// Of the input only the registry is asked again: what is done is in the approved changes.
	in, err := sdk.Input[input](req.Input)
	if err != nil {
		return none, err
	}
	a, err := readApproved(req.Changes)
	if err != nil {
		return none, err
	}
	c, nodes, err := remedy.Connect(req.Connections)
	if err != nil {
		return none, err
	}
	r := run{actor: actor{c: c, approved: a}, step: s, nodes: nodes, registry: in.Registry, host: host}
	if err := r.begin(ctx); err != nil {
		return none, err
	}
	sights, err := r.waitAndProve(ctx)
	if err != nil {
		return none, err
	}
	note, err := r.retireOld(ctx)
	if err != nil {
		return none, err
	}
	return r.response(sights, note)
}

func (r run) response(sights []remedy.Sight, note string) (plugins.ApplyResponse, error) {
	raw, err := sdk.Output(output{Cluster: r.ref.String(), Changed: true, Name: r.name, Secret: r.entrySecret()})
	resp := plugins.ApplyResponse{
		Outputs: raw, Evidence: remedy.ProofEvidence(r.registry, sights),
		Summary: fmt.Sprintf("entry %q holds the CA, the nodes of %s are replaced, and all %d workers trust %s", r.name, r.ref, len(remedy.Asked(sights)), r.registry),
	}
	if note != "" {
		resp.Evidence = append(resp.Evidence, plugins.Evidence{Subject: "Secret", Check: "retire-key", Verdict: plugins.Info, Text: note})
	}
	return resp, err
}

// begin writes the key and repoints the owner. Before the first of them, what all stand on is read again.
func (r run) begin(ctx context.Context) error {
	first := effectDeclare
	if r.write != nil {
		first = effectWrite
	}
	state, err := r.host.Effect(ctx, first)
	if err != nil {
		return fmt.Errorf("read the journal of %s: %w", first, err)
	}
	if state == plugins.EffectNone {
		if err := r.holds(ctx); err != nil {
			return err
		}
	}
	if r.write != nil {
		spec := plugins.EffectSpec{Key: effectWrite, Target: r.write.change.Target}
		if err := sdk.Effect(ctx, r.host, spec, r.keySeen(*r.write), r.writeKey); err != nil {
			return err
		}
	}
	spec := plugins.EffectSpec{Key: effectDeclare, Target: r.owner.Target}
	return sdk.Effect(ctx, r.host, spec, r.declaredSeen, r.declare)
}

// keySeen observes whether the Secret has the new key.
func (r run) keySeen(s secretChange) func(context.Context) (sdk.Observation, error) {
	return func(ctx context.Context) (sdk.Observation, error) {
		_, obj, err := r.secrets(ctx, s)
		return writtenSeen(obj, s), err
	}
}

func writtenSeen(obj *unstructured.Unstructured, s secretChange) sdk.Observation {
	switch now, there := tkg.SecretKey(obj, s.key); {
	case !there:
		return sdk.Observation{State: sdk.No, Note: fmt.Sprintf("%s has no key %s", s.change.Target, s.key)}
	case now == s.value:
		return sdk.Observation{State: sdk.Yes, Note: fmt.Sprintf("key %s of %s holds what was planned", s.key, s.change.Target)}
	}
	return foreign(s)
}

// declaredSeen observes whether the owner's list is as approved.
func (r run) declaredSeen(ctx context.Context) (sdk.Observation, error) {
	_, obj, err := r.liveOwner(ctx)
	if err != nil {
		return sdk.Observation{}, err
	}
	now, err := tkg.TrustPart(obj, r.way)
	if err != nil {
		return sdk.Observation{}, err
	}
	return r.listSeen(now), nil
}

func (a approved) listSeen(now tkg.Part) sdk.Observation {
	switch now.Hash() {
	case a.after.Hash():
		return sdk.Observation{State: sdk.Yes, Note: "the list of trusted CAs is as approved"}
	case a.before.Hash():
		return sdk.Observation{State: sdk.No, Note: "the list of trusted CAs is as before"}
	}
	return sdk.Observation{State: sdk.Unknowable, Note: fmt.Sprintf("the list of trusted CAs is neither as before nor as approved: somebody else edited it; "+
		"compare it with the plan: kubectl get %s %s -n %s -o yaml", tkg.Owner{Kind: a.owner.Target.Kind}.Resource(), a.ref.Name, a.ref.Namespace)}
}

// settleTime is how long nodes may fail the proof after all have been replaced that cannot be asked yet, or that are older than the change:
// the conditions by which those count as up to date may be those of before it for a moment.
const settleTime = 3 * time.Minute

// waitAndProve waits until the nodes are replaced and each of them trusts the registry.
func (r run) waitAndProve(ctx context.Context) ([]remedy.Sight, error) {
	var sights []remedy.Sight
	var settled time.Time
	hint := fmt.Sprintf("the roll goes on by itself; look at it with: kubectl get machines -n %s -l cluster.x-k8s.io/cluster-name=%s; then resume this run",
		r.ref.Namespace, r.ref.Name)
	err := remedy.Poll(ctx, r.host, fmt.Sprintf("wait until the nodes of %s are replaced", r.ref), hint, func(ctx context.Context) (bool, string, error) {
		roll, since, err := r.rolled(ctx)
		if err != nil || roll.State != tkg.RollSettled {
			settled = time.Time{}
			return false, roll.Note, err
		}
		if settled.IsZero() {
			settled = r.env.Now()
		}
		ask := remedy.Request{Ref: r.ref, Registry: r.registry}
		if sights, err = ask.SeeWorkers(ctx, r.c, r.nodes, roll, r.env.Now); err != nil {
			return false, roll.Note, err
		}
		note := unsettled(sights, since)
		return note == "" || r.env.Now().Sub(settled) > settleTime, note, nil
	})
	if err != nil {
		return nil, err
	}
	return sights, r.proved(sights)
}

// unsettled says which node may yet come to pass the proof; empty if none may.
func unsettled(sights []remedy.Sight, since time.Time) string {
	for _, s := range sights {
		switch {
		case s.Err != nil:
			return "all are replaced; " + s.Err.Error()
		case !s.Report.Accepted && s.Node.Created.Before(since.Truncate(time.Second)):
			return fmt.Sprintf("%s is older than the change and does not trust the registry yet", s.Node.Name)
		}
	}
	return ""
}

// rolled reads how far the roll is since the change. One that a node does not come up in is an error.
func (r run) rolled(ctx context.Context) (tkg.Roll, time.Time, error) {
	owner, err := tkg.FindOwner(ctx, r.c, r.ref)
	if err != nil {
		return tkg.Roll{}, time.Time{}, err
	}
	if owner.Kind != r.owner.Target.Kind || string(owner.UID) != r.owner.Target.UID {
		return tkg.Roll{}, time.Time{}, conflict(r.owner.Target, fieldUID, r.owner.Target.UID, string(owner.UID))
	}
	now, err := tkg.TrustPart(owner.Object, r.way)
	if err != nil {
		return tkg.Roll{}, time.Time{}, err
	}
	if now.Hash() != r.after.Hash() {
		err := fmt.Errorf("the list of trusted CAs of %s was changed while its nodes were replaced", r.owner.Target)
		return tkg.Roll{}, time.Time{}, plugins.Hint(plugins.WithKind(plugins.KindConflict, err),
			"a GitOps controller? See who: kubectl get %s %s -n %s -o yaml --show-managed-fields",
			owner.Resource(), r.ref.Name, r.ref.Namespace)
	}
	since := tkg.Written(owner.Object, r.way)
	roll, err := tkg.ReadRoll(ctx, r.c, owner, since, r.env.Now())
	if err == nil && roll.State == tkg.RollStuck && !roll.Draining {
		err = plugins.Hint(fmt.Errorf("the nodes of %s are not replaced: %s", r.ref, roll.Note),
			"see why the new node does not come up: kubectl describe machines -n %s -l cluster.x-k8s.io/cluster-name=%s; its console shows cloud-init; "+
				"when it is mended, resume this run", r.ref.Namespace, r.ref.Name)
	}
	return roll, since, err
}

// proved says which nodes do not trust the registry although all were replaced.
func (r run) proved(sights []remedy.Sight) error {
	var bad []remedy.Sight
	for _, s := range sights {
		if s.Err != nil || !s.Report.Accepted {
			bad = append(bad, s)
		}
	}
	if len(bad) == 0 && len(sights) > 0 {
		return nil
	}
	why := "there is no worker to ask"
	if len(bad) > 0 {
		why = fmt.Sprintf("%s: %s", remedy.Names(bad), bad[0].Report.GoError)
		if bad[0].Err != nil {
			why = bad[0].Err.Error()
		}
	}
	err := fmt.Errorf("the nodes of %s are replaced, and %d of %d do not trust %s: %s", r.ref, len(bad), len(sights), r.registry, why)
	return plugins.Hint(err, "see what they hold: tkgfix diagnose %s; the old key, if there is one, was left where it is", r.ref)
}

// retireOld takes the old key out, unless somebody has come to name it since the plan; the note says so.
func (r run) retireOld(ctx context.Context) (note string, err error) {
	if r.retire == nil {
		return "", nil
	}
	s := *r.retire
	users, err := r.usersNow(ctx, s)
	if err != nil {
		return "", err
	}
	if len(users) > 0 {
		return fmt.Sprintf("key %s of %s stays: %s names it now", s.key, s.change.Target, users[0]), nil
	}
	observe := func(ctx context.Context) (sdk.Observation, error) {
		_, obj, err := r.secrets(ctx, s)
		return retiredSeen(obj, s), err
	}
	return "", sdk.Effect(ctx, r.host, plugins.EffectSpec{Key: effectRetire, Target: s.change.Target}, observe, r.retireKey)
}

// usersNow returns who names the old key now.
func (r run) usersNow(ctx context.Context, s secretChange) ([]string, error) {
	w, err := read(ctx, r.c, r.ref)
	if err != nil {
		return nil, err
	}
	if w.othersErr != nil {
		return nil, w.othersErr
	}
	return w.users(s.change.Target.Name, s.key, -1), nil
}

func retiredSeen(obj *unstructured.Unstructured, s secretChange) sdk.Observation {
	value, there := tkg.SecretKey(obj, s.key)
	switch {
	case !there:
		return sdk.Observation{State: sdk.Yes, Note: fmt.Sprintf("%s has no key %s any more", s.change.Target, s.key)}
	case hashText(value) == s.value:
		return sdk.Observation{State: sdk.No, Note: fmt.Sprintf("key %s of %s is as before", s.key, s.change.Target)}
	}
	return foreign(s)
}

// foreign is the observation of a key that somebody else wrote.
func foreign(s secretChange) sdk.Observation {
	t := s.change.Target
	return sdk.Observation{State: sdk.Unknowable, Note: fmt.Sprintf("key %s of %s holds what this run did not see or write: "+
		"kubectl get secret %s -n %s -o yaml", s.key, t, t.Name, t.Namespace)}
}
