package clusters

const inputSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "namespace": {"type": "string", "default": "", "description": "only the clusters of this namespace; those of all that the login may list if empty"},
    "selector": {"type": "string", "default": "", "description": "only clusters with these labels on the object that owns them, as kubectl -l takes it; all if empty"},
    "only": {"type": "array", "items": {"type": "string"}, "default": [], "description": "only these clusters, as namespace/name; one that is not there is an error. All if empty"}
  }
}`

const outputSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["clusters"],
  "properties": {
    "clusters": {
      "type": "array",
      "description": "the workload clusters, by namespace and name",
      "items": {
        "type": "object",
        "additionalProperties": false,
        "required": ["ref", "kind", "namespace", "name", "kubeconfig", "context"],
        "properties": {
          "ref": {"type": "string", "description": "namespace/name"},
          "kind": {"type": "string", "description": "TanzuKubernetesCluster, or Cluster for one that no TanzuKubernetesCluster owns"},
          "namespace": {"type": "string", "description": "namespace of the Supervisor"},
          "name": {"type": "string", "description": "name of the cluster"},
          "kubeconfig": {"type": "string", "description": "path of the kubeconfig by which its Supervisor was asked: for supervisor of further steps"},
          "context": {"type": "string", "description": "context in that kubeconfig, empty for its current one"}
        }
      }
    }
  }
}`

type input struct {
	Namespace string   `json:"namespace"`
	Selector  string   `json:"selector"`
	Only      []string `json:"only"`
}

type output struct {
	Clusters []cluster `json:"clusters"`
}

type cluster struct {
	Ref        string `json:"ref"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace"`
	Name       string `json:"name"`
	Kubeconfig string `json:"kubeconfig"`
	Context    string `json:"context"`
}
