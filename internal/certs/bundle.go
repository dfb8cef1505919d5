package certs

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/tkgfix/tkgfix/plugins"
)

// Bundle is what a file of certificates holds.
type Bundle struct {
	// Certs are the certificates that Go takes, in their order.
	Certs []*x509.Certificate
	// Recoverable are those that Go drops and that can be read once the findings are mended.
	Recoverable []*x509.Certificate
	// Findings say what is unusual about the bytes. None of them echoes the bytes.
	Findings []Finding
}

// Finding is something unusual in a file of certificates.
type Finding struct {
	Kind FindingKind `json:"kind"`
	Text string      `json:"text"`
	// Fatal says that Go drops a certificate because of it, or that the file must not be used.
	Fatal bool `json:"fatal"`
}

// FindingKind sorts findings.
type FindingKind string

// The kinds of finding (tkg-facts.md §6.3, tls-cases.md I01 to I19).
const (
	KindBOM         FindingKind = "bom"
	KindUTF16       FindingKind = "utf-16"
	KindCRLF        FindingKind = "crlf"
	KindGlued       FindingKind = "glued"
	KindIndented    FindingKind = "indented"
	KindDER         FindingKind = "der"
	KindTrusted     FindingKind = "trusted-certificate"
	KindPrivateKey  FindingKind = "private-key"
	KindHeaders     FindingKind = "headers"
	KindTruncated   FindingKind = "truncated"
	KindDashes      FindingKind = "dashes"
	KindEscaped     FindingKind = "escaped-newlines"
	KindBase64      FindingKind = "base64"
	KindOtherBlock  FindingKind = "other-block"
	KindUnparsable  FindingKind = "unparsable"
	KindSurrounding FindingKind = "surrounding-text"
	KindEmpty       FindingKind = "empty"
	KindPKCS7       FindingKind = "pkcs7"
)

// MaxFile bounds a file of certificates, in bytes. Bundles of whole systems stay below one MiB.
const MaxFile = 4 << 20

// maxCerts bounds what is read of one file; a full system bundle holds about 150.
const maxCerts = 4096

var (
	// ErrNoCertificate is a file of which Go takes nothing.
	ErrNoCertificate = errors.New("no certificate that Go can read")
	// ErrPrivateKey is a file with a private key where only certificates belong.
	ErrPrivateKey = errors.New("a private key is in it")
)

// ParseBundle reads PEM as Go's AppendCertsFromPEM does. The error, which wraps ErrNoCertificate and carries a hint, is for a
// file of which Go takes nothing; the bundle then still holds the findings. A private key is a finding and never echoed.
func ParseBundle(data []byte) (Bundle, error) {
	var b Bundle
	if len(data) > MaxFile {
		return b, plugins.Hint(fmt.Errorf("%w: larger than %d bytes", ErrNoCertificate, MaxFile), "give a file of certificates")
	}
	b.take(data)
	b.inspect(data)
	if len(b.Certs) > 0 {
		return b, nil
	}
	reason := b.dropped()
	if reason == "" {
		reason = "no PEM block in it"
	}
	return b, plugins.Hint(fmt.Errorf("%w: %s", ErrNoCertificate, reason), "%s", b.hint())
}

// ParseCandidate reads what a person gave as CA. It is stricter than ParseBundle: the error, which carries a hint, is also for a
// private key (it wraps ErrPrivateKey) and for a file of which Go would drop a part. It returns each certificate once.
func ParseCandidate(data []byte) ([]*x509.Certificate, error) {
	b, err := ParseBundle(data)
	if b.has(KindPrivateKey) {
		return nil, plugins.Hint(ErrPrivateKey, "%s", "keep private keys off this file: give the certificate alone, and replace the key if the file was ever shared or stored in a cluster")
	}
	if err != nil {
		return nil, err
	}
	if dropped := b.dropped(); dropped != "" {
		return nil, plugins.Hint(fmt.Errorf("Go would take only %d of the certificates: %s", len(b.Certs), dropped), "%s", b.hint())
	}
	seen := map[string]bool{}
	var out []*x509.Certificate
	for _, c := range b.Certs {
		if !seen[string(c.Raw)] {
			seen[string(c.Raw)] = true
			out = append(out, c)
		}
	}
	return out, nil
}

// Normalize returns the certificates as clean PEM with a trailing newline, and nothing for none.
func Normalize(certs []*x509.Certificate) []byte {
	var out []byte
	for _, c := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out
}

// take does what x509.CertPool.AppendCertsFromPEM does, and tells what it skips.
func (b *Bundle) take(data []byte) {
	rest := data
	for len(b.Certs) < maxCerts {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return
		}
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			b.note(KindPrivateKey, true, "a private key; it is not shown")
			continue
		}
		switch {
		case block.Type == "TRUSTED CERTIFICATE":
			b.note(KindTrusted, true, "BEGIN TRUSTED CERTIFICATE, openssl's own format, which Go drops")
			continue
		case block.Type == "PKCS7" || block.Type == "CMS":
			b.note(KindPKCS7, true, "PKCS#7, which Go drops")
			continue
		case block.Type != "CERTIFICATE":
			b.note(KindOtherBlock, false, "a PEM block that is no certificate: "+printable(block.Type))
			continue
		case len(block.Headers) != 0:
			b.note(KindHeaders, true, "a certificate block with PEM headers, which Go drops")
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			b.note(KindUnparsable, true, "a certificate that Go refuses: "+err.Error())
			continue
		}
		b.Certs = append(b.Certs, c)
	}
}

func (b *Bundle) note(kind FindingKind, fatal bool, text string) {
	for i, f := range b.Findings {
		if f.Kind == kind && f.Text == text {
			b.Findings[i].Fatal = f.Fatal || fatal
			return
		}
	}
	b.Findings = append(b.Findings, Finding{Kind: kind, Text: text, Fatal: fatal})
}

func (b *Bundle) has(kind FindingKind) bool {
	for _, f := range b.Findings {
		if f.Kind == kind {
			return true
		}
	}
	return false
}

// dropped joins the findings because of which Go drops something.
func (b *Bundle) dropped() string {
	var texts []string
	for _, f := range b.Findings {
		if f.Fatal {
			texts = append(texts, f.Text)
		}
	}
	return strings.Join(texts, "; ")
}

func (b *Bundle) hint() string {
	for _, row := range []struct {
		kind FindingKind
		text string
	}{
		{KindPrivateKey, "put the CA certificate there instead, and replace the key: it must be taken for leaked"},
		{KindPKCS7, "openssl pkcs7 -print_certs -in FILE -out ca.pem"},
		{KindDER, "openssl x509 -inform der -in FILE -out ca.pem"},
		{KindTrusted, "openssl x509 -in FILE -out ca.pem"},
		{KindBase64, "base64 -d FILE > ca.pem"},
		{KindUTF16, "iconv -f UTF-16 -t ASCII FILE > ca.pem"},
		{KindTruncated, "export the certificate again: the file ends before -----END CERTIFICATE-----"},
	} {
		if b.has(row.kind) {
			return row.text
		}
	}
	if len(b.Recoverable) > 0 {
		return "export the certificate again as plain PEM: each BEGIN and END line alone on its line, five dashes, nothing before them"
	}
	return "give the CA certificate in PEM: it begins with -----BEGIN CERTIFICATE-----"
}
