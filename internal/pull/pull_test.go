package pull_test

import (
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tkgfix/tkgfix/internal/pull"
)

const (
	image   = "reg.lab:8443/p/app:1"
	wrapped = `Failed to pull image "reg.lab:8443/p/app:1": failed to pull and unpack image "reg.lab:8443/p/app:1": failed to resolve reference "reg.lab:8443/p/app:1": failed to do request: `
	head    = `Head "https://reg.lab:8443/v2/p/app/manifests/1": `
	unknown = "x509: certificate signed by unknown authority"
)

func TestParseMessage(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason  string
		image   string
		message string
		want    pull.Failure
	}{
		"ContainerdOne": {
			reason: "containerd 1.7 on Go 1.20 and later",
			image:  image, message: wrapped + head + "tls: failed to verify certificate: " + unknown,
			want: pull.Failure{Image: image, Registry: "reg.lab:8443", Class: pull.Trust, Reason: unknown},
		},
		"OldRuntime": {
			reason: "the rpc prefix, and no tls prefix before Go 1.20",
			image:  image, message: `rpc error: code = Unknown desc = failed to pull and unpack image "reg.lab:8443/p/app:1": failed to resolve reference "reg.lab:8443/p/app:1": failed to do request: ` + head + unknown,
			want: pull.Failure{Image: image, Registry: "reg.lab:8443", Class: pull.Trust, Reason: unknown},
		},
		"ContainerdTwo": {
			reason: "containerd 2 says resolve image",
			image:  image, message: `failed to pull and unpack image "reg.lab:8443/p/app:1": failed to resolve image: failed to do request: ` + head + "tls: failed to verify certificate: " + unknown,
			want: pull.Failure{Image: image, Registry: "reg.lab:8443", Class: pull.Trust, Reason: unknown},
		},
		"NewKubeletBackOff": {
			reason: "recent kubelets keep the cause during back-off",
			image:  image, message: `Back-off pulling image "reg.lab:8443/p/app:1": ErrImagePull: ` + strings.TrimPrefix(wrapped, `Failed to pull image "reg.lab:8443/p/app:1": `) + head + unknown,
			want: pull.Failure{Image: image, Registry: "reg.lab:8443", Class: pull.Trust, Reason: unknown},
		},
		"OldKubeletBackOff": {
			reason: "old kubelets lose it",
			image:  image, message: `Back-off pulling image "reg.lab:8443/p/app:1"`,
			want: pull.Failure{Image: image, Registry: "reg.lab:8443", Class: pull.Unknown},
		},
		"ImageFromMessage": {
			reason: "an Event does not say which image but in its text",
			image:  "", message: wrapped + head + unknown,
			want: pull.Failure{Image: image, Registry: "reg.lab:8443", Class: pull.Trust, Reason: unknown},
		},
		"Mirror": {
			reason: "the host that was dialled is not the image's",
			image:  "docker.io/library/nginx:1", message: `failed to do request: Head "https://mirror.lab/v2/library/nginx/manifests/1?ns=docker.io": ` + unknown,
			want: pull.Failure{Image: "docker.io/library/nginx:1", Registry: "mirror.lab", Class: pull.Trust, Reason: unknown},
		},
		"TokenRealm": {
			reason: "the failing host is the token server, and the class is trust although it failed to authorize",
			image:  image, message: wrapped + `failed to authorize: failed to fetch anonymous token: Get "https://auth.corp.test:444/token?scope=repository%3Ateam%2Fapp%3Apull&service=reg": ` + unknown,
			want: pull.Failure{Image: image, Registry: "auth.corp.test:444", Class: pull.Trust, Reason: unknown},
		},
		"BlobRedirect": {
			reason: "the last URL counts",
			image:  image, message: `httpReadSeeker: failed open: failed to do request: Get "https://reg.lab:8443/v2/": redirect: Get "https://blobs.corp.test/v2/x/blobs/sha256:00": tls: failed to verify certificate: ` + unknown,
			want: pull.Failure{Image: image, Registry: "blobs.corp.test", Class: pull.Trust, Reason: unknown},
		},
		"SameNameOtherKey": {
			reason: "Go names the CA that has the name and not the key",
			image:  image, message: wrapped + head + unknown + ` (possibly because of "crypto/rsa: verification error" while trying to verify candidate authority certificate "Corp Root CA")`,
			want: pull.Failure{Image: image, Registry: "reg.lab:8443", Class: pull.Trust, Candidate: "Corp Root CA", Reason: unknown + ` (possibly because of "crypto/rsa: verification error" while trying to verify candidate authority certificate "Corp Root CA")`},
		},
		"SHA1": {
			reason: "no CA mends a signature that Go refuses",
			image:  image, message: wrapped + head + unknown + ` (possibly because of "x509: cannot verify signature: insecure algorithm SHA1-RSA" while trying to verify candidate authority certificate "Corp Root CA")`,
			want: pull.Failure{Image: image, Registry: "reg.lab:8443", Class: pull.ServerCertificate, Candidate: "Corp Root CA", Reason: unknown + ` (possibly because of "x509: cannot verify signature: insecure algorithm SHA1-RSA" while trying to verify candidate authority certificate "Corp Root CA")`},
		},
		"VSpherePod": {
			reason: "the Supervisor pulls: no trust of a TKG cluster mends it",
			image:  "", message: `failed to get images: Image x-v1 has failed. Error: Failed to resolve on node esx-1. Reason: Http request failed. Get "https://reg.lab:8443/v2/": ` + unknown,
			want: pull.Failure{Registry: "reg.lab:8443", Class: pull.VSpherePod, Reason: unknown},
		},
		"OldGoWithoutQuotes": {
			reason: "Go before 1.14 put no quotes around the URL",
			image:  image, message: "Head https://reg.lab:8443/v2/p/app/manifests/1: " + unknown,
			want: pull.Failure{Image: image, Registry: "reg.lab:8443", Class: pull.Trust, Reason: unknown},
		},
		"Userinfo": {
			reason: "a credential in a URL is not the host",
			image:  image, message: `Get "https://user:secret@reg.lab:8443/v2/": ` + unknown,
			want: pull.Failure{Image: image, Registry: "reg.lab:8443", Class: pull.Trust, Reason: unknown},
		},
		"ShortImage": {
			reason: "a short name is dialled at Docker Hub's registry",
			image:  "nginx", message: `Back-off pulling image "nginx"`,
			want: pull.Failure{Image: "nginx", Registry: "registry-1.docker.io", Class: pull.Unknown},
		},
		"HostileHost": {
			reason: "what is no host is not taken for one",
			image:  "", message: "Get \"https://a\x1b[31m;rm/\": " + unknown,
			want: pull.Failure{Class: pull.Trust, Reason: `Get "https://a [31m;rm/": ` + unknown},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := pull.ParseMessage(c.image, c.message)
			if diff := cmp.Diff(c.want, got, cmpopts.IgnoreFields(pull.Failure{}, "Message", "Asked")); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", c.reason, diff)
			}
		})
	}
}

