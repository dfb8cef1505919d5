package probe_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"net"
)

func cryptoScenes() map[string]maker {
	return map[string]maker{
		"F01": func(t *testing.T) scene { return weakSignature(t, crypto.SHA1, 5) },
		"F02": func(t *testing.T) scene { return weakSignature(t, crypto.MD5, 4) },
		"F03": func(t *testing.T) scene {
			r := authority(t, "Corp Root CA", nil)
			cert, key := foreign(t, r, "genrsa", "-out", "leaf.key", "512")
			return scene{addr: sServer(t, cert, key, "-tls1_2", "-cipher", "ALL:@SECLEVEL=0"), roots: pemOf(r)}
		},
		"F04": func(t *testing.T) scene {
			r := authority(t, "Corp Root CA", nil)
			return scene{addr: present(t, serverWith(t, r, rsaKey(t, 1024))), roots: pemOf(r)}
		},
		"F05": func(t *testing.T) scene {
			r := authority(t, "Corp Root CA", nil)
			cert, key := foreign(t, r, "genpkey", "-paramfile", dsaParameters(t), "-out", "leaf.key")
			return scene{addr: sServer(t, cert, key, "-cipher", "ALL:@SECLEVEL=0"), roots: pemOf(r)}
		},
		"F07": pssRoot,
		"F09": func(t *testing.T) scene {
			p := newPKI(t, func(c *x509.Certificate) { c.SerialNumber = big.NewInt(5) })
			p.leaf = resigned(t, p.leaf, p.inter.key, func(tbs []byte) []byte {
				return bytes.Replace(tbs, []byte{2, 1, 5}, []byte{2, 1, 0xfb}, 1)
			})
			return scene{addr: present(t, p.leaf, p.inter), roots: pemOf(p.root)}
		},
		"F11": func(t *testing.T) scene {
			one, two := asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}, asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 2}
			p := newPKI(t, func(c *x509.Certificate) {
				c.ExtraExtensions = []pkix.Extension{{Id: one, Value: []byte{5, 0}}, {Id: two, Value: []byte{5, 0}}}
			})
			first, _ := asn1.Marshal(one)
			second, _ := asn1.Marshal(two)
			p.leaf = resigned(t, p.leaf, p.inter.key, func(tbs []byte) []byte { return bytes.Replace(tbs, second, first, 1) })
			return scene{addr: present(t, p.leaf, p.inter), roots: pemOf(p.root)}
		},
		"F13": func(t *testing.T) scene {
			p := newPKI(t)
			p.leaf.Raw = p.leaf.Raw[:len(p.leaf.Raw)-7]
			return scene{addr: present(t, p.leaf, p.inter), roots: pemOf(p.root)}
		},
		"F14": func(t *testing.T) scene {
			p := newPKI(t)
			p.leaf.Raw = bytes.Clone(p.leaf.Raw)
			p.leaf.Raw[len(p.leaf.Raw)-1] ^= 1
			return scene{addr: present(t, p.leaf, p.inter), roots: pemOf(p.root)}
		},
		"F15": func(t *testing.T) scene {
			p := newPKI(t)
			p.leaf.key = newKey(t)
			return scene{addr: present(t, p.leaf, p.inter), roots: pemOf(p.root)}
		},
		"F17": func(t *testing.T) scene {
			policy := []struct{ ID asn1.ObjectIdentifier }{{asn1.ObjectIdentifier{1, 2, 3, 4}}, {asn1.ObjectIdentifier{1, 2, 3, 4}}}
			value, err := asn1.Marshal(policy)
			if err != nil {
				t.Fatal(err)
			}
			p := newPKI(t, func(c *x509.Certificate) {
				c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 32}, Value: value}}
			})
			return scene{addr: present(t, p.leaf, p.inter), roots: pemOf(p.root)}
		},
	}
}

