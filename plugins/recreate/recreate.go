// Package recreate is the step recreate-cluster: it deletes a cluster of any generation at its owner and creates it again, once it is
// proved that this helps and shown what is lost (docs/recreate.md).
//
// Plan and Apply both go through supervisor.remove and supervisor.create; Plan gives them a client that only dry-runs. After the
// deletion nothing is read from the old cluster: the manifest, the CAs that it trusts, the settings of its add-ons and what is to run on
// the new one come from the approved changes.
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
  "required": ["cluster", "registry", "ca"],
  "properties": {
    "cluster": {"type": "string", "description": "namespace/name of the cluster, of any generation"},
    "registry": {"type": "string", "description": "host[:port] of the registry that its pods cannot pull from"},
    "ca": {"type": "string", "description": "absolute path of the PEM file with the CA that is the cure"},
    "trust": {
      "type": "array",
      "description": "what TkgServiceConfiguration will hold when a TanzuKubernetesCluster is deleted; without it the CA is declared in the cluster's own trust",
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
    "workloads": {"type": "string", "default": "", "description": "absolute path of a YAML file to apply on the new cluster; it holds no Secrets"},
    "reuseName": {"type": "boolean", "default": false, "description": "recreate under the same name also with VKS 3.7, where the new cluster may come up under the old address"},
    "budget": {
      "type": "object",
      "additionalProperties": false,
      "description": "what may be lost at most; a bound that is not given is none. Held against the plan, and again right before the deletion",
      "properties": {
        "maxVolumesLost": {"type": "integer", "minimum": 0, "description": "volumes"},
        "maxLoadBalancersLost": {"type": "integer", "minimum": 0, "description": "Services of type LoadBalancer"},
        "maxWorkloadsLost": {"type": "integer", "minimum": 0, "description": "workloads that the file of workloads does not bring back"},
        "maxNodes": {"type": "integer", "minimum": 0, "description": "nodes"},
        "maxDowntimeMinutes": {"type": "integer", "minimum": 0, "description": "minutes that the cluster is expected to be away, at worst"}
      }
    }
  }
}`

const outputSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["cluster", "recreated"],
  "properties": {
    "cluster": {"type": "string", "description": "namespace/name of the cluster"},
    "uid": {"type": "string", "description": "UID of the cluster's owner; unknown while planning a recreation"},
    "endpoint": {"type": "string", "description": "host:port of the cluster's API; unknown while planning a recreation"},
    "recreated": {"type": "boolean", "description": "whether the cluster is deleted and created again"},
    "price": {"type": "object", "additionalProperties": {"type": "integer"}, "description": "what it costs, as numbers: clusters, nodes, pods, workloads, volumes, snapshots, loadBalancers, secrets, certificates, downtimeMinutesMax and more (docs/recreate.md)"}
  }
}`

type input struct {
	Cluster  string `json:"cluster"`
	Registry string `json:"registry"`
	CA       string `json:"ca"`
	// Trust is nil when it is not given.
	Trust     []tkg.TrustEntry `json:"trust"`
	Manifest  string           `json:"manifest"`
	Workloads string           `json:"workloads"`
	ReuseName bool             `json:"reuseName"`
	Budget    budget           `json:"budget"`
}

type output struct {
	Cluster   string `json:"cluster"`
	UID       string `json:"uid,omitempty"`
	Endpoint  string `json:"endpoint,omitempty"`
	Recreated bool   `json:"recreated"`
	Price     *price `json:"price,omitempty"`
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
		Summary:     "Deletes a cluster of any generation and creates it again from its manifest, when that is proved to help, for a price that it names.",
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
