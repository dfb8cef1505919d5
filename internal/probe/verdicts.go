package probe

import "github.com/tkgfix/tkgfix/internal/certs"

// Remedy says who has to mend a fault, and what.
type Remedy string

// The remedies. Only add-ca, replace-ca and fix-encoding are changes to what nodes trust.
const (
	None       Remedy = "none"
	AddCA      Remedy = "add-ca"
	ReplaceCA  Remedy = "replace-ca"
	Encoding   Remedy = "fix-encoding"
	ReissueCA  Remedy = "reissue-ca"
	ServerCert Remedy = "fix-server-certificate"
	ServerTLS  Remedy = "fix-server-tls"
	Chain      Remedy = "fix-server-chain"
	Name       Remedy = "fix-name"
	Clock      Remedy = "fix-clock"
	Network    Remedy = "fix-network"
	ClientCert Remedy = "client-certificate"
	Proxy      Remedy = "fix-proxy"
	Credential Remedy = "credentials"
	Reference  Remedy = "fix-reference"
	Wait       Remedy = "wait"
	Registry   Remedy = "fix-registry"
	Restart    Remedy = "restart-runtime"
	Mirrors    Remedy = "fix-mirror"
)

// Verdict is one of the list of docs/checks.md; its id is the anchor there.
type Verdict struct {
	ID     string `json:"verdict"`
	Remedy Remedy `json:"remedy"`
	// Trust says that a CA which is added to or replaced in what the node trusts makes the connection pass.
	Trust bool `json:"fixableByTrust"`
	// Do is the remedy in a sentence.
	Do string `json:"-"`
}

// trustFile begins the ids of verdicts on a file of the trust that Go does not read.
const trustFile = "trust-file-"

// Verdicts returns all there are, in the order of docs/checks.md.
func Verdicts() []Verdict {
	return append(append(connectionVerdicts(), chainVerdicts()...), append(trustFileVerdicts(), laterVerdicts()...)...)
}

// VerdictOf returns the verdict of an id. An id that is not in the list is the verdict "other".
func VerdictOf(id string) Verdict {
	all := Verdicts()
	for _, v := range all {
		if v.ID == id {
			return v
		}
	}
	return Verdict{ID: "other", Remedy: ServerTLS, Do: "read the error: tkgfix does not know it"}
}

func connectionVerdicts() []Verdict {
	const unreached = "; no certificate is at fault"
	return []Verdict{
		{"trusted", None, false, "nothing is to be done"},
		{"trusted-by-intermediate", None, false, "nothing is to be done for containerd; openssl, curl and git want the root beside it"},
		{"trusted-by-leaf", None, false, "trust the CA in place of the server's own certificate before that is renewed"},
		{"trusted-self-signed", None, false, "have a certificate issued by a CA and trust that CA: this trust breaks when the server's certificate is renewed"},
		{"trusted-unordered", None, false, "nothing for containerd; let the server send each certificate before its issuer, for other clients"},
		{"trusted-weak-key", None, false, "nothing for containerd today; have the certificate issued again with RSA of 2048 bits or P-256, for openssl refuses it"},
		{"trusted-revoked", None, false, "nothing for containerd, which never looks at revocations; have the certificate issued again"},
		{"trusted-by-older-go", None, false, "nothing for this containerd; mend it at the registry before containerd is upgraded"},
		{"trusted-unverified", None, false, "nothing is in the way of pulls; let hosts.toml name a ca in place of skip_verify or http, for nobody knows who answers"},
		{"dns", Network, false, "make the name resolve with the DNS servers that the nodes use, or correct it in the image reference" + unreached},
		{"refused", Network, false, "start the registry, correct the port, or open the firewall" + unreached},
		{"unreachable", Network, false, "mend the route to the registry" + unreached},
		{"connect-timeout", Network, false, "open the firewall, NSX-T rule or route that drops the packets" + unreached},
		{"handshake-timeout", Network, false, "look at the load balancer's backends and at the path MTU" + unreached},
		{"hello-too-large", Network, false, "update the load balancer or middlebox, which cannot take a TLS greeting of more than one packet (https://tldr.fail)" + unreached},
		{"closed", Network, false, "look at the load balancer: it has no backend for this name, or a middlebox hangs up" + unreached},
		{"reset", Network, false, "look for a firewall or IPS that resets the connection" + unreached},
		{"plain-http", Network, false, "use the port that speaks TLS; a CA cannot help where there is no certificate"},
		{"not-tls", Network, false, "use the registry's port: another service answers on this one"},
		{"name-refused", Name, false, "use a name that the server knows, or add this one to its configuration"},
		{"old-tls-version", ServerTLS, false, "enable TLS 1.2 or 1.3 on the registry"},
		{"no-common-cipher", ServerTLS, false, "enable ECDHE cipher suites with GCM or ChaCha20 on the registry"},
		{"no-server-certificate", ServerTLS, false, "give the registry's TLS endpoint a certificate and key that it can use"},
		{"tls-alert", ServerTLS, false, "look at the registry's log: it ended the handshake"},
		{"client-certificate-required", ClientCert, false, "give containerd the client certificate (hosts.toml: client), or let the registry not demand one"},
		{"unsupported-server-key", ServerCert, false, "have the certificate issued again with an RSA or ECDSA key"},
		{"weak-key", ServerCert, false, "have the certificate issued again with RSA of 2048 bits or P-256"},
		{"key-mismatch", ServerCert, false, "give the server the private key that belongs to its certificate"},
		{"negative-serial", ServerCert, false, "have the certificate issued again with a positive serial number"},
		{"duplicate-extension", ServerCert, false, "have the certificate issued again without the doubled extension"},
		{"invalid-policies", ServerCert, false, "have the certificate issued again without the doubled policy"},
		{"malformed-certificate", ServerCert, false, "replace the server's certificate file, which is damaged"},
		{"unparsable-certificate", ServerCert, false, "have the certificate issued again: Go cannot read it"},
		{"unparsable-intermediate", ReissueCA, false, "have the intermediate issued again: Go cannot read it"},
		{"chain-too-large", Chain, false, "let the server send its own certificate and its intermediates alone"},
		{"other", ServerTLS, false, "read the error: tkgfix does not know it"},
	}
}

