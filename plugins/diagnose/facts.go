package diagnose

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tkgfix/tkgfix/internal/probe"
	"github.com/tkgfix/tkgfix/internal/pull"
)

// facts is what the steps saw, joined.
type facts struct {
	detected  detected
	nodeTrust nodeTrust
	probed    probed
	encoded   encoded
	// owner is what the cluster is made from; anybody's if nobody looked.
	owner owned
	// tried are remedies that were carried out already.
	tried []string
	// worst is the node whose handshake says most about the cause: one that does not get through before one to which the server shows
	// what no trust mends, before one that lacks trust, before one that needs a restart. Its ID is empty when no node was asked.
	worst handshake
}

// handshake is a node's answer with the verdict that it names.
type handshake struct {
	nodeProbe
	verdict probe.Verdict
}

// remedy is that of the verdict, in the words of this step.
func (h handshake) remedy() string { return familyOf(h.verdict.Remedy) }

func join(d detected, n nodeTrust, p probed, e encoded, o owned, tried []string) facts {
	f := facts{detected: d, nodeTrust: n, probed: p, encoded: e, owner: o, tried: tried}
	if !o.known() {
		f.owner = anybody()
	}
	rank := -1
	for _, node := range p.Nodes {
		h := handshake{node, probe.VerdictOf(node.Verdict)}
		if r := severity(h); r > rank {
			rank, f.worst = r, h
		}
	}
	return f
}

// unmendable returns the verdict that no change of trust mends, the first of the node's; its ID is empty if there is none.
func (h handshake) unmendable() probe.Verdict {
	if h.OK || h.FixableByTrust || h.Verdict == "" {
		return probe.Verdict{}
	}
	if !h.verdict.Trust {
		return h.verdict
	}
	for _, id := range h.Also {
		if v := probe.VerdictOf(id); !v.Trust {
			return v
		}
	}
	return probe.Verdict{}
}

// The verdicts of the probe that this step tells apart by name (docs/checks.md).
const (
	proxyIntercepts = "proxy-intercepts"
	runtimeRemoved  = "runtime-removed"
)

// The findings of verify-node-cert that this step tells apart by name (docs/checks.md).
const (
	nodeFileKey   = "node-file-private-key"
	hostsOverride = "hosts-override"
	runtimeProxy  = "runtime-proxy"
)

func severity(h handshake) int {
	switch remedy := h.remedy(); {
	case h.OK:
		return 0
	case h.FixableByTrust:
		return 2
	case remedy == restart:
		return 1
	case remedy == network || remedy == proxy:
		return 4
	}
	return 3
}

// familyOf returns the remedy of this step for one of the probe.
func familyOf(r probe.Remedy) string {
	switch r {
	case probe.None:
		return nothing
	case probe.AddCA, probe.ReplaceCA, probe.Encoding:
		return ownTrust
	case probe.Restart:
		return restart
	case probe.Network:
		return network
	case probe.Proxy:
		return proxy
	case probe.Clock:
		return clock
	case probe.Mirrors:
		return mirror
	case probe.Credential, probe.ClientCert:
		return credentials
	case probe.Reference:
		return reference
	case probe.Wait:
		return wait
	case probe.Registry:
		return registry
	}
	return server
}

// podClasses are the classes of the messages of the cluster's own pods, as far as they concern the registry.
func (f facts) podClasses() []string {
	var found []string
	for _, p := range f.detected.Failing {
		if p.isPod() && (f.detected.Registry == "" || p.Registry == "" || p.Registry == f.detected.Registry) {
			found = append(found, p.Class)
		}
	}
	return found
}

// class is the class of the pods' messages. Those who pull for themselves, the Supervisor and kapp-controller, count only when no pod
// of the cluster fails.
func (f facts) class() string {
	found := f.podClasses()
	foreign := f.detected.Class == pull.VSpherePod || f.detected.Class == pull.KappController
	switch {
	case slices.Contains(found, pull.Trust): // back-off repeats old causes, and a registry without trust tells no other
		return pull.Trust
	case foreign && len(found) > 0:
		return found[0]
	case f.detected.Class != "":
		return f.detected.Class
	case len(found) > 0:
		return found[0]
	case len(f.detected.Failing) > 0:
		return f.detected.Failing[0].Class
	}
	return pull.Unknown
}

// otherCause tells whether every failing pod names a cause, and none a certificate: then containerd gets past TLS, or not as far as TLS,
// and trust has no part in it whatever the handshake from the node shows.
func (f facts) otherCause() bool {
	found := f.podClasses()
	return len(found) > 0 && !slices.ContainsFunc(found, func(class string) bool {
		return class == pull.Trust || class == pull.ServerCertificate || class == pull.Unknown
	})
}

// vSpherePodsToo tells whether pods of the Supervisor fail beside those of the cluster.
func (f facts) vSpherePodsToo() bool {
	return slices.ContainsFunc(f.detected.Failing, func(p failure) bool { return p.Scope == "supervisor" })
}

