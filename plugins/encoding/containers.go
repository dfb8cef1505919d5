package encoding

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// maxContained bounds the certificates that are read of one PKCS#7.
const maxContained = 4096

// pkcs7Certs returns the certificates of a PKCS#7 SignedData (RFC 2315 §9.1) in DER, and whether the bytes are one at all. The signature,
// if there is any, is of no interest. BER with lengths left open is known as PKCS#7 and not read: a parser for that is more than hostile
// bytes should meet here.
func pkcs7Certs(der []byte) ([]*x509.Certificate, bool) {
	signedData := []byte{0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02}
	head := der[:min(len(der), 32)]
	if !bytes.Contains(head, signedData) || len(der) == 0 || der[0] != 0x30 {
		return nil, false
	}
	var info, content, signed, certificates cryptobyte.String
	var version int
	var oid, algorithms, inner cryptobyte.String
	var present bool
	context := asn1.Tag(0).ContextSpecific().Constructed()
	input := cryptobyte.String(der)
	ok := input.ReadASN1(&info, asn1.SEQUENCE) &&
		info.ReadASN1(&oid, asn1.OBJECT_IDENTIFIER) &&
		info.ReadASN1(&content, context) &&
		content.ReadASN1(&signed, asn1.SEQUENCE) &&
		signed.ReadASN1Integer(&version) &&
		signed.ReadASN1(&algorithms, asn1.SET) &&
		signed.ReadASN1(&inner, asn1.SEQUENCE) &&
		signed.ReadOptionalASN1(&certificates, &present, context)
	if !ok || !present {
		return nil, true
	}
	var out []*x509.Certificate
	for !certificates.Empty() && len(out) < maxContained {
		var one cryptobyte.String
		var tag asn1.Tag
		if !certificates.ReadAnyASN1Element(&one, &tag) {
			return nil, true
		}
		c, err := x509.ParseCertificate(one)
		if err != nil {
			return nil, true
		}
		out = append(out, c)
	}
	return out, true
}

// pkcs7In returns the certificates of the PKCS#7 in a PEM text, and whether there is any. Windows' certificate services call such a block
// CERTIFICATE.
func pkcs7In(text []byte) ([]*x509.Certificate, bool) {
	var out []*x509.Certificate
	found := false
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return out, found
		}
		if certificates, ok := pkcs7Certs(block.Bytes); ok {
			out, found = append(out, certificates...), true
		}
	}
}

// isPKCS12 tells whether DER is a PKCS#12 store: a sequence of the version 3 and a ContentInfo (RFC 7292 §4).
func isPKCS12(der []byte) bool {
	var pfx, info, oid cryptobyte.String
	var version int
	input := cryptobyte.String(der)
	return input.ReadASN1(&pfx, asn1.SEQUENCE) && pfx.ReadASN1Integer(&version) && version == 3 &&
		pfx.ReadASN1(&info, asn1.SEQUENCE) && info.ReadASN1(&oid, asn1.OBJECT_IDENTIFIER)
}

// isPrivateKey tells whether DER is a private key: PKCS#8, plain or encrypted, PKCS#1, or that of RFC 5915. It goes by the shape, since
// a key of a kind that Go does not know leaks as well.
func isPrivateKey(der []byte) bool {
	var key, rest, oid cryptobyte.String
	input := cryptobyte.String(der)
	if !input.ReadASN1(&key, asn1.SEQUENCE) {
		return false
	}
	encrypted := key
	if encrypted.ReadASN1(&rest, asn1.SEQUENCE) && rest.ReadASN1(&oid, asn1.OBJECT_IDENTIFIER) &&
		encrypted.ReadASN1(&rest, asn1.OCTET_STRING) && encrypted.Empty() {
		return true
	}
	var version int
	if !key.ReadASN1Integer(&version) || version < 0 || version > 1 {
		return false
	}
	numbers := key
	for n := 1; n <= 8 && numbers.ReadASN1(&rest, asn1.INTEGER); n++ {
		if n >= 5 && numbers.Empty() { // RSA has eight numbers behind its version, DSA five
			return true
		}
	}
	sec1 := key
	if sec1.ReadASN1(&rest, asn1.OCTET_STRING) {
		return true
	}
	return key.ReadASN1(&rest, asn1.SEQUENCE) && rest.ReadASN1(&oid, asn1.OBJECT_IDENTIFIER) && key.ReadASN1(&rest, asn1.OCTET_STRING)
}
