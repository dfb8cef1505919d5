package vm

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
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

// Roots loads what a Go program on the node trusts, by Go's rules: the first bundle file that exists and every file of the two
// folders; files that do not parse count for nothing, without a word (crypto/x509 root_unix.go, root_linux.go; tkg-facts.md §2).
func Roots(root string) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, name := range []string{
		ubuntuBundle, photonBundle, "etc/ssl/ca-bundle.pem", "etc/pki/tls/cacert.pem",
		rhelBundle, "etc/ssl/cert.pem",
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

// maxLinks bounds the links that are followed to a file.
const maxLinks = 10

// tree is a node's file system. No link leads out of it: an absolute one is one within the node.
type tree string

// Open opens a file or folder for reading.
func (t tree) Open(name string) (fs.File, error) {
	r, err := os.OpenRoot(string(t))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	for range maxLinks {
		info, err := r.Lstat(name)
		if err != nil {
			return nil, err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			return r.Open(name)
		}
		target, err := r.Readlink(name)
		if err != nil {
			return nil, err
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join("/", filepath.Dir(name), target)
		}
		name = filepath.Clean(target)[1:]
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("too many links")}
}

// readInside reads a file of the node.
func readInside(root, name string) ([]byte, error) { return fs.ReadFile(tree(root), name) }
