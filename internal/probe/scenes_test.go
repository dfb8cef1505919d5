package probe_test

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tkgfix/tkgfix/internal/probe"
)

// scene is what a case is made of.
type scene struct {
	// addr is what is dialled for host; host is name if empty.
	addr, host string
	// connect is for other hosts.
	connect map[string]string
	// roots is the content of the roots file, or of the folder's files.
	roots []byte
	dir   map[string][]byte
	// image is asked for.
	image string
	// proxy is containerd's proxy.
	proxy string
	// ca is the candidate.
	ca []byte
	// timeout, if not the usual one.
	timeout time.Duration
	// change adds to the request what a node goes by.
	change func(*probe.Request)
}

type maker func(*testing.T) scene

// makers build the cases of tls-cases.json as its "generate" says.
func makers() map[string]maker {
	out := map[string]maker{}
	for _, group := range []map[string]maker{reachScenes(), trustScenes(), nameScenes(), cryptoScenes(), protocolScenes(), httpScenes(), fileScenes()} {
		for id, m := range group {
			out[id] = m
		}
	}
	return out
}

func raw(serve func(net.Conn)) maker {
	return func(t *testing.T) scene {
		return scene{addr: listen(t, serve), roots: pemOf(authority(t, "Corp Root CA", nil))}
	}
}

func reachScenes() map[string]maker {
	hello := func(c net.Conn) { _, _ = c.Read(make([]byte, 1)) }
	patient := func(m maker, d time.Duration) maker {
		return func(t *testing.T) scene { s := m(t); s.timeout = d; return s }
	}
	return map[string]maker{
		"A01": func(t *testing.T) scene {
			return scene{host: "registry.invalid", roots: pemOf(authority(t, "Corp Root CA", nil))}
		},
		"A02": func(t *testing.T) scene {
			return scene{addr: closedPort(t), roots: pemOf(authority(t, "Corp Root CA", nil))}
		},
		"A03": func(t *testing.T) scene {
			return scene{addr: fullBacklog(t), roots: pemOf(authority(t, "Corp Root CA", nil)), timeout: time.Second}
		},
		"A04": patient(raw(func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }), time.Second),
		"A05": raw(func(c net.Conn) { _, _ = c.Read(make([]byte, 4096)) }),
		"A06": raw(func(c net.Conn) { hello(c); _ = c.(*net.TCPConn).SetLinger(0) }),
		"A08": raw(func(c net.Conn) {
			_, _ = c.Read(make([]byte, 4096))
			_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n400 Bad Request")
		}),
		"A09": raw(func(c net.Conn) {
			_, _ = io.WriteString(c, "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")
			_, _ = io.Copy(io.Discard, c)
		}),
	}
}

