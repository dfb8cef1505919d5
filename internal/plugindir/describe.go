package plugindir

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/tkgfix/tkgfix/internal/pluginhost"
	"github.com/tkgfix/tkgfix/plugins"
)

// The bounds of what a plugin says of itself.
const (
	describeTime = 10 * time.Second
	maxSummary   = 512
	// maxSchemaNodes bounds a schema with all its references followed, as who reads it follows them.
	maxSchemaNodes = 20_000
	maxSchemaDepth = 24
)

// Describe starts the executable at path, if its digest is sha256, asks it what it is, and ends it. The answer is checked: a third party
// gave it. It blocks for ten seconds at most.
func Describe(ctx context.Context, name, path, sha256 string) (plugins.Description, error) {
	host := pluginhost.New(pluginhost.Options{
		Foreign: func(string) (*pluginhost.Program, error) {
			return &pluginhost.Program{Path: path, SHA256: sha256}, nil
		},
		StartTimeout: describeTime,
	})
	defer func() { _ = host.Close(context.WithoutCancel(ctx)) }()
	step, err := host.Step(ctx, name)
	if err != nil {
		return plugins.Description{}, err
	}
	d := step.Describe()
	if err := check(d); err != nil {
		return plugins.Description{}, plugins.Hint(fmt.Errorf("plugin %s describes itself wrongly: %w", name, err),
			"tell its author: the suite in plugins/plugintest finds this")
	}
	return d, nil
}

// check says what is wrong with a description. Its name is the one that was asked for.
func check(d plugins.Description) error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(d.Version) > maxName || !semanticVersion.MatchString(d.Version) {
		bad("version %.80q is not a semantic version without a leading v", d.Version)
	}
	if len(d.Summary) > maxSummary || !printable(d.Summary) {
		bad("summary is not one line of at most %d bytes", maxSummary)
	}
	if !slices.Contains([]plugins.Effect{plugins.Read, plugins.Change, plugins.Destroy, plugins.Announce, plugins.Declared}, d.Effect) {
		bad("effect %.80q is unknown", d.Effect)
	}
	for _, c := range d.Connections {
		if c != plugins.ConnSupervisor && c != plugins.ConnNodes {
			bad("connection %.80q is unknown", c)
		}
	}
	for _, s := range []struct {
		what string
		raw  json.RawMessage
	}{{"input", d.Input}, {"output", d.Output}} {
		if err := checkSchema(s.raw); err != nil {
			bad("%s schema: %w", s.what, err)
		}
	}
	return errors.Join(errs...)
}

func printable(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

// checkSchema compiles a schema of JSON Schema 2020-12, which must stand alone and be of type object.
func checkSchema(raw json.RawMessage) error {
	var s schema
	if err := json.Unmarshal(raw, &s); err != nil {
		return err
	}
	if left := s.spend(s.Defs, maxSchemaNodes, 0); left < 0 {
		return fmt.Errorf("more than %d parts with its references followed", maxSchemaNodes)
	}
	if string(s.Type) != `"object"` {
		return errors.New("not of type object")
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return err
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(alone{})
	const here = "plugin:///schema.json"
	if err := c.AddResource(here, doc); err != nil {
		return err
	}
	_, err = c.Compile(here)
	return err
}

// schema is what the workflow language reads of a JSON Schema, following every reference.
type schema struct {
	Ref        string             `json:"$ref"`
	Defs       map[string]*schema `json:"$defs"`
	Type       json.RawMessage    `json:"type"`
	Properties map[string]*schema `json:"properties"`
	Additional json.RawMessage    `json:"additionalProperties"`
	Items      json.RawMessage    `json:"items"`
}

// spend returns what is left of a budget of parts once the schema has been walked with every reference followed: three
// definitions that refer to each other a few times are more than there is time for.
func (s *schema) spend(defs map[string]*schema, budget, depth int) int {
	if budget--; s == nil || budget < 0 || depth > maxSchemaDepth {
		return budget
	}
	const local = "#/$defs/"
	if len(s.Ref) > len(local) && s.Ref[:len(local)] == local {
		return defs[s.Ref[len(local):]].spend(defs, budget, depth+1)
	}
	for _, p := range s.Properties {
		budget = p.spend(defs, budget, depth+1)
	}
	for _, raw := range []json.RawMessage{s.Additional, s.Items} {
		var sub schema
		if len(raw) > 0 && json.Unmarshal(raw, &sub) == nil {
			budget = sub.spend(defs, budget, depth+1)
		}
	}
	return budget
}

// alone loads nothing: a schema must not need a file or the network.
type alone struct{}

// Load refuses.
func (alone) Load(url string) (any, error) {
	return nil, fmt.Errorf("refers to %s: a schema must stand alone", url)
}