func TestNoCredential(t *testing.T) {
	t.Parallel()
	got := pull.ParseMessage(image, `failed: Get "https://user:hunter2@reg.lab/v2/": then Get "https://blobs.lab/x?X-Amz-Signature=hunter2": EOF, at https://u:hunter2@proxy.lab?k=hunter2`)
	if strings.Contains(got.Message+got.Reason, "hunter2") {
		t.Errorf("a credential is in %+v", got)
	}
	if got.Registry != "blobs.lab" {
		t.Errorf("Registry: want blobs.lab, got %q", got.Registry)
	}
}

func TestClass(t *testing.T) {
	t.Parallel()
	cases := map[string]string{
		"x509: certificate has expired or is not yet valid: current time 2026-01-01T00:00:00Z is after 2025-01-01T00:00:00Z": pull.ServerCertificate,
		"x509: certificate is valid for a.lab, not reg.lab":                                                                  pull.ServerCertificate,
		"x509: certificate is not valid for any names, but wanted to match reg.lab":                                          pull.ServerCertificate,
		"x509: cannot validate certificate for 10.0.0.1 because it doesn't contain any IP SANs":                              pull.ServerCertificate,
		"x509: certificate relies on legacy Common Name field, use SANs instead":                                             pull.ServerCertificate,
		"x509: certificate is not authorized to sign other certificates":                                                     pull.ServerCertificate,
		"x509: certificate specifies an incompatible key usage":                                                              pull.ServerCertificate,
		"tls: failed to parse certificate from server: x509: negative serial number":                                         pull.ServerCertificate,
		"remote error: tls: certificate required":                                                                            pull.ServerCertificate,
		"remote error: tls: handshake failure":                                                                               pull.ServerCertificate,
		"proxyconnect tcp: tls: failed to verify certificate: x509: certificate signed by unknown authority":                 pull.Proxy,
		"proxyconnect tcp: dial tcp 10.0.0.1:3128: connect: connection refused":                                              pull.Proxy,
		"http: server gave HTTP response to HTTPS client":                                                                    pull.PlainHTTP,
		"tls: first record does not look like a TLS handshake":                                                               pull.PlainHTTP,
		"net/http: TLS handshake timeout":                                                                                    pull.Network,
		"dial tcp 10.0.0.1:443: connect: connection refused":                                                                 pull.Network,
		"dial tcp 10.0.0.1:443: connect: no route to host":                                                                   pull.Network,
		"dial tcp 10.0.0.1:443: i/o timeout":                                                                                 pull.Network,
		"read tcp 10.0.0.2:1->10.0.0.1:443: read: connection reset by peer":                                                  pull.Network,
		"EOF": pull.Network,
		"dial tcp: lookup reg.lab on 10.0.0.53:53: no such host":                                                                               pull.DNS,
		"dial tcp: lookup reg.lab on 10.0.0.53:53: read udp: i/o timeout":                                                                      pull.DNS,
		"dial tcp: lookup reg.lab on 10.0.0.53:53: read udp: connection refused":                                                               pull.DNS,
		"dial tcp: lookup reg.lab: Temporary failure in name resolution":                                                                       pull.DNS,
		"failed to authorize: failed to fetch oauth token: unexpected status: 401 Unauthorized":                                                pull.Auth,
		"pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed": pull.Auth,
		"unexpected status code https://reg.lab/v2/p/app/manifests/1: 403 Forbidden":                                                           pull.Auth,
		"unexpected status from HEAD request to https://reg.lab/v2/p/app/manifests/1: 429 Too Many Requests":                                   pull.Rate,
		"toomanyrequests: You have reached your pull rate limit":                                                                               pull.Rate,
		"reg.lab/p/app:1: not found":                                pull.Reference,
		"manifest unknown: manifest unknown":                        pull.Reference,
		`couldn't parse image name "A/b": invalid reference format`: pull.Reference,
		"no match for platform in manifest: not found":              pull.Reference,
		"unexpected status: 503 Service Unavailable":                pull.RegistryError,
		"something else entirely":                                   pull.Unknown,
		"":                                                          pull.Unknown,
	}
	for cause, want := range cases {
		t.Run(cause, func(t *testing.T) {
			t.Parallel()
			for _, message := range []string{wrapped + head + cause, cause} {
				if got := pull.ParseMessage(image, message).Class; got != want {
					t.Errorf("ParseMessage(%q): want class %s, got %s", message, want, got)
				}
			}
		})
	}
}

