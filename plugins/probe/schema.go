package probe

import "encoding/json"

const inputSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["cluster", "registry"],
  "properties": {
    "cluster": {"type": "string", "description": "namespace/name of the cluster"},
    "registry": {"type": "string", "description": "host[:port] to shake hands with"},
    "ca": {"type": "string", "default": "", "description": "absolute path of a CA's PEM file to try beside what the nodes trust; none if empty"},
    "stored": {
      "type": "array",
      "default": [],
      "maxItems": 1000,
      "description": "entries of check-encoding's output: which of the stored CAs would complete the chain is said",
      "items": {
        "type": "object",
        "required": ["where", "name", "pem"],
        "properties": {
          "where": {"type": "string", "description": "kind and name of the object that holds it"},
          "name": {"type": "string", "description": "name of the entry"},
          "pem": {"type": "string", "description": "its certificates"}
        }
      }
    }
  }
}`

const outputSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["registry", "trusted", "candidateWorks", "verdict", "missing", "nodes"],
  "properties": {
    "registry": {"type": "string", "description": "the registry, as given"},
    "trusted": {"type": "boolean", "description": "whether each worker trusts what the registry presents"},
    "candidateWorks": {"type": "boolean", "description": "whether each worker would with the candidate CA added; false without a candidate"},
    "verdict": {"type": "string", "description": "what most workers that do not accept it have to say, one of docs/checks.md; trusted if all accept it"},
    "missing": {"type": "string", "description": "the certificate that would complete the chain; empty if none would"},
    "nodes": {
      "type": "array",
      "description": "the workers, by name",
      "items": {
        "type": "object",
        "additionalProperties": false,
        "required": ["name", "address", "from", "proxy", "ok", "verdict", "remedy", "fixableByTrust", "also", "error", "chain", "candidateOk", "candidateError", "completedBy", "missing", "openssl", "note"],
        "properties": {
          "name": {"type": "string", "description": "name of the node"},
          "address": {"type": "string", "description": "IP address of the node"},
          "from": {"type": "string", "description": "from where it was dialled: node/NAME"},
          "proxy": {"type": "string", "description": "the proxy by which the node's containerd goes, without credentials; empty for none"},
          "ok": {"type": "boolean", "description": "whether the node trusts what the registry presents to it, by Go's rules and with its own roots"},
          "verdict": {"type": "string", "description": "what must be mended first, one of docs/checks.md"},
          "remedy": {"type": "string", "description": "who mends it: none, add-ca, replace-ca, fix-encoding, reissue-ca, fix-server-certificate, restart-runtime, ..., as docs/checks.md has it"},
          "fixableByTrust": {"type": "boolean", "description": "whether a CA added to or replaced in what this node trusts makes it pass"},
          "also": {"type": "array", "description": "verdicts that come to light once the first is mended", "items": {"type": "string"}},
          "error": {"type": "string", "description": "the error as containerd words it; empty if it does"},
          "chain": {
            "type": "array",
            "description": "what the registry presents to this node, its own certificate first",
            "items": {
              "type": "object",
              "additionalProperties": false,
              "required": ["subject", "issuer", "fingerprint", "notAfter", "isCA"],
              "properties": {
                "subject": {"type": "string", "description": "whose certificate it is"},
                "issuer": {"type": "string", "description": "who signed it"},
                "fingerprint": {"type": "string", "description": "SHA-256 of the certificate, hex"},
                "notAfter": {"type": "string", "description": "when it ends, RFC 3339"},
                "isCA": {"type": "boolean", "description": "whether it may sign others"}
              }
            }
          },
          "candidateOk": {"type": "boolean", "description": "whether the node would with the candidate CA added; false without a candidate"},
          "candidateError": {"type": "string", "description": "the error that stays with the candidate added"},
          "completedBy": {"type": "array", "description": "the stored CAs with which the node would, each as WHERE, entry NAME; empty if it does already", "items": {"type": "string"}},
          "missing": {"type": "string", "description": "the certificate that would complete the chain, with the candidate if there is one; empty if none would"},
          "openssl": {
            "type": "object",
            "description": "what the node's own openssl s_client says; it has other rules and decides nothing",
            "additionalProperties": false,
            "required": ["available", "code", "text"],
            "properties": {
              "available": {"type": "boolean", "description": "whether the node has an openssl that answered"},
              "code": {"type": "integer", "description": "number of its Verify return code; -1 if there was no handshake"},
              "text": {"type": "string", "description": "what it says beside the number"}
            }
          },
          "note": {"type": "string", "description": "what may make a pull differ from this handshake: a proxy, a hosts.toml, a stale containerd, the clock"}
        }
      }
    }
  }
}`

type input struct {
	Cluster  string `json:"cluster"`
	Registry string `json:"registry"`
	CA       string `json:"ca"`
	// Stored is read loosely: the entries of check-encoding say more than is wanted here.
	Stored json.RawMessage `json:"stored"`
}

type entry struct {
	Where string `json:"where"`
	Name  string `json:"name"`
	PEM   string `json:"pem"`
}

type output struct {
	Registry       string   `json:"registry"`
	Trusted        bool     `json:"trusted"`
	CandidateWorks bool     `json:"candidateWorks"`
	Verdict        string   `json:"verdict"`
	Missing        string   `json:"missing"`
	Nodes          []result `json:"nodes"`
}

// result is what one worker would say.
type result struct {
	Name           string   `json:"name"`
	Address        string   `json:"address"`
	From           string   `json:"from"`
	Proxy          string   `json:"proxy"`
	OK             bool     `json:"ok"`
	Verdict        string   `json:"verdict"`
	Remedy         string   `json:"remedy"`
	FixableByTrust bool     `json:"fixableByTrust"`
	Also           []string `json:"also"`
	Error          string   `json:"error"`
	Chain          []link   `json:"chain"`
	CandidateOK    bool     `json:"candidateOk"`
	CandidateError string   `json:"candidateError"`
	CompletedBy    []string `json:"completedBy"`
	Missing        string   `json:"missing"`
	OpenSSL        openssl  `json:"openssl"`
	Note           string   `json:"note"`
}

type link struct {
	Subject     string `json:"subject"`
	Issuer      string `json:"issuer"`
	Fingerprint string `json:"fingerprint"`
	NotAfter    string `json:"notAfter"`
	IsCA        bool   `json:"isCA"`
}

type openssl struct {
	Available bool   `json:"available"`
	Code      int    `json:"code"`
	Text      string `json:"text"`
}
