package workflow

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// SchemaID is the $id of the JSON Schema that Schema returns.
const SchemaID = "https://tkgfix.dev/schemas/workflow-v1alpha1.json"

// Schema returns the JSON Schema (draft 2020-12) of a workflow file over the steps that exist, for editors. What passes it may still be
// wrong: it knows no expressions, no references and nothing that rests on two places of the file.
func Schema(steps Schemas) (json.RawMessage, error) {
	defs := fragment{
		"text":       fragment{"description": "A text without expressions.", "type": "string", "not": fragment{"pattern": `\$\{\{`}},
		"template":   fragment{"description": "A text that may hold expressions: ${{ ... }}.", "type": "string"},
		"expression": fragment{"description": "One expression: ${{ ... }}.", "type": "string", "pattern": `^\s*\$\{\{[\s\S]*\}\}\s*$`},
		"mixed":      fragment{"description": "A text with expressions in it: ${{ ... }}.", "type": "string", "pattern": `\$\{\{`},
		"duration": fragment{
			"description": "A length of time, such as 30s, 10m or 1h30m.", "type": "string",
			"pattern": `^\+?(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$`,
		},
		"id": fragment{"description": "The id of a step.", "type": "string", "pattern": stepID.String(), "not": fragment{"enum": reservedNames()}},
	}
	for _, f := range forms() {
		defs[f.name] = f.schema()
	}
	names := slices.Sorted(slices.Values(steps.Names()))
	for _, place := range []string{"step", "failureStep"} {
		if err := addSteps(defs, place, names, steps); err != nil {
			return nil, err
		}
	}
	root := defs["workflow"].(fragment)
	delete(defs, "workflow")
	root["$schema"], root["$id"] = "https://json-schema.org/draft/2020-12/schema", SchemaID
	root["title"], root["$defs"] = "tkgfix workflow", defs
	out, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the JSON Schema: %w", err)
	}
	return out, nil
}

// schema returns the JSON Schema of a mapping.
func (f *form) schema() fragment {
	properties, required := fragment{}, []string{}
	for _, k := range f.keys {
		s := maps.Clone(k.schema)
		s["description"] = k.doc
		properties[k.name] = s
		if k.required {
			required = append(required, k.name)
		}
	}
	out := fragment{"description": f.doc, "type": "object", "additionalProperties": false, "properties": properties}
	if len(required) > 0 {
		out["required"] = required
	}
	maps.Copy(out, f.more)
	return out
}

// addSteps adds what a step may be with each uses: its input, and whether it has an effect and an approval.
func addSteps(defs fragment, place string, names []string, steps Schemas) error {
	step := defs[place].(fragment)
	var cases []any
	var accepted []string
	for _, name := range names {
		info, ok := steps.Step(name)
		if !ok || place == "failureStep" && (info.Effect == "change" || info.Effect == "destroy") {
			continue
		}
		accepted = append(accepted, name)
		if _, there := defs["with."+name]; !there {
			if err := addInput(defs, name, info.Input); err != nil {
				return err
			}
		}
		cases = append(cases, when("uses", name, caseOf(place, name, info, defs)))
	}
	step["properties"].(fragment)["uses"].(fragment)["enum"] = accepted
	if len(cases) > 0 {
		step["allOf"] = cases
	}
	return nil
}

// caseOf says what more holds of a step that uses a name.
func caseOf(place, name string, info StepInfo, defs fragment) fragment {
	properties := fragment{"with": refTo("with." + name)}
	required := []string{}
	if fields, ok := defs["with."+name].(fragment)["required"].([]any); ok && len(fields) > 0 {
		required = append(required, "with")
	}
	out := fragment{"properties": properties}
	switch {
	case info.Effect == "declared" && place == "failureStep":
		properties["effect"] = fragment{"const": "read"}
		required = append(required, "effect")
	case info.Effect == "declared":
		required = append(required, "effect")
		out["allOf"] = []any{when("effect", "read", fragment{"properties": fragment{"approval": false}})}
	default:
		properties["effect"] = false
	}
	if place == "step" && (info.Effect == "read" || info.Effect == "announce") {
		properties["approval"] = false
	}
	if place == "step" && !slices.Contains(info.Connections, "supervisor") {
		properties["supervisor"] = false
	}
	if len(required) > 0 {
		out["required"] = required
	}
	return out
}

// when is a schema that asks for more where a key has a value.
func when(key, value string, then fragment) fragment {
	return fragment{"if": fragment{"properties": fragment{key: fragment{"const": value}}, "required": []string{key}}, "then": then}
}

// sortBy sorts what when returned by the value.
func sortBy(cases []any, key string) {
	value := func(c any) string {
		return c.(fragment)["if"].(fragment)["properties"].(fragment)[key].(fragment)["const"].(string)
	}
	slices.SortFunc(cases, func(a, b any) int { return cmp.Compare(value(a), value(b)) })
}

// addInput adds the schema of with for a step: that of its input, in which each value may be an expression too.
func addInput(defs fragment, name string, raw json.RawMessage) error {
	input := fragment{"type": "object"}
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &input); err != nil {
			return fmt.Errorf("read the input schema of step %s: %w", name, err)
		}
	}
	x := exprSchema{name: name}
	own, _ := input["$defs"].(fragment)
	for key, s := range own {
		defs["with."+name+"."+key] = x.inside(s, 0)
	}
	out := x.inside(input, 0).(fragment)
	for _, key := range []string{"$defs", "$schema", "$id"} {
		delete(out, key)
	}
	defs["with."+name] = out
	return nil
}

// exprSchema rewrites the input schema of a step for a workflow file.
type exprSchema struct{ name string }

// value returns a schema by which a value may also be an expression.
func (x exprSchema) value(s any, depth int) any {
	m, ok := s.(fragment)
	if !ok || depth > maxSchemaDepth {
		return s
	}
	in := x.inside(m, depth).(fragment)
	alternative := "expression"
	switch m["type"] {
	case "string":
		if len(in) == 1 || len(in) == 2 && in["description"] != nil {
			return in // any text will do
		}
		alternative = "mixed"
	case nil:
		alternative = "mixed"
	}
	out := fragment{"anyOf": []any{in, refTo(alternative)}}
	if d, ok := in["description"]; ok { // editors look for it outside
		out["description"] = d
		delete(in, "description")
	}
	return out
}

// inside returns a schema in which what is within may also be an expression, but not the value itself.
func (x exprSchema) inside(s any, depth int) any {
	m, ok := s.(fragment)
	if !ok || depth > maxSchemaDepth {
		return s
	}
	m = maps.Clone(m)
	for _, key := range []string{"items", "additionalProperties", "contains"} {
		if inner, ok := m[key].(fragment); ok {
			m[key] = x.value(inner, depth+1)
		}
	}
	for _, key := range []string{"properties", "patternProperties"} {
		if inner, ok := m[key].(fragment); ok {
			fields := fragment{}
			for name, f := range inner {
				fields[name] = x.value(f, depth+1)
			}
			m[key] = fields
		}
	}
	for _, key := range []string{"anyOf", "oneOf", "allOf", "prefixItems"} {
		if inner, ok := m[key].([]any); ok {
			list := make([]any, len(inner))
			for i, s := range inner {
				if list[i] = x.inside(s, depth+1); key == "prefixItems" {
					list[i] = x.value(s, depth+1)
				}
			}
			m[key] = list
		}
	}
	if ref, ok := m["$ref"].(string); ok {
		if name, ok := strings.CutPrefix(ref, "#/$defs/"); ok {
			m["$ref"] = "#/$defs/with." + x.name + "." + name
		}
	}
	return m
}
