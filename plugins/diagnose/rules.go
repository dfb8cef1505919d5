package diagnose

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/internal/pull"
)

// answer is a cause with its remedy. A stop says why tkgfix cannot go on, and next what to do instead; both are empty when it can.
type answer struct {
	cause, remedy string
	summary       string
	stop, next    string
	// told says that the cause is what the pods' own messages name.
	told bool
	// noFile says that there is no CA file that TkgServiceConfiguration could be given.
	noFile bool
}

// judge returns the first answer that fits. The order is from what the pods say, over what the nodes see, to what is stored.
func judge(f facts) answer {
	for _, rule := range []func(facts) (answer, bool){
		notFailing, vSpherePod, kappController, notProbed, unreachable, clock, badServer, otherCause, trusted, badCandidate, noCandidate, incomplete, configured, misencoded,
	} {
		if a, ok := rule(f); ok {
			return a
		}
	}
	return notConfigured(f)
}

func notFailing(f facts) (answer, bool) {
	if f.detected.Affected {
		return answer{}, false
	}
	a := answer{cause: "healthy", remedy: nothing, summary: "No pod fails to pull: there is nothing to do."}
	if nodes := f.untrusting(); len(nodes) > 0 {
		a.cause = "not-failing"
		a.summary = fmt.Sprintf("No pod fails to pull, so nothing is done; but the next pull from %s would fail on %s (%s).", f.registry(), some(nodes), f.worst.Class)
	}
	return a, true
}

func vSpherePod(f facts) (answer, bool) {
	if f.class() != pull.VSpherePod {
		return answer{}, false
	}
	return answer{
		cause: pull.VSpherePod, remedy: notTKG,
		summary: "The image is pulled by the Supervisor for a vSphere Pod. Nothing in TkgServiceConfiguration or in a cluster's trust has a part in that, so recreating a cluster would change nothing.",
		stop:    "the failing pods are vSphere Pods on the Supervisor, whose registry trust is not that of a TKG cluster",
		next:    "let a vSphere administrator add the CA to the Supervisor itself (vSphere Client: Workload Management, Supervisors, Configure, Container Registries); vSphere 7 has no private registries for vSphere Pods",
	}, true
}

// kappTrust ends a sentence on the trust of kapp-controller (tkg-facts.md §6.4).
const kappTrust = "is spec.kappController.config.caCerts (PEM) of the KappControllerConfig CLUSTER-kapp-controller-package on the Supervisor"

// kappController is for packages alone: kapp-controller dials by itself, so that no handshake of a node says anything of it.
func kappController(f facts) (answer, bool) {
	if f.class() != pull.KappController {
		return answer{}, false
	}
	return answer{
		cause: pull.KappController, remedy: notTKG, told: true,
		summary: "No pod fails; kapp-controller does not get its packages from " + f.registry() + ". It has its own trust and dials by itself, so neither the nodes' trust nor new nodes would change anything.",
		stop:    "kapp-controller cannot fetch packages from " + f.registry() + ", and the nodes' trust has no part in it",
		next:    "kubectl get packageinstalls,packagerepositories -A -o yaml shows the cause (usefulErrorMessage): for x509 its trust " + kappTrust + "; for dial tcp the network between the cluster's pods and that registry",
	}, true
}

func notProbed(f facts) (answer, bool) {
	class := certs.Class(f.worst.Class)
	if f.asked() && class != certs.ClassForwarding {
		return answer{}, false
	}
	a := answer{
		cause: "not-probed", remedy: nothing,
		summary: "No worker node was asked, so the cause is not proved.",
		stop:    "no worker node could be asked for a handshake with " + f.registry(),
		next:    "kubectl get machines --all-namespaces shows whether the cluster has workers; then plan again",
	}
	if class == certs.ClassForwarding {
		a.next = "allow TCP forwarding in the nodes' SSH server (AllowTcpForwarding), or install openssl there; then plan again"
	}
	return a, true
}

func unreachable(f facts) (answer, bool) {
	if !isNetwork(f.worst.Class) {
		return answer{}, false
	}
	a := answer{
		cause: "registry-" + f.worst.Class, remedy: network,
		summary: fmt.Sprintf("Node %s gets no TLS handshake from %s (%s): no certificate is at fault.", f.worst.Name, f.registry(), f.worst.Class),
		stop:    fmt.Sprintf("node %s does not reach %s: %s", f.worst.Name, f.registry(), cmp.Or(f.worst.Error, f.worst.Class)),
		next:    "mend the network between the nodes and the registry (name, port, firewall, load balancer), then plan again",
	}
	switch certs.Class(f.worst.Class) {
	case certs.ClassDNS:
		a.next = "make the name resolve with the DNS servers of the vSphere Namespace's network, or correct it in the image reference; then plan again"
	case certs.ClassPlainHTTP, certs.ClassNotTLS:
		a.next = "this port does not speak TLS: correct the port in the image reference, or let the registry serve HTTPS there; then plan again"
	}
	return a, true
}

