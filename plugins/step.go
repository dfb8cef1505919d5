package plugins

import (
	"context"
	"encoding/json"
)

// Effect says what a step does to the world.
type Effect string

// The effects, mildest first.
const (
	// Read looks and changes nothing outside the run's own folder.
	Read Effect = "read"
	// Change changes something that can be changed back.
	Change Effect = "change"
	// Destroy does something that cannot be undone.
	Destroy Effect = "destroy"
	// Announce tells somebody and changes nothing that a run is about: it needs no gate, and is not done while planning.
	Announce Effect = "announce"
	// Declared leaves the effect to the workflow: each step that uses such a plugin says read, change or destroy itself.
	Declared Effect = "declared"
)

// Description is what a step says of itself. It must not change while the process lives.
type Description struct {
	// Name is the word that a workflow's uses: holds, such as probe.
	Name string `json:"name"`
	// Version is the step's own semantic version, without a leading v.
	Version string `json:"version"`
	// Summary is one sentence for lists.
	Summary string `json:"summary"`
	// Effect is the strongest thing that Apply may do.
	Effect Effect `json:"effect"`
	// Input and Output are JSON Schemas (2020-12) of type object.
	Input  json.RawMessage `json:"input"`
	Output json.RawMessage `json:"output"`
	// Connections names the connections that the step needs: ConnSupervisor, ConnNodes. It is given no other.
	Connections []string `json:"connections,omitempty"`
}

// The connections that a step may ask for.
const (
	ConnSupervisor = "supervisor"
	ConnNodes      = "nodes"
)

// Connections say where things are. They hold paths and names, never a credential.
type Connections struct {
	Supervisor *Kube  `json:"supervisor,omitempty"`
	Nodes      *Nodes `json:"nodes,omitempty"`
}

// Kube names an API server by a kubeconfig on this machine.
type Kube struct {
	// Kubeconfig is an absolute path.
	Kubeconfig string `json:"kubeconfig"`
	// Context is the kubeconfig's context; empty means its current one.
	Context string `json:"context,omitempty"`
}

// Nodes says how nodes are reached. The credentials come from the Supervisor's Secrets (tkg-facts.md §3).
type Nodes struct {
	// Via is the transport: "ssh", or "debug-pod", a pod on the node with an image that is already there.
	Via string `json:"via"`
	// User is the login name, vmware-system-user on a TKG node.
	User string `json:"user"`
	// Port is the port of the node's SSH server, 22 as a rule.
	Port int `json:"port"`
	// KnownHosts is the absolute path of the file that pins host keys, one entry a Machine UID.
	KnownHosts string `json:"knownHosts"`
	// HostKeys is "accept-new" (pin at first sight, refuse a change) or "strict" (refuse what is not pinned).
	HostKeys string `json:"hostKeys"`
	// Jump are the hosts to go through, nearest first, as OpenSSH's ProxyJump has them: [user@]host[:port][,...]. Empty for none.
	Jump string `json:"jump,omitempty"`
	// IdentityFile is the absolute path of a private key for the nodes and the jump hosts, in place of the one in the cluster's
	// Secret. Empty for that one.
	IdentityFile string `json:"identityFile,omitempty"`
	// PasswordFile is the absolute path of a file of mode 0600 that holds the password for the nodes, in place of the one in the
	// cluster's Secret. Empty for that one.
	PasswordFile string `json:"passwordFile,omitempty"`
	// Agent says that the keys of the SSH agent at SSH_AUTH_SOCK are tried, before all others.
	Agent bool `json:"agent,omitempty"`
	// Image is what a debug pod runs; an image that every node has is found if it is empty.
	Image string `json:"image,omitempty"`
}

// Step is what a plugin implements. Methods may be called from several goroutines at once.
type Step interface {
	// Describe returns what the step is. It does not block.
	Describe() Description

	// Plan finds out what Apply would do and changes nothing, ever: a changing step may only dry-run on the server.
	// For a Read step Plan is the work itself. It blocks until done or ctx ends. A condition that may still come true is
	// reported with NotYet, and the engine asks again.
	Plan(ctx context.Context, req PlanRequest) (PlanResponse, error)

	// Apply does what the approved changes say, each act inside an effect, and may be called again after a crash with the
	// same request. It is never called on a Read step. It blocks until done or ctx ends.
	Apply(ctx context.Context, req ApplyRequest, host Host) (ApplyResponse, error)
}

// PlanRequest asks a step for its plan.
type PlanRequest struct {
	// StepID is the step's id in the workflow.
	StepID string
	// Effect is the Description's, or what the workflow declares for this step when that leaves it open.
	Effect Effect
	// Input is the evaluated with: object, valid against Description.Input.
	Input json.RawMessage
	// Connections holds those that the Description asks for.
	Connections Connections
}

// PlanResponse is what a step would do, and what it saw.
type PlanResponse struct {
	// Outputs is the output object: all of it for a Read step; for a changing step what will hold after Apply, as far as it is
	// known. A field that is not known yet is left out, and the engine treats it as known after this step.
	Outputs json.RawMessage
	// Changes are the acts, in their order. None means that nothing needs to be done.
	Changes []PlannedChange
	// Blocks are reasons why the changes must not be made. The plan is still shown.
	Blocks []Block
	// Evidence is what was seen. Secrets are redacted by the step, before it answers.
	Evidence []Evidence
	// Summary is one line for people: what was found.
	Summary string
	// Warnings are lines that a person must read before approving.
	Warnings []string
}

// ApplyRequest asks a step to do what was approved.
type ApplyRequest struct {
	// RunID is the run's id; a step may use it as an idempotency token on what it creates.
	RunID  string
	StepID string
	// Effect is as in the PlanRequest.
	Effect      Effect
	Input       json.RawMessage
	Connections Connections
	// Changes are the approved changes, as Plan returned them.
	Changes []PlannedChange
}

// ApplyResponse is how it ended.
type ApplyResponse struct {
	Outputs  json.RawMessage
	Evidence []Evidence
	Summary  string
}

// Host is what the engine offers to a step while it applies. Each call returns only after the journal is durable.
type Host interface {
	// Effect returns what the journal holds of this effect.
	Effect(ctx context.Context, key string) (EffectState, error)
	// Intend journals the intent to perform the effect. An error means that the act must not be begun.
	Intend(ctx context.Context, spec EffectSpec) error
	// Done journals that the effect is known to have happened, with a note of how that was known.
	Done(ctx context.Context, key, note string) error
	// Progress shows what is being waited for. It is not journalled. It is called at each look: the host says for how long, and
	// holds back what it has just said.
	Progress(ctx context.Context, message string) error
}

// EffectSpec names an effect.
type EffectSpec struct {
	// Key is unique within the step.
	Key string `json:"key"`
	// Target is the object that is acted on.
	Target Target `json:"target"`
}

// EffectState is what the journal holds of an effect.
type EffectState string

// The states of an effect.
const (
	EffectNone     EffectState = "none"
	EffectIntended EffectState = "intended"
	EffectDone     EffectState = "done"
)
