package lab

import (
	"crypto/tls"

	"github.com/tkgfix/tkgfix/internal/lab/ca"
	"github.com/tkgfix/tkgfix/internal/lab/guest"
	"github.com/tkgfix/tkgfix/internal/lab/kubelet"
	"github.com/tkgfix/tkgfix/internal/lab/proxy"
	"github.com/tkgfix/tkgfix/internal/lab/registry"
	"github.com/tkgfix/tkgfix/internal/lab/vm"
)

const (
	saysUnknown = "x509: certificate signed by unknown authority"
	saysDates   = "x509: certificate has expired or is not yet valid"
)

// readsLater: Go reads the system's roots when it first verifies a certificate (crypto/x509, systemRootsPool), and a new node's
// containerd has verified none yet when somebody changes files by hand. On the nodes of the scenarios it has.
const readsLater = "the containerd of a new node reads its roots with the first pull, which comes after what is done by hand"

func mainScenarios() []Scenario {
	return []Scenario{
		{Name: MissingCA, Text: "the registry's root is nowhere in dev1's trust", shows: failing, says: saysUnknown},
		{Name: WrongCA, Text: "a root of the same name and another key is trusted: the CA was made anew", trust: of("old-root"), shows: failing, says: "crypto/rsa: verification error"},
		{Name: VSpherePod, Text: "the clusters are well; vSphere Pods on the Supervisor cannot pull", trust: roots(), supervisor: true},
		{Name: Healthy, Text: "nothing is wrong", trust: roots()},
		{Name: "missing-ca-ubuntu", Text: "missing-ca on Ubuntu nodes, where trust files are links", nodes: guest.Profile{Family: vm.Ubuntu}, shows: failing, says: saysUnknown},
		{Name: "missing-ca-rhel", Text: "missing-ca on nodes like RHEL, where anchors are extracted", nodes: guest.Profile{Family: vm.RHEL}, shows: failing, says: saysUnknown},
		{Name: "own-trust", Text: "the root is in the cluster's own trust alone, which is as good", own: roots()},
		{Name: "own-wrong-ca", Text: "wrong-ca in the cluster's own trust", own: of("old-root"), shows: failing, says: "crypto/rsa: verification error"},
		{Name: "own-encoding", Text: "the root is in the cluster's own trust with a layer of base64 that is wrong there", own: in(wrong), shows: failing, says: saysUnknown},
		{Name: "intermediate-anchor", Text: "the intermediate is trusted in place of the root: it works for Go", trust: of("intermediate")},
	}
}

func certificateScenarios() []Scenario {
	presents := func(name, text string, kind ca.ServerKind, says string) Scenario {
		return Scenario{Name: name, Text: text, server: server{cert: kind}, trust: roots(), shows: failing, says: says}
	}
	byAddress := presents("ip-address", "the image names the registry by an address, which its certificate does not hold", ca.Good, "doesn't contain any IP SANs")
	byAddress.image = routedImage()
	return []Scenario{
		presents("expired-leaf", "the registry's certificate ran out a day ago", ca.Expired, saysDates),
		presents("name-mismatch", "the registry's certificate is for another name", ca.OtherName, "certificate is valid for harbor.corp.lab, not registry.lab"),
		presents("cn-only", "the registry's certificate has its name in the subject alone", ca.NoSAN, "relies on legacy Common Name field"),
		byAddress,
		presents("missing-intermediate", "the registry does not send its intermediate; the root is trusted", ca.Bare, saysUnknown),
		presents("self-signed", "the registry's certificate is issued by itself", ca.SelfSigned, saysUnknown),
		presents("default-certificate", "an ingress controller presents its default certificate", ca.Default, "certificate is valid for ingress.local, not registry.lab"),
		presents("sha1", "the registry's certificate is signed with SHA-1", ca.SHA1, "insecure algorithm SHA1-RSA"),
		presents("key-mismatch", "the registry's private key is not that of its certificate", ca.OtherKey, "invalid signature by the server certificate"),
		presents("client-auth-only", "the registry's certificate is for clients only", ca.ClientOnly, "incompatible key usage"),
		{Name: "expired-root", Text: "the trusted root ran out and was renewed", trust: of("expired-root"), shows: failing, says: saysDates},
		{Name: "leaf-as-ca-renewed", Text: "the registry's earlier certificate is trusted in place of its CA", trust: of("earlier-leaf"), shows: failing, says: saysUnknown},
	}
}

