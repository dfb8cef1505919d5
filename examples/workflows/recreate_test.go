package workflows_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/examples/workflows"
	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/plan"
)

// A cluster that never came up has no pods that could be looked at: with the registry's name it is recreated all the same. Of any other one the
// pods decide, whether the registry is named or not.
func TestRecreate(t *testing.T) {
	t.Parallel()
	both := []string{"backup", "recreate"}
	for name, tc := range map[string]struct {
		reason string
		p      patient
		more   map[string]string
		did    []string
		want   engine.Status
		err    string
		verify plan.Status
	}{
		"sick":              {"pods fail", patient{}, nil, both, engine.Done, "", plan.Done},
		"well":              {"no pod fails", patient{well: true}, nil, nil, engine.Done, "", plan.Done},
		"well, named":       {"a name is no reason to delete what works", patient{well: true}, map[string]string{"registry": "r:5443"}, nil, engine.Done, "", plan.Done},
		"never up":          {"nobody says which registry", patient{never: true}, nil, nil, engine.Failed, "has never been up", ""},
		"never up, named":   {"there is no pod to wait for", patient{never: true}, map[string]string{"registry": "r:5443"}, both, engine.Done, "", plan.Skipped},
		"never up, brought": {"the pods of the file are waited for", patient{never: true}, map[string]string{"registry": "r:5443", "workloads": "/w.yaml"}, both, engine.Done, "", plan.Done},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := tc.p
			r, _ := carryOut(t, &p, workflows.RecreateFile, tc.more)
			if r.Status != tc.want || !strings.Contains(r.Error, tc.err) {
				t.Errorf("%s: the run is %s, %q", tc.reason, r.Status, r.Error)
			}
			if diff := cmp.Diff(tc.did, p.did); diff != "" {
				t.Errorf("%s: done (-want, +got):\n%s", tc.reason, diff)
			}
			if s, _ := r.Plan.Step("verify"); tc.verify != "" && s.Status != tc.verify {
				t.Errorf("%s: verify is %s: %s", tc.reason, s.Status, s.Why)
			}
		})
	}
}
