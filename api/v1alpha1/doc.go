// Package v1alpha1 holds the kinds of tkgfix.dev/v1alpha1 that Kubernetes keeps for `tkgfix controller`: Workflow, Run, Approval, Trigger
// and JournalEntry. docs/controller.md says how they are used.
//
// +kubebuilder:object:generate=true
// +groupName=tkgfix.dev
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

//go:generate go run sigs.k8s.io/controller-tools/cmd/controller-gen@v0.20.1 object paths=. crd output:crd:dir=../../config/crd

// GroupVersion is the group and version of the kinds.
var GroupVersion = schema.GroupVersion{Group: "tkgfix.dev", Version: "v1alpha1"}

// AddToScheme registers the kinds.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion,
		&Workflow{}, &WorkflowList{}, &Run{}, &RunList{}, &Approval{}, &ApprovalList{}, &Trigger{}, &TriggerList{}, &JournalEntry{}, &JournalEntryList{})
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}

// The types of conditions, in the ecosystem's manner: https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md
const (
	// ConditionReady is True when what the object asks for is the case: a Run is done, or planned if it is plan-only.
	ConditionReady = "Ready"
	// ConditionReconciling is True while something is under way or waited for.
	ConditionReconciling = "Reconciling"
	// ConditionStalled is True when nothing more will happen before a person acts.
	ConditionStalled = "Stalled"
	// ConditionAccepted says of an Approval whether it counts.
	ConditionAccepted = "Accepted"
)

// The names that tkgfix puts on objects.
const (
	// LabelRun is the label with the run's id on the objects of a run.
	LabelRun = "tkgfix.dev/run"
	// LabelFirst is the label of the first entry of a journal, so that journals are listed without reading them.
	LabelFirst = "tkgfix.dev/first"
	// LabelTrigger is the label with the Trigger's name on the Runs that it opened.
	LabelTrigger = "tkgfix.dev/trigger"
	// AnnotationResume asks for another attempt at a Run that failed or is blocked; any new value does.
	AnnotationResume = "tkgfix.dev/resume"
	// AnnotationResolve says what became of an effect that nobody else can tell: STEP/KEY=done or STEP/KEY=absent.
	AnnotationResolve = "tkgfix.dev/resolve"
	// Finalizer keeps a Run until nothing that it began is in flight.
	Finalizer = "tkgfix.dev/in-flight"
	// SignersConfigMap is the ConfigMap, with the key SignersKey, that lists whose SSH signatures count in its namespace. It has a fixed
	// name, so that who asks for a run cannot choose another.
	SignersConfigMap = "tkgfix-allowed-signers"
	SignersKey       = "allowed_signers"
	// DefaultServiceAccount is the service account whose rights a Run has, unless it names another.
	DefaultServiceAccount = "tkgfix-runner"
)
