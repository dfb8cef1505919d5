package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestDocumentedFix takes a cluster whose TkgServiceConfiguration holds an old CA of the same subject from ErrImagePull to
// Running, by the documented way, and looks at what a person would fear for on the way.
func TestDocumentedFix(t *testing.T) {
	lab := up(t, "wrong-ca")
	platform := lab.kubeconfig("platform")
	sick := lab.inputs("team-a/dev1", lab.ca("root"))
	before := lab.trust(t)
	dev2 := lab.get(t, tkcs, "team-a", "dev2")
	if got := lab.phases(t, "dev1"); got["Running"] > 0 || got["Pending"] == 0 {
		t.Fatalf("dev1 is not sick: %v", got)
	}

	t.Run("PlanChangesNothing", func(t *testing.T) { planChangesNothing(t, lab, sick) })
	t.Run("HealthyCluster", func(t *testing.T) {
		lab.wantNoChange(t, lab.inputs("team-a/dev2", lab.ca("root")))
	})
	t.Run("BadInput", func(t *testing.T) { badInput(t, lab) })

	waiting := lab.tkgfix(t, platform, append([]string{"run", documentedFix}, sick...)...).wantCode(t, 3)
	id := waiting.runID(t)
	if got := len(lab.writes(t, "tanzukubernetesclusters", "dev1")) + len(lab.writes(t, "tkgserviceconfigurations", "tkg-service-configuration")); got != 0 {
		t.Fatalf("%d writes before any approval", got)
	}
	t.Run("OtherDigest", func(t *testing.T) { otherDigestIsRefused(t, lab, id) })
	lab.approveAll(t, waiting)
	lab.tkgfix(t, platform, "resume", id).wantCode(t, 0)

	if diff := cmp.Diff(map[string]int{"Running": 6}, lab.phases(t, "dev1")); diff != "" {
		t.Errorf("pods of the workload (-want, +got):\n%s", diff)
	}
	lab.wantOneOfEach(t)
	after := lab.trust(t)
	for _, name := range []string{"corp-a", "corp-b"} {
		if before[name] == "" || after[name] != before[name] {
			t.Errorf("the unrelated CA %s was %q and is %q", name, before[name], after[name])
		}
	}
	if len(after) != len(before) {
		t.Errorf("%d entries before, %d after: the old CA of the same subject should have been replaced", len(before), len(after))
	}
	now := lab.get(t, tkcs, "team-a", "dev2")
	if now.GetUID() != dev2.GetUID() || now.GetGeneration() != dev2.GetGeneration() {
		t.Errorf("dev2 was %s generation %d and is %s generation %d", dev2.GetUID(), dev2.GetGeneration(), now.GetUID(), now.GetGeneration())
	}
	t.Run("Report", func(t *testing.T) { reportTells(t, lab, id) })
	t.Run("SecondRun", func(t *testing.T) { lab.wantNoChange(t, sick) })
	t.Run("NoSecret", func(t *testing.T) { noSecretIsWritten(t, lab, id) })
}

func planChangesNothing(t *testing.T, lab *laboratory, inputs []string) {
	files := lab.files(t)
	r := lab.tkgfix(t, lab.kubeconfig("platform"), append([]string{"plan", documentedFix, "--detailed-exitcode", "--output", "json"}, inputs...)...).wantCode(t, 2)
	want := []string{
		"update TkgServiceConfiguration tkg-service-configuration",
		"delete TanzuKubernetesCluster dev1", "create TanzuKubernetesCluster dev1", "create Namespace demo", "create Deployment web",
	}
	if diff := cmp.Diff(want, decodePlan(t, r).actions()); diff != "" {
		t.Errorf("planned (-want, +got):\n%s", diff)
	}
	for _, server := range []string{"supervisor", "team-a-dev1", "team-a-dev2"} {
		for _, a := range lab.audit(t, server, func(a audited) bool { return byTkgfix(a) && a.writes() }) {
			t.Errorf("%s: %s", server, a)
		}
	}
	if n := len(lab.audit(t, "supervisor", byTkgfix)); n == 0 {
		t.Error("the audit log holds nothing of tkgfix: this test looks at the wrong thing")
	}
	if diff := cmp.Diff(files, lab.files(t)); diff != "" {
		t.Errorf("files of nodes (-before, +after):\n%s", diff)
	}
	if _, err := os.Stat(filepath.Join(lab.state, "runs")); err == nil {
		t.Error("a plan left a run")
	}
}

func decodePlan(t *testing.T, r result) *shownPlan {
	t.Helper()
	p := decode[shownPlan](t, []byte(r.stdout))
	return &p
}

// wantNoChange plans and runs, and wants that nothing is to be done.
func (l *laboratory) wantNoChange(t *testing.T, inputs []string) {
	t.Helper()
	platform := l.kubeconfig("platform")
	r := l.tkgfix(t, platform, append([]string{"plan", documentedFix, "--detailed-exitcode"}, inputs...)...).wantCode(t, 0)
	if !strings.Contains(r.stdout, "No changes.") {
		t.Errorf("the plan does not say that there is nothing to change:\n%s", r.stdout)
	}
	l.tkgfix(t, platform, append([]string{"run", documentedFix}, inputs...)...).wantCode(t, 0)
}

