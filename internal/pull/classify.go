package pull

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// rule maps words of a cause to its class.
type rule struct {
	class string
	words []string
}

// rules are tried in their order, since causes hold one another: a certificate error inside a failed authorization is no
// matter of credentials, and a refusal by the runtime's own socket is none of the network. The words are those of Go's
// crypto/x509, crypto/tls and net, of containerd and CRI-O, and of the registry API (tkg-facts.md §6.1).
func rules() []rule {
	return []rule{
		{PlainHTTP, []string{"first record does not look like a tls handshake", "http response to https client", "client sent an http request to an https server"}},
		{Network, []string{"tls handshake timeout"}},
		{Runtime, []string{"dial unix ", "containerd.sock", "crio.sock", "dockershim.sock"}},
		// No CA will do: the signature itself is refused, or the kind of key is unknown.
		{ServerCertificate, []string{"insecure algorithm", "algorithm unimplemented"}},
		{Trust, trustWords()},
		{ServerCertificate, []string{
			"x509: ", "tls: failed to parse certificate", "failed to verify certificate", "remote error: tls:", "tls: ",
		}},
		{Signature, []string{"signature validation failed"}},
		{Rate, []string{"429 too many requests", "toomanyrequests", "rate limit"}},
		{DNS, []string{"no such host", "server misbehaving", "name resolution", "name or service not known"}},
		{Auth, []string{
			"401 unauthorized", "403 forbidden", "pull access denied", "authorization failed", "insufficient_scope", "no basic auth credentials",
			"authentication required", "unauthorized:", "failed to authorize", "invalid username/password", "denied:",
		}},
		{Reference, []string{
			"manifest unknown", "name unknown", "404 not found", ": not found", "invalid reference format", "couldn't parse image", "invalidimagename",
			"no match for platform", "repository does not exist", "object required", "is not present with pull policy of never",
		}},
		{Network, []string{
			"connection refused", "no route to host", "network is unreachable", "i/o timeout", "deadline exceeded",
			"connection reset", "connection timed out", "broken pipe", "registry unavailable", "registry is unavailable",
		}},
		{RegistryError, []string{"500 internal server error", "502 bad gateway", "503 service unavailable", "504 gateway timeout"}},
	}
}

// trustWords are the texts of a chain that ends nowhere.
func trustWords() []string {
	return []string{"certificate signed by unknown authority", "certificate is not trusted", "unable to load ca cert", "self-signed certificate", "self signed certificate"}
}

var (
	lookup = regexp.MustCompile(`\blookup \S+(?: on \S+)?: `)
	// status finds the answer of a registry, which stands behind TLS: what follows it is the registry's own text and proves nothing.
	status = regexp.MustCompile(`(?i)\b(?:unexpected status|failed with status code)[^"]*?[: ](4\d\d|5\d\d)(?: |$)`)
	// name is a quoted word without white space: a reference, an address or a name, never a cause.
	name    = regexp.MustCompile(`"[^"\s]*"`)
	ended   = regexp.MustCompile(`\bEOF\b`)
	because = regexp.MustCompile(`\(possibly because of "([^"]*)"`)
)

// classify says what the words of a cause mean. The cause begins behind the address that was asked, when the message names one.
func classify(cause string) string {
	if at := status.FindStringSubmatchIndex(cause); at != nil && !strings.Contains(cause[:at[0]], "x509: ") {
		return classOfStatus(cause[at[2]:at[3]], cause)
	}
	cause = strings.TrimSpace(cause)
	if isProxy(cause) {
		return Proxy
	}
	if rest, ok := strings.CutPrefix(strings.TrimPrefix(cause, "tls: failed to verify certificate: "), "x509: "); ok {
		return classOfX509(rest)
	}
	if lookup.MatchString(cause) {
		return DNS
	}
	if strings.HasSuffix(cause, ": not found") && !strings.Contains(cause, "x509: ") {
		return Reference
	}
	return byWords(cause)
}

func byWords(cause string) string {
	text := strings.ToLower(name.ReplaceAllString(cause, `""`))
	for _, r := range rules() {
		if slices.ContainsFunc(r.words, func(w string) bool { return strings.Contains(text, w) }) {
			return r.class
		}
	}
	if ended.MatchString(cause) {
		return Network
	}
	return Unknown
}

// classOfX509 judges what crypto/x509 says, without its prefix. What follows may quote names out of the certificate, so that only
// the begin counts, and the reason that Go gives for it.
func classOfX509(text string) string {
	lower := strings.ToLower(text)
	if !slices.ContainsFunc(trustWords(), func(w string) bool { return strings.HasPrefix(lower, w) }) {
		return ServerCertificate
	}
	if m := because.FindStringSubmatch(text); m != nil &&
		(strings.Contains(m[1], "insecure algorithm") || strings.Contains(m[1], "algorithm unimplemented")) {
		return ServerCertificate
	}
	return Trust
}

// classOfStatus judges an HTTP status that the registry, or its token server, answered.
func classOfStatus(code, cause string) string {
	switch {
	case code == "401", code == "403":
		return Auth
	case code == "404":
		return Reference
	case code == "407":
		return Proxy
	case code == "429":
		return Rate
	case code[0] == '5':
		return RegistryError
	case strings.Contains(strings.ToLower(cause), "client sent an http request to an https server"):
		return PlainHTTP
	}
	return Unknown
}

// isProxy tells whether a proxy refused. Go gives the refusal of a CONNECT as the bare text of its status, such as Service
// Unavailable, while the status of a registry comes with its number (tls-cases.md P02 to P04).
func isProxy(cause string) bool {
	lower := strings.ToLower(cause)
	if strings.Contains(lower, "proxyconnect tcp") || strings.Contains(lower, "proxy authentication required") {
		return true
	}
	for code := http.StatusMultipleChoices; code < 600; code++ {
		if text := http.StatusText(code); text != "" && strings.EqualFold(text, cause) {
			return true
		}
	}
	return false
}

// byReason is the class that a waiting reason of the kubelet stands for when its message names no cause (tkg-facts.md §6.1).
func byReason(reason string) string {
	switch reason {
	case "InvalidImageName", "ErrImageNeverPull":
		return Reference
	case "RegistryUnavailable":
		return Network
	case "SignatureValidationFailed":
		return Signature
	case "ImageInspectError", "InspectFailed":
		return Runtime
	}
	return Unknown
}
