package workflow

import "fmt"

// sharedKeys are those that the steps and the steps of onFailure have in common.
func sharedKeys() map[string]key {
	return map[string]key{
		"id": {
			name: "id", required: true, kind: "name", doc: "The step's id, unique in the file: a-z, then a-z, 0-9 and _. Expressions name the step by it.",
			schema: refTo("id"),
		},
		"name": {name: "name", kind: "text", doc: "A title for people.", schema: refTo("text")},
		"uses": {name: "uses", required: true, kind: "name of a step", doc: "What the step does.", schema: fragment{"type": "string"}},
		"effect": {
			name: "effect", kind: "read, change, destroy", fallback: "that of what it uses",
			doc: "What the step does to the world. It must be there when `uses` leaves that to the workflow, and must not be there else.", schema: oneOf(effects()...),
		},
		"if": {
			name: "if", kind: "expression", fallback: "true",
			doc: "Whether the step is taken. With forEach it may use the item; then it is asked for each one.", schema: refTo("expression"),
		},
		"with": {
			name: "with", kind: "mapping", fallback: "empty",
			doc: "The input of the step. Each value may be an expression, or a text with expressions in it.", schema: fragment{"type": "object"},
		},
		"timeout": {
			name: "timeout", kind: "length of time", fallback: "spec.defaults.timeout",
			doc: "How long the step may take; at most " + shortDuration(maxTimeout) + ".", schema: refTo("duration"),
		},
		"retry": {name: "retry", kind: "mapping", fallback: "spec.defaults.retry", doc: "How the step is tried again; it overrides what it names.", schema: refTo("retry")},
	}
}

func stepForm() form {
	k := sharedKeys()
	return form{
		name: "step", path: "spec.steps[]", doc: "One step.",
		keys: []key{
			k["id"], k["name"], k["uses"], k["effect"],
			{
				name: "forEach", kind: "expression", fallback: "the step is taken once",
				doc: fmt.Sprintf("A list of at most %d items, for each of which the step is taken once. Its outputs are then a list, in the order of the items: one object for each "+
					"item for which it was taken and did not fail.", maxItems),
				schema: refTo("expression"),
			},
			{
				name: "as", kind: "name", fallback: defaultItem, doc: "Only with forEach: the name by which `if`, `with` and `supervisor` see the item.",
				schema: fragment{"type": "string", "pattern": itemName.String(), "not": fragment{"enum": takenNames()}},
			},
			{name: "strategy", kind: "mapping", doc: "Only with forEach: how the items are gone through.", schema: refTo("strategy")},
			k["if"],
			{
				name: "needs", kind: "list of ids", fallback: "what follows from the expressions",
				doc: "Steps that must be done before, besides those whose outputs the step uses.", schema: fragment{"type": "array", "items": refTo("id"), "uniqueItems": true},
			},
			k["with"],
			{
				name: "supervisor", kind: "mapping", fallback: "that of spec.connections",
				doc: "The Supervisor that the step is about, if it is another.", schema: refTo("stepSupervisor"),
			},
			{
				name: "approval", kind: "mapping", fallback: "none",
				doc: "The gate before the step. A step that changes or destroys must have one; one that reads or announces must not.", schema: refTo("approval"),
			},
			k["timeout"], k["retry"],
		},
		more: fragment{"dependentRequired": fragment{"as": []string{"forEach"}, "strategy": []string{"forEach"}}},
	}
}

func failureStepForm() form {
	k := sharedKeys()
	k["if"] = key{name: "if", kind: "expression", fallback: "true", doc: "Whether the step is taken.", schema: refTo("expression")}
	k["effect"] = key{
		name: "effect", kind: "read", fallback: "that of what it uses",
		doc: "It must be there when `uses` leaves the effect to the workflow, and must not be there else.", schema: oneOf(effects()...),
	}
	return form{
		name: "failureStep", path: "spec.onFailure[]", doc: "A step that is taken when a run has failed, is blocked or was rejected.",
		keys: []key{k["id"], k["name"], k["uses"], k["effect"], k["if"], k["with"], k["timeout"], k["retry"]},
	}
}

func stepSupervisorForm() form {
	return form{
		name: "stepSupervisor", path: "spec.steps[].supervisor",
		doc: "The Supervisor that the step is about, by path and context, never a credential. Both may use the item of a forEach; when both are empty it is that of spec.connections.",
		keys: []key{
			{
				name: "kubeconfig", kind: "template", fallback: "that of spec.connections",
				doc: "The path of a kubeconfig. A relative one begins in the folder in which the run was begun.", schema: refTo("template"),
			},
			{name: "context", kind: "template", fallback: "the kubeconfig's current one", doc: "The context in the kubeconfig.", schema: refTo("template")},
		},
		more: fragment{"minProperties": 1},
	}
}

func strategyForm() form {
	return form{
		name: "strategy", path: "spec.steps[].strategy", doc: "How a step with forEach goes through its items.",
		keys: []key{
			{name: "maxParallel", kind: "whole number", fallback: "8 for a step that reads or announces, else 1", doc: fmt.Sprintf("How many items are under way at once, 1 to %d.", maxParallel), schema: wholeFrom(1, maxParallel)},
			{name: "canary", kind: "whole number", fallback: "0", doc: fmt.Sprintf("How many items, the first that have changes, must succeed before the others begin, 0 to %d.", maxParallel), schema: wholeFrom(0, maxParallel)},
			{name: "maxFailures", kind: "whole number", fallback: "0", doc: fmt.Sprintf("How many items may fail, those that are blocked among them: they are left out. One more is the brake: no further item is begun, and the run fails. For a step that reads, all items are looked at, and one more makes the plan one that cannot be carried out. 0 to %d.", maxParallel), schema: wholeFrom(0, maxParallel)},
		},
	}
}

func approvalForm() form {
	return form{
		name: "approval", path: "spec.steps[].approval", doc: "The gate before a step.",
		keys: []key{
			{
				name: "message", required: true, kind: "template", doc: "What the approver is asked. It does not see the item of a forEach: one approval covers all items.",
				schema: fragment{"type": "string", "pattern": `\S`},
			},
			{name: "required", kind: "whole number", fallback: "1", doc: fmt.Sprintf("How many must approve, 1 to %d, and not more than there are approvers.", maxRequired), schema: wholeFrom(1, maxRequired)},
			{
				name: "expiresAfter", kind: "length of time", fallback: "the gate waits for ever",
				doc: "How long the gate waits before it counts as rejected; at most " + shortDuration(maxExpiry) + ".", schema: refTo("duration"),
			},
			{
				name: "requester", kind: "allowed, excluded", fallback: "excluded when required is more than 1 or approvers are listed, else allowed",
				doc: "Whether who asked for the run may approve it.", schema: oneOf("allowed", "excluded"),
			},
			{
				name: "approvers", kind: "list of texts", fallback: "anybody",
				doc: fmt.Sprintf("The names of those who may approve, as the file of spec.approvals.allowedSigners has them; 1 to %d.", maxApprovers),
				schema: fragment{
					"type": "array", "minItems": 1, "maxItems": maxApprovers, "uniqueItems": true,
					"items": fragment{"allOf": []any{refTo("text"), fragment{"pattern": `^\S([\s\S]*\S)?$`, "maxLength": maxPrincipal}}},
				},
			},
		},
	}
}
