package certs_test

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/certs"
)

// made is a case: what the server presents, and what is trusted.
type made struct {
	chain, roots []*x509.Certificate
	host         string
}

const unknown = "x509: certificate signed by unknown authority"

// The ids are those of tls-cases.md; the texts are the ones that Go printed there.
func TestJudge(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason  string
		make    func(t *testing.T) made
		class   certs.Class
		err     string   // how Go's text begins; empty for ok
		missing []string // each in Missing; none means that Missing is empty
		note    string
	}{
		"K01": {
			reason: "a complete chain under a trusted root is fine",
			make: func(t *testing.T) made {
				p := newPKI(t)
				return made{chain: list(p.leaf, p.inter), roots: list(p.root)}
			},
			class: certs.ClassOK,
		},
		"K02": {
			reason: "Go accepts an intermediate as anchor, and openssl does not: people must be told",
			make: func(t *testing.T) made {
				p := newPKI(t)
				return made{chain: list(p.leaf, p.inter), roots: list(p.inter)}
			},
			class: certs.ClassOK, note: "openssl does not",
		},
		"K03": {
			reason: "a trusted leaf works until it is renewed",
			make: func(t *testing.T) made {
				p := newPKI(t)
				return made{chain: list(p.leaf, p.inter), roots: list(p.leaf)}
			},
			class: certs.ClassOK, note: "breaks when it is renewed",
		},
		"K04": {
			reason: "so does a trusted self-signed one",
			make: func(t *testing.T) made {
				s := server(t, nil)
				return made{chain: list(s), roots: list(s)}
			},
			class: certs.ClassOK, note: "breaks when it is renewed",
		},
		"B01": {
			reason: "a self-signed server has no CA that could be fetched",
			make: func(t *testing.T) made {
				return made{chain: list(server(t, nil)), roots: list(root(t, "Other Root"))}
			},
			class: certs.ClassSelfSigned, err: unknown, missing: []string{"CN=" + host, "the server's own"},
		},
		"B02": {
			reason: "a sent root is named with its fingerprint, and not trusted for being sent",
			make: func(t *testing.T) made {
				p := newPKI(t)
				return made{chain: list(p.leaf, p.inter, p.root), roots: list(root(t, "Other Root"))}
			},
			class: certs.ClassUntrustedRoot, err: unknown, missing: []string{"CN=Corp Root CA", "root of the presented chain"}, note: "compare the fingerprint",
		},
		"B03": {
			reason: "a root that nobody has is named by its subject, its key id and what it issued",
			make: func(t *testing.T) made {
				p := newPKI(t)
				return made{chain: list(p.leaf, p.inter), roots: list(root(t, "Other Root"))}
			},
			class: certs.ClassUntrustedRoot, err: unknown, missing: []string{"CN=Corp Root CA,O=Corp, key id ", "(issuer of CN=Corp Issuing CA,O=Corp)"},
		},
		"B03 nothing trusted": {
			reason: "without any root this machine's own must not take part",
			make: func(t *testing.T) made {
				p := newPKI(t)
				return made{chain: list(p.leaf, p.inter)}
			},
			class: certs.ClassUntrustedRoot, err: unknown, missing: []string{"CN=Corp Root CA"},
		},
		"B04": {
			reason: "the server forgot its intermediate: not a matter of trust",
			make: func(t *testing.T) made {
				p := newPKI(t)
				return made{chain: list(p.leaf), roots: list(p.root)}
			},
			class: certs.ClassMissingIntermediate, err: unknown, missing: []string{"CN=Corp Issuing CA,O=Corp, key id ", "(issuer of CN=" + host + ")"}, note: "should send the intermediate",
		},
		"B05": {
			reason: "the leaf says where its issuer is published",
			make: func(t *testing.T) made {
				p := newPKI(t, func(c *x509.Certificate) { c.IssuingCertificateURL = []string{"http://pki.corp.test/issuing.crt"} })
				return made{chain: list(p.leaf), roots: list(p.root)}
			},
			class: certs.ClassMissingIntermediate, err: unknown, missing: []string{"CN=Corp Issuing CA", "published at http://pki.corp.test/issuing.crt"},
		},
		"B04 unrelated roots": {
			reason: "a lone leaf may as well come from a root directly: nobody can tell, so it is not claimed",
			make: func(t *testing.T) made {
				r := root(t, "Harbor CA", organization("Harbor"))
				return made{chain: list(server(t, r)), roots: list(root(t, "Other Root"))}
			},
			class: certs.ClassMissingIssuer, err: unknown, missing: []string{"CN=Harbor CA,O=Harbor"}, note: "if the issuer is a root, trust it",
		},
		"B04 no CA of the same organization": {
			reason: "a trusted server certificate of the same organization is no ground to take the issuer for an intermediate",
			make: func(t *testing.T) made {
				return made{chain: list(server(t, root(t, "Harbor CA"))), roots: list(root(t, "Pinned", notCA))}
			},
			class: certs.ClassMissingIssuer, err: unknown, missing: []string{"CN=Harbor CA,O=Corp"},
		},
		"B06": {
			reason: "the CA was renewed with a new key: the name fits and the key does not",
			make: func(t *testing.T) made {
				p := newPKI(t)
				return made{chain: list(p.leaf, p.inter), roots: list(root(t, "Corp Root CA"), root(t, "Other Root"))}
			},
			class:   certs.ClassSameNameOtherKey,
			err:     unknown + ` (possibly because of "x509: ECDSA verification failure" while trying to verify candidate authority certificate "Corp Root CA")`,
			missing: []string{"CN=Corp Root CA", "key id", "issuer of CN=Corp Issuing CA"}, note: "another key",
		},
		"B06 root sent": {
			reason: "the same, when the server sends its new root",
			make: func(t *testing.T) made {
				p := newPKI(t)
				return made{chain: list(p.leaf, p.inter, p.root), roots: list(root(t, "Corp Root CA"))}
			},
			class: certs.ClassSameNameOtherKey, err: unknown, missing: []string{"CN=Corp Root CA", "SHA-256"},
		},
		"B08": {
			reason: "what is trusted is no CA",
			make: func(t *testing.T) made {
				r := root(t, "Not A CA", notCA, organization(""))
				return made{chain: list(server(t, r)), roots: list(r)}
			},
			class:   certs.ClassNotACA,
			err:     unknown + ` (possibly because of "x509: invalid signature: parent certificate cannot sign this kind of certificate" while trying to verify candidate authority certificate "Not A CA")`,
			missing: []string{"a CA certificate CN=Not A CA"}, note: "trust the CA itself",
		},
		"B09": {
			reason: "the sent intermediate is no CA: the registry's PKI is at fault",
			make: func(t *testing.T) made {
				r := root(t, "Corp Root CA")
				fake := authority(t, "Fake Issuing", r, notCA)
				return made{chain: list(server(t, fake), fake), roots: list(r)}
			},
			class: certs.ClassIntermediateNotACA, err: unknown + ` (possibly because of "x509: invalid signature`, note: "CN=Fake Issuing",
		},
		"B11": {
			reason: "the root allows no CA below its intermediate",
			make: func(t *testing.T) made {
				r := root(t, "Corp Root CA")
				a := authority(t, "A", r, func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = 0, true })
				b := authority(t, "B", a)
				return made{chain: list(server(t, b), b, a), roots: list(r)}
			},
			class: certs.ClassPathLength, err: "x509: too many intermediates for path length constraint",
		},
		"B12": {
			reason: "the CA may not sign for this name",
			make: func(t *testing.T) made {
				r := root(t, "Corp Root CA")
				i := authority(t, "Corp Issuing CA", r, func(c *x509.Certificate) {
					c.PermittedDNSDomainsCritical, c.PermittedDNSDomains = true, []string{"other.test"}
				})
				return made{chain: list(server(t, i), i), roots: list(r)}
			},
			class: certs.ClassNameConstraint, err: "x509: a root or intermediate certificate is not authorized to sign for this name",
		},
		"B14": {
			reason: "a critical extension that Go does not know",
			make: func(t *testing.T) made {
				p := newPKI(t, critical)
				return made{chain: list(p.leaf, p.inter), roots: list(p.root)}
			},
			class: certs.ClassCriticalExtension, err: "x509: unhandled critical extension",
		},
		"B15": {
			reason: "Go does not mind the order",
			make: func(t *testing.T) made {
				p := newPKI(t)
				return made{chain: list(p.leaf, p.root, p.inter), roots: list(p.root)}
			},
			class: certs.ClassOK,
		},
		"C01": {
			reason: "the leaf is past its end",
			make: func(t *testing.T) made {
				p := newPKI(t, past())
				return made{chain: list(p.leaf, p.inter), roots: list(p.root)}
			},
			class: certs.ClassExpired, err: "x509: certificate has expired or is not yet valid: current time 2026-06-01T12:00:00Z is after 2026-05-31T12:00:00Z", note: "renew the server's certificate",
		},
		"C01 and untrusted": {
			reason: "Go names the date first: what comes after it must be said as well",
			make: func(t *testing.T) made {
				p := newPKI(t, past())
				return made{chain: list(p.leaf, p.inter), roots: list(root(t, "Other Root"))}
			},
			class: certs.ClassExpired, err: "x509: certificate has expired", note: "trust fails as well (untrusted-root): missing CN=Corp Root CA",
		},
		"C02": {
			reason: "a certificate from the future is rather a clock from the past",
			make: func(t *testing.T) made {
				p := newPKI(t, valid(now().AddDate(0, 0, 1), now().AddDate(1, 0, 0)))
				return made{chain: list(p.leaf, p.inter), roots: list(p.root)}
			},
			class: certs.ClassNotYetValid, err: "x509: certificate has expired or is not yet valid: current time 2026-06-01T12:00:00Z is before", note: "clock",
		},
		"C03": {
			reason: "the sent intermediate has expired: the registry must send its successor",
			make: func(t *testing.T) made {
				r := root(t, "Corp Root CA")
				i := authority(t, "Corp Issuing CA", r, past())
				return made{chain: list(server(t, i), i), roots: list(r)}
			},
			class: certs.ClassExpiredIntermediate, err: "x509: certificate has expired", note: "CN=Corp Issuing CA,O=Corp expired on 2026-05-31 12:00 UTC",
		},
		"C04": {
			reason: "the trusted root has expired: that is mended in the trust",
			make: func(t *testing.T) made {
				r := root(t, "Corp Root CA", past())
				i := authority(t, "Corp Issuing CA", r)
				return made{chain: list(server(t, i), i), roots: list(r)}
			},
			class: certs.ClassExpiredRoot, err: "x509: certificate has expired", missing: []string{"the renewed CN=Corp Root CA"},
		},
		"C05": {
			reason: "an expired root that is only sent is an untrusted root in the first place",
			make: func(t *testing.T) made {
				r := root(t, "Corp Root CA", past())
				i := authority(t, "Corp Issuing CA", r)
				return made{chain: list(server(t, i), i, r), roots: list(root(t, "Other Root"))}
			},
			class: certs.ClassUntrustedRoot, err: "x509: certificate has expired", missing: []string{"CN=Corp Root CA"}, note: "expired on",
		},
		"D01": {
			reason: "the certificate is for another name",
			make: func(t *testing.T) made {
				p := newPKI(t, names("harbor.other.test"))
				return made{chain: list(p.leaf, p.inter), roots: list(p.root)}
			},
			class: certs.ClassNameMismatch, err: "x509: certificate is valid for harbor.other.test, not " + host, note: "harbor.other.test",
		},
		"D02": {
			reason: "a common name is no name to Go",
			make: func(t *testing.T) made {
				p := newPKI(t, names())
				return made{chain: list(p.leaf, p.inter), roots: list(p.root)}
			},
			class: certs.ClassNoSAN, err: "x509: certificate relies on legacy Common Name field, use SANs instead",
		},
		"D03": {
			reason: "dialled by address, and the certificate has only names",
			make: func(t *testing.T) made {
				p := newPKI(t)
				return made{chain: list(p.leaf, p.inter), roots: list(p.root), host: "127.0.0.1:5000"}
			},
			class: certs.ClassNameMismatch, err: "x509: cannot validate certificate for 127.0.0.1 because it doesn't contain any IP SANs", note: host,
		},
		"D04": {
			reason: "an IPv6 address with a port is matched against the addresses",
			make: func(t *testing.T) made {
				p := newPKI(t, addresses("fd00::1"))
				return made{chain: list(p.leaf, p.inter), roots: list(p.root), host: "[fd00::1]:5000"}
			},
			class: certs.ClassOK,
		},
		"D05": {
			reason: "the port is no part of the name",
			make: func(t *testing.T) made {
				p := newPKI(t)
				return made{chain: list(p.leaf, p.inter), roots: list(p.root), host: host + ":8443"}
			},
			class: certs.ClassOK,
		},
		"D06": {
			reason: "no name at all",
			make: func(t *testing.T) made {
				p := newPKI(t, names(), func(c *x509.Certificate) { c.Subject = pkix.Name{} })
				return made{chain: list(p.leaf, p.inter), roots: list(p.root)}
			},
			class: certs.ClassNoSAN, err: "x509: certificate is not valid for any names, but wanted to match " + host,
		},
		"D07": {
			reason: "an ingress' own certificate is a wrong name before it is an unknown CA, and must not be trusted for it",
			make: func(t *testing.T) made {
				fake := server(t, nil, names("ingress.local"))
				return made{chain: list(fake), roots: list(root(t, "Corp Root CA"))}
			},
			class: certs.ClassNameMismatch, err: "x509: certificate is valid for ingress.local, not " + host,
		},
		"E01": {
			reason: "a client's certificate on a server",
			make: func(t *testing.T) made {
				p := newPKI(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
				return made{chain: list(p.leaf, p.inter), roots: list(p.root)}
			},
			class: certs.ClassKeyUsage, err: "x509: certificate specifies an incompatible key usage",
		},
		"E02": {
			reason: "an intermediate for clients only taints the server's certificate",
			make: func(t *testing.T) made {
				r := root(t, "Corp Root CA")
				i := authority(t, "Client CA", r, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
				return made{chain: list(server(t, i), i), roots: list(r)}
			},
			class: certs.ClassKeyUsage, err: "x509: certificate specifies an incompatible key usage",
		},
		"F01": {
			reason: "no trust makes up for SHA-1",
			make: func(t *testing.T) made {
				r, leaf := sha1Server(t)
				return made{chain: list(leaf), roots: list(r)}
			},
			class: certs.ClassWeakSignature,
			err:   unknown + ` (possibly because of "x509: cannot verify signature: insecure algorithm SHA1-RSA" while trying to verify candidate authority certificate "Sha1 Root")`,
			note:  "SHA-256",
		},
		"F04": {
			reason: "Go accepts a short RSA key in a chain",
			make: func(t *testing.T) made {
				r := root(t, "Corp Root CA")
				return made{chain: list(rsaServer(t, r, 1024)), roots: list(r)}
			},
			class: certs.ClassOK,
		},
		"F14": {
			reason: "a damaged signature is not a renewed CA: the key id says that it is the right one",
			make: func(t *testing.T) made {
				p := newPKI(t)
				bad := resigned(t, p.leaf, func(der []byte) { der[len(der)-3] ^= 1 })
				return made{chain: list(bad, p.inter), roots: list(p.root)}
			},
			class: certs.ClassBadSignature,
			err:   unknown + ` (possibly because of "x509: ECDSA verification failure" while trying to verify candidate authority certificate "Corp Issuing CA")`,
			note:  "damaged",
		},
		"I16": {
			reason: "an earlier leaf was trusted in place of the CA",
			make: func(t *testing.T) made {
				p := newPKI(t)
				return made{chain: list(p.leaf, p.inter), roots: list(server(t, p.inter))}
			},
			class: certs.ClassUntrustedRoot, err: unknown, missing: []string{"CN=Corp Root CA"}, note: "earlier certificate of the server itself",
		},
		"wrong intermediate sent": {
			reason: "the server was renewed and still sends the old intermediate of the same name",
			make: func(t *testing.T) made {
				p := newPKI(t)
				return made{chain: list(p.leaf, authority(t, "Corp Issuing CA", p.root)), roots: list(p.root)}
			},
			class: certs.ClassMissingIntermediate, err: unknown, missing: []string{"CN=Corp Issuing CA", "issuer of CN=" + host}, note: "another key",
		},
		"two of one name": {
			reason: "the old root beside the new one does no harm",
			make: func(t *testing.T) made {
				p := newPKI(t)
				return made{chain: list(p.leaf, p.inter), roots: list(root(t, "Corp Root CA"), p.root)}
			},
			class: certs.ClassOK,
		},
		"cross-signed": {
			reason: "one of two ways up is enough",
			make: func(t *testing.T) made {
				p, other := newPKI(t), root(t, "Other Root")
				template := *p.inter.Certificate
				template.AuthorityKeyId, template.RawIssuer = nil, nil
				crossed := sign(t, &template, other, p.inter.key)
				return made{chain: list(p.leaf, crossed, p.inter), roots: list(p.root)}
			},
			class: certs.ClassOK,
		},
		"nothing sent": {
			reason: "an empty chain is no crash",
			make:   func(*testing.T) made { return made{} },
			class:  certs.ClassOther, err: "the server sent no certificate",
		},
		"soon": {
			reason: "a certificate that runs out soon is worth a word",
			make: func(t *testing.T) made {
				p := newPKI(t, valid(now().AddDate(0, -1, 0), now().AddDate(0, 0, 3)))
				return made{chain: list(p.leaf, p.inter), roots: list(p.root)}
			},
			class: certs.ClassOK, note: "expires on 2026-06-04",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := tc.make(t)
			if m.host == "" {
				m.host = host
			}
			var roots *certs.Roots
			if m.roots != nil {
				roots = certs.NewRoots(map[string][]byte{"bundle": certs.Normalize(m.roots)})
			}
			got := certs.Judge(m.chain, m.host, roots, now())
			if diff := cmp.Diff(tc.class, got.Class); diff != "" {
				t.Errorf("%s: class (-want, +got):\n%s\n%+v", tc.reason, diff, got)
			}
			if got.OK != (tc.class == certs.ClassOK) {
				t.Errorf("%s: OK is %v for class %s", tc.reason, got.OK, got.Class)
			}
			if !strings.HasPrefix(got.Error, tc.err) || (tc.err == "") != (got.Error == "") {
				t.Errorf("%s: error\n got %q\nwant %q", tc.reason, got.Error, tc.err)
			}
			if len(tc.missing) == 0 && got.Missing != "" {
				t.Errorf("%s: missing is %q, and no certificate would help", tc.reason, got.Missing)
			}
			for _, part := range tc.missing {
				if !strings.Contains(got.Missing, part) {
					t.Errorf("%s: missing is %q, want %q in it", tc.reason, got.Missing, part)
				}
			}
			if !strings.Contains(got.Note, tc.note) {
				t.Errorf("%s: note is %q, want %q in it", tc.reason, got.Note, tc.note)
			}
			if len(got.Chain) != len(m.chain) {
				t.Errorf("%s: %d certificates told of %d", tc.reason, len(got.Chain), len(m.chain))
			}
		})
	}
}

