// Package workflows holds the example workflows, so that tkgfix can hand one out where there is no checkout.
package workflows

import _ "embed" // the workflows are files of their own, as users have them

// The names of the examples' files.
const (
	// DocumentedFixFile is the vendor's procedure, to the letter.
	DocumentedFixFile = "documented-fix.yaml"
	// RegistryTrustFile is the gentlest way that works.
	RegistryTrustFile = "registry-trust.yaml"
	// RecreateFile is the last resort by itself.
	RecreateFile = "recreate.yaml"
)

//go:embed documented-fix.yaml
var documentedFix []byte

//go:embed registry-trust.yaml
var registryTrust []byte

//go:embed recreate.yaml
var recreate []byte

// DocumentedFix returns the workflow of the vendor's procedure, as bytes of YAML.
func DocumentedFix() []byte { return documentedFix }

// Named returns the example whose file has that name, without a folder; false if there is none.
func Named(file string) ([]byte, bool) {
	switch file {
	case DocumentedFixFile:
		return documentedFix, true
	case RegistryTrustFile:
		return registryTrust, true
	case RecreateFile:
		return recreate, true
	}
	return nil, false
}
