package plan

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/gowebpki/jcs"

	"github.com/tkgfix/tkgfix/plugins"
)

// covered is what an approval covers. A field more or less is another format.
type covered struct {
	Format      string                  `json:"format"`
	Workflow    string                  `json:"workflowSHA256"`
	Inputs      []Input                 `json:"inputs"`
	Connections plugins.Connections     `json:"connections"`
	Signers     *Input                  `json:"allowedSigners"`
	Plugins     []Plugin                `json:"plugins"`
	Step        string                  `json:"step"`
	Effect      plugins.Effect          `json:"effect"`
	Changes     []plugins.PlannedChange `json:"changes"`
}

// Digest returns the digest of a step's changes as an approval names it: SHA-256 over the RFC 8785 canonical JSON of
// the workflow's bytes, the inputs, the connections, the plugins and the changes with their preconditions.
func (p *Plan) Digest(s Step) (string, error) {
	sum, err := canonicalSum(covered{
		Format: p.Format, Workflow: p.WorkflowSHA256, Inputs: p.Inputs, Connections: p.Connections,
		Signers: p.AllowedSigners, Plugins: p.Plugins, Step: s.ID, Effect: s.Effect, Changes: s.PlannedChanges(),
	})
	if err != nil {
		return "", fmt.Errorf("digest of step %s: %w", s.ID, err)
	}
	return sum, nil
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

// Diff says in words how the changes of a step differ from those that were approved, a line for each field that moved.
// It is empty if an approval of one covers the other.
func Diff(approved, now []plugins.PlannedChange) []string {
	var out []string
	for i := range max(len(approved), len(now)) {
		switch {
		case i >= len(now):
			out = append(out, fmt.Sprintf("no longer planned: %s %s", approved[i].Action, approved[i].Target))
		case i >= len(approved):
			out = append(out, fmt.Sprintf("newly planned: %s %s", now[i].Action, now[i].Target))
		default:
			out = append(out, diffChange(approved[i], now[i])...)
		}
	}
	return out
}

func diffChange(a, b plugins.PlannedChange) []string {
	if a.Action != b.Action || a.Target != b.Target {
		return []string{fmt.Sprintf("%s %s (uid %s) became %s %s (uid %s)", a.Action, a.Target, a.Target.UID, b.Action, b.Target, b.Target.UID)}
	}
	var out []string
	was := map[string]string{}
	for _, p := range a.Preconditions {
		was[p.Target.String()+" "+p.Field] = p.Value
	}
	for _, p := range b.Preconditions {
		field := p.Target.String() + " " + p.Field
		if old := was[field]; old != p.Value {
			out = append(out, fmt.Sprintf("%s moved from %s to %s", field, orNone(old), p.Value))
		}
	}
	a.Preconditions, b.Preconditions = nil, nil
	left, err := Canonical(a)
	right, err2 := Canonical(b)
	if err != nil || err2 != nil || !bytes.Equal(left, right) {
		out = append(out, fmt.Sprintf("%s %s: the content of the change is another", b.Action, b.Target))
	}
	return out
}

func orNone(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}
