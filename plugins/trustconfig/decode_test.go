package trustconfig

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/internal/tkg"
)

// makeCA returns a new self-signed CA of that subject and year; each call makes another key.
func makeCA(t *testing.T, subject pkix.Name, year int) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(year)), Subject: subject, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Date(year, 3, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(year+20, 3, 1, 0, 0, 0, 0, time.UTC),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func cn(name string) pkix.Name { return pkix.Name{CommonName: name} }

// stored returns an entry as the API holds it.
func stored(name string, layers int, list ...*x509.Certificate) tkg.TrustEntry {
	return tkg.TrustEntry{Name: name, Data: tkg.Encode(certs.Normalize(list), layers)}
}

func TestDecodeRefusesPrivateKey(t *testing.T) {
	t.Parallel()
	const body = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo="
	key := "-----BEGIN EC PRIVATE KEY-----\n" + body + "\n-----END EC PRIVATE KEY-----\n"
	_, err := decode([]tkg.TrustEntry{{Name: "leak", Data: tkg.Encode([]byte(key), 1)}})
	if err == nil {
		t.Fatal("a list with a private key in it would be written into a plan")
	}
	if diff := cmp.Diff(`entry "leak" of TkgServiceConfiguration holds a private key`, err.Error()); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
}

func certsOf(list ...*x509.Certificate) []*x509.Certificate { return list }
