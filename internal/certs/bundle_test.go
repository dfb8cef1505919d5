package certs_test

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/plugins"
)

// keyPEM returns a private key as PEM and a part of it that must never be seen again.
func keyPEM(t *testing.T) (data []byte, secret string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	body := base64.StdEncoding.EncodeToString(der)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), body[40:64]
}

func wide(text string, big bool) []byte {
	var out []byte
	for _, u := range utf16.Encode([]rune("\ufeff" + text)) {
		if big {
			out = append(out, byte(u>>8), byte(u))
			continue
		}
		out = append(out, byte(u), byte(u>>8))
	}
	return out
}

// The ids are those of tls-cases.md; the counts of taken certificates were seen there with Go's AppendCertsFromPEM, and are
// compared with it again.
func TestParseBundle(t *testing.T) {
	t.Parallel()
	one, two := root(t, "One"), root(t, "Two")
	a, b := string(certs.Normalize(list(one))), string(certs.Normalize(list(two)))
	key, secret := keyPEM(t)
	trusted := pem.EncodeToMemory(&pem.Block{Type: "TRUSTED CERTIFICATE", Bytes: append(bytes.Clone(one.Raw), 0x30, 0x00)})
	headers := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED"}, Bytes: one.Raw})
	lines := strings.Split(strings.TrimSpace(a), "\n")
	cases := map[string]struct {
		reason      string
		data        []byte
		taken       int
		recoverable int
		kinds       []certs.FindingKind
		fatal       bool
		hint        string
	}{
		"clean":              {reason: "nothing to say", data: []byte(a + b), taken: 2},
		"no last newline":    {reason: "Go does not mind", data: []byte(strings.TrimSpace(a)), taken: 1},
		"I01 base64 again":   {reason: "encoded once too often", data: []byte(base64.StdEncoding.EncodeToString([]byte(a))), recoverable: 1, kinds: []certs.FindingKind{certs.KindBase64}, fatal: true, hint: "base64 -d"},
		"I02 DER":            {reason: "binary", data: one.Raw, recoverable: 1, kinds: []certs.FindingKind{certs.KindDER}, fatal: true, hint: "-inform der"},
		"I03 base64 of DER":  {reason: "PEM without its lines", data: []byte(base64.StdEncoding.EncodeToString(one.Raw)), recoverable: 1, kinds: []certs.FindingKind{certs.KindBase64}, fatal: true, hint: "base64 -d"},
		"I04 BOM":            {reason: "three bytes lose the certificate", data: []byte("\ufeff" + a), recoverable: 1, kinds: []certs.FindingKind{certs.KindBOM}, fatal: true},
		"I04 BOM, two":       {reason: "only the first one is lost", data: []byte("\ufeff" + a + b), taken: 1, recoverable: 1, kinds: []certs.FindingKind{certs.KindBOM}, fatal: true},
		"I05 CRLF":           {reason: "Go accepts it", data: []byte(strings.ReplaceAll(a, "\n", "\r\n")), taken: 1, kinds: []certs.FindingKind{certs.KindCRLF}},
		"I06 escaped":        {reason: "a backslash and an n are no line end", data: []byte(strings.ReplaceAll(a, "\n", `\n`)), recoverable: 1, kinds: []certs.FindingKind{certs.KindEscaped}, fatal: true},
		"I07 glued":          {reason: "both are lost", data: []byte(strings.TrimSpace(a) + b), recoverable: 2, kinds: []certs.FindingKind{certs.KindGlued}, fatal: true},
		"I07 glued of three": {reason: "the third is taken", data: []byte(strings.TrimSpace(a) + b + string(certs.Normalize(list(root(t, "Three"))))), taken: 1, recoverable: 2, kinds: []certs.FindingKind{certs.KindGlued}, fatal: true},
		"I08 text before":    {reason: "Go accepts it", data: []byte("Certificate:\n    Data:\n" + a), taken: 1, kinds: []certs.FindingKind{certs.KindSurrounding}},
		"I09 trusted":        {reason: "openssl's own format", data: trusted, recoverable: 1, kinds: []certs.FindingKind{certs.KindTrusted}, fatal: true, hint: "openssl x509 -in"},
		"I10 indented":       {reason: "as YAML leaves it", data: []byte("  " + strings.ReplaceAll(strings.TrimSpace(a), "\n", "\n  ")), recoverable: 1, kinds: []certs.FindingKind{certs.KindIndented}, fatal: true},
		"I11 headers":        {reason: "Go drops a block with headers", data: headers, recoverable: 1, kinds: []certs.FindingKind{certs.KindHeaders}, fatal: true},
		"I12 truncated":      {reason: "nothing can be had back of it", data: []byte(a[:len(a)/2]), kinds: []certs.FindingKind{certs.KindTruncated}, fatal: true, hint: "the file ends"},
		"I12 truncated, two": {reason: "the whole one is taken, and the loss is said", data: []byte(a + b[:len(b)/2]), taken: 1, kinds: []certs.FindingKind{certs.KindTruncated}, fatal: true},
		"I13 spaces":         {reason: "a form field ate the line ends", data: []byte(strings.ReplaceAll(a, "\n", " ")), recoverable: 1, kinds: []certs.FindingKind{certs.KindUnparsable}, fatal: true},
		"I14 key":            {reason: "a leak", data: key, kinds: []certs.FindingKind{certs.KindPrivateKey}, fatal: true, hint: "replace the key"},
		"I14 key and cert":   {reason: "Go takes the certificate, and it is a leak still", data: append([]byte(a), key...), taken: 1, kinds: []certs.FindingKind{certs.KindPrivateKey}, fatal: true},
		"I14 mangled key":    {reason: "a leak even when Go cannot read it", data: append([]byte(a+" "), key...), taken: 1, kinds: []certs.FindingKind{certs.KindPrivateKey}, fatal: true},
		"I14 base64 of key":  {reason: "a leak under base64 too", data: []byte(base64.StdEncoding.EncodeToString(key)), kinds: []certs.FindingKind{certs.KindBase64, certs.KindPrivateKey}, fatal: true, hint: "replace the key"},
		"I15 UTF-16":         {reason: "as a Windows shell writes it", data: wide(a, false), recoverable: 1, kinds: []certs.FindingKind{certs.KindUTF16}, fatal: true, hint: "iconv"},
		"I15 UTF-16 big":     {reason: "in the other order", data: wide(a, true), recoverable: 1, kinds: []certs.FindingKind{certs.KindUTF16}, fatal: true},
		"I17 one line":       {reason: "Go accepts it", data: []byte(lines[0] + "\n" + strings.Join(lines[1:len(lines)-1], "") + "\n" + lines[len(lines)-1] + "\n"), taken: 1},
		"I18 six dashes":     {reason: "one too many", data: []byte("-" + a), recoverable: 1, kinds: []certs.FindingKind{certs.KindDashes}, fatal: true},
		"I19 smart dashes":   {reason: "as a wiki makes them", data: []byte(strings.ReplaceAll(a, "-----", "–––––")), recoverable: 1, kinds: []certs.FindingKind{certs.KindDashes}, fatal: true},
		"I19 spaced dashes":  {reason: "white space inside", data: []byte(strings.ReplaceAll(a, "-----", "--- --")), recoverable: 1, kinds: []certs.FindingKind{certs.KindDashes}, fatal: true},
		"X509 type":          {reason: "another word in the BEGIN line", data: []byte(strings.ReplaceAll(a, " CERTIFICATE", " X509 CERTIFICATE")), recoverable: 1, kinds: []certs.FindingKind{certs.KindOtherBlock}, fatal: true},
		"CRL beside":         {reason: "a list of revoked certificates does no harm", data: []byte(a + string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: []byte("x")}))), taken: 1, kinds: []certs.FindingKind{certs.KindOtherBlock}},
		"garbage in a block": {reason: "PEM, but no certificate", data: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("hello")}), kinds: []certs.FindingKind{certs.KindUnparsable}, fatal: true},
		"empty":              {reason: "nothing", data: nil, kinds: []certs.FindingKind{certs.KindEmpty}, fatal: true, hint: "BEGIN CERTIFICATE"},
		"white space":        {reason: "nothing, at length", data: []byte(" \n\t\n"), kinds: []certs.FindingKind{certs.KindEmpty}, fatal: true},
		"a web page":         {reason: "what a login page answers in place of the file", data: []byte("<html>BEGIN</html>"), hint: "BEGIN CERTIFICATE"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := certs.ParseBundle(tc.data)
			if goTakes := x509.NewCertPool().AppendCertsFromPEM(tc.data); goTakes != (err == nil) {
				t.Errorf("%s: Go takes something is %v, error is %v", tc.reason, goTakes, err)
			}
			if diff := cmp.Diff([]int{tc.taken, tc.recoverable}, []int{len(got.Certs), len(got.Recoverable)}); diff != "" {
				t.Errorf("%s: certificates taken and recoverable (-want, +got):\n%s\n%+v", tc.reason, diff, got.Findings)
			}
			fatal := false
			var kinds []certs.FindingKind
			for _, f := range got.Findings {
				fatal = fatal || f.Fatal
				kinds = append(kinds, f.Kind)
			}
			for _, want := range tc.kinds {
				if !contains(kinds, want) {
					t.Errorf("%s: findings %v lack %s", tc.reason, kinds, want)
				}
			}
			if len(tc.kinds) == 0 && len(kinds) > 0 {
				t.Errorf("%s: findings %+v where there is nothing to say", tc.reason, got.Findings)
			}
			if fatal != tc.fatal {
				t.Errorf("%s: fatal is %v: %+v", tc.reason, fatal, got.Findings)
			}
			if err != nil && (!errors.Is(err, certs.ErrNoCertificate) || !strings.Contains(plugins.HintOf(err), tc.hint) || plugins.HintOf(err) == "") {
				t.Errorf("%s: error %v with hint %q, want ErrNoCertificate and %q", tc.reason, err, plugins.HintOf(err), tc.hint)
			}
			if strings.Contains(texts(got, err), secret) {
				t.Errorf("%s: the private key is echoed", tc.reason)
			}
			if strict, err := certs.ParseCandidate(tc.data); (err == nil) != (tc.taken > 0 && !tc.fatal) {
				t.Errorf("%s: as a candidate: %d certificates, error %v", tc.reason, len(strict), err)
			}
		})
	}
}

