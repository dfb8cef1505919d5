package fromproto

import (
	"errors"
	"fmt"

	"github.com/tkgfix/tkgfix/internal/wire/proto"
	"github.com/tkgfix/tkgfix/plugins"
)

// Description translates what a step says of itself.
func Description(m *proto.Description) (plugins.Description, error) {
	var errs errorList
	d := plugins.Description{
		Name:        m.GetName(),
		Version:     m.GetVersion(),
		Summary:     m.GetSummary(),
		Effect:      take(&errs, "effect", m.GetEffect(), Effect),
		Input:       document(&errs, "input", m.GetInput(), maxSchema),
		Output:      document(&errs, "output", m.GetOutput(), maxSchema),
		Connections: lines(&errs, "connections", m.GetConnections()),
	}
	return orZero(d, errs)
}

// PlanRequest translates a request; its call is read from the message.
func PlanRequest(m *proto.PlanRequest) (plugins.PlanRequest, error) {
	var errs errorList
	r := plugins.PlanRequest{
		StepID:      m.GetStepId(),
		Effect:      take(&errs, "effect", m.GetEffect(), RequestEffect),
		Input:       document(&errs, "input", m.GetInput(), MaxMessage),
		Connections: take(&errs, "connections", m.GetConnections(), Connections),
	}
	return orZero(r, errs)
}

// PlanResponse translates a plan.
func PlanResponse(m *proto.PlanResponse) (plugins.PlanResponse, error) {
	var errs errorList
	r := plugins.PlanResponse{
		Outputs:  document(&errs, "outputs", m.GetOutputs(), MaxMessage),
		Changes:  changes(&errs, m.GetChanges()),
		Blocks:   each(&errs, "block", m.GetBlocks(), block),
		Evidence: each(&errs, "evidence", m.GetEvidence(), Evidence),
		Summary:  m.GetSummary(),
		Warnings: lines(&errs, "warnings", m.GetWarnings()),
	}
	return orZero(r, errs)
}

// ApplyRequest translates a request; its call and its host are read from the message.
func ApplyRequest(m *proto.ApplyRequest) (plugins.ApplyRequest, error) {
	var errs errorList
	r := plugins.ApplyRequest{
		RunID:       m.GetRunId(),
		StepID:      m.GetStepId(),
		Effect:      take(&errs, "effect", m.GetEffect(), RequestEffect),
		Input:       document(&errs, "input", m.GetInput(), MaxMessage),
		Connections: take(&errs, "connections", m.GetConnections(), Connections),
		Changes:     changes(&errs, m.GetChanges()),
	}
	return orZero(r, errs)
}

// ApplyResponse translates how an Apply ended.
func ApplyResponse(m *proto.ApplyResponse) (plugins.ApplyResponse, error) {
	var errs errorList
	r := plugins.ApplyResponse{
		Outputs:  document(&errs, "outputs", m.GetOutputs(), MaxMessage),
		Evidence: each(&errs, "evidence", m.GetEvidence(), Evidence),
		Summary:  m.GetSummary(),
	}
	return orZero(r, errs)
}

// Connections translates where things are. What is nil stays nil.
func Connections(m *proto.Connections) (plugins.Connections, error) {
	var c plugins.Connections
	if k := m.GetSupervisor(); k != nil {
		c.Supervisor = &plugins.Kube{Kubeconfig: k.GetKubeconfig(), Context: k.GetContext()}
	}
	if n := m.GetNodes(); n != nil {
		if n.GetPort() < 0 || n.GetPort() > 65535 {
			return plugins.Connections{}, errors.New("nodes: port is not between 0 and 65535")
		}
		c.Nodes = &plugins.Nodes{
			Via:          n.GetVia(),
			User:         n.GetUser(),
			Port:         int(n.GetPort()),
			KnownHosts:   n.GetKnownHosts(),
			HostKeys:     n.GetHostKeys(),
			Jump:         n.GetJump(),
			IdentityFile: n.GetIdentityFile(),
			PasswordFile: n.GetPasswordFile(),
			Agent:        n.GetAgent(),
			Image:        n.GetImage(),
		}
	}
	return c, nil
}

// changes translates the acts of a plan. An empty item is two bytes in a message and a hundred in memory: so all lists of all changes together
// are bounded before any is made.
func changes(l *errorList, in []*proto.PlannedChange) []plugins.PlannedChange {
	n := 0
	for _, m := range in {
		n += len(m.GetPreconditions()) + len(m.GetLost()) + len(m.GetImpact())
	}
	if n > maxItems {
		l.add(fmt.Errorf("changes: %d preconditions and lines, %d at most", n, maxItems))
		return nil
	}
	return each(l, "change", in, PlannedChange)
}

// PlannedChange translates one act of a plan.
func PlannedChange(m *proto.PlannedChange) (plugins.PlannedChange, error) {
	var errs errorList
	c := plugins.PlannedChange{
		Action:        take(&errs, "action", m.GetAction(), Action),
		Target:        Target(m.GetTarget()),
		Reason:        m.GetReason(),
		Before:        document(&errs, "before", m.GetBefore(), MaxMessage),
		After:         document(&errs, "after", m.GetAfter(), MaxMessage),
		Preconditions: each(&errs, "precondition", m.GetPreconditions(), precondition),
		Lost:          lines(&errs, "lost", m.GetLost()),
		Undo:          m.GetUndo(),
		Impact:        lines(&errs, "impact", m.GetImpact()),
	}
	return orZero(c, errs)
}

// Evidence translates one thing that was seen.
func Evidence(m *proto.Evidence) (plugins.Evidence, error) {
	var errs errorList
	e := plugins.Evidence{
		Subject: m.GetSubject(),
		Check:   m.GetCheck(),
		Verdict: take(&errs, "verdict", m.GetVerdict(), Verdict),
		Text:    m.GetText(),
		Data:    document(&errs, "data", m.GetData(), maxEvidence),
	}
	return orZero(e, errs)
}

// Target translates the name of an object.
func Target(m *proto.Target) plugins.Target {
	return plugins.Target{
		Cluster:   m.GetCluster(),
		Group:     m.GetGroup(),
		Version:   m.GetVersion(),
		Kind:      m.GetKind(),
		Namespace: m.GetNamespace(),
		Name:      m.GetName(),
		UID:       m.GetUid(),
	}
}

// EffectSpec translates the name of an effect, which must have a key.
func EffectSpec(m *proto.EffectSpec) (plugins.EffectSpec, error) {
	if m.GetKey() == "" {
		return plugins.EffectSpec{}, errors.New("effect without a key")
	}
	return plugins.EffectSpec{Key: m.GetKey(), Target: Target(m.GetTarget())}, nil
}

func precondition(m *proto.Precondition) (plugins.Precondition, error) {
	return plugins.Precondition{Target: Target(m.GetTarget()), Field: m.GetField(), Value: m.GetValue()}, nil
}

func block(m *proto.Block) (plugins.Block, error) {
	return plugins.Block{Reason: m.GetReason(), Hint: m.GetHint()}, nil
}
