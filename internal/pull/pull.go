// Package pull reads what the kubelet says of an image that could not be pulled.
//
// It is pure: it is given text and says which host was really dialled and which class of cause the text names. The step detect
// collects the text from pods and Events. The text is hostile; whatever comes out is bounded and printable.
package pull

import (
	"net/url"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/distribution/reference"
)

// The classes of a failure.
const (
	// Trust: the node does not trust who signed what the registry presents.
	Trust = "trust"
	// ServerCertificate: the certificate or the TLS set-up of the registry is wrong, and no CA mends it.
	ServerCertificate = "server-certificate"
	// Auth: the registry refuses the credentials, or wants some. TLS is fine.
	Auth = "auth"
	// Rate: the registry limits how often it is asked.
	Rate = "rate"
	// DNS: the name of the registry does not resolve.
	DNS = "dns"
	// Network: the registry is not reached, does not answer, or does not speak TLS on this port.
	Network = "network"
	// Reference: there is no such image, or its name is malformed.
	Reference = "reference"
	// VSpherePod: the Supervisor pulls for a vSphere Pod; the trust of a TKG cluster has no part in it (tkg-facts.md §6.1).
	VSpherePod = "vsphere-pod"
	// Unknown: the text names no cause.
	Unknown = "unknown"
)

const (
	maxMessage = 8 << 10
	maxReason  = 1 << 10
	maxName    = 512
)

// Failure is an image that could not be pulled.
type Failure struct {
	// Image is the reference that was asked for.
	Image string
	// Registry is the host[:port] that was dialled when the failure came: that of the last URL in the message, which for a
	// mirror, a token server or a redirect is not the image's; else that of the image. It may be empty.
	Registry string
	// Reason is the cause in the words of the message, without what stands around it; empty if the message names none.
	Reason string
	// Class is one of the constants of this package.
	Class string
	// Message is the whole message, bounded and printable, without the credentials that a URL may hold.
	Message string
	// Candidate is the name of the CA that has the right name and the wrong key, when Go says so.
	Candidate string
}

var (
	rpc = regexp.MustCompile(`rpc error: code = \w+ desc = `)
	// request is how Go words a request that failed. Go before 1.14 put no quotes around the URL.
	request = regexp.MustCompile(`\b(?:Head|Get|Post|Put) "?(https?://[^"\s]+?)"?: `)
	asked   = regexp.MustCompile(`(?i)(?:failed to pull image|back-off pulling image|failed to pull and unpack image|pulling image) "([^"]+)"`)
	// candidate is how crypto/x509 names a CA of the right name that did not sign.
	candidate = regexp.MustCompile(`while trying to verify candidate authority certificate "([^"]*)"`)
	hostForm  = regexp.MustCompile(`^[A-Za-z0-9._-]{1,253}(:[0-9]{1,5})?$|^\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?$`)
)

// ParseMessage reads the message of a waiting container or of an Event. image is what the container asks for; when it is empty
// the message is searched for it.
func ParseMessage(image, message string) Failure {
	text := scrub(strings.ReplaceAll(printable(message, maxMessage), `\"`, `"`))
	out := Failure{Image: printable(image, maxName), Message: text}
	if m := asked.FindStringSubmatch(text); m != nil && out.Image == "" {
		out.Image = printable(m[1], maxName)
	}
	cause := rpc.ReplaceAllString(text, "")
	if all := request.FindAllStringSubmatchIndex(cause, -1); len(all) > 0 {
		last := all[len(all)-1]
		out.Registry = hostOf(cause[last[2]:last[3]])
		cause = cause[last[1]:]
	} else {
		out.Registry = registryOf(out.Image)
		cause = tail(cause)
	}
	if m := candidate.FindStringSubmatch(cause); m != nil {
		out.Candidate = printable(m[1], maxName)
	}
	out.Class = classify(cause)
	if out.Class != Unknown {
		out.Reason = printable(strings.TrimPrefix(strings.TrimSpace(cause), "tls: failed to verify certificate: "), maxReason)
	}
	if strings.Contains(text, "failed to get images:") {
		out.Class = VSpherePod
	}
	return out
}

// tail cuts off the wrappers of kubelet and containerd, as far as they are known.
func tail(s string) string {
	for _, wrapper := range []string{"failed to resolve image: ", "failed to do request: ", "failed to get images: ", "ErrImagePull: "} {
		if i := strings.LastIndex(s, wrapper); i >= 0 {
			s = s[i+len(wrapper):]
		}
	}
	return s
}

func hostOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || !hostForm.MatchString(u.Host) {
		return ""
	}
	return u.Host
}

// registryOf returns the host that containerd dials for an image when nothing is configured.
func registryOf(image string) string {
	named, err := reference.ParseDockerRef(image)
	if err != nil {
		return ""
	}
	if host := reference.Domain(named); host != "docker.io" {
		return host
	}
	return "registry-1.docker.io"
}

var (
	userinfo = regexp.MustCompile(`(https?://)[^/@\s"?]*@`)
	query    = regexp.MustCompile(`(https?://[^\s"?]*\?)[^\s"]+`)
)

// scrub takes what may be a credential out of URLs: a user with a password, and the query, which in a redirect to a store of
// blobs holds a signature.
func scrub(s string) string {
	return query.ReplaceAllString(userinfo.ReplaceAllString(s, "${1}"), "${1}[REDACTED]")
}

// printable returns s bounded to n bytes, with a space for each character that is not to be printed.
func printable(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	s = strings.ToValidUTF8(s, "?")
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	return strings.TrimSpace(s)
}
