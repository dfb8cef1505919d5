// Package admission holds the policies by which an API server lets nobody decide or ask in another's name, nor say whose signatures count.
package admission

import _ "embed" // for the manifests

// The names of the policies, and of their bindings.
const (
	ApproverPolicy  = "tkgfix-approver"
	RequesterPolicy = "tkgfix-requester"
	SignersPolicy   = "tkgfix-signers"
)

// Approver is the manifest of the ValidatingAdmissionPolicy ApproverPolicy and its binding: two YAML documents.
//
//go:embed approver.yaml
var Approver []byte

// Requester is that of RequesterPolicy, and Signers that of SignersPolicy.
//
//go:embed requester.yaml
var Requester []byte

//go:embed signers.yaml
var Signers []byte
