package workflow

import (
	"fmt"
	"strings"
)

// form describes one mapping of the file format. The forms are the one place where its keys are listed: the parser accepts these, and
// the JSON Schema and the reference are made of them.
type form struct {
	name string // of its definition in the JSON Schema, and what keysOf asks for
	path string // where it stands in a file
	doc  string
	keys []key
	more map[string]any // further keywords of its JSON Schema
}

// key describes one key of a mapping.
type key struct {
	name     string
	required bool
	kind     string // the type in words
	fallback string // the default in words, empty when there is none
	doc      string
	schema   map[string]any
}

// keysOf returns the keys of each form, in the order in which messages list them.
func keysOf(forms []form) map[string][]string {
	out := map[string][]string{}
	for _, f := range forms {
		for _, k := range f.keys {
			out[f.name] = append(out[f.name], k.name)
		}
	}
	return out
}

// forms returns the whole file format, from the outside in.
func forms() []form {
	all := []form{workflowForm(), metadataForm(), specForm(), inputForm()}
	all = append(all, connectionForms()...)
	all = append(all, defaultsForms()...)
	all = append(all, approvalsForm(), guardForm(), stepForm(), stepSupervisorForm(), strategyForm(), approvalForm(), failureStepForm())
	return all
}

// fragment is short for the many literals of JSON Schema.
type fragment = map[string]any

func refTo(name string) fragment     { return fragment{"$ref": "#/$defs/" + name} }
func oneOf(words ...string) fragment { return fragment{"type": "string", "enum": words} }
func wholeFrom(low, high int) fragment {
	return fragment{"type": "integer", "minimum": low, "maximum": high}
}

func listOf(items fragment, low, high int) fragment {
	out := fragment{"type": "array", "items": items, "maxItems": high}
	if low > 0 {
		out["minItems"] = low
	}
	return out
}

func workflowForm() form {
	return form{
		name: "workflow", path: "top level", doc: "A file holds one workflow.",
		keys: []key{
			{name: "apiVersion", required: true, kind: "string", doc: "The version of this format: " + APIVersion + ".", schema: fragment{"const": APIVersion}},
			{name: "kind", required: true, kind: "string", doc: "What the file is: " + Kind + ".", schema: fragment{"const": Kind}},
			{name: "metadata", required: true, kind: "mapping", doc: "How the workflow is called.", schema: refTo("metadata")},
			{name: "spec", required: true, kind: "mapping", doc: "What the workflow does.", schema: refTo("spec")},
		},
	}
}

func metadataForm() form {
	return form{
		name: "metadata", path: "metadata", doc: "How the workflow is called.",
		keys: []key{{
			name: "name", required: true, kind: "name", doc: "The workflow's name: a-z, 0-9 and -, 63 characters at most.",
			schema: fragment{"type": "string", "pattern": workflowName.String()},
		}, {
			name: "namespace", kind: "text", fallback: "none", doc: "The namespace that kubectl puts it into; on the command line it means nothing.", schema: refTo("text"),
		}, {
			name: "labels", kind: "mapping", fallback: "none", doc: "Labels in a cluster; tkgfix does not read them.", schema: words(),
		}, {
			name: "annotations", kind: "mapping", fallback: "none", doc: "Annotations in a cluster; tkgfix does not read them.", schema: words(),
		}},
	}
}

// words is the schema of a mapping whose values are text.
func words() fragment { return fragment{"type": "object", "additionalProperties": refTo("text")} }

