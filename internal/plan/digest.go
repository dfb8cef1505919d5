package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/gowebpki/jcs"

	"github.com/tkgfix/tkgfix/plugins"
)

// covered is what an approval covers. A field more or less is another format.
type covered struct {
	Format      string              `json:"format"`
	Workflow    string              `json:"workflowSHA256"`
	Inputs      []Input             `json:"inputs"`
	Connections plugins.Connections `json:"connections"`
	Signers     *Input              `json:"allowedSigners"`
	Plugins     []Plugin            `json:"plugins"`
	Step        string              `json:"step"`
	Effect      plugins.Effect      `json:"effect"`
	// Supervisors are, by step or instance, those that are not the plan's.
	Supervisors map[string]plugins.Kube `json:"supervisors,omitempty"`
	Changes     []plugins.PlannedChange `json:"changes"`
}

// Digest returns the digest of a step's changes as an approval names it: SHA-256 over the RFC 8785 canonical JSON of
// the workflow's bytes, the inputs, the connections, the plugins, the Supervisors and the changes with their preconditions.
func (p *Plan) Digest(s Step) (string, error) {
	sum, err := canonicalSum(covered{
		Format: p.Format, Workflow: p.WorkflowSHA256, Inputs: p.Inputs, Connections: p.Connections,
		Signers: p.AllowedSigners, Plugins: p.Plugins, Step: s.ID, Effect: s.Effect, Supervisors: s.supervisors(), Changes: s.PlannedChanges(),
	})
	if err != nil {
		return "", fmt.Errorf("digest of step %s: %w", s.ID, err)
	}
	return sum, nil
}

// supervisors returns those, not the plan's, on which the step changes something, by the id of the step or instance.
func (s *Step) supervisors() map[string]plugins.Kube {
	out := map[string]plugins.Kube{}
	for _, in := range s.Each() {
		if in.Supervisor != nil && len(in.Changes) > 0 {
			out[in.ID] = *in.Supervisor
		}
	}
	return out
}

// Canonical returns the RFC 8785 canonical JSON of v.
func Canonical(v any) ([]byte, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	out, err := jcs.Transform(raw)
	if err != nil {
		return nil, fmt.Errorf("canonical form: %w", err)
	}
	return out, nil
}

func canonicalSum(v any) (string, error) {
	raw, err := Canonical(v)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(raw)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}
