package diagnose

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/internal/pull"
	"github.com/tkgfix/tkgfix/internal/tkg"
)

// answer is a cause with its remedy. A stop says why tkgfix cannot go on, and next what to do instead; both are empty when it can.
type answer struct {
	cause, remedy string
	summary       string
	stop, next    string
	// need is set where only new machines carry it out: then the remedy is the ladder's to choose, and refused says why it chose no other.
	need    need
	refused map[string]string
	// where names the right entry for needNodes, entry is that of needForm.
	where string
	entry stored
	// told says that the cause is what the pods' own messages name.
	told bool
	// noFile says that there is no CA file that any trust should be given.
	noFile bool
}

// judge returns the first answer that fits. The order is from what the pods say, over what the nodes see, to what is stored.
func judge(f facts) answer {
	for _, rule := range []func(facts) (answer, bool){
		neverUp, notFailing, vSpherePod, kappController, notProbed, wrongClock, byVerdict, otherCause, staleRuntime, trusted,
		mirrored, leakedKey, badCandidate, noCandidate, incomplete, configured, misencoded,
	} {
		if a, ok := rule(f); ok {
			return chosen(f, a)
		}
	}
	return chosen(f, notConfigured(f))
}

func notFailing(f facts) (answer, bool) {
	if f.detected.Affected {
		return answer{}, false
	}
	a := answer{cause: "healthy", remedy: nothing, summary: "No pod fails to pull: there is nothing to do."}
	if nodes := f.untrusting(); len(nodes) > 0 {
		a.cause = "not-failing"
		a.summary = fmt.Sprintf("No pod fails to pull, so nothing is done; but the next pull from %s would fail on %s (%s).", f.registry(), some(nodes), f.worst.Verdict)
	}
	if nodes := f.withVerdict(runtimeRemoved); len(nodes) > 0 {
		a.cause = "not-failing"
		a.summary = fmt.Sprintf("No pod fails to pull, so nothing is done; but what makes %s trusted was taken from %s after containerd had read it: pulls fail from its next start on.", f.registry(), some(nodes))
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
	if f.asked() {
		return answer{}, false
	}
	a := answer{
		cause: "not-probed", remedy: nothing,
		summary: "No worker node was asked, so the cause is not proved.",
		stop:    "no worker node could be asked for a handshake with " + f.registry(),
		next:    "kubectl get machines --all-namespaces shows whether the cluster has workers; then plan again",
	}
	if class := f.class(); class != pull.Unknown {
		a.summary = "No worker node was asked, so the cause is not proved; the pods' own messages speak of " + class + "."
	}
	return a, true
}

// wrongClock is for dates that look wrong to a node whose clock is.
func wrongClock(f facts) (answer, bool) {
	nodes := f.skewed()
	if len(nodes) == 0 || f.worst.OK || !isTime(f.worst.Verdict) {
		return answer{}, false
	}
	return answer{
		cause: "node-clock", remedy: clock,
		summary: "The certificates look out of date (" + f.worst.Verdict + ") to nodes whose clock is wrong: " + some(nodes) + ".",
		stop:    "the clock is wrong on " + some(nodes) + ", and dates of certificates are judged by it",
		next:    "correct the NTP servers of the Supervisor and of the ESXi hosts, wait until the nodes agree (date -u), then plan again",
	}, true
}

func isTime(verdict string) bool {
	switch certs.Class(verdict) {
	case certs.ClassExpired, certs.ClassExpiredIntermediate, certs.ClassExpiredRoot, certs.ClassNotYetValid, certs.ClassCANotYetValid:
		return true
	}
	return false
}

// byVerdict is for what no change of trust mends: the verdict names who has to.
func byVerdict(f facts) (answer, bool) {
	w := f.worst
	v := w.unmendable()
	if v.ID == "" || familyOf(v.Remedy) == restart {
		return answer{}, false
	}
	a := answer{
		cause: v.ID, remedy: familyOf(v.Remedy), stop: fmt.Sprintf("%s, as node %s sees it: %s", f.registry(), w.Name, cmp.Or(w.Error, v.ID)),
		next: v.Do + "; then plan again. More: docs/checks.md#" + v.ID,
	}
	if a.remedy == clock { // no node's clock is off, so the certificate's dates are
		a.remedy = server
	}
	switch a.remedy {
	case network:
		a.summary = fmt.Sprintf("Node %s gets no TLS handshake from %s (%s): no certificate is at fault.", w.Name, f.registry(), v.ID)
	case proxy:
		a.summary = fmt.Sprintf("The proxy that containerd goes by on node %s gives it no connection to %s (%s): no certificate of the registry is at fault.", w.Name, f.registry(), v.ID)
	case mirror:
		a.summary = fmt.Sprintf("The hosts.toml on node %s sends pulls from %s elsewhere, and that fails (%s): the trust of the cluster has no part in it.", w.Name, f.registry(), v.ID)
	case server:
		a.summary = fmt.Sprintf("What %s presents is refused by Go whatever is trusted (%s). Only the registry, or who issues its certificate, can mend that.", f.registry(), v.ID)
	default:
		a.summary = fmt.Sprintf("%s answers node %s in a way that no trust mends (%s).", f.registry(), w.Name, v.ID)
	}
	return a, true
}

// staleRuntime is for nodes that hold what makes the chain valid and whose containerd was started before.
func staleRuntime(f facts) (answer, bool) {
	if f.worst.OK || f.worst.remedy() != restart {
		return answer{}, false
	}
	nodes := some(f.withVerdict(f.worst.Verdict))
	return answer{
		cause: f.worst.Verdict, remedy: restart,
		summary: "The nodes hold the right certificates, but containerd was started before they were written and reads them once, before its first pull: " + nodes + ".",
		stop:    f.restartStop(nodes),
		next:    "tkgfix init registry-trust.yaml has a step that does it; or on each of these nodes: sudo systemctl restart containerd (running containers go on), then plan again",
	}, true
}

// trusted is for nodes that trust what the registry presents: what is left is a pod that waits, or a cause that has nothing to do with
// TLS.
func trusted(f facts) (answer, bool) {
	if !f.probed.Trusted {
		return answer{}, false
	}
	if a, ok := notTrust(f); ok {
		return a, true
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
		cause: "bad-ca-file", need: needCA, noFile: true,
		summary: "The nodes do not trust " + f.registry() + " (" + f.worst.Verdict + "), and the given CA file cannot be used: " + c.Problem + ".",
		stop:    "the given CA file cannot be used: " + c.Problem,
		next:    "give the CA as PEM; " + fetch(f),
	}, true
}

// noCandidate is for a diagnosis without a CA file: what is stored may tell the cause, and the file is still wanted to mend it.
func noCandidate(f facts) (answer, bool) {
	if f.encoded.Candidate.Given {
		return answer{}, false
	}
	for _, rule := range []func(facts) (answer, bool){configured, misencoded} {
		if a, ok := rule(f); ok {
			a.noFile, a.stop, a.next = true, "no CA was given; the right one is stored in the cluster's configuration", "take it from there (check-encoding's output holds each stored value, corrected where it must be), and give it: --input ca=FILE"
			return a, true
		}
	}
	if f.worst.Verdict == string(certs.ClassMissingIntermediate) {
		return loneLeaf(f, "the server's chain is not complete"), true
	}
	return answer{
		cause: trustCause(f), need: needCA, noFile: true,
		summary: fmt.Sprintf("The nodes do not trust %s (%s), and no CA was given. Missing: %s.", f.registry(), f.worst.Verdict, cmp.Or(f.missing(), "unknown")),
		stop:    "no CA was given; missing is " + cmp.Or(f.missing(), "the CA that issued the registry's certificate"),
		next:    fetch(f),
	}, true
}

// mirrored is for pulls that a hosts.toml sends to a host whose CA is missing. Where the given CA is that host's, it is as good as the
// registry's.
func mirrored(f facts) (answer, bool) {
	if f.probed.CandidateWorks {
		return answer{}, false
	}
	nodes, image, host := f.mirror()
	if len(nodes) == 0 {
		return answer{}, false
	}
	return answer{
		cause: "hosts-override", remedy: mirror,
		summary: fmt.Sprintf("A hosts.toml on %s sends pulls from %s to %s, whose certificate these nodes do not trust (%s).", some(nodes), image, host, f.worst.Verdict),
		stop:    fmt.Sprintf("pulls from %s go to %s, whose CA is missing: %s", image, host, cmp.Or(f.missing(), "unknown")),
		next:    "name that CA in the hosts.toml (ca), or take the mirror out, on each node; or give it to the cluster: --input ca=FILE. More: docs/checks.md#hosts-override",
	}, true
}

// leakedKey is for a private key that stands where a CA should: no change is planned beside it, since who mends it must know.
func leakedKey(f facts) (answer, bool) {
	nodes, text := f.finding(nodeFileKey)
	if len(nodes) == 0 {
		return answer{}, false
	}
	return answer{
		cause: nodeFileKey, need: needCA, noFile: true,
		summary: "A private key lies in the trust of " + some(nodes) + " where a CA should, and what it belongs to must be taken for open to others: " + text + ".",
		stop:    "a private key stands where a CA should, on " + some(nodes),
		next:    "take it out by hand (kubectl edit tkgserviceconfiguration " + tkg.ServiceConfigurationName + "), replace the key wherever it is used, and plan again. More: docs/checks.md#" + nodeFileKey,
	}, true
}

// incomplete is for a CA that does not make the chain valid. It is not planned into the configuration.
func incomplete(f facts) (answer, bool) {
	if f.probed.CandidateWorks {
		return answer{}, false
	}
	switch f.worst.Verdict {
	case string(certs.ClassMissingIntermediate), string(certs.ClassMissingIssuer):
		return loneLeaf(f, "the given CA does not complete the chain of "+f.registry()), true
	case proxyIntercepts:
		return intercepted(f), true
	}
	missing := cmp.Or(f.missing(), "the CA that issued it")
	a := answer{
		cause: trustCause(f), need: needCA, noFile: true,
		summary: "The given CA (" + some(f.encoded.Candidate.Subjects) + ") does not sign the chain of " + f.registry() + ". Missing: " + missing + ".",
		stop:    "the given CA does not complete the chain that " + f.registry() + " presents: missing is " + missing,
		next:    fetch(f),
	}
	if said := f.candidateError(); said != "" && !strings.Contains(said, "unknown authority") {
		a.stop = "with the given CA Go still says: " + said
	}
	return a, true
}

// intercepted is for a proxy that ends TLS itself.
func intercepted(f facts) answer {
	return answer{
		cause: proxyIntercepts, remedy: proxy,
		summary: "The proxy that containerd goes by ends TLS itself: the nodes see the proxy's certificate and not that of " + f.registry() + ", which the given CA signs or does not.",
		stop:    "the given CA is not that of the proxy, whose certificate the nodes see: missing is " + cmp.Or(f.missing(), "the proxy's CA"),
		next:    "put " + f.registry() + " into noProxy (spec.proxy of TkgServiceConfiguration, settings.network.proxy of the cluster); or give the proxy's CA: --input ca=FILE",
	}
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

// configured is for a CA that is stored already and has not reached the nodes.
func configured(f facts) (answer, bool) {
	where, ok := f.usable()
	if !ok {
		return answer{}, false
	}
	a := answer{
		cause: "stale-nodes", need: needNodes, where: where,
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
	cause := "wrong-encoding"
	if e.doubled() {
		cause = "duplicate-names"
	}
	return answer{
		cause: cause, need: needForm, entry: e,
		summary: fmt.Sprintf("The right CA is stored in %s, but the nodes cannot use it: %s.", e, e.Problem),
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
	case string(certs.ClassNotACA):
		summary = "What is trusted is not a CA certificate. The given one makes the chain of " + f.registry() + " valid on every node."
	case string(certs.ClassRenewedLeaf):
		summary = "What is trusted is an earlier certificate of the registry itself. The given CA makes the chain of " + f.registry() + " valid on every node, also after the next renewal."
	case proxyIntercepts:
		summary = "The proxy that containerd goes by ends TLS itself, and the given CA is the proxy's. To put " + f.registry() + " into noProxy would do as well."
	}
	return answer{cause: cause, need: needCA, summary: summary}
}

func trustCause(f facts) string {
	switch class := certs.Class(f.worst.Verdict); class {
	case certs.ClassSameNameOtherKey:
		return "wrong-ca"
	case certs.ClassExpiredRoot:
		return "expired-ca"
	case certs.ClassNotACA, certs.ClassSelfSigned, certs.ClassRenewedLeaf, proxyIntercepts:
		return string(class)
	}
	return "missing-ca"
}

func fetch(f facts) string {
	return "get that certificate from whoever runs " + f.registry() + ", compare its fingerprint by another way, and give it: --input ca=FILE"
}