func texts(b certs.Bundle, err error) string {
	var out strings.Builder
	for _, f := range b.Findings {
		out.WriteString(f.Text)
	}
	if err != nil {
		out.WriteString(err.Error() + plugins.HintOf(err))
	}
	return out.String()
}

func contains(kinds []certs.FindingKind, want certs.FindingKind) bool {
	for _, k := range kinds {
		if k == want {
			return true
		}
	}
	return false
}

func TestParseBundleBounds(t *testing.T) {
	t.Parallel()
	if _, err := certs.ParseBundle(bytes.Repeat([]byte("x"), certs.MaxFile+1)); !errors.Is(err, certs.ErrNoCertificate) || plugins.HintOf(err) == "" {
		t.Errorf("a file of more than 1 MiB: %v", err)
	}
}

func TestParseCandidate(t *testing.T) {
	t.Parallel()
	one := root(t, "One")
	key, secret := keyPEM(t)
	twice := append(certs.Normalize(list(one)), certs.Normalize(list(one))...)
	got, err := certs.ParseCandidate(twice)
	if err != nil || len(got) != 1 {
		t.Errorf("a certificate given twice: %d, %v", len(got), err)
	}
	_, err = certs.ParseCandidate(append(twice, key...))
	if !errors.Is(err, certs.ErrPrivateKey) {
		t.Errorf("a private key beside a certificate: %v", err)
	}
	if text := err.Error() + plugins.HintOf(err); strings.Contains(text, secret) || plugins.HintOf(err) == "" {
		t.Errorf("a private key: %s", text)
	}
}

