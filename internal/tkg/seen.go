package tkg

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/tkgfix/tkgfix/internal/kube"
)

// Seen tells whether a cluster can have got what is declared for it.
type Seen string

// The answers. What the times do not tell, what only a part of the machines can have, and what the sources differ on is unknown.
const (
	SeenYes     Seen = "yes"
	SeenNo      Seen = "no"
	SeenUnknown Seen = "unknown"
)

// fleet is what is held against the times of what is declared: a machine gets files when it is made, and never again (tkg-facts.md §2).
type fleet struct {
	owner Owner
	// machines are those that are not being deleted, of the control plane too.
	machines []Node
	// ownList says that the cluster declares CAs of its own.
	ownList bool
}

// readMachines returns the cluster's machines without their addresses; the note says why they are not known.
func readMachines(ctx context.Context, c *kube.Client, ref Ref) (machines []Node, note string, err error) {
	list, err := Machines(ctx, c, ref)
	switch {
	case errors.Is(err, kube.ErrNotServed):
		return nil, "", nil
	case apierrors.IsForbidden(err):
		return nil, "this login may not list Machines: whether they were made before what is declared was changed is not known", nil
	case err != nil:
		return nil, "", err
	}
	for _, u := range list {
		m, err := machineOf(u)
		if err != nil {
			return nil, "", err
		}
		if m.DeletionTimestamp == nil {
			machines = append(machines, nodeOf(m))
		}
	}
	return machines, "", nil
}

// seen judges one declared CA.
func (f fleet) seen(d Declared) (Seen, string) {
	switch {
	case d.Conflicting:
		return SeenUnknown, "the sources differ: by the vendor's page TkgServiceConfiguration does not apply to a Cluster with a class, and by a runbook " +
			"of VCF 9.1 such a Cluster inherits it when it is made; only a node tells"
	case d.Absent == AbsentUnread:
		return SeenUnknown, "this login may not read the Secret, so that neither the value nor when it was changed is known"
	case d.Absent == AbsentSecret:
		return SeenNo, "the Secret does not exist in the cluster's namespace, so that new nodes do not come up"
	case d.Absent == AbsentKey:
		return SeenNo, "the Secret has no such key, so that new nodes do not come up"
	case d.Service() && f.ownList:
		return SeenUnknown, "the cluster has a list of its own, and whether that replaces TkgServiceConfiguration's or adds to it is documented nowhere; only a node tells"
	case d.Service():
		return f.byService(d)
	}
	seen, why := f.byAge(d.Change)
	if d.Secret != "" && seen != SeenYes {
		why += "; a change of the Secret's bytes alone rolls no node, and machines that are made from now on read what is there now"
	}
	return seen, why
}

// byService judges an entry of TkgServiceConfiguration for a TanzuKubernetesCluster: what is there when one is made is its default. Whether a
// later edit reaches it is where the sources differ (tkg-facts.md §2).
func (f fleet) byService(d Declared) (Seen, string) {
	made := f.made()
	if !d.Change.Until.IsZero() && !made.IsZero() && made.After(d.Change.Until) {
		return SeenYes, fmt.Sprintf("the cluster was made on %s, and TkgServiceConfiguration was last changed on %s", clock(made), clock(d.Change.Until))
	}
	seen, why := f.byAge(d.Change)
	if seen != SeenNo {
		why += "; whether an edit reaches a cluster that is there already, at once, with its next roll or never, is where the sources differ"
		return SeenUnknown, why
	}
	return seen, why
}

// made is when the owner was.
func (f fleet) made() time.Time { return f.owner.Object.GetCreationTimestamp().UTC() }

// byAge holds the span of a change against the machines.
func (f fleet) byAge(c Change) (Seen, string) {
	newer, older := 0, 0
	var old []string
	for _, m := range f.machines {
		made := m.Created.UTC()
		switch {
		case made.IsZero():
		case !c.Until.IsZero() && (made.After(c.Until) || made.Equal(c.Until) && c.Until.Equal(f.made())):
			newer++ // times are whole seconds, and only what a cluster was made with comes before its machines for certain
		case made.Before(c.After):
			older++
			old = append(old, m.Name)
		}
	}
	all := len(f.machines)
	switch {
	case all == 0:
		return SeenUnknown, "no machine of the cluster is known"
	case newer == all:
		return SeenYes, fmt.Sprintf("each of the %d machines was made since it was last changed, on %s", all, clock(c.Until))
	case older == all:
		return SeenNo, fmt.Sprintf("each of the %d machines was made before it was changed, %s", all, c)
	case newer+older == all:
		return SeenUnknown, fmt.Sprintf("mixed: %d of %d machines were made before it was changed, %s: %s", older, all, c, some(old))
	case c.Until.IsZero():
		return SeenUnknown, "when it was last changed is not known"
	}
	why := fmt.Sprintf("%d of %d machines were made before or in the second of %s, the last time at which it can have been changed", all-newer, all, clock(c.Until))
	if !c.Exact() {
		why += "; whoever changed it owns other fields too, so that it may be older"
	}
	return SeenUnknown, why
}

// String says when, for people.
func (c Change) String() string {
	switch {
	case c.Until.IsZero():
		return "at an unknown time"
	case c.Exact():
		return "on " + clock(c.Until)
	}
	return "between " + clock(c.After) + " and " + clock(c.Until)
}

func clock(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// some lists names, five at most.
func some(names []string) string {
	if len(names) > 5 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:5], ", "), len(names)-5)
	}
	return strings.Join(names, ", ")
}
