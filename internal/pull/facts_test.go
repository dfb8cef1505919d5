package pull_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/pull"
)

// fact is a string of tkg-facts.md §6.1 with its class. A cause stands for what follows the wrapper of containerd.
type fact struct {
	reason string // of the waiting container or of the Event
	text   string
	class  string
	host   string // that was dialled; reg.lab:8443 if empty
}

// causes are the rows of the table of causes, and what else is known of each.
func causes() []fact {
	const (
		verify  = "tls: failed to verify certificate: "
		because = ` (possibly because of "%s" while trying to verify candidate authority certificate "Corp Root CA")`
	)
	why := func(s string) string { return unknown + fmt.Sprintf(because, s) }
	server := func(texts ...string) []fact {
		var out []fact
		for _, text := range texts {
			out = append(out, fact{text: text, class: pull.ServerCertificate}, fact{text: verify + text, class: pull.ServerCertificate})
		}
		return out
	}
	out := []fact{
		{text: unknown, class: pull.Trust},
		{text: verify + unknown, class: pull.Trust},
		{text: why("crypto/rsa: verification error"), class: pull.Trust},
		{text: verify + why("x509: ECDSA verification failure"), class: pull.Trust},
		{text: why("x509: cannot verify signature: insecure algorithm SHA1-RSA"), class: pull.ServerCertificate},
		{text: verify + why("x509: cannot verify signature: insecure algorithm MD5-RSA"), class: pull.ServerCertificate},
		{text: why("x509: cannot verify signature: algorithm unimplemented"), class: pull.ServerCertificate},
		{text: why("x509: invalid signature: parent certificate cannot sign this kind of certificate"), class: pull.Trust},
		{text: "http: server gave HTTP response to HTTPS client", class: pull.PlainHTTP},
		{text: "tls: first record does not look like a TLS handshake", class: pull.PlainHTTP},
		{text: "proxyconnect tcp: dial tcp 10.0.0.9:3128: connect: connection refused", class: pull.Proxy},
		{text: "proxyconnect tcp: dial tcp: lookup proxy.lab on 10.0.0.53:53: no such host", class: pull.Proxy},
		{text: "proxyconnect tcp: tls: first record does not look like a TLS handshake", class: pull.Proxy},
		{text: "proxyconnect tcp: " + verify + unknown, class: pull.Proxy},
		{text: "Proxy Authentication Required", class: pull.Proxy},
		{text: "Service Unavailable", class: pull.Proxy},
		{text: "Forbidden", class: pull.Proxy},
		{text: "Bad Gateway", class: pull.Proxy},
		{text: "remote error: tls: handshake failure", class: pull.ServerCertificate},
		{text: "remote error: tls: bad certificate", class: pull.ServerCertificate},
		{text: "remote error: tls: unknown certificate authority", class: pull.ServerCertificate},
		{text: "remote error: tls: protocol version not supported", class: pull.ServerCertificate},
		{text: "dial tcp: lookup reg.lab on 10.0.0.53:53: no such host", class: pull.DNS},
		{text: "dial tcp: lookup reg.lab on 10.0.0.53:53: read udp 10.0.0.2:1->10.0.0.53:53: i/o timeout", class: pull.DNS},
		{text: "dial tcp: lookup reg.lab: i/o timeout", class: pull.DNS},
		{text: "dial tcp 10.0.0.1:8443: i/o timeout", class: pull.Network},
		{text: "dial tcp 10.0.0.1:8443: connect: connection refused", class: pull.Network},
		{text: "dial tcp 10.0.0.1:8443: connect: no route to host", class: pull.Network},
	}
	return append(out, server(
		"x509: certificate has expired or is not yet valid: current time 2026-11-24T00:00:00Z is after 2026-11-23T00:00:00Z",
		"x509: certificate has expired or is not yet valid: current time 2026-11-24T00:00:00Z is before 2026-11-25T00:00:00Z",
		"x509: certificate has expired or is not yet valid",
		"x509: certificate is valid for a.lab, b.lab, not reg.lab",
		"x509: certificate is not valid for any names, but wanted to match reg.lab",
		"x509: cannot validate certificate for 10.0.0.1 because it doesn't contain any IP SANs",
		"x509: certificate relies on legacy Common Name field, use SANs instead",
		"x509: certificate is not authorized to sign other certificates",
		"x509: a root or intermediate certificate is not authorized to sign for this name: DNS name \"reg.lab\" is not permitted by any constraint",
		"x509: too many intermediates for path length constraint",
		"x509: certificate specifies an incompatible key usage",
	)...)
}

