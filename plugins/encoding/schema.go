package encoding

const inputSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["cluster"],
  "properties": {
    "cluster": {"type": "string", "description": "namespace/name of the cluster"},
    "ca": {"type": "string", "default": "", "description": "absolute path of a CA's PEM file to compare with what is stored"}
  }
}`

const outputSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["ok", "entries", "candidate"],
  "properties": {
    "ok": {"type": "boolean", "description": "whether the nodes can use every entry that was read"},
    "entries": {
      "type": "array",
      "description": "the stored CAs, those of TkgServiceConfiguration first; of a Cluster with a class those of its Secrets",
      "items": {
        "type": "object",
        "additionalProperties": false,
        "required": ["where", "path", "name", "layers", "wantLayers", "ok", "problem", "findings", "subjects", "fingerprints", "pem", "corrected"],
        "properties": {
          "where": {"type": "string", "description": "kind and name of the object that holds it"},
          "path": {"type": "string", "description": "field of the object that holds it"},
          "name": {"type": "string", "description": "name of the entry"},
          "layers": {"type": "integer", "description": "layers of base64 that are over it"},
          "wantLayers": {"type": "integer", "description": "layers of base64 that this place wants"},
          "ok": {"type": "boolean", "description": "whether the nodes can use it"},
          "problem": {"type": "string", "description": "what is wrong, empty if nothing"},
          "findings": {
            "type": "array",
            "description": "each form in which the value was found that is not plain and right",
            "items": {
              "type": "object",
              "additionalProperties": false,
              "required": ["id", "message", "fatal"],
              "properties": {
                "id": {"type": "string", "description": "the form: too-many-layers, too-few-layers, plain-pem, der, pkcs7, private-key, bom, glued, dashes, ..."},
                "message": {"type": "string", "description": "what it means; it never quotes the value"},
                "fatal": {"type": "boolean", "description": "whether the nodes cannot use the value because of it, or it must not be stored"}
              }
            }
          },
          "subjects": {"type": "array", "items": {"type": "string"}, "description": "subjects of its certificates"},
          "fingerprints": {"type": "array", "items": {"type": "string"}, "description": "SHA-256 of its certificates, lower-case hex"},
          "pem": {"type": "string", "description": "its certificates as plain PEM, whatever form they are stored in; empty if there are none, or if they are more than 64 KiB"},
          "corrected": {"type": "string", "description": "what to store in its place, as kubectl shows it; proven to give what Go takes. Empty if it is right, or if a part of it cannot be read"}
        }
      }
    },
    "candidate": {
      "type": "object",
      "description": "the given CA file",
      "additionalProperties": false,
      "required": ["given", "ok", "problem", "subjects", "fingerprints", "configuredAs"],
      "properties": {
        "given": {"type": "boolean", "description": "whether a file was given"},
        "ok": {"type": "boolean", "description": "whether Go takes all of it"},
        "problem": {"type": "string", "description": "what is wrong with it, empty if nothing"},
        "subjects": {"type": "array", "items": {"type": "string"}, "description": "subjects of its certificates"},
        "fingerprints": {"type": "array", "items": {"type": "string"}, "description": "SHA-256 of its certificates, lower-case hex"},
        "configuredAs": {"type": "string", "description": "the usable entry that holds all of it, empty if none does"}
      }
    }
  }
}`

type input struct {
	Cluster string `json:"cluster"`
	CA      string `json:"ca"`
}

type candidateFile struct {
	path string
	data []byte
}

type output struct {
	OK        bool            `json:"ok"`
	Entries   []entry         `json:"entries"`
	Candidate candidateOutput `json:"candidate"`
}

type entry struct {
	Where        string    `json:"where"`
	Path         string    `json:"path"`
	Name         string    `json:"name"`
	Layers       int       `json:"layers"`
	WantLayers   int       `json:"wantLayers"`
	OK           bool      `json:"ok"`
	Problem      string    `json:"problem"`
	Findings     []finding `json:"findings"`
	Subjects     []string  `json:"subjects"`
	Fingerprints []string  `json:"fingerprints"`
	PEM          string    `json:"pem"`
	Corrected    string    `json:"corrected"`
}

type candidateOutput struct {
	Given        bool     `json:"given"`
	OK           bool     `json:"ok"`
	Problem      string   `json:"problem"`
	Subjects     []string `json:"subjects"`
	Fingerprints []string `json:"fingerprints"`
	ConfiguredAs string   `json:"configuredAs"`
}
