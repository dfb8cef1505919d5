package probe_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/probe"
)

// more are cases of the same families that are not in tls-cases.json.
type more struct {
	reason string
	make   maker
	want   answer
	also   []string
	// said must be in the message, and differs says that openssl must disagree.
	said    string
	differs string
}

func past(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) }

func clientOnly(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }

func named(dns string) change { return func(c *x509.Certificate) { c.DNSNames = []string{dns} } }

func chainCases() map[string]more {
	return map[string]more{
		"ExpiredAndUntrusted": {
			reason: "Go says expired, and hides the authority",
			make: func(t *testing.T) scene {
				p := newPKI(t, past)
				return scene{addr: present(t, p.leaf, p.inter), roots: pemOf(authority(t, "Other Root", nil))}
			},
			want: answer{"expired", probe.ServerCert, false, false}, also: []string{"untrusted-root"}, said: "also untrusted-root",
		},
		"NameAndOldCA": {
			reason: "Go says name, and hides that the CA was renewed",
			make: func(t *testing.T) scene {
				p := newPKI(t, named("harbor.other.test"))
				return scene{addr: present(t, p.leaf, p.inter), roots: pemOf(authority(t, "Corp Root CA", nil))}
			},
			want: answer{"name-mismatch", probe.Name, false, false}, also: []string{"same-name-other-key"},
		},
		"AllAtOnce": {
			reason: "name, dates, purpose and authority",
			make: func(t *testing.T) scene {
				p := newPKI(t, named("harbor.other.test"), past, clientOnly)
				return scene{addr: present(t, p.leaf, p.inter), roots: pemOf(authority(t, "Other Root", nil))}
			},
			want: answer{"name-mismatch", probe.Name, false, false}, also: []string{"expired", "key-usage", "untrusted-root"},
		},
		"ExpiredIntermediate": {
			reason: "C03",
			make: func(t *testing.T) scene {
				r := authority(t, "Corp Root CA", nil)
				i := authority(t, "Corp Issuing CA", r, past)
				return scene{addr: present(t, server(t, i), i), roots: pemOf(r)}
			},
			want: answer{"expired-intermediate", probe.Chain, false, false},
		},
		"CAForClients": {
			reason: "E02: the intermediate is for clients",
			make: func(t *testing.T) scene {
				r := authority(t, "Corp Root CA", nil)
				i := authority(t, "Corp Issuing CA", r, clientOnly)
				return scene{addr: present(t, server(t, i), i), roots: pemOf(r)}
			},
			want: answer{"ca-key-usage", probe.ReissueCA, false, false},
		},
		"CACriticalExtension": {
			reason: "B14 above the leaf",
			make: func(t *testing.T) scene {
				r := authority(t, "Corp Root CA", nil)
				i := authority(t, "Corp Issuing CA", r, func(c *x509.Certificate) {
					c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}, Critical: true, Value: []byte{5, 0}}}
				})
				return scene{addr: present(t, server(t, i), i), roots: pemOf(r)}
			},
			want: answer{"ca-critical-extension", probe.ReissueCA, false, false},
		},
		"ExcludedName": {
			reason: "B13: the name is excluded",
			make: func(t *testing.T) scene {
				r := authority(t, "Corp Root CA", nil, func(c *x509.Certificate) { c.ExcludedDNSDomains = []string{"corp.test"} })
				return scene{addr: present(t, server(t, r)), roots: pemOf(r)}
			},
			want: answer{"name-constraint", probe.ReissueCA, false, false},
		},
		"WildcardTooDeep": {
			reason: "a wildcard is for one label",
			make: func(t *testing.T) scene {
				p := newPKI(t, named("*.corp.test"))
				return scene{addr: present(t, p.leaf, p.inter), roots: pemOf(p.root), host: "a.registry.corp.test"}
			},
			want: answer{"name-mismatch", probe.Name, false, false},
		},
		"ExpiredRootIsSentToo": {
			reason: "an old cross root in the chain does not matter when another way ends in a valid one",
			make: func(t *testing.T) scene {
				p, old := newPKI(t), authority(t, "Old Root", nil, past)
				return scene{addr: present(t, p.leaf, p.inter, old), roots: pemOf(p.root)}
			},
			want: answer{"trusted-unordered", probe.None, true, false},
		},
		"RenewedWithTheSameKey": {
			reason: "a root renewed with its key is no fault",
			make: func(t *testing.T) scene {
				p := newPKI(t)
				again := issue(t, &x509.Certificate{
					Subject: pkix.Name{CommonName: "Corp Root CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
				}, nil, p.root.key)
				return scene{addr: present(t, p.leaf, p.inter, p.root), roots: pemOf(again)}
			},
			want: answer{"trusted", probe.None, true, false},
		},
		"IntermediateIsAtHand": {
			reason: "the missing certificate is found in --ca",
			make: func(t *testing.T) scene {
				p := newPKI(t)
				return scene{addr: present(t, p.leaf), roots: pemOf(p.root), ca: pemOf(p.inter)}
			},
			want: answer{"missing-intermediate", probe.Chain, false, true}, said: "it is at hand in the candidate",
		},
		"LoneLeafOfAnybody": {
			reason: "root or intermediate: nobody can say",
			make: func(t *testing.T) scene {
				return scene{addr: present(t, server(t, authority(t, "Harbor CA", nil))), roots: pemOf(authority(t, "Other Root", nil))}
			},
			want: answer{"missing-issuer", probe.AddCA, false, true}, said: "key id",
		},
		"Ed25519": {
			reason: "Go knows the key",
			make: func(t *testing.T) scene {
				_, key, err := ed25519.GenerateKey(rand.Reader)
				if err != nil {
					t.Fatal(err)
				}
				r := authority(t, "Corp Root CA", nil)
				return scene{addr: present(t, serverWith(t, r, key)), roots: pemOf(r)}
			},
			want: answer{"trusted", probe.None, true, false},
		},
		"UnreadableIntermediate": {
			reason: "F11 above the leaf",
			make: func(t *testing.T) scene {
				p := newPKI(t)
				p.inter.Raw = p.inter.Raw[:len(p.inter.Raw)-7]
				return scene{addr: present(t, p.leaf, p.inter), roots: pemOf(p.root)}
			},
			want: answer{"unparsable-intermediate", probe.ReissueCA, false, false},
		},
		"OtherKeyAndUntrusted": {
			reason: "F15 behind which the CA is missing",
			make: func(t *testing.T) scene {
				p := newPKI(t)
				p.leaf.key = newKey(t)
				return scene{addr: present(t, p.leaf, p.inter), roots: pemOf(authority(t, "Other Root", nil))}
			},
			want: answer{"key-mismatch", probe.ServerCert, false, false}, also: []string{"untrusted-root"},
		},
	}
}