func chainVerdicts() []Verdict {
	return []Verdict{
		{string(certs.ClassNotYetValid), Clock, false, "compare the node's clock with a right one (NTP) first; if it is right, the certificate's begin is in the future"},
		{string(certs.ClassDefaultCertificate), Name, false, "correct the name or the ingress rule; never trust this certificate"},
		{string(certs.ClassNameMismatch), Name, false, "use a name that the certificate has, or have it issued again with this one"},
		{string(certs.ClassAddressNotNamed), Name, false, "use the registry's DNS name in image references, or have the certificate issued again with the address"},
		{string(certs.ClassNoSAN), ServerCert, false, "have the certificate issued again with a subject alternative name"},
		{string(certs.ClassExpired), ServerCert, false, "renew the registry's certificate"},
		{string(certs.ClassKeyUsage), ServerCert, false, "have the certificate issued again for server authentication"},
		{string(certs.ClassCriticalExtension), ServerCert, false, "have the certificate issued again without the critical extension"},
		{string(certs.ClassBadSignature), ServerCert, false, "replace the server's certificate file, which is damaged"},
		{string(certs.ClassWeakSignature), ServerCert, false, "have the certificate issued again with SHA-256"},
		{string(certs.ClassCANotYetValid), Clock, false, "compare the node's clock with a right one (NTP) first; if it is right, the CA's begin is in the future"},
		{string(certs.ClassExpiredIntermediate), Chain, false, "let the server send the renewed intermediate"},
		{string(certs.ClassIntermediateNotACA), ReissueCA, false, "have the intermediate issued again as a CA certificate (basicConstraints CA:TRUE, keyCertSign)"},
		{string(certs.ClassUnsupportedKey), ReissueCA, false, "have the CA issued again with an ordinary RSA (rsaEncryption) or ECDSA key"},
		{string(certs.ClassCAExtension), ReissueCA, false, "have the CA issued again without the critical extension"},
		{string(certs.ClassCAKeyUsage), ReissueCA, false, "have the CA issued again without the restriction, or the certificate by another CA"},
		{string(certs.ClassPathLength), ReissueCA, false, "have the certificate issued by a CA with room, or the CA issued again with a longer path"},
		{string(certs.ClassNameConstraint), ReissueCA, false, "have the certificate issued by a CA that may sign for this name"},
		{string(certs.ClassPolicies), ReissueCA, false, "have the chain issued again with policies that agree"},
		{string(certs.ClassMissingIntermediate), Chain, true, "let the registry send the missing intermediate; until it does, the intermediate in the trust helps Go too"},
		{string(certs.ClassSelfSigned), ServerCert, false, "have a certificate issued by a CA and trust that CA; to trust this certificate itself works until it is renewed"},
		{string(certs.ClassExpiredRoot), ReplaceCA, true, "trust the renewed root in place of the expired one"},
		{string(certs.ClassNotACA), ReplaceCA, true, "trust the CA itself: what is trusted may not sign others"},
		{string(certs.ClassSameNameOtherKey), ReplaceCA, true, "trust the new CA in place of the old one of the same name (compare key ids, not names)"},
		{string(certs.ClassRenewedLeaf), ReplaceCA, true, "trust the CA in place of the server's earlier certificate"},
		{string(certs.ClassMissingIssuer), AddCA, true, "get the issuer from the CA's owner and trust it; if it is an intermediate, let the server send it as well"},
		{string(certs.ClassUntrustedRoot), AddCA, true, "get the CA from its owner, compare the fingerprint, and trust it"},
	}
}

