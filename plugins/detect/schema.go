package detect

const inputSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["cluster"],
  "properties": {
    "cluster": {"type": "string", "description": "namespace/name of the cluster"},
    "registry": {"type": "string", "default": "", "description": "host[:port]; only pulls that concern it count, all if empty"}
  }
}`

const outputSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["affected", "class", "registry", "failing", "failingCount", "scanned"],
  "properties": {
    "affected": {"type": "boolean", "description": "whether a pod of the cluster, a package of its kapp-controller, or a vSphere Pod of its namespace cannot pull"},
    "class": {"type": "string", "description": "the class of the failures: trust before server-certificate, dns, proxy, plain-http, network, registry-error, auth, rate, reference, signature, sandbox-image, runtime, unknown, kapp-controller, vsphere-pod; empty if none fails"},
    "registry": {"type": "string", "description": "host[:port] that is dialled when pulls of that class fail; the input's if given; empty if not known"},
    "failing": {
      "type": "array",
      "description": "containers that cannot pull, the gravest class first, 200 at most",
      "items": {
        "type": "object",
        "additionalProperties": false,
        "required": ["scope", "namespace", "pod", "container", "node", "image", "registry", "imageRegistry", "sandbox", "reason", "class", "message"],
        "properties": {
          "scope": {"type": "string", "enum": ["cluster", "package", "supervisor"], "description": "cluster: a pod of the workload cluster; package: a PackageInstall or PackageRepository there; supervisor: a vSphere Pod of the namespace"},
          "namespace": {"type": "string", "description": "namespace of the pod"},
          "pod": {"type": "string", "description": "name of the pod, or of the package"},
          "container": {"type": "string", "description": "name of the container; empty when the sandbox's own image fails or it is not known"},
          "node": {"type": "string", "description": "node of the pod"},
          "image": {"type": "string", "description": "image that is asked for"},
          "registry": {"type": "string", "description": "host[:port] that was dialled, which for a mirror or a token server is not the image's"},
          "imageRegistry": {"type": "string", "description": "host that the image's name stands for; another one was dialled if registry differs; empty if not known"},
          "sandbox": {"type": "boolean", "description": "whether it is the image of the pod's sandbox (pause), which containerd pulls by its own configuration"},
          "reason": {"type": "string", "description": "ErrImagePull, ImagePullBackOff, ... or the reason of the Event"},
          "class": {"type": "string", "description": "trust, server-certificate, dns, proxy, plain-http, network, registry-error, auth, rate, reference, signature, sandbox-image, runtime, kapp-controller, vsphere-pod or unknown"},
          "message": {"type": "string", "description": "what the kubelet says, shortened"}
        }
      }
    },
    "failingCount": {"type": "integer", "description": "how many containers and packages cannot pull"},
    "scanned": {"type": "integer", "description": "how many pods were looked at"}
  }
}`

// The scopes of a failure.
const (
	scopeCluster    = "cluster"
	scopePackage    = "package"
	scopeSupervisor = "supervisor"
)

type input struct {
	Cluster  string `json:"cluster"`
	Registry string `json:"registry"`
}

type output struct {
	Affected     bool      `json:"affected"`
	Class        string    `json:"class"`
	Registry     string    `json:"registry"`
	Failing      []failing `json:"failing"`
	FailingCount int       `json:"failingCount"`
	Scanned      int       `json:"scanned"`
}

type failing struct {
	Scope         string `json:"scope"`
	Namespace     string `json:"namespace"`
	Pod           string `json:"pod"`
	Container     string `json:"container"`
	Node          string `json:"node"`
	Image         string `json:"image"`
	Registry      string `json:"registry"`
	ImageRegistry string `json:"imageRegistry"`
	Sandbox       bool   `json:"sandbox"`
	Reason        string `json:"reason"`
	Class         string `json:"class"`
	Message       string `json:"message"`
}