func protocolCases() map[string]more {
	return map[string]more{
		"Brainpool": {
			reason: "a curve that Go does not know",
			make: func(t *testing.T) scene {
				r := authority(t, "Corp Root CA", nil)
				cert, key := foreign(t, r, "ecparam", "-name", "brainpoolP256r1", "-genkey", "-noout", "-out", "leaf.key")
				return scene{addr: sServer(t, cert, key, "-tls1_2"), roots: pemOf(r)}
			},
			want: answer{"unsupported-server-key", probe.ServerCert, false, false},
		},
		"TinyKeyAnyVersion": {
			reason: "F03 with TLS 1.3, in which no signature fits",
			make: func(t *testing.T) scene {
				r := authority(t, "Corp Root CA", nil)
				cert, key := foreign(t, r, "genrsa", "-out", "leaf.key", "512")
				return scene{addr: sServer(t, cert, key, "-cipher", "ALL:@SECLEVEL=0"), roots: pemOf(r)}
			},
			want: answer{"weak-key", probe.ServerCert, false, false},
		},
		"RSAKeyExchange": {
			reason: "G02: from Go 1.22 on",
			make:   protocolRSA("-tls1_2", "-cipher", "AES256-GCM-SHA384"),
			want:   answer{"no-common-cipher", probe.ServerTLS, false, false}, said: "TLS_RSA_WITH_AES_256_GCM_SHA384", differs: "ciphers",
		},
		"ClientCertificate13": {
			reason: "G04: in TLS 1.3 the alert comes after the handshake",
			make: func(t *testing.T) scene {
				p := newPKI(t)
				return scene{addr: serve(t, &tls.Config{Certificates: []tls.Certificate{chainOf(p.leaf, p.inter)}, ClientAuth: tls.RequireAnyClientCert}, nil), roots: pemOf(p.root)}
			},
			want: answer{"client-certificate-required", probe.ClientCert, false, false},
		},
		"ClientCertificateUntrusted": {
			reason: "trust comes first: Go ends the handshake",
			make: func(t *testing.T) scene {
				p := newPKI(t)
				return scene{addr: serve(t, &tls.Config{Certificates: []tls.Certificate{chainOf(p.leaf, p.inter)}, ClientAuth: tls.RequireAnyClientCert}, nil), roots: pemOf(authority(t, "Other Root", nil))}
			},
			want: answer{"untrusted-root", probe.AddCA, false, false}, also: []string{"client-certificate-required"},
		},
		"ClientCertificateOptional": {
			reason: "asked for and not demanded",
			make: func(t *testing.T) scene {
				p := newPKI(t)
				return scene{addr: serve(t, &tls.Config{Certificates: []tls.Certificate{chainOf(p.leaf, p.inter)}, ClientAuth: tls.RequestClientCert}, nil), roots: pemOf(p.root)}
			},
			want: answer{"trusted", probe.None, true, false},
		},
		"UnknownNameInternalError": {
			reason: "D08 of servers that answer internal_error",
			make: func(t *testing.T) scene {
				p := newPKI(t)
				cert := chainOf(p.leaf, p.inter)
				config := &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
					if h.ServerName == "registry2.corp.test" {
						return nil, errors.New("no such host")
					}
					return &cert, nil
				}}
				return scene{addr: serve(t, config, nil), host: "registry2.corp.test", roots: pemOf(p.root)}
			},
			want: answer{"name-refused", probe.Name, false, false},
		},
	}
}

