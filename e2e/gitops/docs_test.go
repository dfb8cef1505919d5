//go:build gitops

package gitops

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/ext"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
)

const page = "../../docs/gitops.md"

var yamlBlock = regexp.MustCompile("(?s)\n```yaml\n(.*?)\n```\n")

// documented returns the objects that the page shows.
func documented(t *testing.T) []*unstructured.Unstructured {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var out []*unstructured.Unstructured
	for _, block := range yamlBlock.FindAllStringSubmatch(string(text), -1) {
		for doc := range strings.SplitSeq(block[1], "\n---\n") {
			u := &unstructured.Unstructured{}
			if err := yaml.UnmarshalStrict([]byte(doc), &u.Object); err != nil {
				t.Fatalf("%v\n%s", err, doc)
			}
			out = append(out, u)
		}
	}
	return out
}

// shown returns the object of a kind and name that the page shows.
func shown(t *testing.T, kind, name string) *unstructured.Unstructured {
	t.Helper()
	for _, u := range documented(t) {
		if u.GetKind() == kind && u.GetName() == name {
			return u
		}
	}
	t.Fatalf("%s shows no %s %s", page, kind, name)
	return nil
}

// foreign says of what kinds the management cluster does not serve.
func foreign(u *unstructured.Unstructured) bool {
	group := u.GroupVersionKind().Group
	return group == "argoproj.io" || strings.HasSuffix(group, ".fluxcd.io")
}

// TestDocs hands the API server what the page shows: nothing in it is unknown, and nothing is missing.
func TestDocs(t *testing.T) {
	t.Parallel()
	checked := 0
	for _, u := range documented(t) {
		if foreign(u) {
			for _, name := range accounts(u) {
				shown(t, "ServiceAccount", name)
			}
			continue
		}
		u.SetNamespace("default")
		data, err := json.Marshal(u)
		if err != nil {
			t.Fatal(err)
		}
		err = admin.Patch(t.Context(), u, client.RawPatch(types.ApplyPatchType, data), client.DryRunAll, client.FieldOwner("docs"), client.FieldValidation("Strict"))
		if err != nil {
			t.Errorf("%s %s: %v", u.GetKind(), u.GetName(), err)
		}
		checked++
	}
	if checked < 9 {
		t.Errorf("%d objects: the page has lost some", checked)
	}
}

// accounts returns the names of the service accounts as which a Kustomization or the Applications of an AppProject are applied.
func accounts(u *unstructured.Unstructured) []string {
	var out []string
	if name, ok, _ := unstructured.NestedString(u.Object, "spec", "serviceAccountName"); ok {
		out = append(out, name)
	}
	list, _, _ := unstructured.NestedSlice(u.Object, "spec", "destinationServiceAccounts")
	for _, e := range list {
		out = append(out, e.(map[string]any)["defaultServiceAccount"].(string))
	}
	return out
}

// TestHealth holds the health checks of the page against the statuses that the controller writes.
func TestHealth(t *testing.T) {
	t.Parallel()
	const seen = "metadata: {generation: 2}\nstatus:\n  observedGeneration: 2\n  "
	for name, tc := range map[string]struct{ reason, kind, object, argo, flux string }{
		"New":         {"nobody has looked", "Run", "metadata: {generation: 1}", "Progressing", "none"},
		"Edited":      {"what the status says is of before the edit", "Run", "metadata: {generation: 2}\nstatus: {observedGeneration: 1, phase: Planned, conditions: [{type: Ready, status: 'True'}]}", "Progressing", "InProgress"},
		"Planning":    {"", "Run", seen + "phase: Planning\n  conditions: [{type: Ready, status: Unknown}, {type: Reconciling, status: 'True'}]", "Progressing", "InProgress"},
		"Waiting":     {"it waits for a person", "Run", seen + "phase: WaitingForApproval\n  conditions: [{type: Ready, status: Unknown}, {type: Reconciling, status: 'True'}]", "Suspended", "Current"},
		"Suspended":   {"somebody wanted it so", "Run", seen + "phase: Suspended\n  conditions: [{type: Ready, status: Unknown}, {type: Stalled, status: 'True'}]", "Suspended", "Current"},
		"Planned":     {"plan-only, and planned", "Run", seen + "phase: Planned\n  conditions: [{type: Ready, status: 'True'}]", "Healthy", "Current"},
		"Running":     {"", "Run", seen + "phase: Running\n  conditions: [{type: Ready, status: Unknown}, {type: Reconciling, status: 'True'}]", "Progressing", "InProgress"},
		"Done":        {"", "Run", seen + "phase: Done\n  conditions: [{type: Ready, status: 'True'}]", "Healthy", "Current"},
		"Failed":      {"a person is needed", "Run", seen + "phase: Failed\n  conditions: [{type: Ready, status: 'False'}, {type: Stalled, status: 'True'}]", "Degraded", "Failed"},
		"Guarded":     {"blocked until its guard lets it", "Run", seen + "phase: Blocked\n  conditions: [{type: Ready, status: 'False'}, {type: Reconciling, status: 'True'}]", "Progressing", "InProgress"},
		"Trouble":     {"the API server cannot be asked now", "Run", seen + "phase: Pending\n  conditions: [{type: Ready, status: 'False'}, {type: Reconciling, status: 'True'}]", "Progressing", "InProgress"},
		"Workflow":    {"", "Workflow", seen + "conditions: [{type: Ready, status: 'True'}]", "Healthy", ""},
		"NoWorkflow":  {"it is not valid", "Workflow", seen + "conditions: [{type: Ready, status: 'False'}, {type: Stalled, status: 'True'}]", "Degraded", ""},
		"NewApproval": {"", "Approval", "metadata: {generation: 1}", "Progressing", "none"},
		"Accepted":    {"", "Approval", seen + "conditions: [{type: Accepted, status: 'True'}]", "Healthy", "Current"},
		"Refused":     {"it does not count", "Approval", seen + "conditions: [{type: Accepted, status: 'False'}]", "Degraded", "Failed"},
		"Unjudged":    {"it cannot be judged yet", "Approval", seen + "conditions: [{type: Accepted, status: Unknown}]", "Progressing", "InProgress"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data, err := yaml.YAMLToJSON([]byte(tc.object))
			if err != nil {
				t.Fatal(err)
			}
			o := &unstructured.Unstructured{}
			if err := utiljson.Unmarshal(data, &o.Object); err != nil { // whole numbers are those of an API server's answer
				t.Fatal(err)
			}
			o.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(tc.kind))
			if got := inArgo(t, o); got != tc.argo {
				t.Errorf("%s: Argo CD takes it for %s, want %s", tc.reason, got, tc.argo)
			}
			if tc.flux != "" {
				if got := inFlux(t, o); got != tc.flux {
					t.Errorf("%s: Flux takes it for %s, want %s", tc.reason, got, tc.flux)
				}
			}
		})
	}
}

