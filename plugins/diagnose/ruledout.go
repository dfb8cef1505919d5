package diagnose

import (
	"cmp"
	"fmt"

	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/internal/pull"
	"github.com/tkgfix/tkgfix/internal/tkg"
)

// ruleOut says of every remedy but the chosen one why it is not it, gentlest first.
func ruleOut(f facts, chosen answer) []ruledOut {
	out := []ruledOut{}
	for _, row := range []struct {
		remedy string
		why    func(facts, answer) string
	}{
		{nothing, whyNotNothing},
		{wait, whyNotWait},
		{restart, whyNotRestart},
		{clock, whyNotClock},
		{network, whyNotNetwork},
		{proxy, whyNotProxy},
		{mirror, whyNotMirror},
		{server, whyNotServer},
		{registry, whyNotRegistry},
		{credentials, whyNotCredentials},
		{reference, whyNotReference},
		{notTKG, whyNotElsewhere},
		{rollNodes, whyNotNewNodes},
		{ownTrust, whyNotTrust},
		{globalTrust, whyNotServiceTrust},
		{recreate, whyNotRecreate},
	} {
		if row.remedy != chosen.remedy {
			out = append(out, ruledOut{Remedy: row.remedy, Reason: cmp.Or(chosen.refused[row.remedy], row.why(f, chosen))})
		}
	}
	return out
}

func whyNotNothing(f facts, _ answer) string {
	if n := len(f.untrusting()); n > 0 {
		return fmt.Sprintf("%s, and the handshake with %s fails on %d of %d nodes", f.pods(), f.registry(), n, len(f.probed.Nodes))
	}
	return f.pods() + ", and that does not pass by itself"
}

func whyNotWait(f facts, _ answer) string {
	return "no message says that the registry limits how often it is asked"
}

func whyNotRestart(f facts, chosen answer) string {
	switch {
	case !f.detected.Affected:
		return "no pod fails"
	case chosen.remedy == notTKG:
		return "containerd of the nodes has no part in it"
	case chosen.told:
		return "the pods name another cause"
	case !f.asked():
		return "no node was asked"
	case f.probed.Trusted:
		return "what containerd read when it was started makes the chain valid on every node"
	}
	return "the files that are on the nodes do not make the chain valid, so reading them again changes nothing"
}

func whyNotClock(f facts, _ answer) string {
	switch nodes := f.skewed(); {
	case len(f.nodeTrust.Nodes) == 0:
		return "no node told its time"
	case len(nodes) > 0:
		return "the clock is off on " + some(nodes) + ", and no date of a certificate turns on it"
	}
	return "the clocks of the nodes agree with this machine's"
}

func whyNotNetwork(f facts, chosen answer) string {
	switch {
	case !f.detected.Affected:
		return "no pod fails"
	case chosen.remedy == notTKG, !f.asked():
		return "nothing speaks of the network"
	case chosen.remedy == proxy:
		return "the nodes reach the proxy that they go by, or do not get as far as the registry"
	}
	return "the nodes reach " + f.registry() + ", and it answers"
}

func whyNotProxy(f facts, chosen answer) string {
	nodes, _ := f.finding(runtimeProxy)
	switch {
	case len(f.nodeTrust.Nodes) == 0:
		return "nothing speaks of a proxy"
	case len(nodes) == 0:
		return "containerd goes by no proxy on the nodes"
	case chosen.remedy == network:
		return "the registry is not reached, and no proxy refuses"
	}
	return "the handshake was made by the proxy that containerd goes by (" + some(nodes) + "), and the proxy is not at fault"
}

func whyNotMirror(f facts, _ answer) string {
	switch nodes, _ := f.finding(hostsOverride); {
	case len(f.nodeTrust.Nodes) == 0:
		return "nothing speaks of a mirror"
	case len(nodes) == 0:
		return "no hosts.toml on the nodes sends pulls elsewhere"
	default:
		return "the hosts.toml on " + some(nodes) + " was followed, and what it names is not at fault"
	}
}

func whyNotServer(f facts, chosen answer) string {
	switch {
	case !f.detected.Affected || f.probed.Trusted:
		return "what the registry presents is valid by the nodes' own roots"
	case chosen.remedy == network, chosen.remedy == proxy, chosen.remedy == notTKG, !f.asked():
		return "its certificate was not what failed"
	case chosen.remedy == clock:
		return "by a right clock the dates of its certificate are right"
	case f.probed.CandidateWorks:
		return "what the registry presents is complete and, with the given CA, valid on every node: name, dates and signatures are right"
	}
	return "name and dates of its certificate are right, for Go looks at them before it looks at trust"
}

func whyNotRegistry(f facts, chosen answer) string {
	if chosen.remedy == network || chosen.remedy == proxy {
		return "it was not reached, so that nothing is known of it"
	}
	return "no message says that the registry is out of order"
}

func whyNotCredentials(f facts, chosen answer) string {
	if f.asked() && !f.probed.Trusted && !chosen.told {
		return "no credential is sent before TLS is done, and TLS fails"
	}
	return "no message says that the registry refused them"
}

func whyNotReference(f facts, chosen answer) string {
	if f.asked() && !f.probed.Trusted && !chosen.told {
		return "no image is asked for before TLS is done, and TLS fails"
	}
	return "no message says that there is no such image"
}

func whyNotElsewhere(f facts, _ answer) string {
	if !f.detected.Affected {
		return "no pod fails"
	}
	return "the pods that fail run on the cluster's own nodes"
}

func whyNotTrust(f facts, chosen answer) string {
	switch {
	case chosen.cause == pull.KappController:
		return "kapp-controller does not use the nodes' trust"
	case chosen.told && f.asked() && !f.probed.Trusted:
		return "no failing pod names a certificate, so that no CA mends what they fail for"
	case chosen.cause == string(certs.ClassMissingIntermediate):
		return "it would only hide that the registry sends an incomplete chain"
	case chosen.remedy == mirror:
		return "the registry's own chain is not what the nodes see, and the given CA is not the mirror's"
	case chosen.cause == proxyIntercepts:
		return "what the nodes see is the proxy's certificate, and the given CA is not the proxy's"
	}
	switch chosen.remedy {
	case restart:
		return "the right CA is on the nodes already"
	case clock:
		return "no certificate makes up for a wrong clock"
	case notTKG:
		return "no trust of a cluster is used for vSphere Pods"
	case server:
		return "no certificate that is added to the trust makes this chain valid"
	case network, proxy:
		return "no certificate is at fault"
	}
	if !f.asked() {
		return "that no CA is missing or wrong is as little proved as that one is"
	}
	return "the nodes trust what the registry presents"
}

func whyNotServiceTrust(f facts, chosen answer) string {
	if f.owner.Way != string(tkg.WayTKC) {
		return f.owner.notByService()
	}
	return whyNotTrust(f, chosen)
}

func whyNotNewNodes(f facts, chosen answer) string {
	switch chosen.remedy {
	case restart:
		return "the right CA is on the nodes already, and containerd reads it when it starts"
	case notTKG:
		return "the cluster's nodes have no part in it"
	case nothing:
		return "no node is at fault, as far as any was seen"
	}
	return "new machines would meet the same"
}

func whyNotRecreate(facts, answer) string {
	return "it destroys the cluster and changes nothing of the cause"
}
