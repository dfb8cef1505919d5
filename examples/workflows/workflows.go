// Package workflows holds the example workflows, so that tkgfix can hand one out where there is no checkout.
package workflows

import "embed"

// The files that others name.
const (
	// DocumentedFixFile is the vendor's procedure, to the letter.
	DocumentedFixFile = "documented-fix.yaml"
	// RegistryTrustFile is the gentlest way that works.
	RegistryTrustFile = "registry-trust.yaml"
	// RecreateFile is the last resort by itself.
	RecreateFile = "recreate.yaml"
)

// files are the workflows, as users have them.
//
//go:embed *.yaml
var files embed.FS

// DocumentedFix returns the workflow of the vendor's procedure, as bytes of YAML.
func DocumentedFix() []byte {
	source, _ := Named(DocumentedFixFile) // it is compiled in
	return source
}

// Named returns the example whose file has that name, without a folder; false if there is none.
func Named(file string) ([]byte, bool) {
	source, err := files.ReadFile(file)
	return source, err == nil
}
