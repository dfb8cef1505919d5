package workflow

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Reference returns docs/workflow-reference.md: the file format over the steps that exist, made of what the JSON Schema is made of.
func Reference(steps Schemas) (string, error) {
	var b strings.Builder
	b.WriteString(`# Workflow reference

<!-- Generated from the code: go test ./internal/cli -run TestReference -update -->

What a workflow file may hold. ` + "`tkgfix validate FILE`" + ` says all that is wrong with one; ` + "`tkgfix schema`" + ` prints this as a JSON Schema, from
which editors complete. A key that is not listed is an error. A key in **bold** must be there.

`)
	writeTypes(&b)
	b.WriteString("## The file\n\n")
	for _, f := range forms() {
		f.markdown(&b)
	}
	writeScopes(&b)
	b.WriteString("## The steps\n\nWhat `uses` may name. The values of `with` may be expressions; those of the outputs are what expressions see as `steps.ID`.\n\n")
	for _, name := range slices.Sorted(slices.Values(steps.Names())) {
		info, ok := steps.Step(name)
		if !ok {
			continue
		}
		if err := writeStep(&b, name, info); err != nil {
			return "", err
		}
	}
	return strings.TrimRight(b.String(), "\n") + "\n", nil
}

func writeTypes(b *strings.Builder) {
	b.WriteString("## Types\n\n")
	table(b, [][]string{
		{"type", "what it is"},
		{"text", "A string without expressions."},
		{"template", "A string that may hold expressions: `of ${{ inputs.cluster }}`. Their results are put into the text."},
		{"expression", `One expression and nothing else: ` + "`\"${{ ... }}\"`" + `. It keeps its type: a list stays a list.`},
		{"length of time", "A string such as `30s`, `10m` or `1h30m`, above zero."},
		{"percentage", "A string from `0%` to `100%`."},
		{"id, name", "A string of the characters that are said beside it."},
	})
	fmt.Fprintf(b, "A file has at most %d MiB, %d nodes and %d levels, and at most %d expressions of %d characters each. YAML's anchors, aliases, merge keys and tags "+
		"cannot be used. An expression that takes too much work to evaluate fails.\n\n", maxBytes>>20, maxNodes, maxDepth, maxExprs, maxExprLength)
}

func (f *form) markdown(b *strings.Builder) {
	fmt.Fprintf(b, "### %s\n\n%s\n\n", f.path, f.doc)
	rows := [][]string{{"key", "type", "default", "meaning"}}
	for _, k := range f.keys {
		name := "`" + k.name + "`"
		if k.required {
			name = "**" + name + "**"
		}
		rows = append(rows, []string{name, k.kind, cmp.Or(k.fallback, "–"), k.doc})
	}
	table(b, rows)
}

func writeScopes(b *strings.Builder) {
	b.WriteString("## What expressions see\n\nExpressions are [CEL](https://cel.dev) with its string functions, `flatten` and `slice` of lists, and type-checked before anything runs.\n\n")
	names := func(v view) string { return "`" + strings.Join(v.names(), "`, `") + "`" }
	table(b, [][]string{
		{"where", "names"},
		{"`if`, `with`, `supervisor`, `forEach` and `approval.message` of a step", names(view{kind: scopeSteps})},
		{"`if`, `with` and `supervisor` of a step with `forEach`", names(view{kind: scopeItem, item: defaultItem}) + "; `as` gives the item another name"},
		{"`spec.guards[].expr`", names(view{kind: scopeGuard})},
		{"`if` and `with` of a step of `spec.onFailure`", names(view{kind: scopeFailure})},
		{"`spec.connections` and `spec.approvals`", names(view{kind: scopeConnections})},
	})
	table(b, [][]string{
		{"name", "what it is"},
		{"`inputs.NAME`", "The value of an input."},
		{"`steps.ID.FIELD`", "An output of a step, which is then needed. Of a step with `forEach` the outputs are a list: `steps.ID[0].FIELD`, `steps.ID.all(x, x.FIELD)`, `size(steps.ID)`. " +
			"While a step has not told its outputs, what rests on them is known only after it."},
		{"`item`", "The item for which the step is taken."},
		{"`its.ID.FIELD`", "An output of another step for the same item: `its.nodes.ok` beside `steps.nodes.all(n, n.ok)`. Both steps must have the same `forEach`. " +
			"An item for which the other step was skipped or failed is skipped here; the other items go on."},
		{"`now`", "The time at which the guard is asked, as in `now.getHours('Asia/Shanghai') in [22, 23]`."},
		{"`" + strings.Join(prefixed("failure.", failureNames()), "`, `") + "`", "What went wrong, the run's id, the run's status and the step at which it stopped, as texts; empty where there is none."},
		{"`env.NAME`", "A variable of the environment. One that is not set is an error; `has(env.NAME)` asks."},
	})
}