func specForm() form {
	return form{
		name: "spec", path: "spec", doc: "What the workflow does.",
		keys: []key{
			{name: "description", kind: "text", doc: "What the workflow is for, for people.", schema: refTo("text")},
			{
				name: "inputs", kind: "mapping of inputs", fallback: "none",
				doc: fmt.Sprintf("The values that a run is started with, by name; %d at most. A name begins with a-z, then a-z, A-Z, 0-9 and _.", maxInputs),
				schema: fragment{
					"type": "object", "maxProperties": maxInputs, "additionalProperties": refTo("input"),
					"propertyNames": fragment{"pattern": inputName.String(), "not": fragment{"enum": reservedNames()}},
				},
			},
			{name: "connections", kind: "mapping", fallback: "none", doc: "Where things are; never a credential.", schema: refTo("connections")},
			{name: "defaults", kind: "mapping", doc: "What holds for each step that does not say otherwise.", schema: refTo("defaults")},
			{name: "approvals", kind: "mapping", fallback: "none", doc: "How approvers are known.", schema: refTo("approvals")},
			{
				name: "guards", kind: "list of guards", fallback: "none",
				doc:    fmt.Sprintf("Conditions that must hold when a changing step is about to run; %d at most.", maxGuards),
				schema: listOf(refTo("guard"), 0, maxGuards),
			},
			{
				name: "steps", required: true, kind: "list of steps", doc: fmt.Sprintf("What is done; 1 to %d steps. Their order follows from what they need of each other.", maxSteps),
				schema: listOf(refTo("step"), 1, maxSteps),
			},
			{
				name: "onFailure", kind: "list of steps", fallback: "none",
				doc: fmt.Sprintf("Steps that are taken, in the order of the file, when a run has failed, is blocked or was rejected; %d at most. "+
					"They only read or announce, since nobody could approve a change in time.", maxSteps),
				schema: listOf(refTo("failureStep"), 0, maxSteps),
			},
		},
	}
}

func inputForm() form {
	var types []any
	for kind, schema := range map[string]fragment{
		"string": refTo("text"), "file": refTo("text"), "integer": {"type": "integer"}, "boolean": {"type": "boolean"},
		"list": {"type": "array", "items": refTo("text")},
	} {
		types = append(types, when("type", kind, fragment{"properties": fragment{"default": schema}}))
	}
	sortBy(types, "type")
	return form{
		name: "input", path: "spec.inputs.NAME", doc: "A value that a run is started with.",
		keys: []key{
			{name: "type", required: true, kind: strings.Join(inputTypes(), ", "), doc: "The type of the value. A list is one of strings, a file the path of one.", schema: oneOf(inputTypes()...)},
			{name: "description", kind: "text", doc: "What the value is, for people.", schema: refTo("text")},
			{name: "default", kind: "as type says", fallback: "none: the input is required", doc: "The value when none is given.", schema: fragment{}},
		},
		more: fragment{"allOf": types},
	}
}

func connectionForms() []form {
	return []form{
		{
			name: "connections", path: "spec.connections", doc: "Where things are.",
			keys: []key{
				{name: "supervisor", kind: "mapping", fallback: "none", doc: "The Supervisor's API server.", schema: refTo("supervisor")},
				{name: "nodes", kind: "mapping", fallback: "none", doc: "How the nodes of the clusters are reached.", schema: refTo("nodes")},
			},
		},
		{
			name: "supervisor", path: "spec.connections.supervisor", doc: "The Supervisor's API server.",
			keys: []key{
				{name: "kubeconfig", kind: "template", fallback: "kubectl's: $KUBECONFIG, then ~/.kube/config", doc: "The path of a kubeconfig.", schema: refTo("template")},
				{name: "context", kind: "template", fallback: "the kubeconfig's current one", doc: "The context in the kubeconfig.", schema: refTo("template")},
			},
		},
		{
			name: "nodes", path: "spec.connections.nodes", doc: "How the nodes of the clusters are reached.",
			keys: []key{
				{
					name: "via", kind: "ssh, debug-pod", fallback: viaSSH,
					doc: "The way: ssh logs in, debug-pod makes a pod on the node and removes it after.", schema: oneOf(viaSSH, viaPod),
				},
				{name: "user", kind: "template", fallback: defaultUser, doc: "The user to log in as.", schema: refTo("template")},
				{
					name: "port", kind: "whole number or expression", fallback: "22", doc: fmt.Sprintf("The port of the nodes' SSH server, 1 to %d.", maxPort),
					schema: fragment{"anyOf": []any{wholeFrom(1, maxPort), refTo("expression")}},
				},
				{
					name: "jump", kind: "template", fallback: "none",
					doc: "The hosts to go through, as OpenSSH's ProxyJump has them: [user@]host[:port][,...], nearest first.", schema: refTo("template"),
				},
				{
					name: "identityFile", kind: "template", fallback: "the key in the cluster's Secret",
					doc: "A private key, of mode 0600, for the nodes and the jump hosts.", schema: refTo("template"),
				},
				{
					name: "passwordFile", kind: "template", fallback: "the password in the cluster's Secret",
					doc: "A file, of mode 0600, that holds the password for the nodes.", schema: refTo("template"),
				},
				{name: "agent", kind: "true or false", fallback: "false", doc: "Whether the keys of the SSH agent at SSH_AUTH_SOCK are tried before all others.", schema: fragment{"type": "boolean"}},
				{
					name: "knownHosts", kind: "template", fallback: "known_hosts in tkgfix's own folder",
					doc: "The file that host keys are remembered in. The user's own known_hosts is read besides.", schema: refTo("template"),
				},
				{
					name: "hostKeys", kind: "accept-new, strict", fallback: "accept-new",
					doc: "What is done about a host whose key is not known: accept-new trusts it this once and remembers it, strict refuses it.", schema: oneOf("accept-new", "strict"),
				},
				{name: "image", kind: "template", fallback: "one that the node has", doc: "The image of the debug pod.", schema: refTo("template")},
			},
		},
	}
}