func clock(f facts) (answer, bool) {
	nodes := f.skewed()
	if len(nodes) == 0 || !isTime(f.worst.Class) {
		return answer{}, false
	}
	return answer{
		cause: "node-clock", remedy: network,
		summary: "The certificates look out of date (" + f.worst.Class + ") to nodes whose clock is wrong: " + some(nodes) + ".",
		stop:    "the clock is wrong on " + some(nodes) + ", and dates of certificates are judged by it",
		next:    "correct the NTP servers of the Supervisor and of the ESXi hosts, wait until the nodes agree (date -u), then plan again",
	}, true
}

func badServer(f facts) (answer, bool) {
	if !isServer(f.worst.Class) {
		return answer{}, false
	}
	return answer{
		cause: "server-" + f.worst.Class, remedy: server,
		summary: fmt.Sprintf("What %s presents is refused by Go whatever is trusted (%s). Only the registry can mend that.", f.registry(), f.worst.Class),
		stop:    fmt.Sprintf("%s must be mended at the registry: %s", f.registry(), cmp.Or(f.worst.Error, f.worst.Class)),
		next:    serverHint(certs.Class(f.worst.Class)),
	}, true
}

func serverHint(class certs.Class) string {
	switch class {
	case certs.ClassExpired, certs.ClassExpiredIntermediate:
		return "renew the certificate at the registry, with its whole chain; then plan again"
	case certs.ClassNotYetValid:
		return "compare the registry's and the nodes' clocks (date -u), or wait until the certificate is valid; then plan again"
	case certs.ClassNameMismatch, certs.ClassNoSAN:
		return "have the certificate issued again with the registry's name as subject alternative name, or use a name that it holds in the image references; then plan again"
	case certs.ClassAlert:
		return "see what the registry demands: a client certificate, TLS below 1.2, or another server name; then plan again"
	case certs.ClassKeyMismatch, certs.ClassUnparsable, certs.ClassBadSignature:
		return "install certificate, chain and key at the registry again: they do not belong together or are damaged; then plan again"
	}
	return "have the certificate, or the CA that the error names, issued again; then plan again"
}

// trusted is for nodes that trust what the registry presents: what is left is a containerd that does not know it yet, a pod that
// waits, or a cause that has nothing to do with TLS.
func trusted(f facts) (answer, bool) {
	if !f.probed.Trusted {
		return answer{}, false
	}
	if a, ok := notTrust(f); ok {
		return a, true
	}
	if nodes := f.stale(); len(nodes) > 0 {
		return answer{
			cause: "stale-containerd", remedy: restart,
			summary: "The nodes hold the right certificates, but containerd was started before they were written and reads them only at its start: " + some(nodes) + ".",
			stop:    "containerd must be restarted on " + some(nodes) + ", which this version does not do; nothing needs to be destroyed",
			next:    "on each of these nodes: sudo systemctl restart containerd (running containers go on); then plan again",
		}, true
	}
	return answer{
		cause: "back-off", remedy: nothing,
		summary: "Every node trusts " + f.registry() + ": the failing pods wait in back-off, and the kubelet tries again within five minutes.",
	}, true
}

func badCandidate(f facts) (answer, bool) {
	c := f.encoded.Candidate
	if !c.Given || c.OK {
		return answer{}, false
	}
	return answer{
		cause: "bad-ca-file", remedy: trust, noFile: true,
		summary: "The nodes do not trust " + f.registry() + " (" + f.worst.Class + "), and the given CA file cannot be used: " + c.Problem + ".",
		stop:    "the given CA file cannot be used: " + c.Problem,
		next:    "give the CA as PEM; " + fetch(f),
	}, true
}

func noCandidate(f facts) (answer, bool) {
	if f.encoded.Candidate.Given {
		return answer{}, false
	}
	if certs.Class(f.worst.Class) == certs.ClassMissingIntermediate {
		return loneLeaf(f, "the server's chain is not complete"), true
	}
	return answer{
		cause: string(trustCause(f)), remedy: trust, noFile: true,
		summary: fmt.Sprintf("The nodes do not trust %s (%s), and no CA was given. Missing: %s.", f.registry(), f.worst.Class, cmp.Or(f.missing(), "unknown")),
		stop:    "no CA was given; missing is " + cmp.Or(f.missing(), "the CA that issued the registry's certificate"),
		next:    fetch(f),
	}, true
}

