package vm

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
)

// Where a Photon node keeps what it trusts (tkg-facts.md §2).
const (
	certsDir   = "etc/ssl/certs"
	bundleFile = "etc/pki/tls/certs/ca-bundle.crt"
)

// Trust is one entry of additionalTrustedCAs as it is stored: the name and the base64 text.
type Trust struct{ Name, Data string }

// fileName returns the node's file for an entry (tkg-facts.md §1.1: the name is used in the file's name).
func (t Trust) fileName() string { return "tkg-" + t.Name + ".pem" }

// decode undoes one layer of base64 as cloud-init does: Python's b64decode drops what is not of the alphabet and then refuses
// only wrong padding (tkg-facts.md §1.0). Whatever comes out is the file. No file is written when it refuses.
func (t Trust) decode() ([]byte, bool) {
	kept := make([]byte, 0, len(t.Data))
	for _, c := range []byte(t.Data) {
		switch {
		case c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '+', c == '/', c == '=':
			kept = append(kept, c)
		}
	}
	// Python stops at the first complete padding.
	if end := bytes.IndexByte(kept, '='); end >= 0 {
		for end < len(kept) && kept[end] == '=' && end%4 != 0 {
			end++
		}
		kept = kept[:end]
	}
	out, err := base64.StdEncoding.DecodeString(string(kept))
	return out, err == nil
}

// renderTrust writes each entry to the node's folder and joins everything there into the bundle, as Photon's
// rehash_ca_certificates.sh does with cat: a PEM without a newline at its end glues to the next one (tkg-facts.md §2).
func renderTrust(root string, system []byte, entries []Trust) error {
	dir := filepath.Join(root, certsDir)
	if err := os.WriteFile(filepath.Join(dir, "public-web-root.pem"), system, 0o644); err != nil {
		return fmt.Errorf("writing the system's roots: %w", err)
	}
	for _, entry := range entries {
		data, ok := entry.decode()
		// A name with a slash would leave the folder. The CRD refuses such names; this is the second lock.
		if !ok || filepath.Base(entry.fileName()) != entry.fileName() {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, entry.fileName()), data, 0o644); err != nil {
			return fmt.Errorf("writing trust entry %s: %w", entry.Name, err)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.pem"))
	if err != nil {
		return fmt.Errorf("listing trust files: %w", err)
	}
	sort.Strings(files)
	var bundle []byte
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("joining trust files: %w", err)
		}
		bundle = append(bundle, data...)
	}
	if err := os.WriteFile(filepath.Join(root, bundleFile), bundle, 0o644); err != nil {
		return fmt.Errorf("writing the bundle: %w", err)
	}
	return nil
}

// Roots loads what a Go program on the node trusts, by Go's rules: the first bundle file that exists and every file of the two
// folders; files that do not parse count for nothing, without a word (crypto/x509 root_unix.go, root_linux.go; tkg-facts.md §2).
func Roots(root string) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, name := range []string{
		"etc/ssl/certs/ca-certificates.crt", bundleFile, "etc/ssl/ca-bundle.pem", "etc/pki/tls/cacert.pem",
		"etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "etc/ssl/cert.pem",
	} {
		data, err := readInside(root, name)
		if err == nil {
			pool.AppendCertsFromPEM(data)
			break
		}
	}
	for _, dir := range []string{certsDir, "etc/pki/tls/certs"} {
		entries, err := os.ReadDir(filepath.Join(root, dir))
		if err != nil {
			continue
		}
		for _, entry := range entries {
			if entry.Type()&fs.ModeSymlink != 0 && !linkLeavesDir(filepath.Join(root, dir, entry.Name())) {
				continue
			}
			if data, err := readInside(root, filepath.Join(dir, entry.Name())); err == nil {
				pool.AppendCertsFromPEM(data)
			}
		}
	}
	return pool
}

// linkLeavesDir says whether a symbolic link points to another folder. Go skips the others: they are the hash links of files
// that it reads anyway.
func linkLeavesDir(path string) bool {
	target, err := os.Readlink(path)
	return err == nil && filepath.Base(target) != target
}

// readInside reads a file of the node without ever following a link out of its root.
func readInside(root, name string) ([]byte, error) {
	r, err := os.OpenRoot(root)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return r.ReadFile(name)
}