func defaultsForms() []form {
	b := builtinDefaults()
	return []form{
		{
			name: "defaults", path: "spec.defaults", doc: "What holds for each step that does not say otherwise.",
			keys: []key{
				{name: "timeout", kind: "length of time", fallback: shortDuration(b.Timeout), doc: "How long a step may take; at most " + shortDuration(maxTimeout) + ".", schema: refTo("duration")},
				{name: "retry", kind: "mapping", doc: "How a step is tried again.", schema: refTo("retry")},
			},
		},
		{
			name: "retry", path: "spec.defaults.retry and spec.steps[].retry", doc: "How often and how quickly a step is tried again after a failure that may pass.",
			keys: []key{
				{name: "attempts", kind: "whole number", fallback: fmt.Sprint(b.Retry.Attempts), doc: "How often it is tried, the first time included; 1 to 100.", schema: wholeFrom(1, 100)},
				{name: "backoff", kind: "constant, exponential", fallback: b.Retry.Backoff, doc: "Whether the waits grow.", schema: oneOf("constant", "exponential")},
				{name: "initial", kind: "length of time", fallback: b.Retry.Initial.String(), doc: "The first wait; at most max.", schema: refTo("duration")},
				{name: "max", kind: "length of time", fallback: b.Retry.Max.String(), doc: "The longest wait; at most " + shortDuration(maxWait) + ".", schema: refTo("duration")},
				{
					name: "jitter", kind: "percentage", fallback: fmt.Sprintf("%d%%", b.Retry.Jitter), doc: "How far a wait may be off, 0% to 100%.",
					schema: fragment{"type": "string", "pattern": percentage.String()},
				},
			},
		},
	}
}

func approvalsForm() form {
	return form{
		name: "approvals", path: "spec.approvals", doc: "How approvers are known.",
		keys: []key{{
			name: "allowedSigners", required: true, kind: "template",
			doc:    "The path of a file that says whose SSH keys prove which name, as `ssh-keygen -Y verify` takes it. Where approvers are listed it must be there: a name that no signature proves is no policy.",
			schema: fragment{"type": "string", "pattern": `\S`},
		}},
	}
}

func guardForm() form {
	return form{
		name: "guard", path: "spec.guards[]", doc: "A condition that must hold when a changing step is about to run.",
		keys: []key{
			{
				name: "name", required: true, kind: "name", doc: "The guard's name, unique among the guards: a-z, then a-z, 0-9, - and _.",
				schema: fragment{"type": "string", "pattern": guardName.String()},
			},
			{
				name: "expr", required: true, kind: "expression", doc: "True or false. It may stand with `${{` and `}}` around it or without.",
				schema: fragment{"type": "string", "pattern": `\S`},
			},
			{
				name: "message", required: true, kind: "text", doc: "What does not hold, when it does not.",
				schema: fragment{"allOf": []any{refTo("text"), fragment{"pattern": `\S`}}},
			},
		},
	}
}