// wantHealth wants an object, as it is in the management cluster, to be shown so by Argo CD and by Flux.
func wantHealth(t *testing.T, o client.Object, kind, argo, flux string) {
	t.Helper()
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
	if err := admin.Get(t.Context(), client.ObjectKeyFromObject(o), u); err != nil {
		t.Fatal(err)
	}
	got := []string{inArgo(t, u), ""}
	if flux != "" {
		got[1] = inFlux(t, u)
	}
	wantSame(t, "the health of "+kind+" "+o.GetName()+" in Argo CD and in Flux", []string{argo, flux}, got)
}

// inArgo returns what the check of the page for Argo CD says of an object.
func inArgo(t *testing.T, o *unstructured.Unstructured) string {
	t.Helper()
	data, _, _ := unstructured.NestedStringMap(shown(t, "ConfigMap", "argocd-cm").Object, "data")
	file := filepath.Join(t.TempDir(), "health.lua")
	if err := os.WriteFile(file, []byte(data["resource.customizations.health.tkgfix.dev_"+o.GetKind()]), 0o600); err != nil {
		t.Fatal(err)
	}
	object, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(engine, "health"), file)
	cmd.Stdin = bytes.NewReader(object)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("the check for %s: %v\n%s", o.GetKind(), err, out)
	}
	status, _, _ := strings.Cut(string(out), "\t")
	return status
}

// inFlux returns what the expressions of the page for Flux say of an object, by the rules of kustomize-controller: a status of an earlier
// generation is in progress, then come inProgress, failed and current, in this order, and what is none of them is in progress. One that
// cannot be evaluated is asked again: none.
func inFlux(t *testing.T, o *unstructured.Unstructured) string {
	t.Helper()
	seen, ok, _ := unstructured.NestedInt64(o.Object, "status", "observedGeneration")
	if ok && seen != o.GetGeneration() {
		return "InProgress"
	}
	exprs := expressions(t, o.GetKind())
	for _, verdict := range []string{"inProgress", "failed", "current"} {
		text, ok := exprs[verdict].(string)
		if !ok {
			continue
		}
		is, err := evaluate(t, text, o.Object)
		switch {
		case err != nil:
			return "none"
		case is:
			return strings.ToUpper(verdict[:1]) + verdict[1:]
		}
	}
	return "InProgress"
}

func expressions(t *testing.T, kind string) map[string]any {
	t.Helper()
	for _, u := range documented(t) {
		list, _, _ := unstructured.NestedSlice(u.Object, "spec", "healthCheckExprs")
		for _, e := range list {
			if m, ok := e.(map[string]any); ok && m["kind"] == kind {
				return m
			}
		}
	}
	t.Fatalf("%s shows no healthCheckExprs for %s", page, kind)
	return nil
}

// evaluate evaluates an expression as Flux does.
func evaluate(t *testing.T, text string, object map[string]any) (bool, error) {
	t.Helper()
	env, err := cel.NewEnv(
		cel.HomogeneousAggregateLiterals(), cel.EagerlyValidateDeclarations(true), cel.DefaultUTCTimeZone(true), cel.CrossTypeNumericComparisons(true),
		cel.OptionalTypes(), ext.Strings(), ext.Sets(), ext.Encoders())
	if err != nil {
		t.Fatal(err)
	}
	parsed, issues := env.Parse(text)
	if issues.Err() != nil {
		t.Fatal(issues.Err())
	}
	program, err := env.Program(parsed)
	if err != nil {
		t.Fatal(err)
	}
	out, _, err := program.Eval(object)
	if err != nil {
		return false, err
	}
	is, ok := out.Value().(bool)
	if !ok {
		t.Fatalf("%s is %v", text, out.Value())
	}
	return is, nil
}
