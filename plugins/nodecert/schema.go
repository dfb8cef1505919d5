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
      "description": "the workers, by name",
      "items": {
        "type": "object",
        "additionalProperties": false,
        "required": ["name", "address", "created", "clock", "clockSkewSeconds", "containerdStarted", "candidate", "files"],
        "properties": {
          "name": {"type": "string", "description": "name of the node"},
          "address": {"type": "string", "description": "IP address of the node"},
          "created": {"type": "string", "description": "when its Machine was created, RFC 3339"},
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
              "required": ["name", "path", "state", "wanted", "found", "newerThanContainerd"],
              "properties": {
                "name": {"type": "string", "description": "name of the CA in TkgServiceConfiguration or in the cluster's trust; the file's name if it is declared nowhere"},
                "path": {"type": "string", "description": "where it is, or where it was expected"},
                "state": {
                  "type": "string",
                  "enum": ["present", "missing", "not-pem", "over-encoded", "other-certificate", "ignored-by-go"],
                  "description": "present: there and right; over-encoded: base64 where PEM should be; other-certificate: PEM of another certificate; ignored-by-go: there, but containerd does not take it"
                },
                "wanted": {"type": "array", "description": "SHA-256 of the declared certificates, hex", "items": {"type": "string", "description": "SHA-256, hex"}},
                "found": {"type": "array", "description": "SHA-256 of the certificates in the file, hex", "items": {"type": "string", "description": "SHA-256, hex"}},
                "newerThanContainerd": {"type": "boolean", "description": "whether it was written after containerd was started, which then does not know it"}
              }
            }
          }
        }
      }
    },
    "ok": {"type": "boolean", "description": "whether each declared CA is on each worker and right"},
    "candidateOnAll": {"type": "boolean", "description": "whether Go would read the candidate CA on each worker; false without a candidate"}
  }
}`

// The states of a file.
const (
	present      = "present"
	missing      = "missing"
	notPEM       = "not-pem"
	overEncoded  = "over-encoded"
	otherCert    = "other-certificate"
	ignoredByGo  = "ignored-by-go"
	expectedPath = "/etc/ssl/certs/tkg-%s.pem"
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
	Name              string `json:"name"`
	Address           string `json:"address"`
	Created           string `json:"created"`
	Clock             string `json:"clock"`
	ClockSkewSeconds  int    `json:"clockSkewSeconds"`
	ContainerdStarted string `json:"containerdStarted"`
	Candidate         bool   `json:"candidate"`
	Files             []file `json:"files"`
}

type file struct {
	Name                string   `json:"name"`
	Path                string   `json:"path"`
	State               string   `json:"state"`
	Wanted              []string `json:"wanted"`
	Found               []string `json:"found"`
	NewerThanContainerd bool     `json:"newerThanContainerd"`
}
