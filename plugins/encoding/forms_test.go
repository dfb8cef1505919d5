package encoding

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/internal/tkg"
)

// pkcs7 makes a SignedData without signers, as openssl crl2pkcs7 -nocrl does.
func pkcs7(t *testing.T, ders ...[]byte) []byte {
	t.Helper()
	var b cryptobyte.Builder
	oid := func(b *cryptobyte.Builder, last byte) {
		b.AddASN1(asn1.OBJECT_IDENTIFIER, func(b *cryptobyte.Builder) { b.AddBytes([]byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, last}) })
	}
	tagged := asn1.Tag(0).ContextSpecific().Constructed()
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		oid(b, 2)
		b.AddASN1(tagged, func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1Int64(1)
				b.AddASN1(asn1.SET, func(*cryptobyte.Builder) {})
				b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { oid(b, 1) })
				b.AddASN1(tagged, func(b *cryptobyte.Builder) {
					for _, der := range ders {
						b.AddBytes(der)
					}
				})
				b.AddASN1(asn1.SET, func(*cryptobyte.Builder) {})
			})
		})
	})
	out, err := b.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func der(t *testing.T, pemText []byte) []byte {
	t.Helper()
	block, _ := pem.Decode(pemText)
	if block == nil {
		t.Fatal("no PEM")
	}
	return block.Bytes
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// shapes are the contents that a place may hold, each with the forms that it must be found in.
type shape struct {
	content []byte
	ids     []string
	// fatal says that the nodes cannot use it, mended that a corrected value can be made of it.
	fatal, mended bool
	certs         int
}

func shapes(t *testing.T, ca, other, key []byte) map[string]shape {
	t.Helper()
	text := func(pairs ...string) []byte { return []byte(strings.NewReplacer(pairs...).Replace(string(ca))) }
	lines := strings.Split(strings.TrimSpace(string(ca)), "\n")
	body := strings.Join(lines[1:len(lines)-1], "")
	both := slices.Concat(ca, other)
	glued := slices.Concat([]byte(strings.TrimSpace(string(ca))), other)
	wide := []byte{0xff, 0xfe}
	for _, b := range ca {
		wide = append(wide, b, 0)
	}
	return map[string]shape{
		"right":            {content: ca, certs: 1},
		"bundle":           {content: both, certs: 2},
		"I02 DER":          {content: der(t, ca), ids: []string{"der"}, fatal: true, mended: true, certs: 1},
		"I04 BOM":          {content: slices.Concat([]byte("\ufeff"), ca), ids: []string{"bom"}, fatal: true, mended: true, certs: 1},
		"I05 CRLF":         {content: text("\n", "\r\n"), ids: []string{"crlf"}, certs: 1},
		"I06 escaped":      {content: text("\n", `\n`), ids: []string{"escaped-newlines"}, fatal: true, mended: true, certs: 1},
		"I07 glued":        {content: glued, ids: []string{"glued"}, fatal: true, mended: true, certs: 2},
		"I08 text":         {content: slices.Concat([]byte("Certificate:\n    Data:\n"), ca), ids: []string{"surrounding-text"}, certs: 1},
		"text with a 0":    {content: slices.Concat([]byte("0 s:CN = reg.lab\n"), ca), ids: []string{"surrounding-text"}, certs: 1},
		"I09 trusted":      {content: text("CERTIFICATE", "TRUSTED CERTIFICATE"), ids: []string{"trusted-certificate"}, fatal: true, mended: true, certs: 1},
		"I11 headers":      {content: text("-----BEGIN CERTIFICATE-----\n", "-----BEGIN CERTIFICATE-----\nProc-Type: 4,X\n\n"), ids: []string{"headers"}, fatal: true, mended: true, certs: 1},
		"I12 truncated":    {content: ca[:len(ca)/2], ids: []string{"truncated"}, fatal: true},
		"I14 private key":  {content: key, ids: []string{"private-key"}, fatal: true},
		"I17 one line":     {content: []byte(lines[0] + "\n" + body + "\n" + lines[len(lines)-1] + "\n"), certs: 1},
		"I19 en dashes":    {content: text("-----", "–––––"), ids: []string{"dashes"}, fatal: true, mended: true, certs: 1},
		"I19 spaced":       {content: text("-----", "- - - - -"), ids: []string{"dashes"}, fatal: true, mended: true, certs: 1},
		"six dashes":       {content: text("-----", "------"), ids: []string{"dashes"}, fatal: true, mended: true, certs: 1},
		"indented":         {content: []byte("  " + strings.ReplaceAll(strings.TrimSpace(string(ca)), "\n", "\n  ") + "\n"), ids: []string{"indented"}, fatal: true, mended: true, certs: 1},
		"spaces for lines": {content: text("\n", " "), ids: []string{"unparsable"}, fatal: true, mended: true, certs: 1},
		"UTF-16":           {content: wide, ids: []string{"utf-16"}, fatal: true, mended: true, certs: 1},
		"PKCS#7":           {content: pkcs7(t, der(t, ca), der(t, other)), ids: []string{"pkcs7"}, fatal: true, mended: true, certs: 2},
		"PKCS#7, PEM":      {content: block("PKCS7", pkcs7(t, der(t, ca), der(t, other))), ids: []string{"pkcs7"}, fatal: true, mended: true, certs: 2},
		"PKCS#7, Windows":  {content: block("CERTIFICATE", pkcs7(t, der(t, ca))), ids: []string{"pkcs7"}, fatal: true, mended: true, certs: 1},
		"PKCS#7, open":     {content: append([]byte{0x30, 0x80}, pkcs7(t, der(t, ca))[4:]...), ids: []string{"pkcs7"}, fatal: true},
		"key, DER":         {content: der(t, key), ids: []string{"private-key"}, fatal: true},
		"key, short":       {content: []byte("\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20" + strings.Repeat("k", 32)), ids: []string{"private-key"}, fatal: true},
		"key and CA":       {content: slices.Concat(ca, key), ids: []string{"private-key"}, fatal: true, mended: true, certs: 1},
		"key, mangled":     {content: []byte(strings.ReplaceAll(string(key), "\n", `\n`)), ids: []string{"private-key"}, fatal: true},
		"key, cut off":     {content: key[:len(key)/2], ids: []string{"private-key"}, fatal: true},
		"half of a bundle": {content: slices.Concat(ca, other[:len(other)/2]), ids: []string{"truncated"}, fatal: true, certs: 1},
		"no final newline": {content: []byte(strings.TrimSpace(string(ca))), ids: []string{"no-final-newline"}, certs: 1},
		"request":          {content: block("CERTIFICATE REQUEST", der(t, ca)), ids: []string{"other-block", "no-certificate"}, fatal: true},
		"binary":           {content: []byte{0x30, 0x82, 1, 0, 2, 1, 9}, ids: []string{"no-certificate"}, fatal: true},
	}
}

var kebab = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// Each shape is found by its forms in each place, over zero to three layers of base64; a corrected value is what its place wants, and
// gives exactly the certificates that were to be had; and no byte of a private key comes out.
func TestForms(t *testing.T) {
	t.Parallel()
	ca, key := newCA(t, "Corp Root CA")
	other, _ := newCA(t, "Other CA")
	secret := strings.Split(string(key), "\n")[1]
	layerForms := []string{"plain-pem", "too-many-layers", "too-few-layers"}
	for name, s := range shapes(t, ca, other, key) {
		for _, want := range []int{tkg.LayersInline, tkg.LayersService, tkg.LayersSecret} {
			for have := range 4 {
				if have == 0 && (s.content[0] == 0x30 || s.content[0] == 0xff) {
					continue // JSON holds no binary
				}
				t.Run(fmt.Sprintf("%s/%d for %d", name, have, want), func(t *testing.T) {
					t.Parallel()
					got := judgeOne(declaredOf(tkg.Encode(s.content, have), want))
					var ids, layers []string
					for _, f := range got.Findings {
						if !kebab.MatchString(f.ID) || f.Message == "" || len(f.Message) > 400 {
							t.Errorf("finding %+v", f)
						}
						if slices.Contains(layerForms, f.ID) {
							layers = append(layers, f.ID)
						} else {
							ids = append(ids, f.ID)
						}
					}
					right := have == want && !s.fatal
					if got.OK != right || got.OK != (got.Problem == "") {
						t.Errorf("ok is %v: %s", got.OK, got.Problem)
					}
					if (len(layers) > 0) != (have != want) {
						t.Errorf("layers: %v", layers)
					}
					for _, id := range s.ids {
						if !slices.Contains(ids, id) {
							t.Errorf("not found to be %s: %v", id, ids)
						}
					}
					if len(s.ids) == 0 && len(ids) > 0 {
						t.Errorf("found in it: %v", ids)
					}
					if len(got.Fingerprints) != s.certs {
						t.Errorf("%d certificates, want %d", len(got.Fingerprints), s.certs)
					}
					proven(t, got, !right && s.certs > 0 && (s.mended || !s.fatal), want)
					out, err := json.Marshal(got)
					if err != nil || strings.Contains(string(out), secret) || strings.Contains(string(out), base64.StdEncoding.EncodeToString([]byte(secret))[:40]) {
						t.Errorf("the private key shows; %v", err)
					}
				})
			}
		}
	}
}

// proven looks at a corrected value by other means than those that made it.
func proven(t *testing.T, e entry, expected bool, layers int) {
	t.Helper()
	if (e.Corrected != "") != expected {
		t.Fatalf("a corrected value is given: %v, want %v; %s", e.Corrected != "", expected, e.Problem)
	}
	if e.Corrected == "" {
		return
	}
	text := []byte(e.Corrected)
	for range layers {
		next, err := base64.StdEncoding.Strict().DecodeString(string(text))
		if err != nil {
			t.Fatalf("corrected value: %v", err)
		}
		text = next
	}
	if !x509.NewCertPool().AppendCertsFromPEM(text) || strings.Contains(string(text), "PRIVATE") {
		t.Fatalf("Go takes nothing of the corrected value:\n%s", text)
	}
	var fingerprints []string
	for rest := text; ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		fingerprints = append(fingerprints, certs.Fingerprint(c))
	}
	if diff := cmp.Diff(e.Fingerprints, fingerprints); diff != "" {
		t.Errorf("the corrected value holds others (-want, +got):\n%s", diff)
	}
	if again := judgeOne(declaredOf(e.Corrected, layers)); !again.OK || again.Corrected != "" {
		t.Errorf("the corrected value is not right: %s", again.Problem)
	}
}