// messages are whole texts, and those of other programs than containerd.
func messages() map[string]fact {
	const (
		ref    = `"reg.lab:8443/p/app:1"`
		round  = `vendir: Error: Syncing directory '0': Syncing directory '.' with imgpkgBundle contents: Fetching image: Error while preparing a transport to talk with the registry: Unable to create round tripper: Get "https://pkg.lab/v2/": `
		denied = "pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed"
		pause  = `Failed to create pod sandbox: rpc error: code = Unknown desc = failed to get sandbox image "reg.lab:8443/pause:3.9": failed to pull image "reg.lab:8443/pause:3.9": failed to pull and unpack image "reg.lab:8443/pause:3.9": failed to resolve reference "reg.lab:8443/pause:3.9": `
	)
	return map[string]fact{
		"invalid name":           {"InvalidImageName", `Failed to apply default image tag "A/b": couldn't parse image name "A/b": invalid reference format: repository name must be lowercase`, pull.Reference, ""},
		"invalid, silent":        {"InvalidImageName", "", pull.Reference, ""},
		"never":                  {"ErrImageNeverPull", `Container image ` + ref + ` is not present with pull policy of Never`, pull.Reference, ""},
		"never, silent":          {"ErrImageNeverPull", "", pull.Reference, ""},
		"inspect":                {"ImageInspectError", `Failed to inspect image ` + ref + `: rpc error: code = Unavailable desc = connection error: desc = "transport: Error while dialing: dial unix /run/containerd/containerd.sock: connect: connection refused"`, pull.Runtime, ""},
		"inspect, other cause":   {"ImageInspectError", `Failed to inspect image ` + ref + `: rpc error: code = Unknown desc = blob store is damaged`, pull.Runtime, ""},
		"inspect, Event":         {"InspectFailed", `Failed to apply default image tag`, pull.Runtime, ""},
		"unavailable":            {"RegistryUnavailable", `image pull failed for ` + ref + ` because the registry is unavailable`, pull.Network, ""},
		"unavailable, for trust": {"RegistryUnavailable", `image pull failed for ` + ref + ` because the registry is unavailable: Get "https://reg.lab:8443/v2/": ` + unknown, pull.Trust, ""},
		"unavailable, silent":    {"RegistryUnavailable", "", pull.Network, ""},
		"signature":              {"SignatureValidationFailed", `image pull failed for ` + ref + ` because the signature validation failed: Source image rejected: A signature was required, but no signature exists`, pull.Signature, ""},
		"signature, silent":      {"SignatureValidationFailed", "", pull.Signature, ""},
		"pull error, silent":     {"ErrImagePull", "", pull.Unknown, ""},
		"back-off, silent":       {"ImagePullBackOff", "Back-off pulling image " + ref, pull.Unknown, ""},
		"back-off, new kubelet":  {"ImagePullBackOff", "Back-off pulling image " + ref + ": ErrImagePull: failed to pull and unpack image " + ref + ": failed to resolve image: failed to do request: " + head + unknown, pull.Trust, ""},
		"Event":                  {"Failed", wrapped + head + unknown, pull.Trust, ""},
		"Event, pull error":      {"Failed", "Error: ErrImagePull", pull.Unknown, ""},
		"Event, back-off":        {"Failed", "Error: ImagePullBackOff", pull.Unknown, ""},
		"Event, pulling":         {"Pulling", "Pulling image " + ref, pull.Unknown, ""},
		"Event, pulled":          {"Pulled", "Successfully pulled image " + ref + " in 1.2s", pull.Unknown, ""},
		"sandbox":                {"FailedCreatePodSandBox", pause + ref + ": not found", pull.SandboxImage, ""},
		"sandbox, silent":        {"FailedCreatePodSandBox", `failed to get sandbox image "reg.lab:8443/pause:3.9": failed to pull image "reg.lab:8443/pause:3.9": something`, pull.SandboxImage, ""},
		"sandbox, refused":       {"FailedCreatePodSandBox", pause + "unexpected status from HEAD request to https://reg.lab:8443/v2/pause/manifests/3.9: 401 Unauthorized", pull.SandboxImage, ""},
		"sandbox, for trust":     {"FailedCreatePodSandBox", pause + `failed to do request: Head "https://reg.lab:8443/v2/pause/manifests/3.9": ` + unknown, pull.Trust, ""},
		"sandbox, for DNS":       {"FailedCreatePodSandBox", pause + `failed to do request: Head "https://reg.lab:8443/v2/pause/manifests/3.9": dial tcp: lookup reg.lab on 10.0.0.53:53: no such host`, pull.DNS, ""},
		"vSphere Pod":            {"Failed", `failed to get images: Image testimage-v1 has failed. Error: Failed to resolve on node esx-1. Reason: Http request failed. Code 400: ErrorType(2) failed to do request: Head "https://reg.lab:8443/v2/x/manifests/1": ` + unknown, pull.VSpherePod, ""},
		"kapp, trust":            {"", round + unknown, pull.KappController, "pkg.lab"},
		"kapp, network":          {"", round + "dial tcp 10.0.0.1:443: i/o timeout", pull.KappController, "pkg.lab"},
		"kapp, DNS":              {"", round + "dial tcp: lookup pkg.lab on 10.0.0.53:53: no such host", pull.KappController, "pkg.lab"},
		"anonymous token":        {"", wrappedNoRequest() + "failed to authorize: failed to fetch anonymous token: unexpected status: 401 Unauthorized", pull.Auth, ""},
		"token, newer":           {"", wrappedNoRequest() + "failed to authorize: failed to fetch anonymous token: unexpected status from GET request to https://auth.lab:444/token?scope=x&service=reg: 401 Unauthorized", pull.Auth, "auth.lab:444"},
		"OAuth token":            {"", wrappedNoRequest() + "failed to authorize: failed to fetch oauth token: unexpected status from POST request to https://auth.lab/token: 403 Forbidden", pull.Auth, "auth.lab"},
		"denied":                 {"", wrappedNoRequest() + denied, pull.Auth, ""},
		"status 403":             {"", wrappedNoRequest() + "unexpected status code https://mirror.lab/v2/p/app/manifests/1: 403 Forbidden", pull.Auth, "mirror.lab"},
		"status 401":             {"", wrappedNoRequest() + "pulling from host mirror.lab:5000 failed with status code [manifests 1]: 401 Unauthorized", pull.Auth, "mirror.lab:5000"},
		"rate":                   {"", wrappedNoRequest() + "unexpected status from HEAD request to https://mirror.lab/v2/p/app/manifests/1?ns=docker.io: 429 Too Many Requests", pull.Rate, "mirror.lab"},
		"rate, Hub":              {"", wrappedNoRequest() + "toomanyrequests: You have reached your pull rate limit", pull.Rate, ""},
		"404":                    {"", wrappedNoRequest() + "unexpected status code [manifests 1]: 404 Not Found", pull.Reference, ""},
		"manifest":               {"", wrappedNoRequest() + "manifest unknown: manifest unknown", pull.Reference, ""},
		"not found":              {"", `rpc error: code = NotFound desc = failed to pull and unpack image ` + ref + `: failed to resolve reference ` + ref + `: reg.lab:8443/p/app:1: not found`, pull.Reference, ""},
		"mirror":                 {"", wrappedNoRequest() + `failed to do request: Head "https://mirror.lab/v2/p/app/manifests/1?ns=reg.lab": ` + unknown, pull.Trust, "mirror.lab"},
		"CRI-O":                  {"", `unable to pull image or OCI artifact: pull image err: initializing source docker://reg.lab:8443/p/app:1: pinging container registry reg.lab:8443: Get "https://reg.lab:8443/v2/": tls: failed to verify certificate: ` + unknown, pull.Trust, ""},
		"503":                    {"", wrappedNoRequest() + "unexpected status from HEAD request to https://reg.lab:8443/v2/p/app/manifests/1: 503 Service Unavailable", pull.RegistryError, ""},
	}
}

