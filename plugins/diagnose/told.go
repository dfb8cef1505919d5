package diagnose

import (
	"github.com/tkgfix/tkgfix/internal/pull"
)

// otherCause is for nodes whose handshake lacks trust while every pod names a cause that trust cannot mend: a registry that answers
// containerd with a status has passed TLS, by a hosts.toml or a proxy of its own, and one that is not reached has not come as far.
func otherCause(f facts) (answer, bool) {
	if f.probed.Trusted || !f.otherCause() {
		return answer{}, false
	}
	a, ok := notTrust(f)
	if ok {
		a.summary += " The handshake from the nodes lacks trust (" + f.worst.Verdict + "), but no pod fails for that: containerd gets there by another way, or would fail for it only next."
	}
	return a, ok
}

// notTrust is for pods whose messages name a cause that is none of trust.
func notTrust(f facts) (answer, bool) {
	fine := "TLS with " + f.registry() + " is fine on every node; "
	if !f.probed.Trusted {
		fine = "By the pods' own messages "
	}
	a, ok := cause(f.class(), fine)
	a.told = ok
	return a, ok
}

// cause returns the answer to a class of messages. fine begins the summary.
func cause(class, fine string) (answer, bool) {
	switch class {
	case pull.Auth:
		return answer{
			cause: class, remedy: credentials, summary: fine + "the registry refuses the credentials.",
			stop: "the registry refuses the credentials of the failing pods",
			next: "correct the pull secret: kubectl create secret docker-registry, named in imagePullSecrets of the pod or its service account",
		}, true
	case pull.Rate:
		return answer{
			cause: class, remedy: wait, summary: fine + "the registry limits how often it is asked.",
			stop: "the registry answers 429 Too Many Requests", next: "wait, pull with credentials that have a higher limit, or use a mirror",
		}, true
	case pull.Reference:
		return answer{
			cause: class, remedy: reference, summary: fine + "there is no such image, or its name is malformed.",
			stop: "the failing pods ask for an image that the registry does not have", next: "correct repository, tag or digest in the pod's image",
		}, true
	case pull.RegistryError:
		return answer{
			cause: class, remedy: registry, summary: fine + "the registry answers that it is out of order.",
			stop: "the registry answers with an error of its own (5xx)", next: "look at the registry's health and log; pods pull again within five minutes once it is well",
		}, true
	case pull.DNS, pull.Network:
		return answer{
			cause: class, remedy: network,
			summary: fine + "the network was at fault: it has been mended meanwhile, or containerd goes by a proxy that this handshake did not use.",
			stop:    "the pods fail for a network cause that the handshake from the nodes does not show",
			next:    "on a node: systemctl show containerd -p Environment shows its proxy; the registry may have to be in noProxy. If the network was just mended, the pods pull again within five minutes",
		}, true
	}
	return onTheWay(class, fine)
}

// onTheWay is for what stands between the kubelet and the registry.
func onTheWay(class, fine string) (answer, bool) {
	switch class {
	case pull.Proxy:
		return answer{
			cause: class, remedy: proxy, summary: fine + "the proxy that containerd goes by refuses, or is not reached.",
			stop: "containerd does not get through its proxy",
			next: "on a node: systemctl show containerd -p Environment shows the proxy; let the registry be in noProxy, or mend the proxy or its credentials (spec.proxy of TkgServiceConfiguration, settings.network.proxy of the cluster)",
		}, true
	case pull.PlainHTTP:
		return answer{
			cause: class, remedy: network, summary: fine + "what containerd dialled does not speak TLS: a wrong port, a registry that serves plain HTTP, or a proxy.",
			stop: "what the failing pods dial does not speak TLS, and no CA makes it",
			next: "correct the port in the image reference, or let the registry serve HTTPS there; grep -R . /etc/containerd/certs.d on a node shows whether a mirror is dialled instead",
		}, true
	case pull.Signature:
		return answer{
			cause: class, remedy: reference, summary: fine + "the policy of the container runtime refuses the image's signature.",
			stop: "the signature of the image is missing or refused", next: "sign the image, or correct the signature policy of the nodes",
		}, true
	case pull.SandboxImage:
		return answer{
			cause: class, remedy: reference,
			summary: fine + "the image of the sandbox (pause) is not on the node and cannot be had: containerd pulls it by its own configuration, with no pull secret of the pod.",
			stop:    "the sandbox image that containerd is configured with cannot be pulled",
			next:    "on the node: grep -E 'sandbox_image|sandbox =' /etc/containerd/config.toml names it, and crictl images shows whether it is there; put it back with ctr -n k8s.io images import, or let a new machine take the node's place",
		}, true
	case pull.Runtime:
		return answer{
			cause: class, remedy: restart, summary: fine + "the container runtime of the node does not answer the kubelet.",
			stop: "the container runtime does not answer on the nodes of the failing pods",
			next: "on these nodes: systemctl status containerd and journalctl -u containerd; sudo systemctl restart containerd (running containers go on); then plan again",
		}, true
	}
	return answer{}, false
}