// wantOneOfEach holds what must never happen twice against the audit log.
func (l *laboratory) wantOneOfEach(t *testing.T) {
	t.Helper()
	if diff := cmp.Diff(map[string]int{"delete": 1, "create": 1}, l.writes(t, "tanzukubernetesclusters", "dev1")); diff != "" {
		t.Errorf("writes on dev1 (-want, +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]int{"patch": 1}, l.writes(t, "tkgserviceconfigurations", "tkg-service-configuration")); diff != "" {
		t.Errorf("writes on TkgServiceConfiguration (-want, +got):\n%s", diff)
	}
}

func otherDigestIsRefused(t *testing.T, lab *laboratory, id string) {
	gates := lab.show(t, id).Plan.Gates
	if len(gates) != 2 || gates[0].Step != "trust" || gates[1].Step != "recreate" {
		t.Fatalf("gates: %+v", gates)
	}
	for name, digest := range map[string]string{
		"AnotherGate": gates[1].Digest,
		"Prefix":      gates[0].Digest[:30],
		"Zero":        "sha256:" + strings.Repeat("0", 64),
	} {
		lab.tkgfix(t, "/nonexistent", "approve", id, "trust", "--digest", digest).wantCode(t, 1).wantSaid(t, "digest", "hint: ")
		if s := lab.show(t, id).Status; s != "waiting" {
			t.Errorf("%s: the run is %s", name, s)
		}
	}
}

func reportTells(t *testing.T, lab *laboratory, id string) {
	md := lab.tkgfix(t, "/nonexistent", "report", id).wantCode(t, 0).stdout
	for _, want := range []string{
		"# Run " + id + ": done", "patch-tkgserviceconfiguration", "recreate-cluster", "## Approvals", "## Effects", "delete-cluster", "create-cluster",
		"certificate signed by unknown authority",
	} {
		if !strings.Contains(md, want) {
			t.Errorf("the report does not hold %q", want)
		}
	}
	r := lab.tkgfix(t, "/nonexistent", "report", id, "--output", "json").wantCode(t, 0)
	if got := decode[shown](t, []byte(r.stdout)); got.Status != "done" || got.ID != id {
		t.Errorf("the JSON report says %s of %s", got.Status, got.ID)
	}
	lab.tkgfix(t, "/nonexistent", "runs", "list").wantCode(t, 0)
}

// noSecretIsWritten looks for the secrets that the run used in every byte that it wrote.
func noSecretIsWritten(t *testing.T, lab *laboratory, id string) {
	var planted []string
	for _, name := range []string{"dev1-ssh", "dev1-ssh-password", "dev1-kubeconfig"} {
		data := lab.get(t, secrets, "team-a", name).Object["data"].(map[string]any)
		for _, v := range data {
			raw := string(unbase64(t, v.(string)))
			planted = append(planted, v.(string), raw, strings.Split(strings.TrimSpace(raw), "\n")[max(0, strings.Count(raw, "\n")/2)])
		}
	}
	kubeconfig, err := os.ReadFile(lab.kubeconfig("platform"))
	if err != nil {
		t.Fatal(err)
	}
	_, token, found := strings.Cut(string(kubeconfig), "token: ")
	if !found {
		t.Fatal("the platform kubeconfig holds no token")
	}
	planted = append(planted, strings.TrimSpace(strings.Split(token, "\n")[0]), proxyPassword)
	var written strings.Builder
	err = filepath.WalkDir(lab.state, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		written.Write(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	lab.tkgfix(t, "/nonexistent", "report", id)
	lab.tkgfix(t, "/nonexistent", "runs", "show", id, "--output", "json")
	written.WriteString(lab.said.String())
	for i, secret := range planted {
		if len(secret) < 8 {
			t.Fatalf("planted secret %d is too short to look for", i)
		}
		if strings.Contains(written.String(), secret) {
			t.Errorf("secret %d was written", i)
		}
	}
}

// TestVSpherePod meets the vendor's page literally: the failing pods are vSphere Pods, which no change of
// TkgServiceConfiguration mends, so nothing must be changed.
func TestVSpherePod(t *testing.T) {
	lab := up(t, "vsphere-pod")
	r := lab.tkgfix(t, lab.kubeconfig("platform"), append([]string{"run", documentedFix}, lab.inputs("team-a/dev1", lab.ca("root"))...)...).wantCode(t, 1)
	r.wantSaid(t, "vSphere Pod", "hint: ")
	if got := lab.show(t, r.runID(t)); got.Status != "blocked" || len(got.Plan.actions()) != 0 {
		t.Errorf("the run is %s and would %v", got.Status, got.Plan.actions())
	}
}