// FuzzParseMessage holds of any image, reason and message: what comes out is bounded, on one line, and holds neither a host that is
// none nor a password; and a cause that follows a request at the end of the message is found whatever stands before it.
func FuzzParseMessage(f *testing.F) {
	f.Add(image, "ErrImagePull", wrapped+head+unknown)
	f.Add("", "", `Get "https://[::1]:5000/v2/": dial tcp [::1]:5000: connect: connection refused`)
	f.Add("a@b", "Failed", "\x1b]0;x\x07 rpc error: code = A desc = \xff\xfe")
	f.Add("../../x\n", "InvalidImageName", `failed to get sandbox image "a": unexpected status from HEAD request to https://u:p@a/?b: 401 Unauthorized`)
	f.Add("x", "ImageInspectError", `pulling from host a:1 failed with status code [manifests 1]: 429 Too Many Requests`)
	f.Add("x", "", `vendir: Error: Unable to create round tripper: Get "https://u:p@pkg.lab/v2/": EOF`)
	f.Fuzz(func(t *testing.T, image, reason, message string) {
		got := pull.Parse(image, reason, message)
		for _, s := range []string{got.Image, got.Registry, got.Asked, got.Reason, got.Message, got.Candidate} {
			if len(s) > 8<<10 || !utf8.ValidString(s) || strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) >= 0 {
				t.Errorf("not bounded and printable: %q", s)
			}
		}
		if strings.ContainsAny(got.Registry+got.Asked, " /@\"'") {
			t.Errorf("not a host: %q, %q", got.Registry, got.Asked)
		}
		if !slices.Contains(pull.Classes(), got.Class) {
			t.Errorf("no class: %q", got.Class)
		}
		if got.Class == pull.Trust && !strings.Contains(strings.ToLower(message), "cert") {
			t.Errorf("trust out of nothing: %q", message)
		}
		end := pull.Parse("reg.lab:8443/p/app:1", reason, message+" "+head+"dial tcp 10.0.0.1:8443: connect: connection refused")
		if end.Registry != "reg.lab:8443" {
			t.Errorf("the last request went to reg.lab:8443, got %q", end.Registry)
		}
		switch end.Class {
		case pull.Network, pull.VSpherePod, pull.KappController: // the two are known by what stands before the request
		default:
			t.Errorf("a refused connection is %s", end.Class)
		}
		if secret := pull.ParseMessage("", `Get "https://user:hunter2@reg.lab/": `+message); strings.Contains(secret.Message, "hunter2") && !strings.Contains(message, "hunter2") {
			t.Errorf("a password shows: %q", secret.Message)
		}
	})
}
