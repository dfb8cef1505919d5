package nodecert

const inputSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["cluster"],
  "properties": {
    "cluster": {"type": "string", "description": "namespace/name of the cluster"},
    "ca": {"type": "string", "default": "", "description": "absolute path of a CA's PEM file to look for on the workers; none if empty"}
  }
}`

const outputSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["nodes", "ok", "candidateOnAll"],
  "properties": {
    "nodes": {
      "type": "array",
      "description": "the workers, by name, and behind them the machines of the control plane that have not joined the cluster",
      "items": {
        "type": "object",
        "additionalProperties": false,
        "required": ["name", "pool", "address", "created", "error", "os", "family", "containerd", "go", "clock", "clockSkewSeconds", "containerdStarted", "candidate", "files", "findings"],
        "properties": {
          "name": {"type": "string", "description": "name of the node"},
          "pool": {"type": "string", "description": "node pool that it belongs to; empty if it belongs to none"},
          "address": {"type": "string", "description": "IP address of the node"},
          "created": {"type": "string", "description": "when its Machine was created, RFC 3339"},
          "error": {"type": "string", "description": "why it could not be asked; empty if it could. Nothing else is then known of it"},
          "os": {"type": "string", "description": "its operating system"},
          "family": {"type": "string", "enum": ["", "photon", "ubuntu", "rhel", "other"], "description": "family of that, by where it keeps what it trusts"},
          "containerd": {"type": "string", "description": "release of its containerd, such as 1.7.27; empty if not known"},
          "go": {"type": "string", "description": "release of Go whose defaults that containerd has, such as 1.21; empty if not known"},
          "clock": {"type": "string", "description": "what its clock showed, RFC 3339"},
          "clockSkewSeconds": {"type": "integer", "description": "by how much its clock is ahead of this machine's"},
          "containerdStarted": {"type": "string", "description": "when containerd was started, RFC 3339; empty if not known"},
          "candidate": {"type": "boolean", "description": "whether Go would read the candidate CA from its files; false without a candidate"},
          "files": {
            "type": "array",
            "description": "a file for each CA that is declared, and one that holds the candidate under another name",
            "items": {
              "type": "object",
              "additionalProperties": false,
              "required": ["name", "path", "state", "text", "wanted", "found", "newerThanContainerd"],
              "properties": {
                "name": {"type": "string", "description": "name of the CA in TkgServiceConfiguration or in the cluster's trust; secret/key of one that osConfiguration names; the file's name if it is declared nowhere"},
                "path": {"type": "string", "description": "where it is, or where it was expected; empty if it is nowhere and what the file is called is not established"},
                "state": {
                  "type": "string",
                  "enum": ["present", "missing", "not-pem", "over-encoded", "under-encoded", "other-certificate", "ignored-by-go", "unreadable", "too-large"],
                  "description": "present: there and right; over-encoded: base64 where PEM should be; under-encoded: bytes where PEM should be; other-certificate: PEM of another certificate; ignored-by-go: there, but containerd does not take it; unreadable: the login may not read it; too-large: it was not read"
                },
                "text": {"type": "string", "description": "what is worth knowing of a file that is right; often empty"},
                "wanted": {"type": "array", "description": "SHA-256 of the declared certificates, hex", "items": {"type": "string", "description": "SHA-256, hex"}},
                "found": {"type": "array", "description": "SHA-256 of the certificates in the file, hex", "items": {"type": "string", "description": "SHA-256, hex"}},
                "newerThanContainerd": {"type": "boolean", "description": "whether it was written after containerd was started, which then does not know it"}
              }
            }
          },
          "findings": {
            "type": "array",
            "description": "what is wrong or worth knowing, by the sections of docs/checks.md",
            "items": {
              "type": "object",
              "additionalProperties": false,
              "required": ["id", "subject", "text", "remedy", "bad"],
              "properties": {
                "id": {"type": "string", "description": "section of docs/checks.md"},
                "subject": {"type": "string", "description": "file, name or program that it is about"},
                "text": {"type": "string", "description": "for people"},
                "remedy": {"type": "string", "enum": ["none", "replace-ca", "fix-encoding", "restart-runtime", "roll-node", "rename", "fix-clock", "fix-proxy", "fix-mirror", "rotate-key"], "description": "what mends it"},
                "bad": {"type": "boolean", "description": "whether pulls fail because of it or will; else it is for information"}
              }
            }
          }
        }
      }
    },
    "ok": {"type": "boolean", "description": "whether each worker could be asked, and each declared CA is on it and right"},
    "candidateOnAll": {"type": "boolean", "description": "whether each worker could be asked, and Go would read the candidate CA on it; false without a candidate"}
  }
}`

// The states of a file.
const (
	present      = "present"
	missing      = "missing"
	notPEM       = "not-pem"
	overEncoded  = "over-encoded"
	underEncoded = "under-encoded"
	otherCert    = "other-certificate"
	ignoredByGo  = "ignored-by-go"
	unreadable   = "unreadable"
	tooLarge     = "too-large"
)

type input struct {
	Cluster string `json:"cluster"`
	CA      string `json:"ca"`
}

type output struct {
	Nodes          []result `json:"nodes"`
	OK             bool     `json:"ok"`
	CandidateOnAll bool     `json:"candidateOnAll"`
}

// result is what was found on one worker.
type result struct {
	Name              string    `json:"name"`
	Pool              string    `json:"pool"`
	Address           string    `json:"address"`
	Created           string    `json:"created"`
	Error             string    `json:"error"`
	OS                string    `json:"os"`
	Family            string    `json:"family"`
	Containerd        string    `json:"containerd"`
	Go                string    `json:"go"`
	Clock             string    `json:"clock"`
	ClockSkewSeconds  int       `json:"clockSkewSeconds"`
	ContainerdStarted string    `json:"containerdStarted"`
	Candidate         bool      `json:"candidate"`
	Files             []file    `json:"files"`
	Findings          []finding `json:"findings"`
}

type file struct {
	Name                string   `json:"name"`
	Path                string   `json:"path"`
	State               string   `json:"state"`
	Text                string   `json:"text"`
	Wanted              []string `json:"wanted"`
	Found               []string `json:"found"`
	NewerThanContainerd bool     `json:"newerThanContainerd"`
}