// Base64 that is not clean is told from a wrong number of layers.
func TestBase64Forms(t *testing.T) {
	t.Parallel()
	ca, _ := newCA(t, "Corp Root CA")
	for len(ca)%3 == 0 {
		ca = append(ca, '\n')
	}
	once := tkg.Encode(ca, 1)
	cases := map[string]struct {
		reason, data string
		fatal        bool
	}{
		"wrapped-base64": {"base64 without -w0: every reader skips line ends", once[:76] + "\n" + once[76:], false},
		"base64-padding": {"cloud-init refuses it", strings.TrimRight(once, "="), true},
		"base64-quoted":  {"the quotes of a shell", "'" + once + "'", true},
		"base64-joined":  {"a reader ends after the first", once + once, true},
		"base64-bom":     {"Notepad", "\ufeff" + once, true},
		"not-base64":     {"a path", "/etc/ssl/ca.pem!", true},
		"no-certificate": {"a word", tkg.Encode([]byte("hello, world"), 1), true},
		"empty":          {"nothing", " \n", true},
		"too-large":      {"bounded", strings.Repeat("A", 1<<20+1), true},
	}
	for id, c := range cases {
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			got := judgeOne(declaredOf(c.data, 1))
			if !got.has(id) || got.OK == c.fatal {
				t.Errorf("%s: ok %v, %+v", c.reason, got.OK, got.Findings)
			}
			readable := strings.HasPrefix(id, "base64-")
			proven(t, got, readable, 1)
		})
	}
}

