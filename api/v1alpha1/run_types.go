package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Run is one run of a workflow: planned, stopped at its gates, and carried out when Approvals open them.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=trun,categories=tkgfix
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Changes",type=integer,JSONPath=`.status.plan.changes`
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Workflow",type=string,priority=1,JSONPath=`.status.workflow`
// +kubebuilder:printcolumn:name="ID",type=string,priority=1,JSONPath=`.status.runID`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 50 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="a Run's name is 50 characters at most, of a-z, 0-9 and -"
type Run struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec RunSpec `json:"spec"`
	// +optional
	Status RunStatus `json:"status,omitempty"`
}

// RunSpec says what to run. Only planOnly and suspend may be changed: what was planned is what people approve.
//
// +kubebuilder:validation:XValidation:rule="has(self.workflow) != has(self.source)",message="give one of workflow and source"
// +kubebuilder:validation:XValidation:rule="(has(self.workflow) ? has(oldSelf.workflow) && self.workflow == oldSelf.workflow : !has(oldSelf.workflow)) && (has(self.source) ? has(oldSelf.source) && self.source == oldSelf.source : !has(oldSelf.source)) && (has(self.inputs) ? has(oldSelf.inputs) && self.inputs == oldSelf.inputs : !has(oldSelf.inputs)) && (has(self.inputsFrom) ? has(oldSelf.inputsFrom) && self.inputsFrom == oldSelf.inputsFrom : !has(oldSelf.inputsFrom)) && (has(self.connections) ? has(oldSelf.connections) && self.connections == oldSelf.connections : !has(oldSelf.connections)) && (has(self.serviceAccountName) ? has(oldSelf.serviceAccountName) && self.serviceAccountName == oldSelf.serviceAccountName : !has(oldSelf.serviceAccountName)) && self.requester == oldSelf.requester",message="only planOnly and suspend may be changed: make a new Run"
type RunSpec struct {
	RunTemplate `json:",inline"`

	// Requester is who asks for this run, by the user name that the API server knows. It must be the one who creates the Run; only a
	// service account, such as that of a GitOps controller, may name another.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Requester string `json:"requester"`
	// PlanOnly says that the run is planned and not carried out. Set it to false to go on to the gates.
	//
	// +optional
	PlanOnly bool `json:"planOnly,omitempty"`
	// Suspend says that nothing more is begun. What is in flight ends first.
	//
	// +optional
	Suspend bool `json:"suspend,omitempty"`
}

// RunTemplate is what of a run is the same in a Run and in a Trigger.
type RunTemplate struct {
	// Workflow names a Workflow in this namespace.
	//
	// +optional
	Workflow *WorkflowReference `json:"workflow,omitempty"`
	// Source names a file in an artifact that Flux's source-controller serves.
	//
	// +optional
	Source *SourceReference `json:"source,omitempty"`
	// Inputs are the workflow's inputs by name.
	//
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	Inputs map[string]string `json:"inputs,omitempty"`
	// InputsFrom are inputs whose content is in a ConfigMap or a Secret of this namespace. An input of type file is given so.
	//
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	InputsFrom map[string]KeySource `json:"inputsFrom,omitempty"`
	// Connections say where things are, in place of the paths in the workflow.
	//
	// +optional
	Connections *Connections `json:"connections,omitempty"`
	// ServiceAccountName is the service account of this namespace whose rights the run has: all that the run names is read as it.
	//
	// +optional
	// +kubebuilder:default=tkgfix-runner
	// +kubebuilder:validation:MaxLength=253
	ServiceAccountName string `json:"serviceAccountName,omitempty"`
}

