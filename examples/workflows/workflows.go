// Package workflows holds the example workflows, so that tkgfix can hand one out where there is no checkout.
package workflows

import _ "embed" // the workflow is a file of its own, as users have it

//go:embed documented-fix.yaml
var documentedFix []byte

// DocumentedFix returns the workflow of the vendor's procedure, as bytes of YAML.
func DocumentedFix() []byte { return documentedFix }