// incomplete is for a CA that does not make the chain valid.
func incomplete(f facts) (answer, bool) {
	if f.probed.CandidateWorks {
		return answer{}, false
	}
	said, missing := f.candidateError(), f.missing()
	if said != "" && !strings.Contains(said, "unknown authority") {
		return answer{
			cause: "server-chain", remedy: server,
			summary: "With the given CA the chain of " + f.registry() + " is complete, but Go refuses it still: " + said + ".",
			stop:    "with the given CA Go still says: " + said,
			next:    "have the certificate that the error names issued again; then plan again",
		}, true
	}
	if alone(certs.Class(f.worst.Class)) {
		return loneLeaf(f, "the given CA does not complete the chain of "+f.registry()), true
	}
	return answer{
		cause: "ca-does-not-complete-chain", remedy: trust,
		summary: "The given CA (" + some(f.encoded.Candidate.Subjects) + ") does not sign the chain of " + f.registry() + ". Missing: " + cmp.Or(missing, "unknown") + ".",
		stop:    "the given CA does not complete the chain that " + f.registry() + " presents: missing is " + cmp.Or(missing, "the CA that issued it"),
		next:    fetch(f),
	}, true
}

// loneLeaf is for a server that does not send the certificate that issued its own.
func loneLeaf(f facts, why string) answer {
	missing := cmp.Or(f.missing(), "the issuer of its certificate")
	return answer{
		cause: string(certs.ClassMissingIntermediate), remedy: server,
		summary: f.registry() + " sends its own certificate without the one that issued it. Missing: " + missing + ".",
		stop:    why + ": missing is " + missing,
		next:    "let the registry send the whole chain, its own certificate first; until it does, a CA file that holds the missing certificate helps too: --input ca=FILE",
	}
}

func alone(class certs.Class) bool {
	return class == certs.ClassMissingIntermediate || class == certs.ClassMissingIssuer
}

// configured is for a CA that is stored already and has not reached the nodes.
func configured(f facts) (answer, bool) {
	where := f.encoded.Candidate.ConfiguredAs
	if where == "" {
		return answer{}, false
	}
	a := answer{
		cause: "stale-nodes", remedy: recreate,
		summary: "The right CA is configured (" + where + "), but these nodes were made before it or did not get it: " + some(f.untrusting()) + ". New nodes get it.",
	}
	if f.nodeTrust.CandidateOnAll {
		a.cause = "unread-trust-file"
		a.summary = "The right CA is configured (" + where + ") and lies on every node, but not where or in a shape in which containerd reads it. New nodes get it afresh."
	}
	return a, true
}

func misencoded(f facts) (answer, bool) {
	e, ok := f.misencoded()
	if !ok {
		return answer{}, false
	}
	return answer{
		cause: "wrong-encoding", remedy: trust,
		summary: fmt.Sprintf("The right CA is stored in %s, entry %s, but the nodes cannot use it: %s.", e.Where, e.Name, e.Problem),
	}, true
}

func notConfigured(f facts) answer {
	cause := trustCause(f)
	summary := "No stored CA makes the chain of " + f.registry() + " valid, and the given one does, on every node."
	switch cause {
	case "wrong-ca":
		summary = "The CA that is trusted has the right name and another key: it was renewed. The given one makes the chain of " + f.registry() + " valid on every node."
	case "expired-ca":
		summary = "The trusted CA has expired. The given one makes the chain of " + f.registry() + " valid on every node."
	case "not-a-ca":
		summary = "What is trusted is not a CA certificate. The given one makes the chain of " + f.registry() + " valid on every node."
	}
	return answer{cause: string(cause), remedy: trust, summary: summary}
}

func trustCause(f facts) certs.Class {
	switch class := certs.Class(f.worst.Class); class {
	case certs.ClassSameNameOtherKey:
		return "wrong-ca"
	case certs.ClassExpiredRoot:
		return "expired-ca"
	case certs.ClassNotACA, certs.ClassSelfSigned:
		return class
	}
	return "missing-ca"
}

func fetch(f facts) string {
	return "get that certificate from whoever runs " + f.registry() + ", compare its fingerprint by another way, and give it: --input ca=FILE"
}
