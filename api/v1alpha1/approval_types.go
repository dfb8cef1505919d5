package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Approval is a person's word on a gate of a Run. It cannot be changed, and lives apart from what is planned.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=tap,categories=tkgfix
// +kubebuilder:printcolumn:name="Run",type=string,JSONPath=`.spec.run`
// +kubebuilder:printcolumn:name="Gate",type=string,JSONPath=`.spec.gate`
// +kubebuilder:printcolumn:name="Decision",type=string,JSONPath=`.spec.decision`
// +kubebuilder:printcolumn:name="By",type=string,JSONPath=`.spec.approver`
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Approval struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec ApprovalSpec `json:"spec"`
	// +optional
	Status ApprovalStatus `json:"status,omitempty"`
}

// ApprovalSpec is the decision.
//
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="an Approval cannot be changed: make another"
type ApprovalSpec struct {
	// Run is the run's id, as the Run's status.runID has it.
	//
	// +kubebuilder:validation:Pattern=`^[a-z0-9][a-z0-9-]{0,62}$`
	Run string `json:"run"`
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Gate string `json:"gate"`
	// Digest is the whole digest that the gate shows.
	//
	// +kubebuilder:validation:Pattern=`^sha256:[0-9a-f]{64}$`
	Digest string `json:"digest"`
	// +kubebuilder:validation:Enum=approve;reject
	Decision string `json:"decision"`
	// Approver is who decides. The API server refuses any other name than that of who creates the Approval, unless it carries a
	// signature: then it is the signer's principal.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Approver string `json:"approver"`
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Reason string `json:"reason,omitempty"`
	// Signature is the armored SSH signature of the statement that `tkgfix approve --print-statement` prints.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=16384
	Signature string `json:"signature,omitempty"`
}

// The decisions.
const (
	DecisionApprove = "approve"
	DecisionReject  = "reject"
)

// ApprovalStatus says whether the decision counts.
type ApprovalStatus struct {
	// Conditions hold Accepted.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// ApprovalList is a list of Approvals.
//
// +kubebuilder:object:root=true
type ApprovalList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Approval `json:"items"`
}
