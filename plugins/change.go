package plugins

import (
	"encoding/json"
	"strings"
)

// Action is what a change does to its target.
type Action string

// The actions.
const (
	Create  Action = "create"
	Update  Action = "update"
	Replace Action = "replace"
	Delete  Action = "delete"
)

// Target names an API object, or a thing that is none (a node's service) by Kind and Name alone.
type Target struct {
	// Cluster is empty for the Supervisor, else namespace/name of the workload cluster.
	Cluster   string `json:"cluster,omitempty"`
	Group     string `json:"group,omitempty"`
	Version   string `json:"version,omitempty"`
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	UID       string `json:"uid,omitempty"`
}

// String returns Kind namespace/name, with the workload cluster when there is one.
func (t Target) String() string {
	var b strings.Builder
	b.WriteString(t.Kind + " ")
	if t.Namespace != "" {
		b.WriteString(t.Namespace + "/")
	}
	b.WriteString(t.Name)
	if t.Cluster != "" {
		b.WriteString(" in " + t.Cluster)
	}
	return b.String()
}

// PlannedChange is one act of a plan. All of it enters the gate's digest.
type PlannedChange struct {
	Action Action `json:"action"`
	Target Target `json:"target"`
	// Reason says in one sentence why.
	Reason string `json:"reason"`
	// Before and After are JSON documents; empty for what does not exist. Secrets are redacted.
	Before json.RawMessage `json:"before,omitempty"`
	After  json.RawMessage `json:"after,omitempty"`
	// Preconditions must hold when the change is made.
	Preconditions []Precondition `json:"preconditions,omitempty"`
	// Lost lists what cannot be had back, a line each.
	Lost []string `json:"lost,omitempty"`
	// Undo is how to take it back: a sentence, with the command when there is one.
	Undo string `json:"undo,omitempty"`
	// Impact lists what else may be touched, such as clusters that may roll.
	Impact []string `json:"impact,omitempty"`
}

// Precondition is a fact that was read and that the change stands on. It never holds a resourceVersion, which moves with
// every status update.
type Precondition struct {
	Target Target `json:"target"`
	// Field is what was read: metadata.uid, metadata.generation, or a path such as spec.trust.additionalTrustedCAs.
	Field string `json:"field"`
	// Value is the value itself when it is short, else sha256: and the hex digest of its canonical JSON.
	Value string `json:"value"`
}

// Block is a reason why a plan must not be carried out.
type Block struct {
	Reason string `json:"reason"`
	// Hint is the next thing to do: a sentence or a command.
	Hint string `json:"hint,omitempty"`
}

// Evidence is one thing that was seen.
type Evidence struct {
	// Subject is what was looked at: a node, an object, host:port.
	Subject string `json:"subject"`
	// Check names the look, in kebab-case: node-trust-file, handshake, openssl.
	Check string `json:"check"`
	// Verdict is ok, bad or info.
	Verdict Verdict `json:"verdict"`
	// Text is what it says, one or a few lines.
	Text string `json:"text"`
	// Data holds the details, 64 KiB at most.
	Data json.RawMessage `json:"data,omitempty"`
}

// Verdict judges a piece of evidence.
type Verdict string

// The verdicts.
const (
	OK   Verdict = "ok"
	Bad  Verdict = "bad"
	Info Verdict = "info"
)
