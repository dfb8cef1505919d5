// Package clustertrust is the step patch-cluster-trust: it puts one CA into the trust of one cluster, in the way of the cluster's own
// generation, waits until the nodes are replaced, and proves from the new ones that the registry is trusted.
//
// A TanzuKubernetesCluster gets one entry of its list set. A Cluster gets the CA under a new key of a Secret and its variable pointed to
// that, since the bytes of a Secret alone replace no node (tkg-facts.md §2); the key that was replaced is retired at the end. Plan and Apply
// both go through perform; Plan gives it a client that only dry-runs. What Apply does is read from the approved changes alone.
package clustertrust

import (
	"encoding/json"
	"fmt"

	"github.com/tkgfix/tkgfix/internal/inputfile"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/internal/remedy"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

// Name is the word for uses:.
const Name = "patch-cluster-trust"

const inputSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["cluster", "registry", "ca"],
  "properties": {
    "cluster": {"type": "string", "description": "namespace/name of the cluster"},
    "registry": {"type": "string", "description": "host[:port] of the registry that its pods cannot pull from"},
    "ca": {"type": "string", "description": "absolute path of the PEM file with the CA that is the cure"},
    "name": {"type": "string", "default": "", "description": "name of the entry, which for a Cluster is a key that its Secret does not have yet; found or derived if empty"}
  }
}`

const outputSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["cluster", "changed", "name", "secret"],
  "properties": {
    "cluster": {"type": "string", "description": "namespace/name of the cluster"},
    "changed": {"type": "boolean", "description": "whether the cluster's trust is changed"},
    "name": {"type": "string", "description": "name of the entry that holds the CA; empty if no entry does and none has to"},
    "secret": {"type": "string", "description": "name of the Secret whose key it is; empty for a TanzuKubernetesCluster"}
  }
}`

type input struct {
	Cluster  string `json:"cluster"`
	Registry string `json:"registry"`
	CA       string `json:"ca"`
	Name     string `json:"name"`
}

type output struct {
	Cluster string `json:"cluster"`
	Changed bool   `json:"changed"`
	Name    string `json:"name"`
	Secret  string `json:"secret"`
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
		Summary:     "Puts the CA into the cluster's own trust, waits until its nodes are replaced, and proves it from them.",
		Effect:      plugins.Change,
		Input:       json.RawMessage(inputSchema),
		Output:      json.RawMessage(outputSchema),
		Connections: []string{plugins.ConnSupervisor, plugins.ConnNodes},
	}
}

// request is the input with its file read.
type request struct {
	remedy.Request
	name string
}

func parse(raw json.RawMessage) (request, error) {
	in, err := sdk.Input[input](raw)
	if err != nil {
		return request{}, err
	}
	if in.Name != "" && !tkg.ValidTrustName(in.Name) {
		err := fmt.Errorf("%q cannot be the name of a trusted CA", in.Name)
		return request{}, plugins.Hint(err, "use letters, digits, dashes, underscores and dots only, such as corp-root-2026")
	}
	common, err := remedy.ReadRequest(in.Cluster, in.Registry)
	r := request{Request: common, name: in.Name}
	if err == nil {
		r.Candidate, err = inputfile.Candidate(in.CA)
	}
	return r, err
}
