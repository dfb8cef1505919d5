package planetest_test

import (
	"os"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
	"github.com/tkgfix/tkgfix/internal/kube/planetest"
)

var management *planetest.Plane

func TestMain(m *testing.M) {
	os.Exit(planetest.Main(m, planetest.Options{}, func(p *planetest.Plane) { management = p }))
}

// TestRules holds the rules that the API server enforces on the kinds.
func TestRules(t *testing.T) {
	t.Parallel()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	config, err := management.Config("tester")
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	run := func(name string, change func(*v1alpha1.RunSpec)) *v1alpha1.Run {
		r := &v1alpha1.Run{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
		r.Spec.Requester, r.Spec.Workflow = "alice", &v1alpha1.WorkflowReference{Name: "w"}
		if change != nil {
			change(&r.Spec)
		}
		return r
	}
	trigger := func(name, workflow string) *v1alpha1.Trigger {
		t := &v1alpha1.Trigger{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
		t.Spec.Clusters = []string{"team-a/dev1"}
		if workflow != "" {
			t.Spec.Run.Workflow = &v1alpha1.WorkflowReference{Name: workflow}
		}
		return t
	}
	for name, tc := range map[string]struct {
		reason string
		object client.Object
		change func(client.Object)
		want   string
	}{
		"Run":         {"a whole one is taken", run("whole", nil), nil, ""},
		"Name":        {"the name is part of the run's id", run("a.b", nil), nil, "50 characters at most"},
		"NoRequester": {"nobody can be kept from approving their own run if nobody knows who that is", run("nobody", func(s *v1alpha1.RunSpec) { s.Requester = "" }), nil, "requester"},
		"Neither":     {"what to run must be said", run("neither", func(s *v1alpha1.RunSpec) { s.Workflow = nil }), nil, "one of workflow and source"},
		"Suspended": {"a run may be suspended", run("suspended", nil), func(o client.Object) {
			o.(*v1alpha1.Run).Spec.Suspend = true
		}, ""},
		"OtherWorkflow": {"people approve what was planned", run("other", nil), func(o client.Object) {
			o.(*v1alpha1.Run).Spec.Workflow.Name = "v"
		}, "only planOnly and suspend"},
		"InputsLater": {"inputs that come later are others", run("later", nil), func(o client.Object) {
			o.(*v1alpha1.Run).Spec.Inputs = map[string]string{"cluster": "a/b"}
		}, "only planOnly and suspend"},
		"OtherRequester": {"the requester is kept", run("requester", nil), func(o client.Object) {
			o.(*v1alpha1.Run).Spec.Requester = "bob"
		}, "only planOnly and suspend"},
		"Inputs": {"other inputs make another plan", run("inputs", func(s *v1alpha1.RunSpec) { s.Inputs = map[string]string{"cluster": "a/b"} }), func(o client.Object) {
			o.(*v1alpha1.Run).Spec.Inputs["cluster"] = "a/c"
		}, "only planOnly and suspend"},
		"Trigger": {"what is opened from now on may be another", trigger("changed", "w"), func(o client.Object) {
			o.(*v1alpha1.Trigger).Spec.Run.Workflow.Name = "v"
		}, ""},
		"TriggerNeither": {"what to open must be said", trigger("neither", ""), nil, "one of run.workflow and run.source"},
		"Approval": {"a decision is a decision", &v1alpha1.Approval{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "a"},
			Spec:       v1alpha1.ApprovalSpec{Run: "r", Gate: "g", Digest: "sha256:" + strings.Repeat("0", 64), Decision: "approve", Approver: "bob"},
		}, func(o client.Object) { o.(*v1alpha1.Approval).Spec.Approver = "carol" }, "cannot be changed"},
		"Prefix": {"half a digest covers what nobody saw", &v1alpha1.Approval{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "b"},
			Spec:       v1alpha1.ApprovalSpec{Run: "r", Gate: "g", Digest: "sha256:00", Decision: "approve", Approver: "bob"},
		}, nil, "digest"},
		"Journal": {"history is not written again", &v1alpha1.JournalEntry{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "j"},
			Spec:       v1alpha1.JournalEntrySpec{Run: "r", Seq: 1, Writer: "w", Data: []byte("x")},
		}, func(o client.Object) { o.(*v1alpha1.JournalEntry).Spec.Data = []byte("y") }, "cannot be changed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := c.Create(t.Context(), tc.object)
			if err == nil && tc.change != nil {
				tc.change(tc.object)
				err = c.Update(t.Context(), tc.object)
			}
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("%s: %v", tc.reason, err)
			case tc.want != "" && (!apierrors.IsInvalid(err) || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("%s: got %v, want %q", tc.reason, err, tc.want)
			}
		})
	}
}
