package probe

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/plugins"
)

const (
	// maxFiles and maxBytes bound a folder of the trust.
	maxFiles = 8192
	maxBytes = 64 << 20
	// maxCRLs bounds the revocation lists that are taken out of files.
	maxCRLs = 64
)

// Trust is what a program in Go would trust, and what it would drop without a word.
type Trust struct {
	// Roots are the certificates that Go takes.
	Roots *certs.Roots
	// Files counts the files that were read.
	Files int
	// Rejected are the files of which Go drops something.
	Rejected []Rejected
	// File and Dir are the paths that openssl is given; both are empty for the system's own.
	File, Dir string

	certs  []*x509.Certificate
	broken []broken
	crls   []*x509.RevocationList
}

// broken is a file of which Go drops something, with what a person would read in it.
type broken struct {
	path   string
	bundle certs.Bundle
	data   []byte
}

// TrustOf returns the trust of files that were read elsewhere, such as on a node, by path.
func TrustOf(files map[string][]byte) Trust {
	var t Trust
	for _, path := range slices.Sorted(maps.Keys(files)) {
		t.take(path, files[path])
	}
	return t.done()
}

// With returns a copy that holds more certificates.
func (t Trust) With(more ...*x509.Certificate) Trust {
	t.Roots = t.Roots.With(more...)
	return t
}

// LoadTrust reads a bundle, or each file of a folder, as Go reads SSL_CERT_FILE and SSL_CERT_DIR. What Go cannot read is skipped and
// reported; a path that is not there, is no file, or is larger than certs.MaxFile is an error with a hint. It blocks on the disk.
func LoadTrust(path string) (Trust, error) {
	var t Trust
	info, err := os.Stat(path)
	if err != nil {
		return t, plugins.Hint(fmt.Errorf("read the roots: %w", err), "give a file of certificates, or a folder of such files")
	}
	if info.IsDir() {
		t.Dir = path
		err := t.folder(path)
		return t.done(), err
	}
	data, err := readFile(path)
	if err != nil {
		return t, plugins.Hint(fmt.Errorf("read the roots: %w", err), "give a file of certificates, or a folder of such files")
	}
	t.File = path
	t.take(path, data)
	return t.done(), nil
}

// SystemTrust reads what a program in Go trusts on this machine: SSL_CERT_FILE or the first bundle there is, and each file of
// SSL_CERT_DIR or the usual folders. It blocks on the disk.
func SystemTrust(getenv func(string) string) (Trust, error) {
	files := []string{
		"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/pki/tls/cacert.pem",
		"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/ssl/cert.pem",
	}
	dirs := []string{"/etc/ssl/certs", "/etc/pki/tls/certs"}
	if f := getenv("SSL_CERT_FILE"); f != "" {
		files = []string{f}
	}
	if d := getenv("SSL_CERT_DIR"); d != "" {
		dirs = strings.Split(d, ":")
	}
	var t Trust
	for _, f := range files {
		data, err := readFile(f)
		if err == nil {
			t.take(f, data)
			break
		}
		if !errors.Is(err, os.ErrNotExist) {
			t.reject(f, err.Error())
		}
	}
	for _, d := range dirs {
		if err := t.folder(d); err != nil && !errors.Is(err, os.ErrNotExist) {
			return t.done(), err
		}
	}
	return t.done(), nil
}

// done makes the roots of what was taken.
func (t Trust) done() Trust {
	t.Roots = certs.NewRoots(nil).With(t.certs...)
	return t
}

// folder reads each file of a folder. Links to files of the same folder are left out, as Go does: their targets are read anyway.
func (t *Trust) folder(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("read the roots: %w", err)
	}
	total := 0
	for i, e := range entries {
		path := filepath.Join(dir, e.Name())
		if i == maxFiles || total > maxBytes {
			t.reject(path, "this file and those after it were not read: the folder holds too much")
			return nil
		}
		if to, err := os.Readlink(path); err == nil && !strings.Contains(to, "/") {
			continue
		}
		info, err := os.Stat(path)
		if err != nil || info.IsDir() {
			continue
		}
		data, err := readFile(path)
		if err != nil {
			t.reject(path, err.Error())
			continue
		}
		total += len(data)
		t.take(path, data)
	}
	return nil
}

// take adds what Go takes of a file, and notes what it drops.
func (t *Trust) take(path string, data []byte) {
	t.Files++
	bundle, err := certs.ParseBundle(data)
	t.certs = append(t.certs, bundle.Certs...)
	t.revocations(data)
	var fatal []string
	for _, f := range bundle.Findings {
		if f.Fatal {
			fatal = append(fatal, f.Text)
		}
	}
	if err == nil && len(fatal) == 0 {
		return
	}
	reason := strings.Join(fatal, "; ")
	switch {
	case reason == "":
		reason = err.Error()
	case len(bundle.Certs) > 0:
		reason = fmt.Sprintf("only %d certificates taken: %s", len(bundle.Certs), reason)
	}
	t.reject(path, reason)
	t.broken = append(t.broken, broken{path: path, bundle: bundle, data: data})
}

