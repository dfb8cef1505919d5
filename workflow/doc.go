// Package workflow reads the workflow language: it parses a file, fills in the defaults, validates it against the
// steps that exist and evaluates its expressions.
//
// Parse answers with a Workflow and with everything that is wrong with the file's form; Validate then holds the workflow
// against the Schemas of the steps and type-checks each expression. Check does both. Nothing runs a workflow that either
// of them complains about. The engine asks for values with the Eval methods.
//
// An expression is CEL between ${{ and }}. A value that is one expression and nothing else keeps the expression's type;
// with text around it the results are put into the text. Expressions see inputs and steps, and besides
//
//	if and with of a step with forEach   the item, by the name that as gives it
//	guards                               now
//	onFailure                            failure, and not steps
//	connections and approvals            env, and not steps
//
// The outputs of a step with forEach are a list, of one object for each item.
//
// The package imports nothing of ours. It reads no file but the system's time zones, no clock and no environment.
//
// # Kinds of diagnostics
//
//	syntax         not YAML, or YAML that a workflow may not use (anchors, aliases, merge keys, tags)
//	encoding       not UTF-8, or a byte-order mark
//	limit          over a bound: bytes, nodes, depth, steps, length of an expression
//	document       an empty file, several documents in one file
//	version        another apiVersion or kind
//	unknown-key    a key that has no meaning there
//	duplicate-key  a key that stands twice in one mapping
//	missing-key    a key that must be there
//	type           a value, or the result of an expression, of the wrong type
//	value          a value of the right type that is not allowed
//	name           a name or id that is malformed, or taken
//	expression     an expression that is not CEL or does not type-check
//	reference      an input, step or field that does not exist
//	step           uses: names no step
//	connection     a step needs a connection that the workflow lacks
//	unapproved     a changing step without an approval
//	unproven       approvers whom no signature proves
//	approval       an approval of nothing, or one that cannot be given
//	effect         an effect that a step may not declare or have
//	needs          needs: names what it must not
//	cycle          steps that wait for each other
//	unreachable    a step that can never run
package workflow