func protocolRSA(args ...string) maker {
	return func(t *testing.T) scene {
		r := authority(t, "Corp Root CA", nil)
		l := serverWith(t, r, rsaKey(t, 2048))
		return scene{addr: sServer(t, write(t, "leaf.pem", pemOf(l)), write(t, "leaf.key", keyPEM(t, l.key)), args...), roots: pemOf(r)}
	}
}

func fileCases() map[string]more {
	file := func(change func(string) string) maker {
		return func(t *testing.T) scene {
			p := newPKI(t)
			return scene{addr: present(t, p.leaf, p.inter), roots: []byte(change(string(pemOf(p.root))))}
		}
	}
	want := func(kind string) answer { return answer{"trust-file-" + kind, probe.Encoding, false, true} }
	return map[string]more{
		"UTF16": {reason: "I03", make: file(func(s string) string {
			var b strings.Builder
			b.WriteString("\xff\xfe")
			for _, u := range utf16.Encode([]rune(s)) {
				b.Write([]byte{byte(u), byte(u >> 8)})
			}
			return b.String()
		}), want: want("utf-16")},
		"Indented": {reason: "I10", make: file(func(s string) string { return "  " + strings.ReplaceAll(s, "\n", "\n  ") }), want: want("indented")},
		"Empty":    {reason: "I13", make: file(func(string) string { return "" }), want: want("empty")},
		"SixDashes": {reason: "I15", make: file(func(s string) string {
			return strings.ReplaceAll(s, "-----BEGIN CERTIFICATE-----", "------BEGIN CERTIFICATE------")
		}), want: want("dashes")},
		"PKCS7": {reason: "I18", make: func(t *testing.T) scene {
			p := newPKI(t)
			dir := t.TempDir()
			openssl(t, dir, "crl2pkcs7", "-nocrl", "-certfile", write(t, "root.pem", pemOf(p.root)), "-out", "root.p7b")
			return scene{addr: present(t, p.leaf, p.inter), roots: read(t, dir+"/root.p7b")}
		}, want: want("pkcs7")},
		"OneOfManyIsBroken": {reason: "in a folder the file that would have mended it is named", make: func(t *testing.T) scene {
			p := newPKI(t)
			return scene{addr: present(t, p.leaf, p.inter), dir: map[string][]byte{
				"a.pem": pemOf(authority(t, "Other Root", nil)), "tkg-corp.pem": append([]byte("\xef\xbb\xbf"), pemOf(p.root)...), "b.txt": []byte("nothing"),
			}}
		}, want: want("bom"), said: "tkg-corp.pem"},
		"OneOfManyIsCutOff": {reason: "the name of the issuer is in what is left", make: func(t *testing.T) scene {
			p := newPKI(t)
			cut := pemOf(p.root)
			return scene{addr: present(t, p.leaf, p.inter), dir: map[string][]byte{"a.pem": pemOf(authority(t, "Other Root", nil)), "tkg-corp.pem": cut[:len(cut)-80]}}
		}, want: want("truncated"), said: "tkg-corp.pem"},
		"BrokenIsAnother": {reason: "a broken file that would not have mended it is not the cause", make: func(t *testing.T) scene {
			p := newPKI(t)
			return scene{addr: present(t, p.leaf, p.inter), dir: map[string][]byte{
				"a.pem": pemOf(authority(t, "Other Root", nil)), "tkg-x.pem": {0, 1, 2, 0xff, '\n', 0}, "bom.pem": append([]byte("\xef\xbb\xbf"), pemOf(authority(t, "Third Root", nil))...),
			}}
		}, want: answer{"untrusted-root", probe.AddCA, false, true}},
		"Unhashed": {reason: "S02: Go reads each file of a folder", make: func(t *testing.T) scene {
			p := newPKI(t)
			return scene{addr: present(t, p.leaf, p.inter), dir: map[string][]byte{"tkg-corp.pem": pemOf(p.root)}}
		}, want: answer{"trusted", probe.None, true, false}, differs: "subject hash"},
	}
}

