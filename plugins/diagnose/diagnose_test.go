package diagnose_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/probe"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/diagnose"
	"github.com/tkgfix/tkgfix/plugins/plugintest"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

type object = map[string]any

const missingRoot = "CN=Corp Root CA, key id AB:CD (issuer of CN=Corp Issuing CA)"

// situation is what the other steps put out. The zero value is a cluster whose CA is missing and whose candidate works.
type situation struct {
	detect, nodes, probe, encoding object
	// owner is left out when it is nil.
	owner object
	tried []string
}

// sick returns the ordinary case: six pods fail, no node trusts the registry, the candidate makes the chain valid.
func sick(changes ...func(*situation)) situation {
	s := situation{
		detect: object{
			"affected": true, "class": "trust", "registry": "registry.lab:5443", "failingCount": 6, "scanned": 10,
			"failing": []object{{"scope": "cluster", "registry": "registry.lab:5443", "class": "trust", "namespace": "demo", "pod": "web-1", "message": "m"}},
		},
		nodes: object{"ok": true, "candidateOnAll": false, "nodes": []object{node("w1", nil), node("w2", nil)}},
		probe: object{
			"registry": "registry.lab:5443", "trusted": false, "candidateWorks": true, "missing": "",
			"nodes": []object{shaken("w1", "untrusted-root", nil), shaken("w2", "untrusted-root", nil)},
		},
		encoding: object{
			"ok":      true,
			"entries": []object{{"where": "TSC", "name": "corp-a", "ok": true, "problem": "", "fingerprints": []string{"aa"}, "layers": 1}},
			"candidate": object{
				"given": true, "ok": true, "problem": "", "subjects": []string{"CN=Corp Root CA"}, "fingerprints": []string{"ff"}, "configuredAs": "",
			},
		},
	}
	for _, c := range changes {
		c(&s)
	}
	return s
}

func node(name string, more object) object {
	n := object{"name": name, "address": "10.0.0.1", "clockSkewSeconds": 0, "candidate": false, "files": []object{}, "findings": []object{}}
	maps.Copy(n, more)
	return n
}

// shaken is a node with a verdict of docs/checks.md; "" stands for trusted.
func shaken(name, id string, more object) object {
	v := probe.VerdictOf(cmp.Or(id, "trusted"))
	n := object{
		"name": name, "ok": id == "", "verdict": cmp.Or(id, v.ID), "remedy": string(v.Remedy), "fixableByTrust": v.Trust, "also": []string{}, "error": "",
		"candidateOk": true, "candidateError": "", "completedBy": []string{}, "missing": "", "note": "",
		"openssl": object{"available": true, "code": 20, "text": "x"},
	}
	if id != "" {
		n["error"] = "x509: " + id
	}
	maps.Copy(n, more)
	return n
}

func handshakes(id string, more object) func(*situation) {
	return func(s *situation) {
		works := id == "" || more["candidateOk"] != false
		s.probe["trusted"], s.probe["candidateWorks"] = id == "", works
		s.probe["nodes"] = []object{shaken("w1", id, more), shaken("w2", id, more)}
		if m, found := more["missing"]; found {
			s.probe["missing"] = m
		}
	}
}

func pods(class string) func(*situation) {
	return func(s *situation) {
		s.detect["class"] = class
		s.detect["failing"].([]object)[0]["class"] = class
	}
}

// dials lets the failing pod's pull end at another host than the image's.
func dials(host string) func(*situation) {
	return func(s *situation) {
		s.detect["registry"], s.probe["registry"] = host, host
		s.detect["failing"].([]object)[0]["registry"] = host
		s.detect["failing"].([]object)[0]["imageRegistry"] = "registry.lab:5443"
	}
}

func noPods(s *situation) {
	s.detect["affected"], s.detect["class"], s.detect["failing"], s.detect["failingCount"] = false, "", []object{}, 0
}

func noCandidate(s *situation) {
	s.encoding["candidate"] = object{"given": false, "ok": false, "problem": "", "subjects": []string{}, "fingerprints": []string{}, "configuredAs": ""}
	s.probe["candidateWorks"] = false
	for _, n := range s.probe["nodes"].([]object) {
		n["candidateOk"] = n["ok"]
	}
}

func configuredAs(where string) func(*situation) {
	return func(s *situation) { s.encoding["candidate"].(object)["configuredAs"] = where }
}