// A person fetches the missing certificate by what Missing says: its key id must be that of the certificate that helps.
func TestJudgeMissingIsTheOneThatHelps(t *testing.T) {
	t.Parallel()
	p := newPKI(t)
	roots := certs.NewRoots(map[string][]byte{"old": certs.Normalize(list(root(t, "Corp Root CA")))})
	got := certs.Judge(list(p.leaf, p.inter), host, roots, now())
	var want []string
	for _, b := range p.root.SubjectKeyId {
		want = append(want, strings.ToUpper(string([]byte{"0123456789abcdef"[b>>4], "0123456789abcdef"[b&15]})))
	}
	if !strings.Contains(got.Missing, "key id "+strings.Join(want, ":")) {
		t.Errorf("missing is %q, want the key id %s of the root in it", got.Missing, strings.Join(want, ":"))
	}
	if after := certs.Judge(list(p.leaf, p.inter), host, roots.With(p.root.Certificate), now()); !after.OK {
		t.Errorf("with the missing certificate the chain is still %s: %s", after.Class, after.Error)
	}
	if roots.Has(p.root.Certificate) {
		t.Error("With changed the roots that it was called on")
	}
}

// A certificate is written by a stranger: its names must not steer a terminal.
func TestJudgePrintsNothingThatSteersATerminal(t *testing.T) {
	t.Parallel()
	evil := root(t, "Evil\x1b[2J\u202eCA\n", organization("\x00"+strings.Repeat("x", 5000)))
	leaf := server(t, evil, names("a\x1b.test"), func(c *x509.Certificate) { c.IssuingCertificateURL = []string{"http://user:hunter2@pki.test/\x1b"} })
	for _, dialled := range []string{host, "a.test"} {
		got := certs.Judge(list(leaf), dialled, nil, now())
		all := got.Error + got.Missing + got.Note + got.Chain[0].Subject + got.Chain[0].Issuer
		if i := strings.IndexFunc(all, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\u202e' }); i >= 0 {
			t.Errorf("%q is printed", all[i:min(len(all), i+10)])
		}
		if strings.Contains(all, "hunter2") {
			t.Error("the credential of an address is printed")
		}
		if len(all) > 4096 {
			t.Errorf("%d bytes are printed", len(all))
		}
	}
}

func TestFingerprints(t *testing.T) {
	t.Parallel()
	r := root(t, "Corp Root CA")
	renewed := sign(t, &x509.Certificate{Subject: r.Subject, IsCA: true, BasicConstraintsValid: true}, nil, r.key)
	if certs.Fingerprint(r.Certificate) == certs.Fingerprint(renewed.Certificate) {
		t.Error("two certificates have one fingerprint")
	}
	if certs.SPKI(r.Certificate) != certs.SPKI(renewed.Certificate) {
		t.Error("one key has two hashes")
	}
	if bytes.ContainsAny([]byte(certs.Fingerprint(r.Certificate)), "ABCDEF:") || len(certs.Fingerprint(r.Certificate)) != 64 {
		t.Errorf("%q is not lower-case hex of SHA-256", certs.Fingerprint(r.Certificate))
	}
}