func prefixed(prefix string, names []string) []string {
	out := make([]string, 0, len(names))
	for _, n := range names {
		out = append(out, prefix+n)
	}
	return out
}

func writeStep(b *strings.Builder, name string, info StepInfo) error {
	fmt.Fprintf(b, "### %s\n\nEffect: %s.", name, info.Effect)
	if len(info.Connections) > 0 {
		fmt.Fprintf(b, " It needs the connections `%s`.", strings.Join(info.Connections, "`, `"))
	}
	b.WriteString("\n\n")
	for _, part := range []struct {
		title string
		raw   json.RawMessage
	}{{"with", info.Input}, {"output", info.Output}} {
		if err := writeFields(b, part.title, part.raw); err != nil {
			return fmt.Errorf("read the schema of step %s: %w", name, err)
		}
	}
	return nil
}

// fieldJSON is what the reference shows of a field of a step's schema.
type fieldJSON struct {
	Type        json.RawMessage `json:"type"`
	Description string          `json:"description"`
	Default     json.RawMessage `json:"default"`
	Enum        []any           `json:"enum"`
	Items       *fieldJSON      `json:"items"`
}

func writeFields(b *strings.Builder, title string, raw json.RawMessage) error {
	var s struct {
		Properties map[string]fieldJSON `json:"properties"`
		Required   []string             `json:"required"`
	}
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &s); err != nil {
			return err
		}
	}
	rows := [][]string{{title, "type", "meaning"}}
	for _, name := range sortedKeys(s.Properties) {
		f := s.Properties[name]
		label := "`" + name + "`"
		if slices.Contains(s.Required, name) {
			label = "**" + label + "**"
		}
		rows = append(rows, []string{label, f.word(), f.meaning()})
	}
	if len(rows) > 1 {
		table(b, rows)
	}
	return nil
}

func (f *fieldJSON) meaning() string {
	var parts []string
	if f.Description != "" {
		parts = append(parts, f.Description)
	}
	if len(f.Enum) > 0 {
		parts = append(parts, "one of "+strings.Join(enumNames(f.Enum), ", "))
	}
	if len(f.Default) > 0 {
		parts = append(parts, "default `"+string(f.Default)+"`")
	}
	return cmp.Or(strings.Join(parts, "; "), "–")
}

// word names the type of a field.
func (f *fieldJSON) word() string {
	var kind string
	if f == nil || json.Unmarshal(f.Type, &kind) != nil {
		return "any"
	}
	if kind == "array" {
		return "list of " + f.Items.word()
	}
	return kind
}

// table writes rows as a Markdown table; the first is its head.
func table(b *strings.Builder, rows [][]string) {
	clean := strings.NewReplacer("|", `\|`, "<", "&lt;", "\n", " ")
	for i, row := range rows {
		for _, cell := range row {
			fmt.Fprintf(b, "| %s ", clean.Replace(cell))
		}
		b.WriteString("|\n")
		if i == 0 {
			b.WriteString(strings.Repeat("|---", len(row)) + "|\n")
		}
	}
	b.WriteString("\n")
}
