package tkg

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

// joinTime is after how long a machine that has not joined its cluster, or is not gone, is called stuck. A node of VKS is there after
// four to nine minutes with its whole cluster (tkg-facts.md §4).
const joinTime = 10 * time.Minute

// RollState says whether the machines of a cluster are being replaced.
type RollState string

// The states of a roll.
const (
	// RollSettled: nothing is being replaced; after a change: all has been.
	RollSettled RollState = "settled"
	// Rolling: machines are being replaced, or the controllers have not looked at the last change yet.
	Rolling RollState = "rolling"
	// RollStuck: they should be, and a machine does not join, does not go, or a condition says so.
	RollStuck RollState = "stuck"
	// RollUnknown: there is no machine to tell by.
	RollUnknown RollState = "unknown"
)

// UpToDate is what the Cluster API says of a machine and its template.
type UpToDate string

// The answers; none where the Cluster API is too old to say.
const (
	UpToDateYes     UpToDate = "yes"
	UpToDateNo      UpToDate = "no"
	UpToDateUnknown UpToDate = "unknown"
)

// MachineState is how far one machine is.
type MachineState struct {
	// Name is the name of the Kubernetes node, or of the Machine while it has none; Machine is that of the Machine always.
	Name, Machine string
	UID           types.UID
	Pool          string
	ControlPlane  bool
	Created       time.Time
	UpToDate      UpToDate
	// Joined says that its node is in the cluster, Ready that it is well, Deleting that it is on its way out.
	Joined, Ready, Deleting bool
	// Why is what its conditions say about what is in its way; empty if they say nothing.
	Why string

	failed bool      // it will not come up by itself
	since  time.Time // when its deletion was asked for
}

// Roll is how far the replacement of a cluster's machines is.
type Roll struct {
	State RollState
	// Note says it in a line.
	Note string
	// Machines are the control plane's first, then those of the pools, by name.
	Machines []MachineState
	// New counts those that are as wanted, ready and not on their way out; Wanted is how many there should be, -1 if that is not known.
	New, Wanted int
	// Draining says, of one that is stuck, that a machine does not go, which may end when pods let go: nothing is wrong with the new ones.
	Draining bool
}

