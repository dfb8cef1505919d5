package diagnose

import (
	"fmt"

	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/internal/pull"
)

// ruleOut says of every remedy but the chosen one why it is not it, gentlest first.
func ruleOut(f facts, chosen answer) []ruledOut {
	out := []ruledOut{}
	for _, row := range []struct {
		remedy string
		why    func(facts, answer) string
	}{
		{nothing, whyNotNothing},
		{restart, whyNotRestart},
		{server, whyNotServer},
		{network, whyNotNetwork},
		{credentials, whyNotCredentials},
		{reference, whyNotReference},
		{notTKG, whyNotElsewhere},
		{trust, whyNotTrust},
		{recreate, whyNotRecreate},
	} {
		if row.remedy != chosen.remedy {
			out = append(out, ruledOut{Remedy: row.remedy, Reason: row.why(f, chosen)})
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

func whyNotRestart(f facts, chosen answer) string {
	switch {
	case !f.detected.Affected:
		return "no pod fails"
	case chosen.remedy == notTKG:
		return "containerd of the nodes has no part in it"
	case chosen.told:
		return "the pods name another cause"
	case f.probed.Trusted && len(f.stale()) == 0:
		return "on no node a trust file is known to be newer than containerd"
	case f.probed.Trusted:
		return "the pods fail for another cause than trust"
	case !f.asked():
		return "no node was asked"
	}
	return "the files that are on the nodes do not make the chain valid, so reading them again changes nothing"
}

func whyNotServer(f facts, chosen answer) string {
	switch {
	case !f.detected.Affected || f.probed.Trusted:
		return "what the registry presents is valid by the nodes' own roots"
	case chosen.remedy == network, chosen.remedy == notTKG, !f.asked():
		return "its certificate was not what failed"
	case f.probed.CandidateWorks:
		return "what the registry presents is complete and, with the given CA, valid on every node: name, dates and signatures are right"
	}
	return "name and dates of its certificate are right, for Go looks at them before it looks at trust"
}

func whyNotNetwork(f facts, chosen answer) string {
	switch {
	case !f.detected.Affected:
		return "no pod fails"
	case chosen.remedy == notTKG, !f.asked():
		return "nothing speaks of the network"
	}
	return "the nodes reach " + f.registry() + ", and it answers by TLS"
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
	}
	switch chosen.remedy {
	case recreate:
		return "it is configured already: " + f.encoded.Candidate.ConfiguredAs
	case notTKG:
		return "TkgServiceConfiguration is not used for vSphere Pods"
	case server:
		if alone(certs.Class(f.worst.Class)) {
			return "it would only hide that the registry sends an incomplete chain"
		}
		return "no certificate that is added to the trust makes this chain valid"
	case network:
		return "no certificate is at fault"
	}
	if !f.asked() {
		return "that no CA is missing or wrong is as little proved as that one is"
	}
	return "the nodes trust what the registry presents"
}

func whyNotRecreate(_ facts, chosen answer) string {
	switch {
	case chosen.remedy != trust:
		return "it destroys the cluster and changes nothing of the cause"
	case chosen.stop != "":
		return "new nodes would fail in the same way until the right CA is given"
	}
	return "by itself it changes nothing, for new nodes get what TkgServiceConfiguration holds: it follows once that is correct"
}