func imageCases() map[string]more {
	return map[string]more{
		"Pullable":  {reason: "token, index, manifest and blob", make: wholeRegistry(nil), want: answer{"trusted", probe.None, true, false}, said: "the image is there"},
		"Forbidden": {reason: "N03", make: stamped(403), want: answer{"unauthorized", probe.Credential, true, false}},
		"WebServer": {reason: "a web site that redirects for ever", make: func(t *testing.T) scene {
			p := newPKI(t)
			return scene{addr: serve(t, &tls.Config{Certificates: []tls.Certificate{chainOf(p.leaf, p.inter)}}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, r.URL.Path+"x", http.StatusFound)
			})), roots: pemOf(p.root), image: "team/app"}
		}, want: answer{"registry-error", probe.Registry, true, false}},
		"BlobHost": {
			reason: "T02: the host to which blobs are redirected has a CA of its own", make: wholeRegistry(func(t *testing.T) string {
				return present(t, server(t, authority(t, "Store Root CA", nil), named("blobs.corp.test")))
			}), want: answer{"untrusted-root", probe.AddCA, true, true}, said: "blobs.corp.test",
		},
		"SecondHost": {
			reason: "M01: the fallback has no CA", make: func(t *testing.T) scene {
				s := stamped(404)(t)
				s.roots = pemOf(authority(t, "Other Root", nil))
				return s
			}, want: answer{"untrusted-root", probe.AddCA, false, true},
		},
		"ProxySecret": {
			reason: "a proxy's password is never shown", make: func(t *testing.T) scene {
				s := proxied("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")(t)
				s.proxy = strings.Replace(s.proxy, "http://", "http://user:s3cr3t@", 1)
				return s
			}, want: answer{"proxy-authentication", probe.Proxy, false, false},
		},
		"ProxyForwards": {
			reason: "an honest proxy is no fault", make: func(t *testing.T) scene {
				p := newPKI(t)
				addr := present(t, p.leaf, p.inter)
				return scene{addr: addr, roots: pemOf(p.root), proxy: proxyOf(t, "HTTP/1.1 200 OK\r\n\r\n", func(c net.Conn) { splice(c, addr) })}
			}, want: answer{"trusted", probe.None, true, false},
		},
		"ProxyForwardsUntrusted": {
			reason: "an honest proxy is not blamed for a private CA", make: func(t *testing.T) scene {
				p := newPKI(t)
				addr := present(t, p.leaf, p.inter)
				return scene{addr: addr, roots: pemOf(authority(t, "Other Root", nil)), proxy: proxyOf(t, "HTTP/1.1 200 OK\r\n\r\n", func(c net.Conn) { splice(c, addr) })}
			}, want: answer{"untrusted-root", probe.AddCA, false, true},
		},
	}
}