func trustScenes() map[string]maker {
	return map[string]maker{
		"K01": func(t *testing.T) scene {
			p := newPKI(t)
			return scene{addr: present(t, p.leaf, p.inter), roots: pemOf(p.root)}
		},
		"K02": func(t *testing.T) scene {
			p := newPKI(t)
			return scene{addr: present(t, p.leaf, p.inter), roots: pemOf(p.inter)}
		},
		"K03": func(t *testing.T) scene {
			p := newPKI(t)
			return scene{addr: present(t, p.leaf, p.inter), roots: pemOf(p.leaf)}
		},
		"K04": func(t *testing.T) scene { l := server(t, nil); return scene{addr: present(t, l), roots: pemOf(l)} },
		"B01": func(t *testing.T) scene {
			return scene{addr: present(t, server(t, nil)), roots: pemOf(authority(t, "Other Root", nil))}
		},
		"B02": func(t *testing.T) scene {
			p := newPKI(t)
			return scene{addr: present(t, p.leaf, p.inter, p.root), roots: pemOf(authority(t, "Other Root", nil)), ca: pemOf(p.root)}
		},
		"B03": func(t *testing.T) scene {
			p := newPKI(t)
			return scene{addr: present(t, p.leaf, p.inter), roots: pemOf(authority(t, "Other Root", nil)), ca: pemOf(p.root)}
		},
		"B04": func(t *testing.T) scene { p := newPKI(t); return scene{addr: present(t, p.leaf), roots: pemOf(p.root)} },
		"B05": func(t *testing.T) scene {
			p := newPKI(t, func(c *x509.Certificate) { c.IssuingCertificateURL = []string{"http://pki.corp.test/issuing.crt"} })
			return scene{addr: present(t, p.leaf), roots: pemOf(p.root)}
		},
		"B06": func(t *testing.T) scene {
			p := newPKI(t)
			return scene{addr: present(t, p.leaf, p.inter), roots: pemOf(authority(t, "Corp Root CA", nil)), ca: pemOf(p.root)}
		},
		"B08": func(t *testing.T) scene {
			r := authority(t, "Not A CA", nil, func(c *x509.Certificate) { c.IsCA, c.KeyUsage = false, x509.KeyUsageDigitalSignature })
			return scene{addr: present(t, server(t, r)), roots: pemOf(r)}
		},
		"B09": func(t *testing.T) scene {
			r := authority(t, "Corp Root CA", nil)
			i := authority(t, "Fake Issuing", r, func(c *x509.Certificate) { c.IsCA, c.KeyUsage = false, x509.KeyUsageDigitalSignature })
			return scene{addr: present(t, server(t, i), i), roots: pemOf(r)}
		},
		"B11": func(t *testing.T) scene {
			r := authority(t, "Corp Root CA", nil)
			i := authority(t, "Narrow CA", r, func(c *x509.Certificate) { c.MaxPathLenZero = true })
			s := authority(t, "Sub CA", i)
			return scene{addr: present(t, server(t, s), s, i), roots: pemOf(r)}
		},
		"B12": func(t *testing.T) scene {
			r := authority(t, "Corp Root CA", nil)
			i := authority(t, "Corp Issuing CA", r, func(c *x509.Certificate) {
				c.PermittedDNSDomains, c.PermittedDNSDomainsCritical = []string{"other.test"}, true
			})
			return scene{addr: present(t, server(t, i), i), roots: pemOf(r)}
		},
		"B14": func(t *testing.T) scene {
			p := newPKI(t, func(c *x509.Certificate) {
				c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}, Critical: true, Value: []byte{5, 0}}}
			})
			return scene{addr: present(t, p.leaf, p.inter), roots: pemOf(p.root)}
		},
		"B15": func(t *testing.T) scene {
			p := newPKI(t)
			return scene{addr: present(t, p.leaf, p.root, p.inter), roots: pemOf(p.root)}
		},
		"C01": func(t *testing.T) scene {
			p := newPKI(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) })
			return scene{addr: present(t, p.leaf, p.inter), roots: pemOf(p.root)}
		},
		"C02": func(t *testing.T) scene {
			p := newPKI(t, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(24 * time.Hour) })
			return scene{addr: present(t, p.leaf, p.inter), roots: pemOf(p.root)}
		},
		"C04": func(t *testing.T) scene {
			r := authority(t, "Corp Root CA", nil, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) })
			return scene{addr: present(t, server(t, r)), roots: pemOf(r)}
		},
		"H01": func(t *testing.T) scene {
			r := authority(t, "Corp Root CA", nil)
			l := server(t, r)
			der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
				Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(24 * time.Hour),
				RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: l.SerialNumber, RevocationTime: time.Now().Add(-time.Hour)}},
			}, r.Certificate, r.key)
			if err != nil {
				t.Fatal(err)
			}
			return scene{addr: present(t, l), roots: append(pemOf(r), pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})...)}
		},
	}
}

