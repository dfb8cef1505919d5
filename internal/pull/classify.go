package pull

import (
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
// matter of credentials, and a timeout inside a look-up is one of DNS. The words are those of Go's crypto/x509, crypto/tls
// and net, of containerd and CRI-O, and of the registry API (tkg-facts.md §6.1).
func rules() []rule {
	return []rule{
		// No CA will do: the signature itself is refused.
		{ServerCertificate, []string{"insecure algorithm"}},
		{Trust, []string{"certificate signed by unknown authority", "certificate is not trusted", "unable to load ca cert", "self-signed certificate", "self signed certificate"}},
		{ServerCertificate, []string{
			"x509: ", "tls: failed to parse certificate", "failed to verify certificate", "remote error: tls:", "tls: ",
		}},
		{Rate, []string{"429 too many requests", "toomanyrequests", "rate limit"}},
		{DNS, []string{"no such host", "server misbehaving", "name resolution", "name or service not known"}},
		{Auth, []string{
			"401 unauthorized", "403 forbidden", "pull access denied", "authorization failed", "insufficient_scope", "no basic auth credentials",
			"authentication required", "unauthorized:", "failed to authorize", "invalid username/password", "denied:",
		}},
		{Reference, []string{
			"manifest unknown", "name unknown", "404 not found", ": not found", "invalid reference format", "couldn't parse image", "invalidimagename",
			"no match for platform", "repository does not exist", "object required",
		}},
		{Network, []string{
			"connection refused", "no route to host", "network is unreachable", "i/o timeout", "tls handshake timeout", "deadline exceeded",
			"connection reset", "connection timed out", "eof", "http response to https client", "proxyconnect", "broken pipe",
			"500 internal server error", "502 bad gateway", "503 service unavailable", "504 gateway timeout", "registry unavailable",
		}},
	}
}

var (
	lookup = regexp.MustCompile(`\blookup \S+(?: on \S+)?: `)
	// notTLS are the words of crypto/tls for a server that speaks something else.
	notTLS = []string{"first record does not look like a tls handshake", "tls handshake timeout", "http response to https client"}
)

func classify(cause string) string {
	text := strings.ToLower(cause)
	has := func(w string) bool { return strings.Contains(text, w) }
	switch {
	case slices.ContainsFunc(notTLS, has):
		return Network
	case lookup.MatchString(cause):
		return DNS
	}
	for _, r := range rules() {
		if slices.ContainsFunc(r.words, has) {
			return r.class
		}
	}
	return Unknown
}