func TestNormalize(t *testing.T) {
	t.Parallel()
	p := newPKI(t)
	want := list(p.leaf, p.root)
	got, err := certs.ParseBundle(certs.Normalize(want))
	if err != nil || len(got.Findings) > 0 {
		t.Fatalf("clean PEM has findings: %v %v", got.Findings, err)
	}
	if diff := cmp.Diff(raws(want), raws(got.Certs)); diff != "" {
		t.Errorf("through PEM and back (-want, +got):\n%s", diff)
	}
	if !bytes.HasSuffix(certs.Normalize(want), []byte("-----END CERTIFICATE-----\n")) {
		t.Error("it does not end with a newline: what is appended to the file would be glued to it")
	}
	if got := certs.Normalize(nil); len(got) != 0 {
		t.Errorf("of nothing: %q", got)
	}
}

func raws(cs []*x509.Certificate) []string {
	var out []string
	for _, c := range cs {
		out = append(out, certs.Fingerprint(c))
	}
	return out
}

func TestRoots(t *testing.T) {
	t.Parallel()
	one, two, three := root(t, "One"), root(t, "Two"), root(t, "Three")
	key, secret := keyPEM(t)
	roots := certs.NewRoots(map[string][]byte{
		"/etc/ssl/certs/one.pem":    certs.Normalize(list(one)),
		"/etc/ssl/certs/one-again":  certs.Normalize(list(one)),
		"/etc/ssl/certs/bom.pem":    append([]byte("\ufeff"), certs.Normalize(list(two))...),
		"/etc/ssl/certs/partly.pem": append(append([]byte("\ufeff"), certs.Normalize(list(two))...), certs.Normalize(list(three))...),
		"/etc/ssl/certs/key.pem":    key,
	})
	if diff := cmp.Diff([]bool{true, false, true}, []bool{roots.Has(one.Certificate), roots.Has(two.Certificate), roots.Has(three.Certificate)}); diff != "" {
		t.Errorf("trusted: one, two (never readable), three (-want, +got):\n%s", diff)
	}
	if roots.Len() != 2 {
		t.Errorf("%d certificates, want 2: one of them lies there twice", roots.Len())
	}
	ignored := roots.Ignored()
	for _, path := range []string{"/etc/ssl/certs/bom.pem", "/etc/ssl/certs/partly.pem", "/etc/ssl/certs/key.pem"} {
		if ignored[path] == "" {
			t.Errorf("%s is not told as ignored", path)
		}
	}
	if len(ignored) != 3 || strings.Contains(strings.Join([]string{ignored["/etc/ssl/certs/key.pem"]}, ""), secret) {
		t.Errorf("ignored: %v", ignored)
	}
	ignored["x"] = "y"
	if len(roots.Ignored()) != 3 {
		t.Error("a caller can change what is ignored")
	}
	more := roots.With(two.Certificate, nil)
	if !more.Has(two.Certificate) || !more.Has(one.Certificate) || roots.Has(two.Certificate) || len(more.Ignored()) != 3 {
		t.Error("With must add to a copy")
	}
	var none *certs.Roots
	if none.Has(one.Certificate) || none.Len() != 0 || len(none.Ignored()) != 0 || none.Pool() == nil || !none.With(one.Certificate).Has(one.Certificate) {
		t.Error("nil roots must trust nothing and not crash")
	}
}

