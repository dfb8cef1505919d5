package controller

import (
	"context"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
	"github.com/tkgfix/tkgfix/internal/approval"
	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/plan"
	"github.com/tkgfix/tkgfix/plugins"
)

const (
	maxMessage = 1024
	maxSummary = 4096
	maxGates   = 64
)

// report writes into the Run how it stands, and tells what is new of it.
func (t *turn) report(ctx context.Context) error {
	if t.trouble != nil && t.trouble.reason == reasonHeld {
		return nil // how it stands is for the replica to say that holds it
	}
	s := &t.run.Status
	phase := t.phase
	if t.r != nil && t.r.Final() {
		s.Resumed, s.Resolved = t.run.Annotations[v1alpha1.AnnotationResume], t.run.Annotations[v1alpha1.AnnotationResolve]
	}
	s.RunID, s.ObservedGeneration, s.Doing = t.id, t.run.Generation, ""
	s.Report = "tkgfix report --state kube:" + t.run.Namespace + " " + t.id
	t.account(s)
	conditions(t.run, verdict(t.run, t.r, t.trouble))
	if err := t.save(ctx); err != nil {
		return err
	}
	if s.Phase != phase {
		t.tellPhase(s)
	}
	return nil
}

// account says in a status what the journal says.
func (t *turn) account(s *v1alpha1.RunStatus) {
	r := t.r
	s.Error, s.Hint, s.Gates = "", "", nil
	switch {
	case t.trouble != nil:
		s.Error, s.Hint = cut(t.trouble.err.Error(), maxMessage), cut(hint(t.run.Namespace, plugins.HintOf(t.trouble.err)), maxMessage)
	case r != nil:
		s.Error, s.Hint = cut(r.Error, maxMessage), cut(hint(t.run.Namespace, r.Hint), maxMessage)
	}
	s.Phase = phaseOf(t.run, r, t.trouble)
	if r == nil {
		return
	}
	began := metav1.NewTime(r.Began)
	s.StartedAt, s.FinishedAt, s.Entries, s.Workflow = &began, finished(r), int64(r.Seq), r.Created.File //nolint:gosec // a journal is short
	if r.Plan == nil {
		return
	}
	s.WorkflowSHA256 = r.Plan.WorkflowSHA256
	s.Plan, s.Price = summary(r.Plan)
	now := t.opts.Engine.Now()
	for _, g := range r.PendingGates(now) {
		if len(s.Gates) == maxGates || r.Final() {
			break
		}
		s.Gates = append(s.Gates, gate(t.run.Namespace, r, g, r.Outcome(g, now)))
	}
}

// finished is when a run ended for good; nil if it has not.
func finished(r *engine.Run) *metav1.Time {
	if !r.Final() {
		return nil
	}
	at := metav1.NewTime(r.Updated)
	return &at
}

// phaseOf returns how far a Run has come, in one word.
func phaseOf(run *v1alpha1.Run, r *engine.Run, tr *trouble) v1alpha1.Phase {
	switch {
	case r == nil && run.Spec.Suspend:
		return v1alpha1.PhaseSuspended
	case r == nil:
		return v1alpha1.PhasePending
	case run.Spec.Suspend && !r.Final():
		return v1alpha1.PhaseSuspended
	}
	switch r.Status {
	case engine.Planning:
		return v1alpha1.PhasePlanning
	case engine.Waiting:
		if run.Spec.PlanOnly {
			return v1alpha1.PhasePlanned
		}
		return v1alpha1.PhaseWaiting
	case engine.Done:
		return v1alpha1.PhaseDone
	case engine.Failed:
		return v1alpha1.PhaseFailed
	case engine.Blocked:
		return v1alpha1.PhaseBlocked
	case engine.Rejected:
		return v1alpha1.PhaseRejected
	}
	return v1alpha1.PhaseRunning
}

// verdict returns the three conditions for a Run.
func verdict(run *v1alpha1.Run, r *engine.Run, tr *trouble) outlook {
	reason, message := string(run.Status.Phase), run.Status.Error
	if tr != nil {
		reason = tr.reason
	}
	if message != "" && run.Status.Hint != "" {
		message = short(message, run.Status.Hint)
	}
	if tr != nil {
		return outlook{ready: metav1.ConditionFalse, stalled: tr.stalled, reconciling: !tr.stalled, reason: reason, message: message}
	}
	switch run.Status.Phase {
	case v1alpha1.PhaseDone:
		return outlook{ready: metav1.ConditionTrue, reason: reason, message: "done: " + run.Status.Report}
	case v1alpha1.PhasePlanned:
		return outlook{ready: metav1.ConditionTrue, reason: reason, message: planMessage(run)}
	case v1alpha1.PhaseWaiting:
		return outlook{ready: metav1.ConditionUnknown, reconciling: true, reason: reason, message: waitMessage(run)}
	case v1alpha1.PhaseSuspended:
		return outlook{ready: metav1.ConditionUnknown, stalled: true, reason: reason, message: "spec.suspend is true"}
	case v1alpha1.PhaseFailed, v1alpha1.PhaseRejected:
		return outlook{ready: metav1.ConditionFalse, stalled: true, reason: reason, message: message}
	case v1alpha1.PhaseBlocked:
		guarded := r != nil && r.Guard != ""
		return outlook{ready: metav1.ConditionFalse, stalled: !guarded, reconciling: guarded, reason: reason, message: message}
	}
	return progressing(string(run.Status.Phase), "under way")
}