// wholeRegistry has a token server of its own, an index, a manifest and a blob, which may lie at another host.
func wholeRegistry(blobs func(*testing.T) string) maker {
	return func(t *testing.T) scene {
		p := newPKI(t)
		config := &tls.Config{Certificates: []tls.Certificate{chainOf(p.leaf, p.inter)}}
		realm := serve(t, &tls.Config{Certificates: []tls.Certificate{chainOf(server(t, p.inter, named("auth.corp.test")), p.inter)}},
			http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, `{"token":"t0k3n"}`) }))
		_, port, _ := net.SplitHostPort(realm)
		out := scene{roots: pemOf(p.root), image: "team/app:1.0", connect: map[string]string{"auth.corp.test": realm}}
		store := ""
		if blobs != nil {
			out.connect["blobs.corp.test"] = blobs(t)
			_, store, _ = net.SplitHostPort(out.connect["blobs.corp.test"])
		}
		const sum = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
		out.addr = serve(t, config, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.Header.Get("Authorization") != "Bearer t0k3n":
				w.Header().Set("WWW-Authenticate", `Bearer realm="https://auth.corp.test:`+port+`/token",service="reg"`)
				w.WriteHeader(http.StatusUnauthorized)
			case strings.HasSuffix(r.URL.Path, "/team/app/manifests/1.0"):
				_, _ = fmt.Fprintf(w, `{"manifests":[{"digest":%q}]}`, sum)
			case strings.Contains(r.URL.Path, "/manifests/"):
				_, _ = fmt.Fprintf(w, `{"config":{"digest":%q}}`, sum)
			case store != "":
				http.Redirect(w, r, "https://blobs.corp.test:"+store+"/x?signature=s3cr3t", http.StatusTemporaryRedirect)
			}
		}))
		return out
	}
}

// TestMoreCases makes cases that are not in the table.
func TestMoreCases(t *testing.T) {
	t.Parallel()
	for _, group := range []map[string]more{chainCases(), protocolCases(), fileCases(), imageCases(), buildCases(), loadedCases(), hostsCases()} {
		for name, c := range group {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				got := run(t, c.make(t))
				if diff := cmp.Diff(c.want, answer{got.ID, got.Remedy, got.Accepted, got.Verdict.Trust}); diff != "" {
					t.Errorf("%s (-want, +got):\n%s%s", c.reason, diff, got.Text())
				}
				wellFormed(t, got)
				var also []string
				for _, f := range got.Also {
					also = append(also, f.ID)
				}
				if diff := cmp.Diff(c.also, also); diff != "" {
					t.Errorf("%s: also (-want, +got):\n%s", c.reason, diff)
				}
				if !strings.Contains(got.Message, c.said) {
					t.Errorf("%s: want %q in: %s", c.reason, c.said, got.Message)
				}
				if c.differs != "" && (got.OpenSSL.Agrees || !strings.Contains(got.OpenSSL.Why, c.differs)) && got.OpenSSL.Available {
					t.Errorf("%s: openssl: %+v", c.reason, got.OpenSSL)
				}
				if strings.Contains(got.Text()+fmt.Sprint(got), "s3cr3t") {
					t.Errorf("%s: a secret is shown: %+v", c.reason, got)
				}
			})
		}
	}
}