func FuzzParseBundle(f *testing.F) {
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"))
	f.Add([]byte("-----BEGIN TRUSTED CERTIFICATE-----\nProc-Type: 4\n\nMIIB\n-----END TRUSTED CERTIFICATE----------BEGIN CERTIFICATE-----"))
	f.Add([]byte("\xff\xfe-\x00-\x00B\x00"))
	f.Add([]byte("LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUMuLi4="))
	f.Add([]byte("-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n"))
	f.Add([]byte{0x30, 0x82, 0x01, 0x00})
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := certs.ParseBundle(data)
		if takes := len(data) <= 1<<20 && x509.NewCertPool().AppendCertsFromPEM(data); takes != (err == nil) {
			t.Fatalf("Go takes something is %v, error is %v", takes, err)
		}
		if err != nil && len(b.Certs) > 0 {
			t.Fatal("an error beside certificates")
		}
		for _, found := range b.Findings {
			if found.Text == "" || found.Kind == "" {
				t.Fatalf("an empty finding: %+v", found)
			}
		}
		if again, err := certs.ParseBundle(certs.Normalize(b.Certs)); len(b.Certs) > 0 && (err != nil || len(again.Certs) != len(b.Certs)) {
			t.Fatalf("normalized: %d of %d, %v", len(again.Certs), len(b.Certs), err)
		}
	})
}
