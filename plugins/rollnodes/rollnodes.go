// Package rollnodes is the step roll-nodes: it has the workers replaced that are older than what is declared in the trust of their cluster,
// by deleting their Machines one after the other. The first replacement proves that new nodes get what is declared before a second
// machine is touched.
package rollnodes

import (
	"encoding/json"

	"github.com/tkgfix/tkgfix/internal/inputfile"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/internal/remedy"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

// Name is the word for uses:.
const Name = "roll-nodes"

const inputSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["cluster", "registry", "ca"],
  "properties": {
    "cluster": {"type": "string", "description": "namespace/name of the cluster"},
    "registry": {"type": "string", "description": "host[:port] of the registry that its pods cannot pull from"},
    "ca": {"type": "string", "description": "absolute path of the PEM file with the CA that is declared and that the nodes lack"}
  }
}`

const outputSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["cluster", "rolled"],
  "properties": {
    "cluster": {"type": "string", "description": "namespace/name of the cluster"},
    "rolled": {"type": "array", "description": "the nodes that are replaced, by name", "items": {"type": "string"}}
  }
}`

type input struct {
	Cluster  string `json:"cluster"`
	Registry string `json:"registry"`
	CA       string `json:"ca"`
}

type output struct {
	Cluster string   `json:"cluster"`
	Rolled  []string `json:"rolled"`
}

type step struct{ env sdk.Env }

var _ plugins.Step = step{}

// New returns the step.
func New(env sdk.Env) plugins.Step { return step{env: env.Complete()} }

// Describe says what the step is.
func (step) Describe() plugins.Description {
	return plugins.Description{
		Name:        Name,
		Version:     "0.1.0",
		Summary:     "Has the workers replaced that are older than what is declared in their cluster's trust, one after the other.",
		Effect:      plugins.Change,
		Input:       json.RawMessage(inputSchema),
		Output:      json.RawMessage(outputSchema),
		Connections: []string{plugins.ConnSupervisor, plugins.ConnNodes},
	}
}

// request is the input with its file read.
type request struct{ remedy.Request }

func parse(raw json.RawMessage) (request, error) {
	in, err := sdk.Input[input](raw)
	if err != nil {
		return request{}, err
	}
	common, err := remedy.ReadRequest(in.Cluster, in.Registry)
	r := request{common}
	if err == nil {
		r.Candidate, err = inputfile.Candidate(in.CA)
	}
	return r, err
}
