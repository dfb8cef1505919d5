// Package recreate is the step recreate-cluster: it deletes a TanzuKubernetesCluster and creates it again, once it is proved that this
// helps and shown what is lost.
//
// Plan and Apply both go through supervisor.remove and supervisor.create; Plan gives them a client that only dry-runs. After the
// deletion nothing is read from the old cluster: the manifest and what is to run on the new one come from the approved changes.
package recreate

import (
	"encoding/json"
	"errors"

	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

// Name is the word for uses:.
const Name = "recreate-cluster"

const inputSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["cluster", "registry", "ca", "trust"],
  "properties": {
    "cluster": {"type": "string", "description": "namespace/name of the TanzuKubernetesCluster"},
    "registry": {"type": "string", "description": "host[:port] of the registry that its pods cannot pull from"},
    "ca": {"type": "string", "description": "absolute path of the PEM file with the CA that is the cure"},
    "trust": {
      "type": "array",
      "description": "what TkgServiceConfiguration will hold when the cluster is deleted",
      "items": {
        "type": "object",
        "additionalProperties": false,
        "required": ["name", "data"],
        "properties": {
          "name": {"type": "string", "description": "name of the entry"},
          "data": {"type": "string", "description": "base64 of the PEM, as stored"}
        }
      }
    },
    "manifest": {"type": "string", "default": "", "description": "absolute path of the cluster's own manifest; the live object, cleaned, if empty"},
    "workloads": {"type": "string", "default": "", "description": "absolute path of a YAML file to apply on the new cluster; it holds no Secrets"}
  }
}`

const outputSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["cluster", "recreated"],
  "properties": {
    "cluster": {"type": "string", "description": "namespace/name of the cluster"},
    "uid": {"type": "string", "description": "UID of the TanzuKubernetesCluster; unknown while planning a recreation"},
    "endpoint": {"type": "string", "description": "host:port of the cluster's API; unknown while planning a recreation"},
    "recreated": {"type": "boolean", "description": "whether the cluster is deleted and created again"}
  }
}`

type input struct {
	Cluster   string           `json:"cluster"`
	Registry  string           `json:"registry"`
	CA        string           `json:"ca"`
	Trust     []tkg.TrustEntry `json:"trust"`
	Manifest  string           `json:"manifest"`
	Workloads string           `json:"workloads"`
}

type output struct {
	Cluster   string `json:"cluster"`
	UID       string `json:"uid,omitempty"`
	Endpoint  string `json:"endpoint,omitempty"`
	Recreated bool   `json:"recreated"`
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
		Summary:     "Deletes the cluster and creates it again from its manifest, when that is proved to help.",
		Effect:      plugins.Destroy,
		Input:       json.RawMessage(inputSchema),
		Output:      json.RawMessage(outputSchema),
		Connections: []string{plugins.ConnSupervisor, plugins.ConnNodes},
	}
}

func connect(conn plugins.Connections) (*kube.Client, error) {
	if conn.Supervisor == nil {
		return nil, errors.New("no connection to the Supervisor was given")
	}
	return kube.New(*conn.Supervisor)
}
