package diagnose

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/tkgfix/tkgfix/internal/tkg"
)

// need is what nodes lack, for an answer that only new machines carry out: they read trust once, at their first boot (tkg-facts.md §2).
type need string

const (
	// needCA: what is declared does not make the chain valid.
	needCA need = "ca"
	// needForm: the right CA is declared in a form that nodes cannot use.
	needForm need = "form"
	// needNodes: what is declared is right, and the nodes do not have it.
	needNodes need = "nodes"
)

// The states of a roll, as find-owner has them.
const (
	rolling = "rolling"
	stuck   = "stuck"
)

// rung is a remedy of the ladder. why says why it is not the one, without regard to the rungs below; empty if it would do.
type rung struct {
	remedy string
	why    func(facts, answer) string
}

// ladder is gentlest first (design.md §2.3): a node at a time, all nodes of the cluster, what all clusters get, the cluster itself.
func ladder() []rung {
	return []rung{{rollNodes, whyNotRoll}, {ownTrust, whyNotOwn}, {globalTrust, whyNotGlobal}, {recreate, whyNotAnew}}
}

// chosen lets the ladder choose where it has to.
func chosen(f facts, a answer) answer {
	if a.need == "" {
		return a
	}
	return climb(f, a)
}

// climb chooses the first rung that holds, and keeps why the others are not it. Where none holds the answer stops with the reason of the
// one that would do.
func climb(f facts, a answer) answer {
	a.refused = map[string]string{}
	for _, r := range ladder() {
		why := r.why(f, a)
		switch {
		case a.remedy != "":
			why = cmp.Or(why, harder(r.remedy))
		case why == "":
			a.remedy = r.remedy
		}
		a.refused[r.remedy] = why
	}
	if a.remedy != "" {
		return a
	}
	stop, next := f.halted(a)
	if a.need == needNodes && f.owner.Roll.State == rolling {
		a.remedy = wait
	} else {
		a.remedy = ownTrust
	}
	if a.stop == "" { // else the CA is wanted first
		a.stop, a.next = stop, next
	}
	return a
}

// harder says why a rung above the chosen one is not it, whatever else there is to say of it.
func harder(remedy string) string {
	switch remedy {
	case ownTrust:
		return "it replaces every node, and what is declared is right: the nodes that lack it are enough"
	case globalTrust:
		return "it is global and may roll every TanzuKubernetesCluster, where this one alone is enough"
	}
	return "it destroys the cluster, and a roll gives new nodes what they need"
}

// idle is why no machine of the cluster would be replaced at all; empty if one would.
func (f facts) idle() string {
	switch o := f.owner; {
	case o.Paused:
		return "the cluster is paused, so that no machine would be replaced"
	case o.Retiring:
		return "the TanzuKubernetesCluster is being retired, and its Cluster takes its place"
	}
	return ""
}

func whyNotRoll(f facts, a answer) string {
	o := f.owner
	since, how := f.made(a.where)
	switch {
	case a.need == needForm:
		return "new machines would get the same: " + a.entry.String() + " is declared in a form that no node can use"
	case a.need == needCA:
		return "nothing that is declared completes the chain" + f.unseen()
	case slices.Contains(f.tried, rollNodes):
		return "it was done, and the new machine does not have it"
	case since:
		return "its machines were made since " + a.where + " was declared, and new ones would get what these have: " + how
	case f.idle() != "":
		return f.idle()
	case !o.Initialized:
		return "no control plane has ever been up, which no machine could join"
	case o.Roll.State == rolling:
		return "a roll is under way already" + note(o)
	case o.Roll.State == stuck:
		return "a roll is stuck already" + note(o)
	case !o.May.DeleteMachines:
		return "this login may not delete Machines of " + o.namespace()
	}
	return ""
}

func whyNotOwn(f facts, a answer) string {
	o := f.owner
	switch {
	case o.Way == string(tkg.WayNone):
		return fmt.Sprintf("%s has no variable for trust: %s", o, o.classOrNone())
	case f.idle() != "":
		return f.idle()
	case o.byMissionControl():
		return "a TanzuKubernetesCluster of Tanzu Mission Control may have no trust of its own: " + o.managedBy()
	case o.Managed.By != "":
		return "what is changed by hand would be put back: " + o.managedBy()
	case !o.Initialized:
		return "no control plane has ever been up: nothing can be rolled"
	case a.need == needNodes && slices.Contains(f.tried, ownTrust):
		return "it was done, and what the new machines got does not make the chain valid"
	case slices.Contains(f.tried, ownTrust):
		return "it was tried, and it is not declared"
	case a.need == needNodes && o.Roll.State == rolling:
		return "it is declared, and the roll that brings it is under way"
	case a.need == needNodes && o.Roll.State == stuck:
		return "it is declared, and one more roll would meet what this one is stuck at"
	case !o.May.ClusterTrust:
		return "this login may not change " + o.String()
	}
	return ""
}

// noService is why a namespace's editor does not go by TkgServiceConfiguration (tkg-facts.md §5).
const noService = "this login may not change TkgServiceConfiguration, which needs the rights of a vSphere administrator"

