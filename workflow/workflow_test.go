package workflow

import (
	"encoding/json"
	"maps"
	"slices"
)

// schemas is a small set of steps, shaped like the shipped ones.
type schemas map[string]StepInfo

var _ Schemas = schemas{}

func (s schemas) Step(uses string) (StepInfo, bool) {
	info, ok := s[uses]
	return info, ok
}

func (s schemas) Names() []string { return slices.Collect(maps.Keys(s)) }

func testSchemas() schemas {
	both := []string{"supervisor", "nodes"}
	object := func(properties string, required ...string) json.RawMessage {
		names, _ := json.Marshal(append([]string{}, required...))
		return json.RawMessage(`{"type":"object","additionalProperties":false,"properties":{` + properties + `},"required":` + string(names) + `}`)
	}
	const text, boolean, integer = `{"type":"string"}`, `{"type":"boolean"}`, `{"type":"integer"}`
	trust := `{"type":"array","items":{"type":"object","additionalProperties":false,"properties":{"name":` + text + `,"data":` + text + `},"required":["name","data"]}}`
	return schemas{
		"detect": {
			Effect: "read", Connections: []string{"supervisor"},
			Input: object(`"cluster":`+text+`,"registry":`+text, "cluster"),
			Output: object(`"affected":`+boolean+`,"class":`+text+`,"registry":`+text+`,"failing":{"type":"array","items":{"type":"object","properties":{"pod":`+text+
				`,"scope":{"type":"string","enum":["cluster","supervisor"]}}}},"failingCount":`+integer+`,"scanned":`+integer+`,"note":`+text,
				"affected", "class", "registry", "failing", "failingCount", "scanned"),
		},
		"probe": {
			Effect: "read", Connections: both,
			Input:  object(`"cluster":`+text+`,"registry":`+text+`,"ca":`+text+`,"attempts":{"type":"integer","minimum":1},"mode":{"type":"string","enum":["fast","full"]}`, "cluster", "registry"),
			Output: object(`"registry":`+text+`,"trusted":`+boolean+`,"skew":{"type":"number"},"labels":{"type":"object","additionalProperties":`+text+`}`, "registry", "trusted"),
		},
		"diagnose": {
			Effect: "read",
			Input:  object(`"detect":{"type":"object","required":["affected"]},"probe":{"type":"object"}`, "detect", "probe"),
			Output: object(`"cause":`+text+`,"remedy":`+text+`,"trust":`+boolean, "cause", "remedy", "trust"),
		},
		"patch-tkgserviceconfiguration": {
			Effect: "change", Connections: []string{"supervisor"},
			Input:  object(`"cluster":`+text+`,"ca":`+text+`,"name":`+text, "cluster", "ca"),
			Output: object(`"name":`+text+`,"changed":`+boolean+`,"trust":`+trust, "name", "changed", "trust"),
		},
		"recreate-cluster": {
			Effect: "destroy", Connections: both,
			Input:  object(`"cluster":`+text+`,"registry":`+text+`,"ca":`+text+`,"trust":`+trust+`,"manifest":`+text, "cluster", "registry", "ca", "trust"),
			Output: object(`"cluster":`+text+`,"recreated":`+boolean, "cluster", "recreated"),
		},
		"survey": {
			Effect: "read", Connections: []string{"supervisor"}, Input: object(""),
			Output: object(`"clusters":{"type":"array","items":{"type":"object","additionalProperties":false,"properties":{"ref":`+text+`,"workers":`+integer+`,"skew":{"type":"number"}},"required":["ref","workers"]}}`, "clusters"),
		},
		"verify-node-cert": {
			Effect: "read", Connections: both,
			Input:  object(`"cluster":`+text+`,"ca":`+text, "cluster"),
			Output: object(`"ok":`+boolean+`,"cluster":`+text+`,"note":`+text, "ok", "cluster"),
		},
		"exec": {
			Effect: "declared",
			Input:  object(`"command":{"type":"array","items":`+text+`}`, "command"),
			Output: object(`"exitCode":`+integer+`,"stdout":`+text, "exitCode"),
		},
		"notify": {
			Effect: "announce",
			Input:  object(`"url":`+text+`,"message":`+text, "url", "message"),
			Output: object(`"delivered":`+boolean, "delivered"),
		},
		"anything": {Effect: "read"},
	}
}