func nameScenes() map[string]maker {
	named := func(changes ...change) maker {
		return func(t *testing.T) scene {
			p := newPKI(t, changes...)
			return scene{addr: present(t, p.leaf, p.inter), roots: pemOf(p.root)}
		}
	}
	noSAN := func(c *x509.Certificate) { c.DNSNames = nil }
	return map[string]maker{
		"D01": named(func(c *x509.Certificate) { c.DNSNames = []string{"harbor.other.test"} }),
		"D02": named(noSAN),
		"D03": func(t *testing.T) scene { s := named()(t); s.host = "127.0.0.1"; return s },
		"D06": named(noSAN, func(c *x509.Certificate) { c.Subject = pkix.Name{} }),
		"D07": func(t *testing.T) scene {
			p := newPKI(t)
			fake := server(t, nil, func(c *x509.Certificate) {
				c.Subject = pkix.Name{CommonName: "Kubernetes Ingress Controller Fake Certificate", Organization: []string{"Acme Co"}}
				c.DNSNames = []string{"ingress.local"}
			})
			known, other := chainOf(p.leaf, p.inter), chainOf(fake)
			config := &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
				if h.ServerName == name {
					return &known, nil
				}
				return &other, nil
			}}
			return scene{addr: serve(t, config, nil), host: "registry2.corp.test", roots: pemOf(p.root)}
		},
		"D08": func(t *testing.T) scene {
			p := newPKI(t)
			cert, key := write(t, "leaf.pem", pemOf(p.leaf)), write(t, "leaf.key", keyPEM(t, p.leaf.key))
			return scene{addr: sServer(t, cert, key, "-servername", name, "-servername_fatal", "-cert2", cert, "-key2", key), host: "registry2.corp.test", roots: pemOf(p.root)}
		},
		"E01": named(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }),
	}
}

// stamped answers every question with one status.
func stamped(status int) maker {
	return func(t *testing.T) scene {
		p := newPKI(t)
		config := &tls.Config{Certificates: []tls.Certificate{chainOf(p.leaf, p.inter)}}
		addr := serve(t, config, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		return scene{addr: addr, roots: pemOf(p.root), image: "team/app:1.0"}
	}
}

func httpScenes() map[string]maker {
	return map[string]maker{
		"P01": func(t *testing.T) scene {
			p, own := newPKI(t), authority(t, "Proxy Inspection CA", nil)
			fake := &tls.Config{Certificates: []tls.Certificate{chainOf(server(t, own))}}
			return scene{addr: present(t, p.leaf, p.inter), roots: pemOf(p.root), ca: pemOf(own), proxy: proxyOf(t, "HTTP/1.1 200 OK\r\n\r\n", func(c net.Conn) {
				if s := tls.Server(c, fake); s.HandshakeContext(t.Context()) == nil {
					_, _ = io.Copy(io.Discard, s)
				}
			})}
		},
		"P02": func(t *testing.T) scene {
			p := newPKI(t)
			return scene{addr: present(t, p.leaf, p.inter), roots: pemOf(p.root), proxy: "http://" + closedPort(t)}
		},
		"P03": proxied("HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n"),
		"P04": proxied("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"),
		"T01": func(t *testing.T) scene {
			p, own := newPKI(t), authority(t, "Realm Root CA", nil)
			realm := present(t, server(t, own, func(c *x509.Certificate) { c.DNSNames = []string{"auth.corp.test"} }))
			_, port, _ := net.SplitHostPort(realm)
			config := &tls.Config{Certificates: []tls.Certificate{chainOf(p.leaf, p.inter)}}
			addr := serve(t, config, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("WWW-Authenticate", `Bearer realm="https://auth.corp.test:`+port+`/token",service="reg"`)
				w.WriteHeader(http.StatusUnauthorized)
			}))
			return scene{addr: addr, roots: pemOf(p.root), ca: pemOf(own), image: "team/app:1.0", connect: map[string]string{"auth.corp.test": realm}}
		},
		"N01": stamped(401), "N02": stamped(404), "N04": stamped(429), "N05": stamped(503), "M01": stamped(404),
	}
}

