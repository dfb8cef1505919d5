package diagnose

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/internal/pull"
)

// facts is what the steps saw, joined.
type facts struct {
	detected  detected
	nodeTrust nodeTrust
	probed    probed
	encoded   encoded
	// worst is the node whose handshake says most about the cause: one that does not get through before one with a bad server
	// certificate, before one that lacks trust. Its Class is empty when no node was asked.
	worst nodeProbe
}

func join(d detected, n nodeTrust, p probed, e encoded) facts {
	f := facts{detected: d, nodeTrust: n, probed: p, encoded: e}
	rank := -1
	for _, node := range p.Nodes {
		if r := severity(node); r > rank {
			rank, f.worst = r, node
		}
	}
	if len(p.Nodes) == 0 && p.Class != "" && p.Class != string(certs.ClassOK) {
		f.worst = nodeProbe{Class: p.Class, Missing: p.Missing}
	}
	return f
}

func severity(n nodeProbe) int {
	switch {
	case n.OK:
		return 0
	case isNetwork(n.Class):
		return 3
	case isServer(n.Class):
		return 2
	}
	return 1
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

func (f facts) asked() bool { return len(f.probed.Nodes) > 0 || f.worst.Class != "" }

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

// stale names the nodes whose containerd is older than a trust file.
func (f facts) stale() []string {
	var out []string
	for _, n := range f.nodeTrust.Nodes {
		if slices.ContainsFunc(n.Files, func(f file) bool { return f.NewerThanContainerd }) {
			out = append(out, n.Name)
		}
	}
	return out
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

// skewed names the nodes whose clock is off by five minutes or more.
func (f facts) skewed() []string {
	var out []string
	for _, n := range f.nodeTrust.Nodes {
		if n.ClockSkewSeconds >= 300 || n.ClockSkewSeconds <= -300 {
			out = append(out, fmt.Sprintf("%s (%+.0f s)", n.Name, n.ClockSkewSeconds))
		}
	}
	return out
}

// misencoded returns the stored entry that holds the candidate in a shape that nodes cannot use.
func (f facts) misencoded() (stored, bool) {
	wanted := f.encoded.Candidate.Fingerprints
	for _, e := range f.encoded.Entries {
		lacks := func(fp string) bool { return !slices.Contains(e.Fingerprints, fp) }
		if !e.OK && len(wanted) > 0 && !slices.ContainsFunc(wanted, lacks) {
			return e, true
		}
	}
	return stored{}, false
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

func isNetwork(class string) bool {
	switch certs.Class(class) {
	case certs.ClassDNS, certs.ClassRefused, certs.ClassUnreachable, certs.ClassTimeout, certs.ClassReset, certs.ClassClosed,
		certs.ClassPlainHTTP, certs.ClassNotTLS:
		return true
	}
	return false
}

// isServer tells whether no certificate that is added to the trust can help.
func isServer(class string) bool {
	switch certs.Class(class) {
	case certs.ClassExpired, certs.ClassExpiredIntermediate, certs.ClassNotYetValid, certs.ClassNameMismatch, certs.ClassNoSAN,
		certs.ClassIntermediateNotACA, certs.ClassWeakSignature, certs.ClassBadSignature, certs.ClassUnsupportedKey,
		certs.ClassPathLength, certs.ClassNameConstraint, certs.ClassKeyUsage, certs.ClassCriticalExtension, certs.ClassUnparsable,
		certs.ClassKeyMismatch, certs.ClassWeakKey, certs.ClassAlert:
		return true
	}
	return false
}

func isTime(class string) bool {
	switch certs.Class(class) {
	case certs.ClassExpired, certs.ClassExpiredIntermediate, certs.ClassExpiredRoot, certs.ClassNotYetValid:
		return true
	}
	return false
}

// some lists names, five at most.
func some(names []string) string {
	if len(names) > 5 {
		return strings.Join(names[:5], ", ") + fmt.Sprintf(" and %d more", len(names)-5)
	}
	return strings.Join(names, ", ")
}
