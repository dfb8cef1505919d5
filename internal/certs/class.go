package certs

// Class sorts verdicts by what has to be done about them.
type Class string

// The classes of a judged chain.
const (
	// ClassOK is a chain that Go accepts.
	ClassOK Class = "ok"
	// ClassUntrustedRoot is a chain whose last issuer is not trusted.
	ClassUntrustedRoot Class = "untrusted-root"
	// ClassMissingIntermediate is a server that sends its leaf without the certificate that issued it.
	ClassMissingIntermediate Class = "missing-intermediate"
	// ClassMissingIssuer is a lone leaf of which nobody can say whether its issuer is a root or an intermediate.
	ClassMissingIssuer Class = "missing-issuer"
	// ClassSameNameOtherKey is a trusted certificate with the issuer's subject and another key: the CA was renewed.
	ClassSameNameOtherKey Class = "same-name-other-key"
	// ClassSelfSigned is a server certificate that signed itself and is not trusted.
	ClassSelfSigned Class = "self-signed"
	// ClassExpired is a server certificate past its end.
	ClassExpired Class = "expired"
	// ClassExpiredIntermediate is a certificate between leaf and root past its end.
	ClassExpiredIntermediate Class = "expired-intermediate"
	// ClassExpiredRoot is a trusted certificate past its end.
	ClassExpiredRoot Class = "expired-root"
	// ClassNotYetValid is a certificate before its begin, or a node's clock that is behind.
	ClassNotYetValid Class = "not-yet-valid"
	// ClassNameMismatch is a certificate for other names.
	ClassNameMismatch Class = "name-mismatch"
	// ClassNoSAN is a certificate without subject alternative names, which Go needs.
	ClassNoSAN Class = "no-san"
	// ClassNotACA is a trusted certificate that may not sign others.
	ClassNotACA Class = "not-a-ca"
	// ClassIntermediateNotACA is a sent issuer that may not sign others.
	ClassIntermediateNotACA Class = "intermediate-not-a-ca"
	// ClassWeakSignature is a signature by SHA-1 or MD5, which no trust can mend.
	ClassWeakSignature Class = "weak-signature"
	// ClassBadSignature is a signature that the right key did not make.
	ClassBadSignature Class = "bad-signature"
	// ClassUnsupportedKey is an issuer whose kind of key Go does not know, such as id-RSASSA-PSS.
	ClassUnsupportedKey Class = "unsupported-key"
	// ClassPathLength is a CA below one that allows none, or not so many.
	ClassPathLength Class = "path-length"
	// ClassNameConstraint is a CA that may not sign for this name.
	ClassNameConstraint Class = "name-constraint"
	// ClassKeyUsage is a certificate that is not for servers.
	ClassKeyUsage Class = "key-usage"
	// ClassCriticalExtension is a critical extension that Go does not know.
	ClassCriticalExtension Class = "critical-extension"
	// ClassOther is anything else; the error text says what.
	ClassOther Class = "other"
)

// The classes of a dial that gave no chain to judge.
const (
	ClassDNS         Class = "dns"
	ClassRefused     Class = "refused"
	ClassUnreachable Class = "unreachable"
	ClassTimeout     Class = "timeout"
	ClassReset       Class = "reset"
	// ClassClosed is a connection that the other side closed in the middle of the handshake.
	ClassClosed    Class = "closed"
	ClassPlainHTTP Class = "plain-http"
	ClassNotTLS    Class = "not-tls"
	// ClassAlert is a TLS alert from the server: protocol version, ciphers, name, or client certificate.
	ClassAlert Class = "tls-alert"
	// ClassUnparsable is a server certificate that Go refuses to read.
	ClassUnparsable Class = "unparsable-certificate"
	// ClassKeyMismatch is a server whose private key does not belong to its certificate.
	ClassKeyMismatch Class = "key-mismatch"
	// ClassWeakKey is a server key too small for Go.
	ClassWeakKey Class = "weak-key"
	// ClassForwarding is a node whose SSH server forbids TCP forwarding.
	ClassForwarding Class = "forwarding-forbidden"
)
