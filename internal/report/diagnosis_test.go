package report_test

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/diagnosis"
	"github.com/tkgfix/tkgfix/internal/plan"
	"github.com/tkgfix/tkgfix/internal/report"
	"github.com/tkgfix/tkgfix/plugins"
)

// sampleDiagnosis holds one of each thing that is shown, and words that must not drive a terminal.
func sampleDiagnosis() diagnosis.Diagnosis {
	pod := func(name string) plugins.Evidence {
		return plugins.Evidence{Subject: "pod demo/" + name, Check: "image-pull", Verdict: plugins.Bad, Text: "x509: \x1b[2Junknown\u202e authority\nsecond line"}
	}
	return diagnosis.Diagnosis{
		Cluster: "team-a/new", Kind: "Cluster", Cause: "missing-ca", Remedy: "cluster-trust", Summary: "The nodes do not trust r:5443.",
		Blocked: "no CA was given", Next: "tkgfix diagnose team-a/new --ca FILE", See: "docs/checks.md#untrusted-root",
		RuledOut: []diagnosis.RuledOut{{Remedy: "restart-runtime", Reason: "reading the files again changes nothing"}, {Remedy: "server", Reason: "its chain is\x07 right"}},
		Evidence: []plugins.Evidence{
			pod("a"), pod("b"), pod("c"), {Subject: "node w1", Check: "trust-file", Verdict: plugins.OK, Text: "present"}, {Subject: "node w1", Check: "os", Verdict: plugins.Info, Text: "Photon"},
		},
		Warnings: []string{"vSphere Pods\rfail as well"},
		Looks:    []diagnosis.Look{{Step: "detect", Status: plan.Done}, {Step: "nodes", Status: plan.Failed, Error: "no TanzuKubernetesCluster owns it", Hint: "kubectl get cluster new"}},
		Error:    "nodes: no TanzuKubernetesCluster owns it",
	}
}

func TestDiagnosis(t *testing.T) {
	t.Parallel()
	var short, all bytes.Buffer
	for _, d := range []diagnosis.Diagnosis{
		sampleDiagnosis(), {Cluster: "team-a/dev2", Kind: "TanzuKubernetesCluster", Cause: diagnosis.Healthy, Remedy: "nothing", Summary: "No pod fails."},
		diagnosis.Failed("team-a/gone", plugins.Hint(os.ErrNotExist, "see which there are")),
	} {
		if err := report.DiagnosisText(&short, d, false); err != nil {
			t.Fatal(err)
		}
		if err := report.DiagnosisText(&all, d, true); err != nil {
			t.Fatal(err)
		}
	}
	if err := report.DiagnosisTotals(&short, []diagnosis.Diagnosis{sampleDiagnosis(), {Cause: diagnosis.Healthy}, {}}); err != nil {
		t.Fatal(err)
	}
	golden(t, "sample-diagnosis.txt", short.Bytes())
	golden(t, "sample-diagnosis-verbose.txt", all.Bytes())
	for _, r := range short.String() + all.String() {
		if r < ' ' && r != '\n' || r == '\u202e' {
			t.Fatalf("the terminal gets %q", r)
		}
	}
}

// TestDiagnosisIsDocumented holds docs/diagnose.md to the code: its JSON is one that tkgfix reads, its text is made of it, and each key
// is explained.
func TestDiagnosisIsDocumented(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../docs/diagnose.md")
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string) string {
		m := regexp.MustCompile("(?s)```" + kind + "\n(.*?)```").FindSubmatch(doc)
		if m == nil {
			t.Fatalf("no %s in docs/diagnose.md", kind)
		}
		return string(m[1])
	}
	var example struct{ Clusters []diagnosis.Diagnosis }
	dec := json.NewDecoder(strings.NewReader(block("json")))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&example); err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	for _, d := range example.Clusters {
		if err := report.DiagnosisText(&text, d, false); err != nil {
			t.Fatal(err)
		}
	}
	if err := report.DiagnosisTotals(&text, example.Clusters); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(block("text"), text.String()); diff != "" {
		t.Errorf("text (-documented, +made of the documented JSON):\n%s", diff)
	}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[diagnosis.Diagnosis]()) {
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !regexp.MustCompile("(?m)^\\| [^|]*`" + key + "`").Match(doc) {
			t.Errorf("docs/diagnose.md does not explain the key %s", key)
		}
	}
}