func wrappedNoRequest() string { return strings.TrimSuffix(wrapped, "failed to do request: ") }

// Each string of tkg-facts.md §6.1 has its class, in each of the wrappings of old and new kubelets and runtimes.
func TestFacts(t *testing.T) {
	t.Parallel()
	const ref = `"reg.lab:8443/p/app:1"`
	wrappers := map[string]string{
		"containerd 1":       `failed to pull and unpack image ` + ref + `: failed to resolve reference ` + ref + `: failed to do request: Head "https://reg.lab:8443/v2/p/app/manifests/1": `,
		"old kubelet":        `rpc error: code = Unknown desc = failed to pull and unpack image ` + ref + `: failed to resolve reference ` + ref + `: failed to do request: Head https://reg.lab:8443/v2/p/app/manifests/1: `,
		"containerd 2":       `failed to pull and unpack image ` + ref + `: failed to resolve image: failed to do request: Head "https://reg.lab:8443/v2/p/app/manifests/1": `,
		"back-off":           `Back-off pulling image ` + ref + `: ErrImagePull: rpc error: code = Unknown desc = failed to pull and unpack image ` + ref + `: failed to resolve reference ` + ref + `: failed to do request: Head "https://reg.lab:8443/v2/p/app/manifests/1": `,
		"Event":              wrapped + head,
		"blob of a redirect": `httpReadSeeker: failed open: failed to do request: Get "https://reg.lab:8443/v2/p/app/blobs/sha256:00": `,
	}
	for name, wrapper := range wrappers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, c := range causes() {
				got := pull.Parse(image, "ErrImagePull", wrapper+c.text)
				if got.Class != c.class || got.Registry != "reg.lab:8443" {
					t.Errorf("class %s of %s, want %s:\n%s", got.Class, got.Registry, c.class, c.text)
				}
			}
		})
	}
	for name, c := range messages() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := c.host
			if want == "" {
				want = "reg.lab:8443"
			}
			got := pull.Parse(image, c.reason, c.text)
			if diff := cmp.Diff(c.class+" at "+want, got.Class+" at "+got.Registry); diff != "" {
				t.Errorf("-want, +got:\n%s%s", diff, c.text)
			}
			if got.Sandbox != strings.Contains(c.text, "sandbox image") {
				t.Errorf("sandbox is %v: %s", got.Sandbox, c.text)
			}
		})
	}
}

