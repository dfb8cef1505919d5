// Package workflows holds the example workflows, so that tkgfix can hand one out where there is no checkout.
package workflows

import _ "embed" // the workflows are files of their own, as users have them

// The names of the examples' files.
const (
	// DocumentedFixFile is the vendor's procedure, to the letter.
	DocumentedFixFile = "documented-fix.yaml"
	// RegistryTrustFile is the gentlest way that works.
	RegistryTrustFile = "registry-trust.yaml"
)

//go:embed documented-fix.yaml
var documentedFix []byte

//go:embed registry-trust.yaml
var registryTrust []byte

// DocumentedFix returns the workflow of the vendor's procedure, as bytes of YAML.
func DocumentedFix() []byte { return documentedFix }

// RegistryTrust returns the workflow that mends a cluster's trust the gentlest way that works, as bytes of YAML.
func RegistryTrust() []byte { return registryTrust }

// Named returns the example whose file has that name, without a folder; false if there is none.
func Named(file string) ([]byte, bool) {
	switch file {
	case DocumentedFixFile:
		return documentedFix, true
	case RegistryTrustFile:
		return registryTrust, true
	}
	return nil, false
}
