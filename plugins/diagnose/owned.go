package diagnose

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/tkgfix/tkgfix/internal/tkg"
)

const (
	serviceKind = "TkgServiceConfiguration"
	byTMC       = "tmc"
)

// byMissionControl tells of a TanzuKubernetesCluster that Tanzu Mission Control keeps. Of such ones it is known that settings.network.trust
// is refused, with whatever rights and at whatever place, and that people fall back to TkgServiceConfiguration (tkg-facts.md §2). That is an
// object of the Supervisor, not of the cluster: nothing puts it back, so that here the ladder goes on where it stops for GitOps.
func (o owned) byMissionControl() bool {
	return o.Managed.By == byTMC && o.Way == string(tkg.WayTKC)
}

// anybody stands in where nobody looked for the owner: a TanzuKubernetesCluster that the login may do everything to.
func anybody() owned {
	return owned{
		Kind: tkg.TKCKind, Way: string(tkg.WayTKC), Initialized: true,
		May: rights{ClusterTrust: true, ServiceTrust: true, DeleteMachines: true, DeleteCluster: true},
	}
}

// known tells whether find-owner looked.
func (o owned) known() bool { return o.Cluster != "" }

// String names the owner for a sentence.
func (o owned) String() string {
	if !o.known() {
		return "the cluster"
	}
	return o.Kind + " " + o.Cluster
}

// resource is the owner as kubectl wants it.
func (o owned) resource() string {
	namespace, name, _ := strings.Cut(o.Cluster, "/")
	return strings.ToLower(o.Kind) + " " + name + " -n " + namespace
}

func (o owned) namespace() string {
	namespace, _, _ := strings.Cut(o.Cluster, "/")
	return cmp.Or(namespace, "its namespace")
}

func (o owned) classOrNone() string {
	if o.Class == "" {
		return "it has no class"
	}
	return "class " + o.Class
}

// notByService is why TkgServiceConfiguration is no way for a Cluster: what is known of that disagrees (tkg-facts.md §1.3).
func (o owned) notByService() string {
	what := "a Cluster with a class"
	if o.Class == "" {
		what = "a Cluster that no TanzuKubernetesCluster owns"
	}
	return serviceKind + ": it does not apply to " + what + " by the vendor's page, although one field report says otherwise"
}

func (o owned) managedBy() string {
	return cmp.Or(o.Managed.Text, "it is managed by "+o.Managed.By) + source(o.Managed)
}

func source(m managed) string {
	if m.Source == "" || strings.Contains(m.Text, m.Source) {
		return ""
	}
	return " (source: " + m.Source + ")"
}

// gets tells whether new machines of this cluster get a stored CA, by its name in check-encoding's words, and why not. What TkgServiceConfiguration
// holds they may: the first one that is replaced shows it.
func (f facts) gets(name string) (yes bool, why string) {
	if strings.HasPrefix(name, serviceKind) && f.owner.Way != string(tkg.WayTKC) {
		return false, f.owner.notByService()
	}
	return true, ""
}

// made tells whether each machine was made since a stored CA was last changed, and how that is known: then a new one gets what these have.
func (f facts) made(name string) (since bool, why string) {
	for _, d := range f.owner.Declared {
		if d.String() == name {
			return d.Seen == "yes", d.Why
		}
	}
	return false, ""
}

// neverUp is for a cluster whose first node has never come up: there is nobody to ask, and no node to roll.
func neverUp(f facts) (answer, bool) {
	if f.owner.Initialized {
		return answer{}, false
	}
	for _, e := range f.encoded.Entries {
		if yes, _ := f.gets(e.String()); yes && !e.OK && !e.unread() {
			return answer{
				cause: "never-up", need: needForm, entry: e, noFile: !f.encoded.Candidate.OK,
				summary: fmt.Sprintf("No control plane of the cluster has ever been up, and %s is stored in a form that keeps machines from joining: %s.", e, e.Problem),
			}, true
		}
	}
	return answer{
		cause: "never-up", remedy: nothing,
		summary: "No control plane of the cluster has ever been up, and nothing that is declared as trust is at fault.",
		stop:    "no control plane of the cluster has ever been up" + note(f.owner),
		next:    "kubectl describe " + f.owner.resource() + " shows what it waits for",
	}, true
}

// restartStop stops a workflow that does not look for the owner: it is the documented fix, which restarts nothing.
func (f facts) restartStop(nodes string) string {
	if f.owner.known() {
		return ""
	}
	return "containerd must be restarted on " + nodes + ", which this workflow does not do; nothing needs to be destroyed"
}