// RollOf judges from a cluster's objects how far the replacement of its machines is, at a time. since is when the change was made that
// they are to be replaced for, zero if none is known of. cluster is the Cluster, nil if it cannot be read.
//
// After a change it is settled when there are as many machines as are wanted, none is being deleted, all are ready, and each either was
// created at or after it or is said to be up to date while the Cluster says of the present generation that nothing rolls out. Without a
// change it is settled when nothing moves.
func RollOf(owner Owner, cluster *unstructured.Unstructured, machines []*unstructured.Unstructured, since, now time.Time) Roll {
	r := Roll{Wanted: wantedMachines(owner.Object, cluster)}
	for _, m := range machines {
		r.Machines = append(r.Machines, machineState(m))
	}
	slices.SortFunc(r.Machines, func(a, b MachineState) int {
		return cmp.Or(-compareBool(a.ControlPlane, b.ControlPlane), cmp.Compare(a.Pool, b.Pool), cmp.Compare(a.Name, b.Name))
	})
	j := rollJudge{roll: r, cluster: cluster, since: since, now: now}
	j.quiet = owner.Kind == ClusterKind && j.isQuiet()
	for _, m := range r.Machines {
		if j.isNew(m) && m.Joined && m.Ready && !m.Deleting {
			j.roll.New++
		}
	}
	return j.judge()
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

type rollJudge struct {
	roll       Roll
	cluster    *unstructured.Unstructured
	since, now time.Time
	// quiet says that the Cluster says of its present generation that nothing rolls out.
	quiet bool
}

// isQuiet is false as well where the Cluster API is too old to say. Under a TanzuKubernetesCluster it says nothing: the Cluster may not
// have been told of the change yet.
func (j rollJudge) isQuiet() bool {
	rolling, topology := ConditionOf(j.cluster, "RollingOut"), ConditionOf(j.cluster, "TopologyReconciled")
	return rolling.Status == "False" && j.current(rolling) && (topology.Status == "" || topology.Status == "True" && j.current(topology))
}

// current reports that a condition, and the object's status, are about its present generation.
func (j rollJudge) current(c Condition) bool {
	generation := j.cluster.GetGeneration()
	observed, found, _ := unstructured.NestedInt64(j.cluster.Object, "status", "observedGeneration")
	return (!found || observed >= generation) && (c.Observed == 0 || c.Observed >= generation)
}

// isNew reports that a machine is what was asked for by the change, or, without one, what its template says.
func (j rollJudge) isNew(m MachineState) bool {
	if j.since.IsZero() {
		return m.UpToDate != UpToDateNo
	}
	return !m.Created.Before(j.since.Truncate(time.Second)) || m.UpToDate == UpToDateYes && j.quiet
}

func (j rollJudge) judge() Roll {
	r := j.roll
	if len(r.Machines) == 0 {
		r.State, r.Note = RollUnknown, "there is no machine"
		return r
	}
	waiting := j.waiting()
	switch {
	case waiting == "" && j.since.IsZero():
		r.State, r.Note = RollSettled, j.settledNote()
		return r
	case waiting == "":
		r.State, r.Note = RollSettled, counted(r.New, len(r.Machines), "new and ready")
		return r
	}
	kind := "new"
	if j.since.IsZero() {
		kind = "up to date"
	}
	r.State, r.Note = Rolling, counted(r.New, max(len(r.Machines), r.Wanted), kind)+"; "+waiting
	if why, draining := j.stuck(); why != "" {
		r.State, r.Draining, r.Note = RollStuck, draining, r.Note+"; "+why
	}
	return r
}

func counted(n, of int, what string) string {
	if n == 1 {
		return fmt.Sprintf("1 of %d machines is %s", of, what)
	}
	return fmt.Sprintf("%d of %d machines are %s", n, of, what)
}

func (j rollJudge) settledNote() string {
	stale := 0
	for _, m := range j.roll.Machines {
		if m.UpToDate == UpToDateNo {
			stale++
		}
	}
	if stale > 0 {
		return "nothing rolls, and " + counted(stale, len(j.roll.Machines), "not up to date")
	}
	return "nothing rolls; " + counted(j.roll.New, len(j.roll.Machines), "ready")
}

// waiting says what has not happened yet, in the order in which it happens; empty if all has.
func (j rollJudge) waiting() string {
	if c := ConditionOf(j.cluster, "RollingOut"); c.Status != "" && !j.current(c) {
		return "waiting for the controllers to look at the change"
	}
	for _, rule := range []struct {
		is   func(MachineState) bool
		text string
	}{
		{func(m MachineState) bool { return !m.Joined && !m.Deleting && j.isNew(m) }, "to join"},
		{func(m MachineState) bool { return m.Joined && !m.Ready && !m.Deleting && j.isNew(m) }, "to be ready"},
		{func(m MachineState) bool { return m.Deleting }, "to go"},
		{func(m MachineState) bool { return !m.Joined && !m.Deleting }, "to join"},
		{func(m MachineState) bool { return !j.isNew(m) && !j.since.IsZero() }, "to be replaced"},
	} {
		if names := j.names(rule.is); names != "" {
			return "waiting for " + names + " " + rule.text
		}
	}
	if n := len(j.roll.Machines); j.roll.Wanted >= 0 && n != j.roll.Wanted {
		return fmt.Sprintf("there are %d machines, and %d are wanted", n, j.roll.Wanted)
	}
	if c := ConditionOf(j.cluster, "RollingOut"); c.Status == "True" {
		return strings.TrimSpace("the Cluster is rolling out " + c.Text())
	}
	return ""
}

// maxNames bounds the machines that a line names.
const maxNames = 3

func (j rollJudge) names(is func(MachineState) bool) string {
	var out []string
	for _, m := range j.roll.Machines {
		if is(m) {
			out = append(out, m.Name)
		}
	}
	if n := len(out); n > maxNames {
		return fmt.Sprintf("%s and %d more", strings.Join(out[:maxNames], ", "), n-maxNames)
	}
	return strings.Join(out, ", ")
}

// stuck says what will not end by itself, empty if it may, and whether that is a machine that does not go. What was there before the change
// has as long from the change on.
func (j rollJudge) stuck() (why string, draining bool) {
	for _, m := range j.roll.Machines {
		begun, is, because := m.Created, "has not joined", ""
		if m.Deleting {
			begun, is = m.since, "is being deleted"
		}
		if m.Why != "" {
			because = ": " + m.Why
		}
		begun = later(begun, j.since)
		lasts := j.now.Sub(begun)
		if begun.IsZero() {
			lasts = 0
		}
		switch {
		case m.failed && !m.Deleting && !m.Created.Before(j.since):
			return m.Name + " will not come up by itself" + because, false
		case !m.Deleting && !m.Joined && lasts > joinTime:
			return fmt.Sprintf("%s %s for %s%s", m.Name, is, lasts.Truncate(time.Minute), because), false
		case m.Deleting && lasts > joinTime && why == "":
			why, draining = fmt.Sprintf("%s %s for %s%s", m.Name, is, lasts.Truncate(time.Minute), because), true
		}
	}
	if c := ConditionOf(j.cluster, "TopologyReconciled"); c.Status == "False" && j.current(c) && strings.HasSuffix(c.Reason, "Failed") {
		return "the Cluster's topology is not taken in: " + c.Text(), false
	}
	return why, draining
}