// weakSignature is a leaf signed with an old hash, which crypto/x509 does not make: the algorithm is changed in both places, and
// the signature made anew.
func weakSignature(t *testing.T, hash crypto.Hash, arc byte) scene {
	key := rsaKey(t, 2048)
	r := issue(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "Sha1 Root"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil, key)
	leaf := server(t, r)
	oid := []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01}
	der := bytes.ReplaceAll(leaf.Raw, append(bytes.Clone(oid), 11), append(bytes.Clone(oid), arc))
	weak, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	sum := hash.New()
	sum.Write(weak.RawTBSCertificate)
	sig, err := rsa.SignPKCS1v15(rand.Reader, key, hash, sum.Sum(nil))
	if err != nil {
		t.Fatal(err)
	}
	copy(der[len(der)-len(sig):], sig)
	return scene{addr: present(t, &id{&x509.Certificate{Raw: der}, leaf.key}), roots: pemOf(r)}
}

func dsaParameters(t *testing.T) string {
	dir := t.TempDir()
	openssl(t, dir, "genpkey", "-genparam", "-algorithm", "DSA", "-pkeyopt", "dsa_paramgen_bits:1024", "-out", "dsa.pem")
	return filepath.Join(dir, "dsa.pem")
}

// pssRoot is a CA whose own key says that it is for RSASSA-PSS alone.
func pssRoot(t *testing.T) scene {
	dir := t.TempDir()
	leaf := newKey(t)
	for file, data := range map[string][]byte{"leaf.key": keyPEM(t, leaf), "ext": []byte("subjectAltName=DNS:" + name + "\n")} {
		if err := os.WriteFile(filepath.Join(dir, file), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	openssl(t, dir, "req", "-x509", "-newkey", "rsa-pss", "-pkeyopt", "rsa_keygen_bits:2048", "-noenc", "-subj", "/CN=PSS Root", "-keyout", "root.key", "-out", "root.pem", "-days", "90")
	openssl(t, dir, "req", "-new", "-key", "leaf.key", "-subj", "/CN="+name, "-out", "leaf.csr")
	openssl(t, dir, "x509", "-req", "-in", "leaf.csr", "-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial", "-days", "90", "-extfile", "ext", "-outform", "der", "-out", "leaf.der")
	served := &id{&x509.Certificate{Raw: read(t, filepath.Join(dir, "leaf.der"))}, leaf}
	return scene{addr: present(t, served), roots: read(t, filepath.Join(dir, "root.pem"))}
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func protocolScenes() map[string]maker {
	rsaServer := func(args ...string) maker {
		return func(t *testing.T) scene {
			r := authority(t, "Corp Root CA", nil)
			l := serverWith(t, r, rsaKey(t, 2048))
			return scene{addr: sServer(t, write(t, "leaf.pem", pemOf(l)), write(t, "leaf.key", keyPEM(t, l.key)), args...), roots: pemOf(r)}
		}
	}
	return map[string]maker{
		"G01": rsaServer("-tls1_1", "-cipher", "DEFAULT:@SECLEVEL=0"),
		"G03": rsaServer("-tls1_2", "-cipher", "DHE-RSA-AES256-GCM-SHA384"),
		"G05": func(t *testing.T) scene {
			p := newPKI(t)
			config := &tls.Config{Certificates: []tls.Certificate{chainOf(p.leaf, p.inter)}, ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12}
			return scene{addr: serve(t, config, nil), roots: pemOf(p.root)}
		},
		"G06": func(t *testing.T) scene {
			config := &tls.Config{Certificates: []tls.Certificate{{}}}
			return scene{addr: serve(t, config, nil), roots: pemOf(authority(t, "Corp Root CA", nil))}
		},
		"G07": func(t *testing.T) scene {
			p := newPKI(t)
			config := &tls.Config{Certificates: []tls.Certificate{chainOf(p.leaf, p.inter)}, CurvePreferences: []tls.CurveID{tls.CurveP521}}
			return scene{addr: serve(t, config, nil), roots: pemOf(p.root)}
		},
	}
}

// fullBacklog is an address at which the kernel drops what comes: nobody accepts, and the queue is full.
func fullBacklog(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	at, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: at.(*syscall.SockaddrInet4).Port}).String()
	for range 16 {
		conn, err := (&net.Dialer{Timeout: 200 * time.Millisecond}).DialContext(t.Context(), "tcp", addr)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	t.Fatal("the queue does not fill")
	return ""
}