// The words of others must not stand for a cause: those of a registry behind its status, and names within the message.
func TestForeignWords(t *testing.T) {
	t.Parallel()
	cases := map[string]struct{ reason, image, message, class string }{
		"registry's own text": {
			"a registry that answered has passed TLS, whatever it says", image,
			wrappedNoRequest() + "unexpected status from HEAD request to https://reg.lab:8443/v2/p/app/manifests/1: 401 Unauthorized: " + unknown, pull.Auth,
		},
		"repository name": {
			"a name is no cause", "reg.lab/x/toomanyrequests:1",
			`failed to pull and unpack image "reg.lab/x/toomanyrequests:1": failed to resolve reference "reg.lab/x/toomanyrequests:1": dial tcp 10.0.0.1:443: connect: connection refused`, pull.Network,
		},
		"repository name, not found": {
			"the same, not quoted", "reg.lab/x/proxyconnect-toomanyrequests:1",
			`rpc error: code = NotFound desc = failed to resolve reference "reg.lab/x/proxyconnect-toomanyrequests:1": reg.lab/x/proxyconnect-toomanyrequests:1: not found`, pull.Reference,
		},
		"geofence": {"EOF is a word", "reg.lab/geofence:1", `Back-off pulling image "reg.lab/geofence:1"`, pull.Unknown},
		"names in a certificate": {
			"a certificate may hold any name", image,
			wrapped + head + "x509: certificate is valid for certificate signed by unknown authority, not reg.lab", pull.ServerCertificate,
		},
		"name of a CA": {
			"only Go's own reason says that the algorithm is refused", image,
			wrapped + head + unknown + ` (possibly because of "crypto/rsa: verification error" while trying to verify candidate authority certificate "insecure algorithm CA")`, pull.Trust,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.class, pull.ParseMessage(c.image, c.message).Class); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", c.reason, diff)
			}
		})
	}
}

// A message of any size keeps its begin and its end, and no line of it can be mistaken for another's.
func TestHostileMessage(t *testing.T) {
	t.Parallel()
	huge := wrapped + strings.Repeat("é\n\x1b[2J ", 1<<20) + head + "tls: failed to verify certificate: " + unknown
	got := pull.ParseMessage("", huge)
	if got.Class != pull.Trust || got.Registry != "reg.lab:8443" || got.Image != image || got.Reason != unknown {
		t.Errorf("the cause at the end is lost: %s at %s for %s: %.80s", got.Class, got.Registry, got.Image, got.Reason)
	}
	if len(got.Message) > 8<<10 || strings.ContainsAny(got.Message, "\n\x1b") {
		t.Errorf("%d bytes: %.80q", len(got.Message), got.Message)
	}
	got = pull.ParseMessage("../../etc/passwd\n", `Get "https://../x": `+unknown)
	if got.Image != "../../etc/passwd" || got.Asked != "" || strings.Contains(got.Registry, "/") {
		t.Errorf("names: %+v", got)
	}
	if diff := cmp.Diff("a b  xxxx", pull.Printable("a\nb\x00\u202e"+strings.Repeat("x", 99), 11)); diff != "" {
		t.Errorf("printable (-want, +got):\n%s", diff)
	}
	for cut := range 64 { // wherever a cut falls, it lays no part of a password open
		long := strings.Repeat("x", 2<<10-32+cut) + ` https://user:hunter2hunter2hunter2@reg.lab/ ` + strings.Repeat("y", 8<<10)
		for _, text := range []string{long, strings.Repeat("x", 8<<10) + ` https://user:hunter2hunter2hunter2@reg.lab/ ` + strings.Repeat("y", 6<<10-64+cut)} {
			if got := pull.ParseMessage(image, text); strings.Contains(got.Message, "hunt") || strings.Contains(got.Message, "ter2") {
				t.Fatalf("cut at %d: a password shows", cut)
			}
		}
	}
}

func TestAsked(t *testing.T) {
	t.Parallel()
	got := pull.ParseMessage("docker.io/library/nginx:1", `failed to do request: Head "https://mirror.lab/v2/library/nginx/manifests/1?ns=docker.io": EOF`)
	if diff := cmp.Diff("registry-1.docker.io by mirror.lab", got.Asked+" by "+got.Registry); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
}