// WorkflowReference names a Workflow.
type WorkflowReference struct {
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// SourceReference names a workflow file in a Flux source of this namespace.
type SourceReference struct {
	// +kubebuilder:validation:Enum=GitRepository;OCIRepository
	Kind string `json:"kind"`
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// Path is the workflow's file in the artifact, relative.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Path string `json:"path"`
	// Revision is the one that the artifact must have, as the source's status shows it: main@sha1:…; empty for the present one, which the
	// run then keeps.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Revision string `json:"revision,omitempty"`
	// Verified says that the source's signature must have been verified by source-controller.
	//
	// +optional
	Verified bool `json:"verified,omitempty"`
}

// KeySource is a key of a ConfigMap or of a Secret.
//
// +kubebuilder:validation:XValidation:rule="has(self.configMapKeyRef) != has(self.secretKeyRef)",message="give one of configMapKeyRef and secretKeyRef"
type KeySource struct {
	// +optional
	ConfigMapKeyRef *KeyReference `json:"configMapKeyRef,omitempty"`
	// +optional
	SecretKeyRef *KeyReference `json:"secretKeyRef,omitempty"`
}

// KeyReference is a key of an object of this namespace.
type KeyReference struct {
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Key string `json:"key"`
}

// Connections say where the Supervisor and the nodes' credentials are.
type Connections struct {
	// +optional
	Supervisor *SupervisorConnection `json:"supervisor,omitempty"`
	// +optional
	Nodes *NodesConnection `json:"nodes,omitempty"`
}

// SupervisorConnection is a kubeconfig in a Secret, or the cluster on which the controller runs.
//
// +kubebuilder:validation:XValidation:rule="has(self.secretRef) != (has(self.inCluster) && self.inCluster)",message="give one of secretRef and inCluster"
type SupervisorConnection struct {
	// SecretRef is the Secret's key with the kubeconfig. It may hold no credential plugin, file reference or proxy.
	//
	// +optional
	SecretRef *KeyReference `json:"secretRef,omitempty"`
	// Context is the kubeconfig's context; empty for its current one.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Context string `json:"context,omitempty"`
	// InCluster says that the Supervisor is the cluster on which the controller runs, reached as the run's service account.
	//
	// +optional
	InCluster bool `json:"inCluster,omitempty"`
}

// NodesConnection names what else is needed to log in to nodes. The keys of the Secret are `identity`, `password` and `known_hosts`, as
// far as they are there.
type NodesConnection struct {
	SecretRef SecretReference `json:"secretRef"`
}

// SecretReference names a Secret of this namespace.
type SecretReference struct {
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// Phase is how far a Run has come, in one word for people; scripts read the conditions.
type Phase string

// The phases of a Run.
const (
	PhasePending   Phase = "Pending"
	PhasePlanning  Phase = "Planning"
	PhasePlanned   Phase = "Planned"
	PhaseWaiting   Phase = "WaitingForApproval"
	PhaseRunning   Phase = "Running"
	PhaseSuspended Phase = "Suspended"
	PhaseDone      Phase = "Done"
	PhaseFailed    Phase = "Failed"
	PhaseBlocked   Phase = "Blocked"
	PhaseRejected  Phase = "Rejected"
)

// RunStatus is a short account of the run's journal. What it leaves out is in the report.
type RunStatus struct {
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Conditions hold Ready, Reconciling and Stalled.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// +optional
	Phase Phase `json:"phase,omitempty"`
	// RunID is what the run is called in its journal, in approvals and on the command line.
	//
	// +optional
	RunID string `json:"runID,omitempty"`
	// Workflow says where the workflow came from: Workflow/NAME, or the source with its revision.
	//
	// +optional
	Workflow string `json:"workflow,omitempty"`
	// +optional
	WorkflowSHA256 string `json:"workflowSHA256,omitempty"`
	// +optional
	Plan *PlanSummary `json:"plan,omitempty"`
	// Gates are those that wait for approval.
	//
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	Gates []GateStatus `json:"gates,omitempty"`
	// Price is what is lost by what the plan destroys; empty if it destroys nothing.
	//
	// +optional
	Price string `json:"price,omitempty"`
	// Error says why the run failed or is blocked, and Hint what to do about it.
	//
	// +optional
	Error string `json:"error,omitempty"`
	// +optional
	Hint string `json:"hint,omitempty"`
	// Report is the command that prints the whole report.
	//
	// +optional
	Report string `json:"report,omitempty"`
	// Entries is how many entries the journal has.
	//
	// +optional
	Entries int64 `json:"entries,omitempty"`
	// Resumed is the value of the annotation tkgfix.dev/resume that was last heeded.
	//
	// +optional
	Resumed string `json:"resumed,omitempty"`
	// Resolved is the value of the annotation tkgfix.dev/resolve that was last heeded.
	//
	// +optional
	Resolved string `json:"resolved,omitempty"`
	// Doing says what is being done or waited for.
	//
	// +optional
	Doing string `json:"doing,omitempty"`
	// +optional
	StartedAt *metav1.Time `json:"startedAt,omitempty"`
	// +optional
	FinishedAt *metav1.Time `json:"finishedAt,omitempty"`
}

// PlanSummary counts what a plan holds.
type PlanSummary struct {
	Steps    int32 `json:"steps"`
	Changes  int32 `json:"changes"`
	Destroys int32 `json:"destroys"`
	// Summary has a line for each step with changes, the first of them.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	Summary string `json:"summary,omitempty"`
}

// GateStatus is a gate that waits.
type GateStatus struct {
	Name   string `json:"name"`
	Effect string `json:"effect"`
	// +optional
	Message string `json:"message,omitempty"`
	// Digest names exactly the changes that an approval covers.
	Digest string `json:"digest"`
	// Approved and Required count the approvals.
	Approved int32 `json:"approved"`
	Required int32 `json:"required"`
	// +optional
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`
	// Approve is the line to paste to approve.
	Approve string `json:"approve"`
}

// RunList is a list of Runs.
//
// +kubebuilder:object:root=true
type RunList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Run `json:"items"`
}