func looks(more object) func(*situation) {
	return func(s *situation) { s.nodes["nodes"] = []object{node("w1", more), node("w2", nil)} }
}

func fails(said, missing string) object {
	return object{"candidateOk": false, "candidateError": said, "missing": missing}
}

const unknown = "x509: certificate signed by unknown authority"

func TestPlan(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason  string
		in      situation
		cause   string
		remedy  string
		trust   bool
		blocked string // part of the block's reason; empty for none
		hint    string // part of its hint
		summary string
		warning string
	}{
		"healthy": {
			reason: "nothing fails and all is trusted: no change", in: sick(noPods, handshakes("", nil)),
			cause: "healthy", remedy: "nothing",
		},
		"healthy, nothing else looked at": {
			reason: "the other steps may have been skipped", in: situation{detect: object{"affected": false}, nodes: object{}, probe: object{}, encoding: object{}},
			cause: "healthy", remedy: "nothing",
		},
		"no pod fails yet": {
			reason: "a cluster that works is never recreated, even if its nodes lack the CA", in: sick(noPods),
			cause: "not-failing", remedy: "nothing", summary: "the next pull from registry.lab:5443 would fail on w1, w2",
		},
		"missing CA": {
			reason: "the documented case", in: sick(),
			cause: "missing-ca", remedy: "cluster-trust", trust: true,
		},
		"wrong CA": {
			reason: "an old root of the same name is trusted", in: sick(handshakes("same-name-other-key", nil)),
			cause: "wrong-ca", remedy: "cluster-trust", trust: true, summary: "another key",
		},
		"expired CA": {
			reason: "the trusted root ran out and its successor is given", in: sick(handshakes("expired-root", nil)),
			cause: "expired-ca", remedy: "cluster-trust", trust: true,
		},
		"not a CA": {
			reason: "a server certificate was configured", in: sick(handshakes("not-a-ca", nil)),
			cause: "not-a-ca", remedy: "cluster-trust", trust: true,
		},
		"self-signed": {
			reason: "the server's own certificate is given as CA: it works", in: sick(handshakes("self-signed", object{"fixableByTrust": true})),
			cause: "self-signed", remedy: "cluster-trust", trust: true,
		},
		"intermediate given": {
			reason: "a CA file that holds the intermediate completes even a lone leaf", in: sick(handshakes("missing-intermediate", nil)),
			cause: "missing-ca", remedy: "cluster-trust", trust: true,
		},
		"one node of two": {
			reason: "a mixed fleet: the CA is not stored, so new nodes would lack it",
			in: sick(func(s *situation) {
				s.probe["nodes"] = []object{shaken("w1", "", nil), shaken("w2", "untrusted-root", nil)}
			}),
			cause: "missing-ca", remedy: "cluster-trust", trust: true,
		},
		"wrong encoding": {
			reason: "the right CA is stored twice encoded",
			in: sick(func(s *situation) {
				s.encoding["ok"] = false
				s.encoding["entries"] = []object{{"where": "TSC", "name": "corp", "ok": false, "problem": "2 layers of base64", "fingerprints": []string{"ff"}}}
			}),
			cause: "wrong-encoding", remedy: "cluster-trust", trust: true, summary: "TSC, entry corp, but the nodes cannot use it: 2 layers of base64",
		},
		"another entry badly encoded": {
			reason: "somebody else's bad entry is not the cause",
			in: sick(func(s *situation) {
				s.encoding["ok"] = false
				s.encoding["entries"] = []object{{"where": "TSC", "name": "x", "ok": false, "problem": "2 layers", "fingerprints": []string{"aa"}}}
			}),
			cause: "missing-ca", remedy: "cluster-trust", trust: true,
		},
		"stale nodes": {
			reason: "TkgServiceConfiguration is right and the nodes were made before", in: sick(configuredAs("TSC, entry corp")),
			cause: "stale-nodes", remedy: "roll-nodes", trust: true, summary: "(TSC, entry corp)",
		},
		"stale nodes, old key": {
			reason: "the same after a renewed CA", in: sick(configuredAs("TSC, entry corp"), handshakes("same-name-other-key", nil)),
			cause: "stale-nodes", remedy: "roll-nodes", trust: true,
		},
		"file there, not read": {
			reason: "configured, on every node, and still not trusted",
			in:     sick(configuredAs("TSC, entry corp"), func(s *situation) { s.nodes["candidateOnAll"] = true }),
			cause:  "unread-trust-file", remedy: "roll-nodes", trust: true,
		},
		"stale containerd": {
			reason: "the file came after containerd started: a restart does it",
			in:     sick(handshakes("runtime-older", nil), func(s *situation) { s.probe["nodes"].([]object)[1] = shaken("w2", "", nil) }),
			cause:  "runtime-older", remedy: "restart-runtime", blocked: "containerd must be restarted on w1", hint: "sudo systemctl restart containerd",
		},
		"stale containerd beside a missing CA": {
			reason: "a restart would help one node of two",
			in: sick(func(s *situation) {
				s.probe["nodes"] = []object{shaken("w1", "runtime-older", nil), shaken("w2", "untrusted-root", nil)}
			}),
			cause: "missing-ca", remedy: "cluster-trust", trust: true,
		},
		"trust taken away": {
			reason: "pods still run, and will not after a restart", in: sick(noPods, handshakes("", object{"verdict": "runtime-removed"})),
			cause: "not-failing", remedy: "nothing", summary: "fail from its next start on",
		},
		"back-off": {
			reason: "all is trusted and loaded: the pods only wait", in: sick(handshakes("", nil)),
			cause: "back-off", remedy: "nothing", summary: "tries again within five minutes",
		},
		"back-off, with a proxy": {
			reason: "what the probe remarked may explain the pods", in: sick(handshakes("", object{"note": "containerd goes by a proxy"})),
			cause: "back-off", remedy: "nothing", warning: "node w1: containerd goes by a proxy",
		},
		"server certificate renewed meanwhile": {
			reason: "old messages of a fault that is gone", in: sick(pods("server-certificate"), handshakes("", nil)),
			cause: "back-off", remedy: "nothing",
		},
		"no candidate": {
			reason: "which certificate to fetch is said", in: sick(handshakes("untrusted-root", fails("", missingRoot)), noCandidate),
			cause: "missing-ca", remedy: "cluster-trust", blocked: "missing is " + missingRoot, hint: "--input ca=FILE",
		},
		"no candidate, old key": {
			reason: "the same after a renewed CA", in: sick(handshakes("same-name-other-key", fails("", missingRoot)), noCandidate),
			cause: "wrong-ca", remedy: "cluster-trust", blocked: missingRoot, hint: "--input ca=FILE",
		},
		"no candidate, no intermediate": {
			reason: "no CA to fetch: the server is to send its chain", in: sick(handshakes("missing-intermediate", fails("", "CN=Corp Issuing CA")), noCandidate),
			cause: "missing-intermediate", remedy: "server", blocked: "missing is CN=Corp Issuing CA", hint: "send the whole chain",
		},
		"no candidate, lone leaf": {
			reason: "its issuer may be a root that can be trusted", in: sick(handshakes("missing-issuer", fails("", "CN=Harbor CA")), noCandidate),
			cause: "missing-ca", remedy: "cluster-trust", blocked: "missing is CN=Harbor CA", hint: "--input ca=FILE",
		},
		"bad CA file": {
			reason: "said before anything is done with it",
			in: sick(handshakes("untrusted-root", fails("", missingRoot)), func(s *situation) {
				s.encoding["candidate"] = object{"given": true, "ok": false, "problem": "it is DER", "subjects": []string{}, "fingerprints": []string{}, "configuredAs": ""}
			}),
			cause: "bad-ca-file", remedy: "cluster-trust", blocked: "it is DER", hint: "give the CA as PEM",
		},
		"candidate does not sign": {
			reason: "a person must learn which certificate to fetch", in: sick(handshakes("untrusted-root", fails(unknown, missingRoot))),
			cause: "missing-ca", remedy: "cluster-trust", blocked: "missing is " + missingRoot, hint: "--input ca=FILE",
		},
		"candidate does not sign on one node": {
			reason: "a proof must hold on every node",
			in: sick(func(s *situation) {
				s.probe["candidateWorks"] = false
				s.probe["nodes"] = []object{shaken("w1", "untrusted-root", nil), shaken("w2", "untrusted-root", fails(unknown, "CN=Other Root"))}
			}),
			cause: "missing-ca", remedy: "cluster-trust", blocked: "missing is CN=Other Root", hint: "registry.lab:5443",
		},
		"no intermediate": {
			reason: "the candidate is the right root, and the server forgot its intermediate", in: sick(handshakes("missing-intermediate", fails(unknown, "CN=Corp Issuing CA"))),
			cause: "missing-intermediate", remedy: "server", blocked: "missing is CN=Corp Issuing CA", hint: "its own certificate first",
		},
		"no intermediate, other candidate": {
			reason: "a lone leaf and a root that did not sign it", in: sick(handshakes("missing-issuer", fails(unknown, "CN=Corp Issuing CA"))),
			cause: "missing-intermediate", remedy: "server", blocked: "the given CA does not complete the chain", hint: "--input ca=FILE",
		},
		"complete and refused": {
			reason: "with the CA another fault comes to light", in: sick(handshakes("untrusted-root", fails("x509: certificate specifies an incompatible key usage", ""))),
			cause: "missing-ca", remedy: "cluster-trust", blocked: "incompatible key usage", hint: "--input ca=FILE",
		},
		"mirror": {
			reason: "the mirror's CA is missing, not the registry's",
			in: sick(handshakes("untrusted-root", fails(unknown, "CN=Mirror CA")), dials("mirror.lab:5446"),
				looks(object{"findings": []object{{"id": "hosts-override", "text": "for registry.lab:5443 containerd asks https://mirror.lab:5446, then the registry itself"}}})),
			cause: "hosts-override", remedy: "mirror", blocked: "go to mirror.lab:5446", hint: "hosts.toml", summary: "from registry.lab:5443 to mirror.lab:5446",
		},
		"mirror whose CA is given": {
			reason: "it is as good as the registry's",
			in: sick(dials("mirror.lab:5446"),
				looks(object{"findings": []object{{"id": "hosts-override", "text": "for registry.lab:5443 containerd asks https://mirror.lab:5446"}}})),
			cause: "missing-ca", remedy: "cluster-trust", trust: true,
		},
		"token server": {
			reason: "no hosts.toml sends there: its CA is missing like any other", in: sick(handshakes("untrusted-root", fails(unknown, "CN=Partner CA")), dials("auth.lab:5444")),
			cause: "missing-ca", remedy: "cluster-trust", blocked: "missing is CN=Partner CA", hint: "--input ca=FILE",
		},
		"private key in the trust": {
			reason: "a person has to know, and to take it out",
			in:     sick(looks(object{"findings": []object{{"id": "node-file-private-key", "text": "tkg-corp.pem holds a private key"}}})),
			cause:  "node-file-private-key", remedy: "cluster-trust", blocked: "private key", hint: "kubectl edit",
		},
		"two entries of one name": {
			reason: "which of them a node gets is chance",
			in: sick(func(s *situation) {
				s.encoding["entries"] = []object{{
					"where": "TSC", "name": "corp", "ok": false, "problem": "2 entries have this name", "fingerprints": []string{"ff"},
					"findings": []object{{"id": "duplicate-name", "fatal": true}},
				}}
			}),
			cause: "duplicate-names", remedy: "cluster-trust", trust: true, summary: "2 entries have this name",
		},
		"missing CA and a fault behind it": {
			reason: "with several faults trust mends nothing alone", in: sick(handshakes("untrusted-root", object{"fixableByTrust": false, "also": []string{"key-usage"}, "candidateOk": false, "candidateError": unknown})),
			cause: "key-usage", remedy: "server", blocked: "as node w1 sees it", hint: "server authentication",
		},
		"missing CA and a fault behind it, no candidate": {
			reason: "nobody must fetch a CA that does not help", in: sick(handshakes("untrusted-root", object{"fixableByTrust": false, "also": []string{"key-usage"}}), noCandidate),
			cause: "key-usage", remedy: "server", blocked: "as node w1 sees it", hint: "server authentication",
		},
		"begin in the future": {
			reason: "the nodes' clocks are right, so the certificate's date is not", in: sick(handshakes("not-yet-valid", fails("x509: not yet", ""))),
			cause: "not-yet-valid", remedy: "server", blocked: "as node w1 sees it", hint: "begin is in the future",
		},
		"proxy that opens TLS": {
			reason: "the CA of the registry is not what is missing", in: sick(handshakes("proxy-intercepts", fails(unknown, "CN=Proxy CA"))),
			cause: "proxy-intercepts", remedy: "proxy", blocked: "missing is CN=Proxy CA", hint: "noProxy",
		},
		"proxy that opens TLS, its CA given": {
			reason: "the user may trust it", in: sick(handshakes("proxy-intercepts", nil)),
			cause: "proxy-intercepts", remedy: "cluster-trust", trust: true, summary: "noProxy would do as well",
		},
		"proxy that wants a login": {
			reason: "no certificate is at fault", in: sick(pods("proxy"), handshakes("proxy-authentication", fails("407", ""))),
			cause: "proxy-authentication", remedy: "proxy", blocked: "as node w1 sees it", hint: "noProxy",
		},
		"wrong encoding, no candidate": {
			reason: "the stored CA would do if it were encoded rightly: nobody needs to fetch it",
			in: sick(handshakes("untrusted-root", object{"completedBy": []string{"TSC, entry corp"}, "candidateOk": false}), noCandidate, func(s *situation) {
				s.encoding["entries"] = []object{{"where": "TSC", "name": "corp", "ok": false, "problem": "2 layers of base64", "fingerprints": []string{"ff"}}}
			}),
			cause: "wrong-encoding", remedy: "cluster-trust", blocked: "the right one is stored", hint: "--input ca=FILE", summary: "2 layers of base64",
		},
		"stale nodes, no candidate": {
			reason: "the stored CA would do, and these nodes lack it",
			in: sick(handshakes("untrusted-root", object{"completedBy": []string{"TSC, entry corp-a"}, "candidateOk": false}), noCandidate, func(s *situation) {
				s.encoding["entries"] = []object{{"where": "TSC", "name": "corp-a", "ok": true, "problem": "", "fingerprints": []string{"aa"}}}
			}),
			cause: "stale-nodes", remedy: "roll-nodes", blocked: "the right one is stored", hint: "--input ca=FILE",
		},
		"registry out of order": {
			reason: "TLS is fine: 503", in: sick(pods("registry-error"), handshakes("", nil)),
			cause: "registry-error", remedy: "registry", blocked: "5xx", hint: "health",
		},
		"expired": {
			reason: "no CA makes up for a date", in: sick(pods("server-certificate"), handshakes("expired", fails("x509: expired", ""))),
			cause: "expired", remedy: "server", blocked: "as node w1 sees it", hint: "renew the registry's certificate",
		},
		"expired intermediate": {
			reason: "it is the server's to send", in: sick(handshakes("expired-intermediate", fails("x509: expired", ""))),
			cause: "expired-intermediate", remedy: "server", blocked: "as node w1 sees it", hint: "renewed intermediate",
		},
		"wrong name": {
			reason: "no CA makes up for a name", in: sick(pods("server-certificate"), handshakes("name-mismatch", fails("x509: name", ""))),
			cause: "name-mismatch", remedy: "server", blocked: "as node w1 sees it", hint: "docs/checks.md#name-mismatch",
		},
		"no SAN": {
			reason: "the same", in: sick(handshakes("no-san", fails("x509: legacy", ""))),
			cause: "no-san", remedy: "server", blocked: "as node w1 sees it", hint: "subject alternative name",
		},
		"SHA-1": {
			reason: "the pods say unknown authority, and no CA will do", in: sick(handshakes("weak-signature", fails(unknown, ""))),
			cause: "weak-signature", remedy: "server", blocked: "as node w1 sees it", hint: "issued again",
		},
		"client certificate demanded": {
			reason: "the handshake ends with an alert", in: sick(pods("server-certificate"), handshakes("client-certificate-required", fails("remote error", ""))),
			cause: "client-certificate-required", remedy: "credentials", blocked: "as node w1 sees it", hint: "client certificate",
		},
		"clock": {
			reason: "a wrong clock looks like an expired certificate", in: sick(handshakes("not-yet-valid", fails("x509: not yet", "")), looks(object{"clockSkewSeconds": -7200})),
			cause: "node-clock", remedy: "clock", blocked: "w1 (-7200 s)", hint: "NTP",
		},
		"clock that does not matter": {
			reason: "with a missing CA the clock is only worth a warning", in: sick(looks(object{"clockSkewSeconds": 600})),
			cause: "missing-ca", remedy: "cluster-trust", trust: true, warning: "the clock is off on w1 (+600 s)",
		},
		"name does not resolve": {
			reason: "no handshake, no matter of trust", in: sick(pods("dns"), handshakes("dns", fails("no such host", ""))),
			cause: "dns", remedy: "network", blocked: "registry.lab:5443, as node w1 sees it", hint: "DNS",
		},
		"refused": {
			reason: "nobody listens", in: sick(pods("network"), handshakes("refused", fails("refused", ""))),
			cause: "refused", remedy: "network", blocked: "as node w1 sees it", hint: "firewall",
		},
		"plain HTTP": {
			reason: "a CA cannot help a port without TLS", in: sick(pods("network"), handshakes("plain-http", fails("http", ""))),
			cause: "plain-http", remedy: "network", blocked: "as node w1 sees it", hint: "the port that speaks TLS",
		},
		"one node cut off": {
			reason: "without a handshake from each node there is no proof",
			in: sick(func(s *situation) {
				s.probe["candidateWorks"] = false
				s.probe["nodes"] = []object{shaken("w1", "untrusted-root", nil), shaken("w2", "connect-timeout", fails("timeout", ""))}
			}),
			cause: "connect-timeout", remedy: "network", blocked: "as node w2 sees it", hint: "firewall",
		},
		"no workers": {
			reason: "nothing is proved, nothing is done",
			in: sick(func(s *situation) {
				s.probe = object{"trusted": false, "candidateWorks": false, "nodes": []object{}}
			}),
			cause: "not-probed", remedy: "nothing", blocked: "no worker node could be asked", hint: "kubectl get machines",
		},
		"auth": {
			reason: "TLS is fine: the pull secret", in: sick(pods("auth"), handshakes("", nil)),
			cause: "auth", remedy: "credentials", blocked: "refuses the credentials", hint: "imagePullSecrets",
		},
		"rate": {
			reason: "TLS is fine: too many requests", in: sick(pods("rate"), handshakes("", nil)),
			cause: "rate", remedy: "wait", blocked: "429", hint: "wait",
		},
		"reference": {
			reason: "TLS is fine: no such image", in: sick(pods("reference"), handshakes("", nil)),
			cause: "reference", remedy: "reference", blocked: "does not have", hint: "tag",
		},
		"proxy": {
			reason: "the node gets through and containerd does not", in: sick(pods("network"), handshakes("", nil)),
			cause: "network", remedy: "network", blocked: "does not show", hint: "noProxy",
		},
		"auth beside trust": {
			reason: "some pods fail for trust: that comes first",
			in: sick(func(s *situation) {
				s.detect["class"] = "auth"
				s.detect["failing"] = []object{{"scope": "cluster", "registry": "registry.lab:5443", "class": "auth"}, {"scope": "cluster", "registry": "registry.lab:5443", "class": "trust"}}
			}),
			cause: "missing-ca", remedy: "cluster-trust", trust: true,
		},
		"trust of another registry": {
			reason: "what fails elsewhere is no sign here",
			in: sick(handshakes("", nil), func(s *situation) {
				s.detect["class"] = "auth"
				s.detect["failing"] = []object{{"scope": "cluster", "registry": "registry.lab:5443", "class": "auth"}, {"scope": "cluster", "registry": "other:443", "class": "trust"}}
			}),
			cause: "auth", remedy: "credentials", blocked: "refuses the credentials", hint: "pull secret",
		},
		"vSphere Pod": {
			reason: "the Supervisor pulls; recreating a cluster would be in vain",
			in: sick(func(s *situation) {
				s.detect["class"] = "vsphere-pod"
				s.detect["failing"] = []object{{"scope": "supervisor", "registry": "registry.lab:5443", "class": "vsphere-pod"}}
			}),
			cause: "vsphere-pod", remedy: "not-tkg", blocked: "vSphere Pods on the Supervisor", hint: "Workload Management",
		},
		"vSphere Pod beside pods": {
			reason: "the cluster is mended, and that the other is not is said",
			in: sick(func(s *situation) {
				s.detect["class"] = "vsphere-pod"
				s.detect["failing"] = []object{{"scope": "supervisor", "class": "vsphere-pod"}, {"scope": "cluster", "registry": "registry.lab:5443", "class": "trust"}}
			}),
			cause: "missing-ca", remedy: "cluster-trust", trust: true, warning: "vSphere Pods of the Supervisor fail as well",
		},
		"unknown class": {
			reason: "an old kubelet says only back-off: the nodes tell", in: sick(pods("unknown")),
			cause: "missing-ca", remedy: "cluster-trust", trust: true,
		},
	}
	known := documented(t)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			resp, err := plan(t, tc.in)
			if err != nil {
				t.Fatal(err)
			}
			var got struct {
				Cause, Remedy, Summary string
				Trust                  bool
				RuledOut               []struct{ Remedy, Reason string }
			}
			if err := json.Unmarshal(resp.Outputs, &got); err != nil {
				t.Fatal(err)
			}
			wantDocumented(t, known, got.Cause, got.Remedy)
			want := fmt.Sprint(tc.cause, " ", tc.remedy, " ", tc.trust)
			if diff := gocmp.Diff(want, fmt.Sprint(got.Cause, " ", got.Remedy, " ", got.Trust)); diff != "" {
				t.Errorf("%s: cause, remedy, trust (-want, +got):\n%s%s", tc.reason, diff, got.Summary)
			}
			if !strings.Contains(got.Summary, tc.summary) || got.Summary == "" {
				t.Errorf("%s: summary %q, want %q in it", tc.reason, got.Summary, tc.summary)
			}
			if (len(resp.Blocks) > 0) != (tc.blocked != "") {
				t.Fatalf("%s: blocks %+v, want %q", tc.reason, resp.Blocks, tc.blocked)
			}
			for _, b := range resp.Blocks {
				if !strings.Contains(b.Reason, tc.blocked) || !strings.Contains(b.Hint, tc.hint) || b.Hint == "" {
					t.Errorf("%s: block %+v, want %q with the hint %q", tc.reason, b, tc.blocked, tc.hint)
				}
			}
			if all := strings.Join(resp.Warnings, "\n"); !strings.Contains(all, tc.warning) {
				t.Errorf("%s: warnings %q, want %q among them", tc.reason, all, tc.warning)
			}
			var others []string
			for _, r := range got.RuledOut {
				others = append(others, r.Remedy)
				if r.Reason == "" {
					t.Errorf("%s: no reason why not %s", tc.reason, r.Remedy)
				}
			}
			all := []string{
				"nothing", "wait", "restart-runtime", "clock", "network", "proxy", "mirror", "server", "registry", "credentials", "reference", "not-tkg",
				"roll-nodes", "cluster-trust", "service-trust", "recreate",
			}
			if diff := gocmp.Diff(slices.DeleteFunc(all, func(r string) bool { return r == tc.remedy }), others); diff != "" {
				t.Errorf("%s: ruled out (-want, +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func plan(t *testing.T, s situation) (plugins.PlanResponse, error) {
	t.Helper()
	return diagnose.New(sdk.Env{}).Plan(t.Context(), plugins.PlanRequest{StepID: "diagnose", Input: inputOf(t, s)})
}

func inputOf(t *testing.T, s situation) json.RawMessage {
	t.Helper()
	in := object{"detect": s.detect, "nodes": s.nodes, "probe": s.probe, "encoding": s.encoding}
	if s.owner != nil {
		in["owner"] = s.owner
	}
	if s.tried != nil {
		in["tried"] = s.tried
	}
	raw, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestPlanRefuses(t *testing.T) {
	t.Parallel()
	for name, input := range map[string]string{
		"list":       `{"detect": [], "nodes": {}, "probe": {}, "encoding": {}}`,
		"other type": `{"detect": {"affected": "yes"}, "nodes": {}, "probe": {}, "encoding": {}}`,
		"cut off":    `{"detect": {`,
	} {
		if _, err := diagnose.New(sdk.Env{}).Plan(t.Context(), plugins.PlanRequest{Input: json.RawMessage(input)}); err == nil {
			t.Errorf("%s is taken: %s", name, input)
		}
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	plugintest.Conformance(t, diagnose.New(sdk.Env{}), plugintest.Cases{Samples: map[string]plugintest.Sample{
		"missing CA": {Reason: "the documented case", Input: inputOf(t, sick())},
		"blocked":    {Reason: "a CA that does not sign", Input: inputOf(t, sick(handshakes("untrusted-root", fails(unknown, missingRoot))))},
		"healthy":    {Reason: "nothing to do", Input: inputOf(t, sick(noPods, handshakes("", nil)))},
	}})
}
