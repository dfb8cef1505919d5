package certs

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"regexp"
	"strings"
	"unicode/utf16"
)

var (
	// blockPattern finds what was meant as a certificate block, however it was mangled: other dashes, other white space, glued.
	blockPattern = regexp.MustCompile(`(?s)BEGIN\s+(TRUSTED |X509 )?CERTIFICATE(.*?)(?:END\s+(?:TRUSTED |X509 )?CERTIFICATE|\z)`)
	glued        = regexp.MustCompile(`-----END [A-Z0-9 ]+-----[ \t]*-----BEGIN`)
	indented     = regexp.MustCompile(`(?m)^[ \t]+-----BEGIN`)
	manyDashes   = regexp.MustCompile(`------BEGIN|BEGIN CERTIFICATE------`)
	otherDashes  = regexp.MustCompile(`[‐-―−﹘﹣－]|- -+-|-{1,4} +-`)
	keyWords     = regexp.MustCompile(`BEGIN [A-Z0-9 ]*PRIVATE KEY`)
)

// inspect says what is unusual about the bytes, and reads what Go drops as far as it can be read.
func (b *Bundle) inspect(data []byte) {
	taken := len(b.Certs)
	if len(bytes.TrimSpace(data)) == 0 {
		b.note(KindEmpty, true, "it is empty")
		return
	}
	if cs, err := x509.ParseCertificates(data); err == nil && len(cs) > 0 && taken == 0 {
		b.note(KindDER, true, "it is DER (binary), not PEM, which Go drops")
		b.Recoverable = cs
		return
	}
	text, wide := asText(data)
	if wide {
		b.note(KindUTF16, true, "it is UTF-16 text, which Go drops")
	}
	if keyWords.MatchString(text) {
		b.note(KindPrivateKey, true, "a private key; it is not shown")
	}
	if taken == 0 && !strings.Contains(text, "BEGIN") {
		b.inspectBase64(text)
		return
	}
	b.Recoverable = b.lost(text)
	b.shape(text, len(b.Recoverable) > 0 || taken == 0)
	if len(b.Recoverable) > 0 && b.dropped() == "" {
		b.note(KindUnparsable, true, "a certificate block in a shape that Go drops")
	}
}

// shape notes what the text looks like. lossy says that Go drops something of it.
func (b *Bundle) shape(text string, lossy bool) {
	if strings.HasPrefix(text, "\ufeff") {
		b.note(KindBOM, lossy, "a byte order mark before the first line")
	}
	if strings.Contains(text, "\r\n") {
		b.note(KindCRLF, false, "Windows line ends, which Go accepts")
	}
	if strings.Contains(text, `-----\n`) {
		b.note(KindEscaped, lossy, `backslash and n instead of line ends`)
	}
	if glued.MatchString(text) {
		b.note(KindGlued, lossy, "an END line and the next BEGIN on one line: Go drops certificates on both sides")
	}
	if indented.MatchString(text) {
		b.note(KindIndented, lossy, "white space before BEGIN")
	}
	if manyDashes.MatchString(text) {
		b.note(KindDashes, lossy, "more than five dashes around BEGIN")
	}
	if lossy && otherDashes.MatchString(text) {
		b.note(KindDashes, true, "dashes that are not five plain hyphens, as a word processor or wiki writes them")
	}
	begins, ends := strings.Count(text, "BEGIN CERTIFICATE"), strings.Count(text, "END CERTIFICATE")
	if begins > ends {
		b.note(KindTruncated, true, "a BEGIN line without its END line: the file is cut off")
	}
	if first := strings.Index(text, "-----BEGIN"); first > 0 && strings.TrimSpace(strings.TrimPrefix(text[:first], "\ufeff")) != "" && !lossy {
		b.note(KindSurrounding, false, "text before the first BEGIN line, which Go accepts")
	}
	if lossy && strings.Count(text, "\n") < 2 && strings.Contains(text, "BEGIN CERTIFICATE") && !b.has(KindEscaped) {
		b.note(KindUnparsable, true, "its line ends are gone")
	}
}

// inspectBase64 looks for PEM under further layers of base64, three at most, and for DER under one.
func (b *Bundle) inspectBase64(text string) {
	raw := []byte(text)
	for range 3 {
		next, err := base64.StdEncoding.DecodeString(stripSpace(string(raw)))
		if err != nil || len(next) == 0 {
			return
		}
		if cs, err := x509.ParseCertificates(next); err == nil && len(cs) > 0 {
			b.note(KindBase64, true, "it is the base64 of a certificate without its BEGIN and END lines")
			b.Recoverable = cs
			return
		}
		if bytes.Contains(next, []byte("BEGIN ")) {
			b.note(KindBase64, true, "it is base64 of PEM: encoded once too often")
			inner := Bundle{}
			inner.take(next)
			if keyWords.Match(next) {
				b.note(KindPrivateKey, true, "a private key; it is not shown")
			}
			b.Recoverable = inner.Certs
			return
		}
		raw = next
	}
}

// lost returns the certificates that a person would see in the text and Go does not take.
func (b *Bundle) lost(text string) []*x509.Certificate {
	taken := map[string]bool{}
	for _, c := range b.Certs {
		taken[string(c.Raw)] = true
	}
	var out []*x509.Certificate
	for _, m := range blockPattern.FindAllStringSubmatch(text, maxCerts) {
		c := readMangled(m[2])
		if c != nil && !taken[string(c.Raw)] {
			taken[string(c.Raw)] = true
			out = append(out, c)
		}
	}
	return out
}

// readMangled reads a certificate out of the body of a mangled block, nil if there is none.
func readMangled(body string) *x509.Certificate {
	body = strings.ReplaceAll(strings.ReplaceAll(body, `\r`, "\n"), `\n`, "\n")
	var b64 strings.Builder
	for line := range strings.Lines(body) {
		if strings.Contains(line, ": ") {
			continue // a PEM header
		}
		for _, r := range line {
			if r < 0x80 && (r == '+' || r == '/' || r == '=' || isAlnum(r)) {
				b64.WriteRune(r)
			}
		}
	}
	der, err := base64.StdEncoding.DecodeString(b64.String())
	if err != nil {
		return nil
	}
	var first asn1.RawValue // openssl's trusted format appends its own data to the certificate
	if _, err := asn1.Unmarshal(der, &first); err != nil {
		return nil
	}
	c, err := x509.ParseCertificate(first.FullBytes)
	if err != nil {
		return nil
	}
	return c
}

// asText returns the bytes as text, and whether they were UTF-16.
func asText(data []byte) (string, bool) {
	var big bool
	switch {
	case bytes.HasPrefix(data, []byte{0xff, 0xfe}):
	case bytes.HasPrefix(data, []byte{0xfe, 0xff}):
		big = true
	default:
		return string(data), false
	}
	units := make([]uint16, 0, len(data)/2)
	for i := 2; i+1 < len(data); i += 2 {
		lo, hi := uint16(data[i]), uint16(data[i+1])
		if big {
			lo, hi = hi, lo
		}
		units = append(units, hi<<8|lo)
	}
	return string(utf16.Decode(units)), true
}

func stripSpace(s string) string {
	return strings.Map(func(r rune) rune {
		if r == ' ' || r == '\n' || r == '\r' || r == '\t' {
			return -1
		}
		return r
	}, s)
}

func isAlnum(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z'
}

// printable bounds and cleans a word out of hostile input.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r > 0x7e {
			return '?'
		}
		return r
	}, s)
	return s[:min(len(s), 64)]
}