// outlook is the three conditions of a Run.
type outlook struct {
	ready                metav1.ConditionStatus
	reconciling, stalled bool
	reason, message      string
}

func progressing(reason, message string) outlook {
	return outlook{ready: metav1.ConditionUnknown, reconciling: true, reason: reason, message: message}
}

// conditions writes the conditions into a Run. As kstatus has it, Reconciling and Stalled are there only while they are True.
func conditions(run *v1alpha1.Run, o outlook) {
	set := func(kind string, status metav1.ConditionStatus) {
		meta.SetStatusCondition(&run.Status.Conditions, metav1.Condition{
			Type: kind, Status: status, Reason: o.reason, Message: cut(o.message, maxMessage), ObservedGeneration: run.Generation,
		})
	}
	set(v1alpha1.ConditionReady, o.ready)
	for kind, on := range map[string]bool{v1alpha1.ConditionReconciling: o.reconciling, v1alpha1.ConditionStalled: o.stalled} {
		if on {
			set(kind, metav1.ConditionTrue)
		} else {
			meta.RemoveStatusCondition(&run.Status.Conditions, kind)
		}
	}
}

func planMessage(run *v1alpha1.Run) string {
	return fmt.Sprintf("planned: %d changes, %d of them destroy; to go on: kubectl patch run %s -n %s --type merge -p '{\"spec\":{\"planOnly\":false}}'",
		run.Status.Plan.Changes, run.Status.Plan.Destroys, run.Name, run.Namespace)
}

func waitMessage(run *v1alpha1.Run) string {
	if len(run.Status.Gates) == 0 {
		return "waits"
	}
	g := run.Status.Gates[0]
	return fmt.Sprintf("gate %s has %d of %d approvals; to approve: %s", g.Name, g.Approved, g.Required, g.Approve)
}

// summary counts what a plan holds, and returns the price of what it destroys.
func summary(p *plan.Plan) (*v1alpha1.PlanSummary, string) {
	out := &v1alpha1.PlanSummary{Steps: int32(len(p.Steps))} //nolint:gosec // a workflow has few steps
	var lines, lost []string
	for i := range p.Steps {
		s := &p.Steps[i]
		changes := s.PlannedChanges()
		if len(changes) == 0 || s.Effect == plugins.Announce {
			continue
		}
		out.Changes += int32(len(changes)) //nolint:gosec // bounded by the size of a plan
		for _, c := range changes {
			if s.Effect == plugins.Destroy {
				out.Destroys++
			}
			lines = append(lines, fmt.Sprintf("%s: %s %s", s.ID, c.Action, c.Target))
			lost = append(lost, c.Lost...)
		}
	}
	out.Summary = cut(strings.Join(lines, "\n"), maxSummary)
	return out, cut(strings.Join(lost, "; "), maxMessage)
}

func gate(namespace string, r *engine.Run, g plan.Gate, out approval.Outcome) v1alpha1.GateStatus {
	s := v1alpha1.GateStatus{
		Name: g.Step, Effect: string(g.Effect), Message: cut(g.Message, maxMessage), Digest: g.Digest,
		Approved: int32(len(out.By)), Required: int32(len(out.By) + out.Missing), //nolint:gosec // people are few
		Approve: fmt.Sprintf("tkgfix approve --state kube:%s %s %s --digest %s", namespace, r.ID, g.Step, g.Digest),
	}
	if end := g.Judged(r.Created.By.Identity).Deadline(); !end.IsZero() {
		at := metav1.NewTime(end)
		s.ExpiresAt = &at
	}
	return s
}

// tellPhase makes an Event of a Run that has come to another phase.
func (t *turn) tellPhase(s *v1alpha1.RunStatus) {
	ready := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionReady)
	kind := normal
	if s.Phase == v1alpha1.PhaseFailed || s.Phase == v1alpha1.PhaseBlocked || s.Phase == v1alpha1.PhaseRejected {
		kind = warning
	}
	t.say(t.run, kind, string(s.Phase), ready.Message)
}

// hint makes the commands of a hint those for a run of this namespace.
func hint(namespace, text string) string {
	for _, verb := range []string{"resume", "resolve", "approve", "reject", "runs show", "report"} {
		text = strings.ReplaceAll(text, "tkgfix "+verb+" ", "tkgfix "+verb+" --state kube:"+namespace+" ")
	}
	return text
}

func short(message, hint string) string {
	if hint == "" {
		return cut(message, maxMessage)
	}
	return cut(message, maxMessage*2/3) + "; " + cut(hint, maxMessage/3)
}

// cut bounds a text, in bytes, at a whole character.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	const mark = "…"
	return strings.ToValidUTF8(text[:most-len(mark)], "") + mark
}
