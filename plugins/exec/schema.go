package exec

const inputSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["command"],
  "properties": {
    "command": {
      "type": "array",
      "minItems": 1,
      "items": {"type": "string"},
      "description": "program and its arguments, as a list; no shell is involved. The program is looked up in the PATH of tkgfix, or in dir when it holds a slash. With effect read it runs while planning, so it must only read"
    },
    "observe": {
      "type": "array",
      "items": {"type": "string"},
      "description": "program and arguments that tell whether the command's effect has happened: exit status 0 yes, 1 no, 2 under way, 3 cannot be known, any other is an error. It must only read. Required with effect change and destroy"
    },
    "target": {"type": "string", "description": "name of the thing that the command changes, as plan and gate show it. Required with effect change and destroy"},
    "env": {
      "type": "object",
      "additionalProperties": {"type": "string"},
      "description": "environment variables for command and observe; this is how values of the workflow reach them. They are shown and approved: never put a secret here"
    },
    "pass": {
      "type": "array",
      "items": {"type": "string"},
      "description": "names of variables of tkgfix's own environment to pass on. Their values are never shown or journalled, and are redacted from output. A step sees PATH, HOME, TMPDIR, LANG (always passed on), SSL_CERT_FILE, SSL_CERT_DIR and HTTP_PROXY, HTTPS_PROXY, NO_PROXY (in lower case, too) only; keep other secrets in a file that the command reads"
    },
    "dir": {"type": "string", "default": "", "description": "working folder of command and observe; the folder in which tkgfix was started if empty, and relative to that"},
    "accept": {
      "type": "array",
      "items": {"type": "integer"},
      "description": "exit statuses of command, besides 0, that are no failure"
    },
    "reason": {"type": "string", "default": "", "description": "one sentence for the plan: why the command is to run"},
    "undo": {"type": "string", "default": "", "description": "how to take back what the command does: a sentence, with the command when there is one"},
    "lost": {
      "type": "array",
      "items": {"type": "string"},
      "description": "what cannot be had back after the command, a line each"
    }
  }
}`

const outputSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["ran", "stdout", "truncated", "exitCode"],
  "properties": {
    "ran": {"type": "boolean", "description": "whether this step saw the command end; false when there was nothing to do, or when it ran before an interruption and only its effect was seen"},
    "stdout": {"type": "string", "description": "what the command printed, its first 64 KiB, as UTF-8, with the values of passed variables redacted; empty if ran is false"},
    "truncated": {"type": "boolean", "description": "whether stdout is cut"},
    "exitCode": {"type": "integer", "description": "exit status of the command; 0 if ran is false"},
    "json": {"type": "object", "additionalProperties": true, "description": "stdout as an object, when it is one JSON object and not cut; else absent"}
  }
}`

type input struct {
	Command []string          `json:"command"`
	Observe []string          `json:"observe"`
	Target  string            `json:"target"`
	Env     map[string]string `json:"env"`
	Pass    []string          `json:"pass"`
	Dir     string            `json:"dir"`
	Accept  []int             `json:"accept"`
	Reason  string            `json:"reason"`
	Undo    string            `json:"undo"`
	Lost    []string          `json:"lost"`
}

type output struct {
	Ran       bool           `json:"ran"`
	Stdout    string         `json:"stdout"`
	Truncated bool           `json:"truncated"`
	ExitCode  int            `json:"exitCode"`
	JSON      map[string]any `json:"json,omitempty"`
}

// approved is what a change says that would be run. It is all that Apply goes by.
type approved struct {
	Command     []string          `json:"command"`
	Program     string            `json:"program"`
	Observe     []string          `json:"observe"`
	ObserveWith string            `json:"observeWith"`
	Dir         string            `json:"dir"`
	Env         map[string]string `json:"env,omitempty"`
	Pass        []string          `json:"pass,omitempty"`
	Accept      []int             `json:"accept,omitempty"`
}