// proxyOf is a proxy that answers CONNECT and then does what it likes.
func proxyOf(t *testing.T, answer string, then func(net.Conn)) string {
	return "http://" + listen(t, func(c net.Conn) {
		if !strings.HasPrefix(head(c), "CONNECT ") {
			return
		}
		_, _ = io.WriteString(c, answer)
		if then != nil {
			then(c)
		}
	})
}

// head reads the head of a question, byte by byte, so that nothing of what follows is lost.
func head(c net.Conn) string {
	var b strings.Builder
	one := make([]byte, 1)
	for !strings.HasSuffix(b.String(), "\r\n\r\n") && b.Len() < 8192 {
		if _, err := c.Read(one); err != nil {
			return ""
		}
		b.Write(one)
	}
	return b.String()
}

func proxied(answer string) maker {
	return func(t *testing.T) scene {
		p := newPKI(t)
		return scene{addr: present(t, p.leaf, p.inter), roots: pemOf(p.root), proxy: proxyOf(t, answer, nil)}
	}
}

func fileScenes() map[string]maker {
	file := func(change func(string) string) maker {
		return func(t *testing.T) scene {
			p := newPKI(t)
			return scene{addr: present(t, p.leaf, p.inter), roots: []byte(change(string(pemOf(p.root))))}
		}
	}
	const begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
	return map[string]maker{
		"I01": file(func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }),
		"I02": func(t *testing.T) scene {
			p := newPKI(t)
			return scene{addr: present(t, p.leaf, p.inter), roots: p.root.Raw}
		},
		"I04": file(func(s string) string { return "\xef\xbb\xbf" + s }),
		"I05": file(func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }),
		"I06": file(func(s string) string { return strings.ReplaceAll(s, "\n", `\n`) }),
		"I07": func(t *testing.T) scene {
			p := newPKI(t)
			other := strings.TrimSuffix(string(pemOf(authority(t, "Other Root", nil))), "\n")
			return scene{addr: present(t, p.leaf, p.inter), roots: append([]byte(other), pemOf(p.root)...)}
		},
		"I08": file(func(s string) string {
			return "Certificate:\n    Data:\n        Version: 3 (0x2)\n        Serial Number: 1 (0x1)\n" + s
		}),
		"I09": func(t *testing.T) scene {
			p := newPKI(t)
			dir := t.TempDir()
			path := write(t, "root.pem", pemOf(p.root))
			openssl(t, dir, "x509", "-in", path, "-trustout", "-out", "trusted.pem")
			return scene{addr: present(t, p.leaf, p.inter), roots: read(t, dir+"/trusted.pem")}
		},
		"I11": file(func(s string) string {
			return strings.Replace(s, begin+"\n", begin+"\nProc-Type: 4,ENCRYPTED\nX-Note: a\n\n", 1)
		}),
		"I12": file(func(s string) string { return s[:len(s)-80] }),
		"I14": func(t *testing.T) scene {
			p := newPKI(t)
			der, err := x509.MarshalPKCS8PrivateKey(p.root.key)
			if err != nil {
				t.Fatal(err)
			}
			return scene{addr: present(t, p.leaf, p.inter), roots: pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})}
		},
		"I16": func(t *testing.T) scene {
			p := newPKI(t)
			return scene{addr: present(t, p.leaf, p.inter), roots: pemOf(server(t, p.inter)), ca: pemOf(p.root)}
		},
		"I17": file(func(s string) string {
			body := strings.TrimSuffix(strings.TrimPrefix(s, begin+"\n"), "\n"+end+"\n")
			return begin + "\n" + strings.ReplaceAll(body, "\n", "") + "\n" + end + "\n"
		}),
		"I19": file(func(s string) string { return strings.ReplaceAll(s, "-----", "–––––") }),
	}
}