func TestPrivateKeyShapes(t *testing.T) {
	t.Parallel()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(rsaKey)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(ecKey)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(ecKey.Public())
	if err != nil {
		t.Fatal(err)
	}
	ca, _ := newCA(t, "Corp Root CA")
	for name, c := range map[string]struct {
		der  []byte
		want bool
	}{
		"PKCS#8": {pkcs8, true}, "PKCS#1": {x509.MarshalPKCS1PrivateKey(rsaKey), true}, "SEC 1": {sec1, true},
		"public key": {public, false}, "RSA public key": {x509.MarshalPKCS1PublicKey(&rsaKey.PublicKey), false},
		"certificate": {der(t, ca), false}, "PKCS#7": {pkcs7(t, der(t, ca)), false}, "nothing": {nil, false},
	} {
		if got := isPrivateKey(c.der); got != c.want {
			t.Errorf("%s is a private key: %v", name, got)
		}
	}
}

// FuzzJudge holds of any value in any place: what is said is bounded, and a corrected value is right.
func FuzzJudge(f *testing.F) {
	const cert = "-----BEGIN CERTIFICATE-----\nMIIBhTCCASugAwIBAgIQIRi6zePL6mKjOipn+dNuaTAKBggqhkjOPQQDAjASMRAw\n-----END CERTIFICATE-----\n"
	f.Add([]byte(cert), uint8(1), uint8(1))
	f.Add([]byte("\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02"), uint8(1), uint8(2))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nBEGIN CERTIFICATE BEGIN"), uint8(0), uint8(1))
	f.Fuzz(func(t *testing.T, content []byte, have, want uint8) {
		got := judgeOne(declaredOf(tkg.Encode(content, int(have%4)), int(want%3)))
		if got.OK != (got.Problem == "") || got.OK && got.Corrected != "" || len(got.Findings) > 40 {
			t.Fatalf("%+v", got)
		}
		if got.Corrected != "" {
			if again := judgeOne(declaredOf(got.Corrected, int(want%3))); !again.OK {
				t.Fatalf("the corrected value is not right: %s", again.Problem)
			}
		}
	})
}
