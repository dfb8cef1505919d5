package owner

import "github.com/tkgfix/tkgfix/internal/tkg"

const inputSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["cluster"],
  "properties": {
    "cluster": {"type": "string", "description": "namespace/name of the cluster"}
  }
}`

const outputSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["cluster", "kind", "apiVersion", "class", "way", "retiring", "paused", "initialized", "managed", "roll", "may", "declared"],
  "properties": {
    "cluster": {"type": "string", "description": "namespace/name of the cluster"},
    "kind": {"type": "string", "enum": ["TanzuKubernetesCluster", "Cluster"], "description": "kind of the object that it is made from"},
    "apiVersion": {"type": "string", "description": "group and version in which the Supervisor serves that"},
    "class": {"type": "string", "description": "namespace/name of its ClusterClass; empty for a TanzuKubernetesCluster"},
    "way": {
      "type": "string",
      "enum": ["tkc", "trust-variable", "os-configuration", "none"],
      "description": "how it declares CAs of its own: tkc: a field; trust-variable: keys of the one Secret; os-configuration: keys of any Secret; none: not at all"
    },
    "retiring": {"type": "boolean", "description": "whether the TanzuKubernetesCluster is about to be taken from its Cluster"},
    "paused": {"type": "boolean", "description": "whether its controllers do nothing"},
    "initialized": {"type": "boolean", "description": "whether a control plane has ever been up; until then nothing in the cluster can be read"},
    "managed": {
      "type": "object",
      "description": "who would put it back into the state of a manifest that lies elsewhere",
      "additionalProperties": false,
      "required": ["by", "source", "text"],
      "properties": {
        "by": {"type": "string", "enum": ["", "argocd", "flux", "tmc", "helm", "kapp"], "description": "who; empty if nobody is known"},
        "source": {"type": "string", "description": "what that is made from"},
        "text": {"type": "string", "description": "for people"}
      }
    },
    "roll": {
      "type": "object",
      "description": "whether its machines are being replaced",
      "additionalProperties": false,
      "required": ["state", "note"],
      "properties": {
        "state": {"type": "string", "enum": ["settled", "rolling", "stuck", "unknown"], "description": "settled: nothing moves; rolling; stuck: a machine does not join or does not go; unknown: nothing to tell by"},
        "note": {"type": "string", "description": "for people"}
      }
    },
    "may": {
      "type": "object",
      "description": "what this login may do, as the Supervisor forecasts it; a dry-run decides",
      "additionalProperties": false,
      "required": ["clusterTrust", "serviceTrust", "deleteMachines", "deleteCluster"],
      "properties": {
        "clusterTrust": {"type": "boolean", "description": "change what the cluster declares, with its Secrets"},
        "serviceTrust": {"type": "boolean", "description": "change TkgServiceConfiguration"},
        "deleteMachines": {"type": "boolean", "description": "delete Machines"},
        "deleteCluster": {"type": "boolean", "description": "delete the cluster and create it again"}
      }
    },
    "declared": {
      "type": "array",
      "description": "the CAs that are declared for it, in every place: those of TkgServiceConfiguration first",
      "items": {
        "type": "object",
        "additionalProperties": false,
        "required": ["where", "name", "path", "ok", "fingerprints", "seen", "why"],
        "properties": {
          "where": {"type": "string", "description": "kind and name of the object that holds it"},
          "name": {"type": "string", "description": "name of the entry, or the Secret's key; empty for one that stands in osConfiguration"},
          "path": {"type": "string", "description": "field of the object that holds it"},
          "ok": {"type": "boolean", "description": "whether nodes can use it as it is stored; false too if it is not there or may not be read"},
          "fingerprints": {"type": "array", "items": {"type": "string"}, "description": "SHA-256 of its certificates, lower-case hex"},
          "seen": {"type": "string", "enum": ["yes", "no", "unknown"], "description": "whether this cluster's machines can have got it: each, none, or a part or not known"},
          "why": {"type": "string", "description": "the reason, for people"}
        }
      }
    }
  }
}`

type input struct {
	Cluster string `json:"cluster"`
}

type output struct {
	Cluster     string      `json:"cluster"`
	Kind        string      `json:"kind"`
	APIVersion  string      `json:"apiVersion"`
	Class       string      `json:"class"`
	Way         string      `json:"way"`
	Retiring    bool        `json:"retiring"`
	Paused      bool        `json:"paused"`
	Initialized bool        `json:"initialized"`
	Managed     tkg.Managed `json:"managed"`
	Roll        roll        `json:"roll"`
	May         rights      `json:"may"`
	Declared    []declared  `json:"declared"`
}

type roll struct {
	State string `json:"state"`
	Note  string `json:"note"`
}

type rights struct {
	ClusterTrust   bool `json:"clusterTrust"`
	ServiceTrust   bool `json:"serviceTrust"`
	DeleteMachines bool `json:"deleteMachines"`
	DeleteCluster  bool `json:"deleteCluster"`
}

type declared struct {
	Where        string   `json:"where"`
	Name         string   `json:"name"`
	Path         string   `json:"path"`
	OK           bool     `json:"ok"`
	Fingerprints []string `json:"fingerprints"`
	Seen         string   `json:"seen"`
	Why          string   `json:"why"`
}