func whyNotGlobal(f facts, a answer) string {
	o := f.owner
	own := whyNotOwn(f, a)
	switch {
	case o.Way != string(tkg.WayTKC):
		return o.notByService()
	case a.need == needNodes && strings.HasPrefix(a.where, serviceKind):
		return "TkgServiceConfiguration holds the CA already"
	case f.idle() != "":
		return f.idle()
	case own == "" && !o.May.ServiceTrust:
		return noService + "; nor is it needed, for the cluster's own trust is enough"
	case own == "":
		return harder(globalTrust)
	case !o.Initialized, a.need == needNodes:
		return own
	case o.Managed.By != "" && !o.byMissionControl():
		return "the cluster's own trust does, at its source: " + o.managedBy()
	case !o.May.ServiceTrust:
		return noService
	case slices.Contains(f.tried, ownTrust), slices.Contains(f.tried, globalTrust):
		return "it would be one more way to the same roll"
	}
	return ""
}

func whyNotAnew(f facts, a answer) string {
	o := f.owner
	switch {
	case !f.stranded(a):
		return "it destroys the cluster, and nothing shows that a roll cannot proceed"
	case f.idle() != "":
		return f.idle()
	case o.Managed.By != "":
		return "the old one would be brought back: " + o.managedBy()
	case f.wedge(a) != "":
		return f.wedge(a) + ": the machines of a new cluster would not join either"
	case !o.May.DeleteCluster:
		return "this login may not delete " + o.String()
	}
	return ""
}

// stranded tells whether no roll can bring the nodes what they lack: that alone makes a recreate the remedy.
func (f facts) stranded(a answer) bool {
	o := f.owner
	switch {
	case !o.Initialized, o.Way == string(tkg.WayNone) && a.need != needNodes:
		return true
	case a.need != needNodes || o.Roll.State == rolling:
		return false // a new roll supersedes one that is stuck for want of the right CA
	}
	return o.Roll.State == stuck || slices.Contains(f.tried, ownTrust)
}

// wedge names another declared CA that keeps new machines from joining; empty if there is none (tkg-facts.md §1.0).
func (f facts) wedge(a answer) string {
	if a.need != needNodes {
		return ""
	}
	for _, e := range f.encoded.Entries {
		if yes, _ := f.gets(e.String()); yes && !e.OK && !e.unread() {
			return e.String() + " is declared in a form that nodes cannot use"
		}
	}
	return ""
}

// halted returns the reason of the remedy that would do if it could, and what to do about that.
func (f facts) halted(a answer) (stop, next string) {
	o := f.owner
	stop = a.refused[ownTrust]
	next = "kubectl describe machines -n " + o.namespace() + " shows what they wait for; mend that, then plan again"
	switch {
	case o.Paused:
		next = "whoever paused it says why: kubectl get " + o.resource() + " -o yaml (spec.paused, annotation cluster.x-k8s.io/paused); then plan again"
	case o.Retiring:
		next = "wait until the TanzuKubernetesCluster is gone: kubectl get tanzukubernetescluster,cluster -n " + o.namespace() + "; then plan again"
	case a.need == needNodes && o.Roll.State == rolling:
		stop = "the roll that brings the CA is under way" + note(o)
		next = "watch it: kubectl get machines -n " + o.namespace() + " -w; then plan again"
	case o.byMissionControl() && a.need == needNodes && !o.May.DeleteMachines:
		stop += "; " + a.refused[rollNodes]
		next = "let somebody carry it out who may: kubectl auth can-i delete machines -n " + o.namespace()
	case o.byMissionControl() && a.need != needNodes && !o.May.ServiceTrust:
		stop += "; " + a.refused[globalTrust]
		next = "let a vSphere administrator carry it out: kubectl auth can-i update tkgserviceconfigurations"
	case o.Managed.By != "" && !o.byMissionControl():
		next = "change it at its source: " + cmp.Or(o.Managed.Source, o.Managed.By) + "; then plan again"
	case f.wedge(a) != "":
		stop, next = a.refused[recreate], "let check-encoding's output tell the corrected value, store it under a new key, and plan again"
	case !o.May.ClusterTrust || !o.May.DeleteCluster && f.stranded(a):
		stop = cmp.Or(a.refused[ownTrust], a.refused[recreate])
		next = "let somebody carry it out who may: kubectl auth can-i update " + o.resource()
	case slices.Contains(f.tried, ownTrust):
		stop = "the CA was to be declared in the cluster's own trust, and it is not there"
		next = "what came of it is told by its step; then plan again"
	}
	return stop, next
}

// unseen adds that an entry would do that this cluster does not get; empty if there is none.
func (f facts) unseen() string {
	for _, e := range f.encoded.Entries {
		if yes, why := f.gets(e.String()); !yes && e.OK && (f.holdsCandidate(e) || f.completes(e)) {
			return " that this cluster's machines get: " + e.String() + " would, but " + why
		}
	}
	return ""
}

func note(o owned) string {
	if o.Roll.Note == "" {
		return ""
	}
	return ": " + o.Roll.Note
}
