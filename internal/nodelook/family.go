package nodelook

import "strings"

// The families of operating systems that TKG's nodes come in, by where they keep what they trust (tkg-facts.md §2).
const (
	// Photon keeps regular files in /etc/ssl/certs and joins them to /etc/pki/tls/certs/ca-bundle.crt.
	Photon = "photon"
	// Ubuntu keeps them in /usr/local/share/ca-certificates, with links in /etc/ssl/certs, and joins them to ca-certificates.crt there.
	Ubuntu = "ubuntu"
	// RHEL keeps them in /etc/pki/ca-trust/source/anchors and extracts bundles; nothing of them stays in /etc/ssl/certs.
	RHEL = "rhel"
	// OtherFamily is any other.
	OtherFamily = "other"
)

// family tells the family by ID and ID_LIKE of os-release.
func family(release []byte) string {
	p := properties(release)
	for _, id := range strings.Fields(strings.Trim(p["ID"], `"'`) + " " + strings.Trim(p["ID_LIKE"], `"'`)) {
		switch id {
		case "photon":
			return Photon
		case "ubuntu", "debian":
			return Ubuntu
		case "rhel", "fedora", "centos", "rocky", "almalinux", "ol", "amzn":
			return RHEL
		}
	}
	return OtherFamily
}

// TrustPath returns where a node of this family keeps the CA of a name, whether or not it is there.
func (l Look) TrustPath(name string) string {
	switch l.Family {
	case Ubuntu:
		return "/usr/local/share/ca-certificates/tkg-" + name + ".crt"
	case RHEL:
		return "/etc/pki/ca-trust/source/anchors/tkg-" + name + ".pem"
	}
	return "/etc/ssl/certs/tkg-" + name + ".pem"
}

// BundlePath returns the bundle that this family makes of the single files, empty for a family that is not known.
func (l Look) BundlePath() string {
	switch l.Family {
	case Photon, RHEL:
		return "/etc/pki/tls/certs/ca-bundle.crt"
	case Ubuntu:
		return "/etc/ssl/certs/ca-certificates.crt"
	}
	return ""
}