func tlsScenarios() []Scenario {
	return []Scenario{
		{Name: "old-tls", Text: "the registry speaks TLS 1.1 at most", server: server{maxVersion: tls.VersionTLS11}, trust: roots(), shows: failing, says: "protocol version"},
		{Name: "mutual-tls", Text: "the registry demands a client certificate", server: server{mutual: true}, trust: roots(), shows: failing, says: "remote error: tls: certificate required"},
	}
}

func reachScenarios() []Scenario {
	speaks := func(name, text string, speech registry.Speech, says string) Scenario {
		return Scenario{Name: name, Text: text, server: server{speech: speech}, trust: roots(), shows: failing, says: says}
	}
	silent := speaks("handshake-silent", "the registry accepts connections and never answers", registry.Silent, "TLS handshake timeout")
	silent.pods = 2
	return []Scenario{
		{Name: "dns", Text: "the image's host does not resolve on the nodes", trust: roots(), image: "regsitry.lab:5443/demo/web:1", shows: failing, says: "no such host"},
		speaks("refused", "nobody listens on the registry's port", registry.Refused, "connection refused"),
		speaks("plain-http", "the registry speaks HTTP without TLS", registry.Plain, "server gave HTTP response to HTTPS client"),
		speaks("not-tls", "an SSH server listens on the registry's port", registry.Banner, "first record does not look like a TLS handshake"),
		silent,
	}
}

func answerScenarios() []Scenario {
	answers := func(name, text string, fault httpFault, says string) Scenario {
		return Scenario{Name: name, Text: text, server: server{http: fault}, trust: roots(), shows: failing, says: says}
	}
	return []Scenario{
		answers("unauthorized", "the repository is private and the pod has no pull secret", private, "authorization failed"),
		{Name: "not-found", Text: "the registry has no such tag", trust: roots(), image: registryName() + "/" + repository + ":9", shows: failing, says: "not found"},
		answers("rate-limited", "the registry answers 429 Too Many Requests", busy, "429 Too Many Requests"),
		answers("registry-down", "the registry answers 503 Service Unavailable", broken, "503 Service Unavailable"),
		answers("token-realm", "the registry is trusted, its token server has another CA", foreign, `Get "https://`+tokenName()),
		answers("blob-host", "the registry is trusted, its blobs are on a host with another CA", elsewhere, `Get "https://`+blobsName()),
	}
}

func wayScenarios() []Scenario {
	through := func(name, text string, mode proxy.Mode, says string) Scenario {
		return Scenario{Name: name, Text: text, server: server{proxy: mode}, trust: roots(), hand: setProxy, shows: failing, says: says}
	}
	return []Scenario{
		{Name: "mirror", Text: "hosts.toml sends pulls to a mirror whose CA is not trusted", trust: roots(), hand: setMirror, shows: failing, says: mirrorName()},
		{
			Name: "mirror-fallback", Text: "hosts.toml has the CA of a host that lacks the image; the fallback has no CA", hand: setFallback,
			image: registryName() + "/" + repository + ":9", shows: failing, says: "not found",
			notReal: "containerd 1.6 tells the error of the last host, which is the fallback's",
		},
		through("proxy-intercepts", "containerd's proxy looks into TLS with a CA that is not trusted", proxy.Intercepts, saysUnknown),
		through("proxy-refuses", "containerd's proxy does not let the registry pass", proxy.Refuses, "Forbidden"),
		through("proxy-authentication", "containerd's proxy wants a login", proxy.Authenticates, "Proxy Authentication Required"),
	}
}

