package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Trigger watches clusters for pods that cannot pull, and opens a plan-only Run for each cluster and registry, so that the plan
// waits for a person before anyone is paged.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=ttr,categories=tkgfix
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Opened",type=integer,JSONPath=`.status.opened`
// +kubebuilder:printcolumn:name="Last",type=date,JSONPath=`.status.lastOpenedAt`
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Trigger struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec TriggerSpec `json:"spec"`
	// +optional
	Status TriggerStatus `json:"status,omitempty"`
}

// TriggerSpec says what is watched and what is opened.
//
// +kubebuilder:validation:XValidation:rule="has(self.run.workflow) != has(self.run.source)",message="give one of run.workflow and run.source"
type TriggerSpec struct {
	// Clusters are the workload clusters that are watched, as NAMESPACE/NAME, of the Supervisor in run.connections.
	//
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=100
	// +kubebuilder:validation:items:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?/[a-z0-9]([-.a-z0-9]*[a-z0-9])?$`
	Clusters []string `json:"clusters"`
	// Run is what is opened. In its inputs, $(cluster) and $(registry) stand for what was found.
	Run RunTemplate `json:"run"`
	// Cooldown is how long no other Run is opened for the same cluster and registry.
	//
	// +optional
	// +kubebuilder:default="1h"
	Cooldown metav1.Duration `json:"cooldown,omitzero"`
	// Storm is the brake: no more Runs than these in this time, for all clusters together.
	//
	// +optional
	// +kubebuilder:default={}
	Storm StormBrake `json:"storm,omitzero"`
	// +optional
	Suspend bool `json:"suspend,omitempty"`
}

// StormBrake bounds how many Runs are opened.
type StormBrake struct {
	// +optional
	// +kubebuilder:default=3
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	MaxRuns int32 `json:"maxRuns,omitempty"`
	// +optional
	// +kubebuilder:default="1h"
	Per metav1.Duration `json:"per,omitzero"`
}

// TriggerStatus says what was opened.
type TriggerStatus struct {
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Conditions hold Ready, and Stalled while the brake holds.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// Opened is how many Runs there are that it opened.
	//
	// +optional
	Opened int32 `json:"opened,omitempty"`
	// +optional
	LastOpenedAt *metav1.Time `json:"lastOpenedAt,omitempty"`
}

// TriggerList is a list of Triggers.
//
// +kubebuilder:object:root=true
type TriggerList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Trigger `json:"items"`
}