func (t *Trust) reject(path, reason string) {
	t.Rejected = append(t.Rejected, Rejected{File: certs.Clean(path), Reason: certs.Clean(reason)})
}

func (t *Trust) revocations(data []byte) {
	for len(t.crls) < maxCRLs && bytes.Contains(data, []byte("-----BEGIN X509 CRL-----")) {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return
		}
		if block.Type != "X509 CRL" {
			continue
		}
		if list, err := x509.ParseRevocationList(block.Bytes); err == nil {
			t.crls = append(t.crls, list)
		}
	}
}

// revoked says whether a revocation list at hand, signed by the issuer, names the certificate; known says whether there is a list.
func (t Trust) revoked(leaf, issuer *x509.Certificate) (revoked, known bool) {
	if issuer == nil {
		return false, false
	}
	for _, list := range t.crls {
		if !bytes.Equal(list.RawIssuer, leaf.RawIssuer) || list.CheckSignatureFrom(issuer) != nil {
			continue
		}
		known = true
		for _, e := range list.RevokedCertificateEntries {
			if e.SerialNumber != nil && e.SerialNumber.Cmp(leaf.SerialNumber) == 0 {
				return true, true
			}
		}
	}
	return false, known
}

// recoverable returns what a person would read in the broken files and Go drops.
func (t Trust) recoverable() []*x509.Certificate {
	var out []*x509.Certificate
	for _, b := range t.broken {
		out = append(out, b.bundle.Recoverable...)
	}
	return out
}

// culprit returns the file of the trust that would have mended the chain if Go could read it, and the verdict on it. accepts says
// whether the chain is accepted with these certificates added. end is the certificate whose issuer is missing.
func (t Trust) culprit(accepts func(...*x509.Certificate) bool, end *x509.Certificate) (id, path string) {
	for _, b := range t.broken {
		if len(b.bundle.Recoverable) > 0 && accepts(b.bundle.Recoverable...) {
			return trustFile + kindOf(b.bundle), b.path
		}
	}
	for _, b := range t.broken {
		if holdsPart(b.data, end) {
			return trustFile + string(certs.KindTruncated), b.path
		}
	}
	// A file that is all the trust there is and from which nothing can be read cannot be another's fault.
	if t.Roots.Len() == 0 && len(t.broken) == 1 && len(t.recoverable()) == 0 {
		return trustFile + kindOf(t.broken[0].bundle), t.broken[0].path
	}
	return "", ""
}

// kindOf is the finding because of which a file is dropped: the most telling one.
func kindOf(b certs.Bundle) string {
	for _, kind := range []certs.FindingKind{
		certs.KindPrivateKey, certs.KindUTF16, certs.KindBase64, certs.KindPKCS7, certs.KindDER, certs.KindTrusted, certs.KindHeaders, certs.KindBOM,
		certs.KindEscaped, certs.KindGlued, certs.KindDashes, certs.KindIndented, certs.KindTruncated, certs.KindEmpty,
	} {
		for _, f := range b.Findings {
			if f.Kind == kind && (f.Fatal || len(b.Certs) == 0) {
				return string(kind)
			}
		}
	}
	return string(certs.KindUnparsable)
}

// holdsPart says whether a file that is cut off holds the begin of the issuer of a certificate: its name stands in the part
// that is left.
func holdsPart(data []byte, end *x509.Certificate) bool {
	if end == nil || len(end.RawIssuer) < 8 {
		return false
	}
	_, rest, found := strings.Cut(string(data), "-----BEGIN CERTIFICATE-----")
	for found {
		var body string
		body, rest, found = strings.Cut(rest, "-----BEGIN CERTIFICATE-----")
		if strings.Contains(body, "-----END") {
			continue
		}
		clean := strings.Map(func(r rune) rune {
			if r == '\n' || r == '\r' || r == ' ' || r == '\t' {
				return -1
			}
			return r
		}, body)
		der, _ := base64.RawStdEncoding.DecodeString(clean[:len(clean)/4*4]) // what was read before an error counts
		if bytes.Count(der, end.RawIssuer) > 0 {
			return true
		}
	}
	return false
}

// readFile reads a file, bounded. A pipe or a device is an error: to open one may wait for ever.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", path)
	case info.Size() > certs.MaxFile:
		return nil, fmt.Errorf("%s is larger than %d bytes, which no file of certificates is", path, certs.MaxFile)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, certs.MaxFile+1))
	if err == nil && len(data) > certs.MaxFile {
		err = fmt.Errorf("%s is larger than %d bytes", path, certs.MaxFile)
	}
	return data, err
}

// LoadCandidate reads a CA file that a person offers. What Go would drop of it, a private key, and a file larger than certs.MaxFile
// are errors with a hint. It blocks on the disk.
func LoadCandidate(path string) ([]*x509.Certificate, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, plugins.Hint(fmt.Errorf("read the CA file: %w", err), "give the CA certificate in PEM")
	}
	found, err := certs.ParseCandidate(data)
	if err != nil {
		return nil, fmt.Errorf("CA file %s: %w", path, err)
	}
	return found, nil
}
