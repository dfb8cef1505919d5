package e2e

import (
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// diagnosed is what tkgfix diagnose says of clusters.
type diagnosed struct {
	Clusters []struct {
		Cluster, Kind, Cause, Remedy, Summary, Next, Blocked, Error string

		FixableByTrust *bool
		RuledOut       []struct{ Remedy, Reason string }
		Evidence       []struct{ Check, Verdict, Text string }
		Looks          []struct{ Step, Status, Summary, Error string }
	}
}

// TestDiagnose asks what is wrong without a workflow: of all clusters, with the CA at hand, with a login of few rights, and of nodes that
// are not reached. Nothing may be changed or kept.
func TestDiagnose(t *testing.T) {
	lab := up(t, "missing-ca")
	platform, port := lab.kubeconfig("platform"), "--ssh-port="+lab.ssh

	t.Run("All", func(t *testing.T) {
		r := lab.tkgfix(t, platform, "diagnose", port, "-o", "json", "--detailed-exitcode").wantCode(t, 2)
		got := decode[diagnosed](t, []byte(r.stdout)).Clusters
		if len(got) != 2 || got[0].Cluster != "team-a/dev1" || got[1].Cluster != "team-a/dev2" {
			t.Fatalf("clusters:\n%s", r.stdout)
		}
		sick, well := got[0], got[1]
		if sick.Cause != "missing-ca" || sick.FixableByTrust == nil || !*sick.FixableByTrust || sick.Error != "" {
			t.Errorf("dev1:\n%s", r.stdout)
		}
		if !strings.Contains(sick.Next, "tkgfix diagnose team-a/dev1 --ca FILE") {
			t.Errorf("dev1: next is %q", sick.Next)
		}
		if well.Cause != "healthy" || well.FixableByTrust != nil || well.Blocked != "" || well.Error != "" {
			t.Errorf("dev2:\n%s", r.stdout)
		}
		r.wantSaid(t, "team-a/dev1: probe: looking", "team-a/dev2: detect: looking")
	})

	t.Run("WithCA", func(t *testing.T) {
		r := lab.tkgfix(t, platform, "diagnose", "-n", "team-a", "dev1", port, "--ca", lab.ca("root")).wantCode(t, 0)
		for _, want := range []string{
			"team-a/dev1: missing-ca", "why not:", "restart-", "the files that are on the nodes do not make the chain valid",
			"tkgfix plan registry-trust.yaml --input cluster=team-a/dev1 --input ca=" + lab.ca("root"), "clusters: 1 with a fault",
		} {
			if !strings.Contains(r.stdout, want) {
				t.Errorf("it does not say %q:\n%s", want, r.stdout)
			}
		}
	})

	t.Run("NodesNotReached", func(t *testing.T) {
		r := lab.tkgfix(t, platform, "diagnose", "team-a/dev1", "--ssh-port=1", "-o", "json").wantCode(t, 1)
		lab.wantPodsOnly(t, r)
	})

	t.Run("FewRights", func(t *testing.T) {
		viewer := lab.kubeconfig("viewer")
		r := lab.tkgfix(t, viewer, "diagnose", port, "-o", "json").wantCode(t, 1)
		for _, c := range decode[diagnosed](t, []byte(r.stdout)).Clusters {
			if c.Cause != "" || !strings.Contains(c.Error, "secrets") || !strings.Contains(c.Next, "kubectl auth can-i get secrets") {
				t.Errorf("%s:\n%s", c.Cluster, r.stdout)
			}
		}
		lab.mayRead(t, "viewer", "dev1-kubeconfig")
		r = lab.tkgfix(t, viewer, "diagnose", "team-a/dev1", port, "-o", "json").wantCode(t, 1)
		lab.wantPodsOnly(t, r)
	})

	for _, server := range []string{"supervisor", "team-a-dev1", "team-a-dev2"} {
		asked := lab.audit(t, server, func(a audited) bool { return strings.HasPrefix(a.UserAgent, "tkgfix/") })
		if len(asked) == 0 {
			t.Errorf("%s: the audit log holds nothing of tkgfix: this test looks at the wrong thing", server)
		}
		for _, a := range asked {
			if a.writes() {
				t.Errorf("%s: %s", server, a)
			}
		}
	}
	if diff := cmp.Diff([]string{"known_hosts", "known_hosts.lock"}, kept(t, lab.state)); diff != "" {
		t.Errorf("files of the state folder (-want, +got):\n%s", diff)
	}
}

// wantPodsOnly wants the best diagnosis of dev1 that is to be had without its nodes.
func (l *laboratory) wantPodsOnly(t *testing.T, r result) {
	t.Helper()
	c := decode[diagnosed](t, []byte(r.stdout)).Clusters[0]
	if !strings.Contains(c.Summary, "trust") || !strings.Contains(c.Error, "nodes: ") || c.Next == "" {
		t.Errorf("summary %q, error %q, next %q", c.Summary, c.Error, c.Next)
	}
	if !slices.ContainsFunc(c.Evidence, func(e struct{ Check, Verdict, Text string }) bool {
		return e.Check == "image-pull" && e.Verdict == "bad" && strings.Contains(e.Text, "certificate signed by unknown authority")
	}) {
		t.Errorf("no pod's message is evidence:\n%s", r.stdout)
	}
}

// mayRead lets a user read one Secret more.
func (l *laboratory) mayRead(t *testing.T, user, secret string) {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", l.kubeconfig("admin"))
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	meta := metav1.ObjectMeta{Name: user + "-" + secret, Namespace: "team-a"}
	rule := rbacv1.PolicyRule{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{secret}}
	if _, err := client.RbacV1().Roles("team-a").Create(t.Context(), &rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{rule}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err = client.RbacV1().RoleBindings("team-a").Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: meta.Name},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// kept returns the files below a folder.
func kept(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		out = append(out, name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
