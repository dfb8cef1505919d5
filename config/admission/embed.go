// Package admission holds the policies by which an API server lets nobody decide or ask in another's name.
package admission

import _ "embed" // for the manifests

// The names of the policies, and of their bindings.
const (
	ApproverPolicy  = "tkgfix-approver"
	RequesterPolicy = "tkgfix-requester"
)

// Approver is the manifest of the ValidatingAdmissionPolicy ApproverPolicy and its binding: two YAML documents.
//
//go:embed approver.yaml
var Approver []byte

// Requester is that of RequesterPolicy.
//
//go:embed requester.yaml
var Requester []byte