func trustFileVerdicts() []Verdict {
	row := func(kind certs.FindingKind, do string) Verdict {
		return Verdict{trustFile + string(kind), Encoding, true, do}
	}
	return []Verdict{
		row(certs.KindBase64, "take one layer of base64 off"),
		row(certs.KindDER, "encode it as PEM: openssl x509 -inform der -in FILE -out ca.pem"),
		row(certs.KindPKCS7, "take the certificates out: openssl pkcs7 -print_certs -in FILE -out ca.pem"),
		row(certs.KindBOM, "strip the byte order mark: sed -i '1s/^\\xef\\xbb\\xbf//' FILE"),
		row(certs.KindUTF16, "write it as plain ASCII: iconv -f UTF-16 -t ASCII FILE > ca.pem"),
		row(certs.KindEscaped, "put line ends where backslash and n are: printf '%b' \"$(cat FILE)\" > ca.pem"),
		row(certs.KindGlued, "put a line end between END and BEGIN"),
		row(certs.KindIndented, "take the white space before the lines away"),
		row(certs.KindDashes, "export the certificate again: five plain hyphens belong on each side of BEGIN and END"),
		row(certs.KindTrusted, "convert it: openssl x509 -in FILE -out ca.pem"),
		row(certs.KindHeaders, "take the header lines after BEGIN away"),
		row(certs.KindTruncated, "export the certificate again: the file is cut off"),
		row(certs.KindPrivateKey, "put the CA certificate there, and replace the key, which must be taken for leaked"),
		row(certs.KindEmpty, "put the CA certificate there: the file is empty"),
		row(certs.KindUnparsable, "export the certificate again as plain PEM"),
	}
}

func laterVerdicts() []Verdict {
	return []Verdict{
		{"runtime-older", Restart, false, "restart containerd on the node (systemctl restart containerd): it reads the trust once, before its first pull"},
		{"runtime-removed", AddCA, true, "put the CA back into what the nodes trust before containerd or the node is started again"},
		{"hosts-unreadable", Mirrors, false, "correct the node's hosts.toml, or the files that it names: containerd pulls nothing from this registry while it cannot read them"},
		{"proxy-intercepts", AddCA, true, "trust the CA of the proxy, or put the registry into noProxy"},
		{"proxy-unreachable", Proxy, false, "correct the proxy's address, or put the registry into noProxy"},
		{"proxy-authentication", Proxy, false, "give containerd the proxy's credentials, or put the registry into noProxy"},
		{"proxy-refuses", Proxy, false, "put the registry into noProxy, or let the proxy allow it"},
		{"unauthorized", Credential, false, "give the pod an imagePullSecret that this registry takes; TLS is fine"},
		{"not-found", Reference, false, "correct repository, tag or digest; with a hosts.toml, ask each host that it names; TLS is fine"},
		{"rate-limited", Wait, false, "wait, pull with credentials that have a higher limit, or use a mirror; TLS is fine"},
		{"registry-error", Registry, false, "look at the registry's health; TLS is fine"},
		{"not-a-registry", Reference, false, "correct host, port or path: what answers is no registry; TLS is fine"},
	}
}
