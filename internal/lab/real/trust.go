package real

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tkgfix/tkgfix/internal/lab/guest"
	"github.com/tkgfix/tkgfix/internal/lab/kubelet"
	"github.com/tkgfix/tkgfix/internal/lab/vm"
)

// Where a node's family has what it is to trust before its command takes that in (tkg-facts.md §2).
const (
	photonTrust = "etc/ssl/certs"
	photonTool  = "rehash_ca_certificates.sh"
	ubuntuTrust = "usr/local/share/ca-certificates"
	ubuntuTool  = "update-ca-certificates"
)

// rehash does what Photon's script of its name does: openssl finds certificates by their hashes, others in one file.
const rehash = `#!/bin/sh
openssl rehash /etc/ssl/certs
cat /etc/ssl/certs/*.pem >/etc/pki/tls/certs/ca-bundle.crt
`

// Supported says why machines of the profile cannot be real; nil if they can.
func Supported(profile guest.Profile) error {
	switch {
	case profile.Family != vm.Photon && profile.Family != vm.Ubuntu:
		return fmt.Errorf("a real node cannot be %s: Debian has no update-ca-trust", profile.Family.Name())
	case profile.Clock != 0:
		return errors.New("a real node has the clock of the machine")
	case profile.Kubelet != kubelet.Manner{}:
		return errors.New("a real node has the kubelet that there is")
	}
	return nil
}

// trustCommand is the command that takes the trust in at the first boot.
func (m *Machine) trustCommand() string {
	if m.spec.Profile.Family == vm.Ubuntu {
		return ubuntuTool
	}
	return photonTool
}

// trustFiles are the files of trust as cloud-init, and on Ubuntu the command before the tool, leave them.
func (m *Machine) trustFiles() []file {
	dir, ext := photonTrust, ".pem"
	if m.spec.Profile.Family == vm.Ubuntu {
		dir, ext = ubuntuTrust, ".crt"
	}
	files := []file{{dir + "/public-web-root" + ext, m.made.systemRoots, 0o644}}
	for _, entry := range m.spec.Trust {
		if name, data, ok := entry.File(); ok {
			files = append(files, file{dir + "/" + strings.TrimSuffix(name, ".pem") + ext, data, 0o644})
		}
	}
	if m.spec.Profile.Family == vm.Photon {
		files = append(files, file{"usr/local/bin/" + photonTool, []byte(rehash), 0o755})
	}
	return files
}
