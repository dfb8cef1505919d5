// Package pull reads what the kubelet says of an image that could not be pulled.
//
// It is pure: it is given text and says which host was really dialled and which class of cause the text names. The step detect
// collects the text from pods and Events. The text is hostile; whatever comes out is bounded and printable.
package pull

import (
	"cmp"
	"net/url"
	"regexp"
	"slices"
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
	// Network: the registry is not reached or does not answer.
	Network = "network"
	// RegistryError: the registry answers that it is out of order (5xx). TLS is fine.
	RegistryError = "registry-error"
	// PlainHTTP: what answers on this port does not speak TLS.
	PlainHTTP = "plain-http"
	// Proxy: the proxy that containerd goes by refuses, or is not reached.
	Proxy = "proxy"
	// Reference: there is no such image, or its name is malformed.
	Reference = "reference"
	// Signature: the runtime's policy refuses the image's signature.
	Signature = "signature"
	// SandboxImage: the image of the sandbox (pause) is refused or is not there. containerd pulls it by its own configuration, with no
	// pull secret of the pod. A sandbox image that fails for trust, or for the network, has that class instead.
	SandboxImage = "sandbox-image"
	// Runtime: the container runtime of the node does not answer the kubelet.
	Runtime = "runtime"
	// KappController: kapp-controller pulls for itself, with its own trust; the nodes' has no part in it (tkg-facts.md §6.1, §6.4).
	KappController = "kapp-controller"
	// VSpherePod: the Supervisor pulls for a vSphere Pod; the trust of a TKG cluster has no part in it (tkg-facts.md §6.1).
	VSpherePod = "vsphere-pod"
	// Unknown: the text names no cause.
	Unknown = "unknown"
)

// Classes returns all classes, the gravest first: what this tool is for comes before what hides it, and the cluster's own pods come
// before those who pull for themselves.
func Classes() []string {
	return []string{
		Trust, ServerCertificate, DNS, Proxy, PlainHTTP, Network, RegistryError, Auth, Rate, Reference, Signature, SandboxImage, Runtime, Unknown,
		KappController, VSpherePod,
	}
}

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
	// Asked is the host that containerd dials for the image when nothing is configured; empty if the image is not known or malformed.
	Asked string
	// Sandbox is true for the image of a pod's sandbox (pause), which is none of its containers'.
	Sandbox bool
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
	// answered is how containerd words a status that it did not expect, and from how it does since 1.6.
	answered = regexp.MustCompile(`(?i)\bunexpected status(?: code)?(?: from \w+ request to)? (https?://[^"\s]+?):? `)
	from     = regexp.MustCompile(`\bpulling from host (\S+) failed with status code\b`)
	asked    = regexp.MustCompile(`(?i)(?:failed to pull image|back-off pulling image|failed to pull and unpack image|pulling image) "([^"]+)"`)
	// candidate is how crypto/x509 names a CA of the right name that did not sign.
	candidate = regexp.MustCompile(`while trying to verify candidate authority certificate "([^"]*)"`)
	hostForm  = regexp.MustCompile(`^[A-Za-z0-9._-]{1,253}(:[0-9]{1,5})?$|^\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?$`)
)

// ParseMessage reads the message of a waiting container or of an Event. image is what the container asks for; when it is empty
// the message is searched for it.
func ParseMessage(image, message string) Failure { return Parse(image, "", message) }

// Parse is ParseMessage with the reason of the waiting container or of the Event, which tells the class when the message does not.
func Parse(image, reason, message string) Failure {
	text := scrub(strings.ReplaceAll(printable(ends(message), maxMessage), `\"`, `"`))
	out := Failure{Image: printable(image, maxName), Message: text}
	if m := asked.FindStringSubmatch(text); m != nil && out.Image == "" {
		out.Image = printable(m[1], maxName)
	}
	out.Asked = registryOf(out.Image)
	host, cause, said := split(rpc.ReplaceAllString(text, ""))
	if out.Registry = host; !said {
		out.Registry = out.Asked
	}
	if m := candidate.FindStringSubmatch(cause); m != nil {
		out.Candidate = printable(m[1], maxName)
	}
	out.Class = classify(cause)
	if out.Class != Unknown {
		out.Reason = printable(strings.TrimPrefix(strings.TrimSpace(cause), "tls: failed to verify certificate: "), maxReason)
	}
	out.Sandbox = strings.Contains(text, "failed to get sandbox image")
	out.Class = cmp.Or(puller(text, out.Sandbox, out.Class), out.Class)
	if out.Class == Unknown {
		out.Class = byReason(reason)
	}
	return out
}

// puller returns the class of a failure that another than the kubelet's own pull for a container ran into; empty if it was that.
func puller(text string, sandbox bool, class string) string {
	switch {
	case strings.Contains(text, "failed to get images:"):
		return VSpherePod
	case slices.ContainsFunc(carvel(), func(words string) bool { return strings.Contains(text, words) }):
		return KappController
	case sandbox && (class == Auth || class == Reference || class == Unknown):
		return SandboxImage
	}
	return ""
}

// carvel is how imgpkg and vendir, which kapp-controller runs, word a registry that they do not get through to.
func carvel() []string {
	return []string{"preparing a transport to talk with the registry", "Unable to create round tripper", "vendir: Error", "imgpkg: Error"}
}

// split returns the host that was asked last, what is said of it, and whether the text names an address at all. The host is empty when
// that address is none.
func split(text string) (host, cause string, said bool) {
	last := []int{-1, -1}
	for _, form := range []*regexp.Regexp{request, answered, from} {
		if form != request && !strings.Contains(text, "status") { // what is rare is not searched for in each message
			continue
		}
		if all := form.FindAllStringSubmatchIndex(text, -1); len(all) > 0 && all[len(all)-1][0] > last[0] {
			last = all[len(all)-1]
			host = hostOf(text[last[2]:last[3]])
			cause = text[last[0]:]
			if form == request {
				cause = text[last[1]:]
			}
		}
	}
	if last[0] < 0 {
		return "", tail(text), false
	}
	return host, cause, true
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
	if !strings.Contains(raw, "://") {
		raw = "https://" + raw
	}
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

// ends bounds a message to its begin, which names the image, and its end, where the cause stands. What may be a credential goes before
// the cut, which could hide from scrub that it is one.
func ends(s string) string {
	const head = 2 << 10
	const tail = maxMessage - head - 8
	if len(s) <= maxMessage {
		return s
	}
	first, last := scrub(s[:2*head]), scrub(s[max(0, len(s)-2*tail):])
	return first[:min(len(first), head)] + " ... " + last[max(0, len(last)-tail):]
}

// Printable returns s bounded to n bytes and on one line, with a space for each character that is not to be printed. It is for names
// and texts that another wrote.
func Printable(s string, n int) string { return printable(s, n) }

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