// packagesToo tells whether kapp-controller fails beside the pods of the cluster.
func (f facts) packagesToo() bool {
	return slices.ContainsFunc(f.detected.Failing, func(p failure) bool { return p.Scope == "package" })
}

// asked tells whether a node was asked for a handshake.
func (f facts) asked() bool { return len(f.probed.Nodes) > 0 }

// registry is the registry's name for a sentence.
func (f facts) registry() string {
	for _, r := range []string{f.probed.Registry, f.detected.Registry} {
		if r != "" {
			return r
		}
	}
	return "the registry"
}

func (f facts) pods() string {
	n := max(f.detected.FailingCount, len(f.detected.Failing))
	if n == 1 {
		return "1 pod cannot pull"
	}
	return fmt.Sprintf("%d pods cannot pull", n)
}

// untrusting names the nodes on which the handshake fails.
func (f facts) untrusting() []string {
	var out []string
	for _, n := range f.probed.Nodes {
		if !n.OK {
			out = append(out, n.Name)
		}
	}
	return out
}

// withVerdict names the nodes whose handshake has this verdict.
func (f facts) withVerdict(id string) []string {
	var out []string
	for _, n := range f.probed.Nodes {
		if n.Verdict == id {
			out = append(out, n.Name)
		}
	}
	return out
}

// finding names the nodes on which verify-node-cert found something, and returns what it says of the first.
func (f facts) finding(id string) (nodes []string, text string) {
	for _, n := range f.nodeTrust.Nodes {
		for _, found := range n.Findings {
			if found.ID != id {
				continue
			}
			if len(nodes) == 0 {
				text = found.Text
			}
			if !slices.Contains(nodes, n.Name) {
				nodes = append(nodes, n.Name)
			}
		}
	}
	return nodes, text
}

// mirror returns the nodes whose hosts.toml sends pulls of a failing pod to another host, with the registry of the image and that host.
func (f facts) mirror() (nodes []string, image, host string) {
	nodes, text := f.finding(hostsOverride)
	for _, p := range f.detected.Failing {
		if p.isPod() && p.Registry != "" && p.ImageRegistry != "" && p.Registry != p.ImageRegistry && strings.Contains(text, p.Registry) {
			return nodes, p.ImageRegistry, p.Registry
		}
	}
	return nil, "", ""
}

// skewed names the nodes whose clock is off by a minute or more.
func (f facts) skewed() []string {
	var out []string
	for _, n := range f.nodeTrust.Nodes {
		if n.ClockSkewSeconds >= 60 || n.ClockSkewSeconds <= -60 {
			out = append(out, fmt.Sprintf("%s (%+.0f s)", n.Name, n.ClockSkewSeconds))
		}
	}
	return out
}

// misencoded returns the stored entry that would make the chain valid, that this cluster gets and that nodes cannot use: it holds the
// candidate, or every node says so of it.
func (f facts) misencoded() (stored, bool) {
	for _, e := range f.encoded.Entries {
		if yes, _ := f.gets(e.String()); yes && !e.OK && (f.holdsCandidate(e) || f.completes(e)) {
			return e, true
		}
	}
	return stored{}, false
}

// usable returns the stored entry that would make the chain valid and that new nodes of this cluster get and can use.
func (f facts) usable() (where string, ok bool) {
	var would []string
	if c := f.encoded.Candidate; c.ConfiguredAs != "" {
		would = append(would, c.ConfiguredAs)
	}
	for _, e := range f.encoded.Entries {
		if e.OK && (f.holdsCandidate(e) || f.completes(e)) {
			would = append(would, e.String())
		}
	}
	for _, name := range would {
		if yes, _ := f.gets(name); yes {
			return name, true
		}
	}
	return "", false
}

func (f facts) holdsCandidate(e stored) bool {
	wanted := f.encoded.Candidate.Fingerprints
	return len(wanted) > 0 && !slices.ContainsFunc(wanted, func(fp string) bool { return !slices.Contains(e.Fingerprints, fp) })
}

// completes tells whether each node that lacks trust says that this entry would do.
func (f facts) completes(e stored) bool {
	lacking := 0
	for _, n := range f.probed.Nodes {
		if n.OK {
			continue
		}
		lacking++
		if !slices.Contains(n.CompletedBy, e.String()) {
			return false
		}
	}
	return lacking > 0
}

// missing names the certificate that the candidate leaves missing, or that is missing without one.
func (f facts) missing() string {
	for _, n := range f.probed.Nodes {
		if !n.OK && !n.CandidateOK && n.Missing != "" {
			return n.Missing
		}
	}
	if f.probed.Missing != "" {
		return f.probed.Missing
	}
	return f.worst.Missing
}

// candidateError is what Go says with the candidate added, on the first node where that fails.
func (f facts) candidateError() string {
	for _, n := range f.probed.Nodes {
		if !n.OK && !n.CandidateOK && n.CandidateError != "" {
			return n.CandidateError
		}
	}
	return ""
}

// some lists names, five at most.
func some(names []string) string {
	if len(names) > 5 {
		return strings.Join(names[:5], ", ") + fmt.Sprintf(" and %d more", len(names)-5)
	}
	return strings.Join(names, ", ")
}
