package notify

import "encoding/json"

const inputSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["text"],
  "properties": {
    "text": {"type": "string", "description": "what to tell, for people; 16 KiB at most"},
    "url": {"type": "string", "default": "", "description": "where to send it: https, or http to this machine. Only its scheme and host are shown, but the workflow's file and inputs are journalled: keep a URL that is a secret, as a chat's webhook is, in urlFile"},
    "urlFile": {"type": "string", "default": "", "description": "absolute path of a file that holds the URL and that only its owner may read (mode 0600). Exactly one of url and urlFile is needed"},
    "format": {"type": "string", "enum": ["cloudevents", "slack"], "default": "cloudevents", "description": "cloudevents: a CloudEvent 1.0 in structured mode, its data an object with text and data. slack: an object with text alone, which Slack and what is compatible with it take"},
    "type": {"type": "string", "default": "dev.tkgfix.notification", "description": "the CloudEvent's type"},
    "subject": {"type": "string", "default": "", "description": "the CloudEvent's subject, such as a cluster's name"},
    "data": {"type": "object", "additionalProperties": true, "description": "details for the CloudEvent's data; 64 KiB at most"},
    "ca": {"type": "string", "default": "", "description": "absolute path of a CA's PEM file to trust beside the system's"},
    "headersFile": {"type": "string", "default": "", "description": "absolute path of a file of mode 0600 with further headers, such as Authorization, a line each: Name: value"},
    "required": {"type": "boolean", "default": false, "description": "whether a failure to deliver fails the step. Without it the step ends well and says that nothing was delivered"}
  }
}`

const outputSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["id", "to"],
  "properties": {
    "id": {"type": "string", "description": "id of the CloudEvent, the same however often this step of this run sends it"},
    "to": {"type": "string", "description": "scheme and host of the receiver"},
    "delivered": {"type": "boolean", "description": "whether the receiver took it; absent if that was found out before an interruption"}
  }
}`

type input struct {
	Text        string          `json:"text"`
	URL         string          `json:"url"`
	URLFile     string          `json:"urlFile"`
	Format      string          `json:"format"`
	Type        string          `json:"type"`
	Subject     string          `json:"subject"`
	Data        json.RawMessage `json:"data"`
	CA          string          `json:"ca"`
	HeadersFile string          `json:"headersFile"`
	Required    bool            `json:"required"`
}

type output struct {
	ID        string `json:"id"`
	To        string `json:"to"`
	Delivered *bool  `json:"delivered,omitempty"`
}

// message is what a change says that would be told. It is all that Apply tells.
type message struct {
	To      string          `json:"to"`
	Format  string          `json:"format"`
	Type    string          `json:"type,omitempty"`
	Subject string          `json:"subject,omitempty"`
	Text    string          `json:"text"`
	Data    json.RawMessage `json:"data,omitempty"`
}