func encodingScenarios() []Scenario {
	as := func(name, text string, as form) Scenario {
		return Scenario{Name: name, Text: text, trust: in(as), shows: failing, says: saysUnknown}
	}
	return []Scenario{
		as("over-encoded", "the root is in TkgServiceConfiguration with a layer of base64 too many", doubled),
		as("under-encoded", "the root is in TkgServiceConfiguration as plain PEM, a layer too few", plain),
		as("glued", "the root and another certificate are glued at END and BEGIN", glued),
		as("bom", "a byte order mark stands before the root's BEGIN", withBOM),
		as("der", "the root is DER in place of PEM", der),
		{Name: "private-key", Text: "a private key stands where the root should", trust: of("private-key"), shows: failing, says: saysUnknown},
		{
			Name: "duplicate-names", Text: "two entries have one name, and the wrong one wins on the nodes",
			trust: append(roots(), of("old-root")...), shows: failing, says: saysUnknown,
		},
	}
}

func nodeScenarios() []Scenario {
	return []Scenario{
		{Name: "stale-runtime", Text: "the root was put on the nodes by hand and containerd was not restarted", later: roots(), hand: addRoot, notReal: readsLater, shows: failing, says: saysUnknown},
		{Name: "stale-node", Text: "TkgServiceConfiguration was corrected after the nodes were made", later: roots(), shows: failing, says: saysUnknown},
		{Name: "removed-trust", Text: "the root was removed from the nodes; containerd still has it", trust: roots(), hand: removeRoot, notReal: readsLater},
		{Name: "clock-behind", Text: "the nodes' clocks are two days behind", trust: roots(), nodes: guest.Profile{Clock: clockBehind}, shows: failing, says: saysDates},
	}
}

func podScenarios() []Scenario {
	return []Scenario{
		{Name: "sandbox-image", Text: "the sandbox image is on the registry, whose root is missing", hand: setSandbox, shows: sandbox, says: saysUnknown},
		{Name: "kapp-controller", Text: "the nodes are well; kapp-controller does not trust the registry", trust: roots(), kapp: true},
		{
			Name: "old-kubelet", Text: "missing-ca with a kubelet that forgets the cause: it is in Events alone",
			nodes: guest.Profile{Kubelet: kubelet.Manner{Old: true}}, shows: backOff, says: "Back-off pulling image",
		},
		{
			Name: "events-expired", Text: "missing-ca with a kubelet that forgets the cause, and no Events any more",
			nodes: guest.Profile{Kubelet: kubelet.Manner{Old: true, Silent: true}}, shows: backOff, says: "Back-off pulling image",
		},
	}
}

// What is done by hand on the nodes. A second has to pass before files are changed that containerd is to be older than: systemd tells
// its start in seconds.
const (
	inASecond = `until [ "$(date +%s)" -gt "$(stat -c %Y /run/containerd.show)" ]; do sleep 0.1; done
`
	addRoot = inASecond + `cat >/etc/ssl/certs/tkg-` + rootEntry + `.pem <<'E'
{root}E
rehash_ca_certificates.sh
`
	removeRoot = inASecond + `rm /etc/ssl/certs/tkg-` + rootEntry + `.pem
rehash_ca_certificates.sh
`
	setProxy = `cat >/etc/systemd/system/containerd.service.d/http-proxy.conf <<'E'
[Service]
Environment="HTTP_PROXY={proxy}"
Environment="HTTPS_PROXY={proxy}"
Environment="NO_PROXY=localhost,127.0.0.1,.svc,.svc.cluster.local,10.96.0.0/16"
E
systemctl daemon-reload
systemctl restart containerd
`
	setMirror = `mkdir -p /etc/containerd/certs.d/{registry}
cat >/etc/containerd/certs.d/{registry}/hosts.toml <<'E'
server = "https://{mirror}"

[host."https://{mirror}"]
  capabilities = ["pull", "resolve"]
E
`
	setFallback = `mkdir -p /etc/containerd/certs.d/{registry}
cat >/etc/containerd/certs.d/{registry}/corp-root.pem <<'E'
{root}E
cat >/etc/containerd/certs.d/{registry}/hosts.toml <<'E'
server = "https://{registry}"

[host."https://{registry}"]
  capabilities = ["pull", "resolve"]
  ca = "/etc/containerd/certs.d/{registry}/corp-root.pem"
E
`
	setSandbox = `sed -i 's|sandbox_image = .*|sandbox_image = "{registry}/` + sandboxRepository + `:` + sandboxTag + `"|' /etc/containerd/config.toml
systemctl restart containerd
`
)
