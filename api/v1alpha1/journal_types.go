package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// JournalEntry holds entries of a run's journal, as docs/state-format.md has them. It is created once and never changed: that its name is
// taken is what fences a writer who was not the first.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=tje
// +kubebuilder:printcolumn:name="Run",type=string,JSONPath=`.spec.run`
// +kubebuilder:printcolumn:name="Seq",type=integer,JSONPath=`.spec.seq`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type JournalEntry struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec JournalEntrySpec `json:"spec"`
}

// JournalEntrySpec is a piece of a journal.
//
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="a journal entry cannot be changed"
type JournalEntrySpec struct {
	// Run is the run's id.
	//
	// +kubebuilder:validation:Pattern=`^[a-z0-9][a-z0-9-]{0,62}$`
	Run string `json:"run"`
	// Seq is the number of the first entry in it.
	//
	// +kubebuilder:validation:Minimum=1
	Seq int64 `json:"seq"`
	// Writer tells this append from all others, so that one whose answer was lost knows its own work again.
	//
	// +kubebuilder:validation:MaxLength=64
	Writer string `json:"writer"`
	// Data is the gzip of the journal's lines, or of the first part of them.
	//
	// +kubebuilder:validation:Format=byte
	Data []byte `json:"data"`
	// Parts are the names of the JournalEntries that hold the rest, in their order.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Parts []string `json:"parts,omitempty"`
}

// JournalEntryList is a list of JournalEntries.
//
// +kubebuilder:object:root=true
type JournalEntryList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []JournalEntry `json:"items"`
}
