package vm

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// Family is a kind of operating system of nodes: where it keeps what it trusts, and how that comes about (tkg-facts.md §2).
type Family string

// The families.
const (
	Photon Family = ""
	Ubuntu Family = "ubuntu"
	RHEL   Family = "rhel"
)

const (
	certsDir     = "etc/ssl/certs"
	photonBundle = "etc/pki/tls/certs/ca-bundle.crt"
	ubuntuBundle = "etc/ssl/certs/ca-certificates.crt"
	rhelBundle   = "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"
	ubuntuSource = "usr/local/share/ca-certificates"
	rhelSource   = "etc/pki/ca-trust/source/anchors"
)

// Name is what a Node object and a Machine call the operating system.
func (f Family) Name() string {
	switch f {
	case Ubuntu:
		return "Ubuntu 22.04.4 LTS"
	case RHEL:
		return "Red Hat Enterprise Linux 9.4 (Plow)"
	}
	return "VMware Photon OS/Linux"
}

// release is os-release.
func (f Family) release() string {
	switch f {
	case Ubuntu:
		return "PRETTY_NAME=\"Ubuntu 22.04.4 LTS\"\nNAME=\"Ubuntu\"\nVERSION_ID=\"22.04\"\nVERSION=\"22.04.4 LTS (Jammy Jellyfish)\"\nID=ubuntu\nID_LIKE=debian\n"
	case RHEL:
		return "NAME=\"Red Hat Enterprise Linux\"\nVERSION=\"9.4 (Plow)\"\nID=\"rhel\"\nID_LIKE=\"fedora\"\nVERSION_ID=\"9.4\"\nPRETTY_NAME=\"" + RHEL.Name() + "\"\n"
	}
	return "NAME=\"VMware Photon OS\"\nVERSION=\"5.0\"\nID=photon\nVERSION_ID=5.0\nPRETTY_NAME=\"VMware Photon OS/Linux\"\nANSI_COLOR=\"1;34\"\n"
}

// renderTrust writes each entry as cloud-init does, and then does what the family's own command does with it.
func renderTrust(root string, family Family, system []byte, entries []Trust) error {
	dir, bundle := certsDir, photonBundle
	switch family {
	case Ubuntu:
		dir, bundle = ubuntuSource, ubuntuBundle
	case RHEL:
		dir, bundle = rhelSource, rhelBundle
	}
	for _, d := range folders(family, dir, bundle) {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return fmt.Errorf("making the folders of trust: %w", err)
		}
	}
	var files []string
	for _, entry := range entries {
		data, ok := entry.decode()
		// A name with a slash would leave the folder. The CRD refuses such names; this is the second lock.
		if !ok || filepath.Base(entry.fileName()) != entry.fileName() {
			continue
		}
		name := entry.fileName()
		if family == Ubuntu {
			name = strings.TrimSuffix(name, ".pem") + ".crt" // the commands of tkg-facts.md §9.5 move it there
		}
		if err := os.WriteFile(filepath.Join(root, dir, name), data, 0o644); err != nil {
			return fmt.Errorf("writing trust entry %s: %w", entry.Name, err)
		}
		files = append(files, name)
	}
	var err error
	switch family {
	case Ubuntu:
		err = updateCACertificates(root, system, files)
	case RHEL:
		err = updateCATrust(root, system, files)
	default:
		err = rehashCACertificates(root, system)
	}
	if err != nil {
		return fmt.Errorf("joining trust files: %w", err)
	}
	return nil
}

// folders are those that hold trust. RHEL has the path of Photon's bundle too, as a link.
func folders(family Family, dir, bundle string) []string {
	out := []string{certsDir, dir, filepath.Dir(bundle)}
	if family == RHEL {
		out = append(out, filepath.Dir(photonBundle))
	}
	return out
}

// rehashCACertificates joins everything in the folder into the bundle, as Photon's rehash_ca_certificates.sh does with cat: a PEM
// without a newline at its end glues to the next one.
func rehashCACertificates(root string, system []byte) error {
	dir := filepath.Join(root, certsDir)
	if err := os.WriteFile(filepath.Join(dir, "public-web-root.pem"), system, 0o644); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.pem"))
	if err != nil {
		return err
	}
	sort.Strings(files)
	var bundle []byte
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		bundle = append(bundle, data...)
	}
	return os.WriteFile(filepath.Join(root, photonBundle), bundle, 0o644)
}

// updateCACertificates does what update-ca-certificates of Debian and Ubuntu does: each file gets a newline at its end if it has
// none, is appended to the bundle, and is linked to from the folder by its name with a few characters replaced.
func updateCACertificates(root string, system []byte, files []string) error {
	sort.Strings(files)
	bundle := bytes.Clone(system)
	if err := os.WriteFile(filepath.Join(root, certsDir, "public-web-root.pem"), system, 0o644); err != nil {
		return err
	}
	for _, name := range files {
		data, err := os.ReadFile(filepath.Join(root, ubuntuSource, name))
		if err != nil {
			return err
		}
		bundle = append(bundle, data...)
		if len(data) > 0 && data[len(data)-1] != '\n' {
			bundle = append(bundle, '\n')
		}
		link := strings.NewReplacer(" ", "_", "(", "=", ")", "=", ",", "_").Replace(strings.TrimSuffix(name, ".crt")) + ".pem"
		if err := os.Symlink("/"+filepath.Join(ubuntuSource, name), filepath.Join(root, certsDir, link)); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(root, ubuntuBundle), bundle, 0o644)
}

// updateCATrust does what update-ca-trust of RHEL does: it extracts what it can read of the anchors into one bundle, to which the
// older paths are links.
func updateCATrust(root string, system []byte, files []string) error {
	sort.Strings(files)
	bundle := bytes.Clone(system)
	for _, name := range files {
		data, err := os.ReadFile(filepath.Join(root, rhelSource, name))
		if err != nil {
			return err
		}
		bundle = append(bundle, certificates(data)...)
	}
	if err := os.WriteFile(filepath.Join(root, rhelBundle), bundle, 0o644); err != nil {
		return err
	}
	for _, link := range []string{photonBundle, certsDir + "/ca-bundle.crt"} {
		if err := os.Symlink("/"+rhelBundle, filepath.Join(root, link)); err != nil {
			return err
		}
	}
	return nil
}

// certificates returns the certificates of a file that p11-kit reads: PEM or one in DER. Other bytes are passed over.
func certificates(data []byte) []byte {
	if c, err := x509.ParseCertificate(data); err == nil {
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
	}
	var out []byte
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			out = append(out, pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes})...)
		}
	}
	return out
}
