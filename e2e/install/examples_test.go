package install

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// settled bounds how long an API server may take to heed the policies that it has been given.
const settled = time.Minute

// wantExamples applies the examples as the people whom they name.
func (c *cluster) wantExamples(t *testing.T) {
	as := func(u user, args ...string) result {
		return c.kubectl(t, append([]string{"apply", "--dry-run=server", "--as", u.name, "--as-group", u.group}, args...)...)
	}
	run, err := os.ReadFile(filepath.Join(root, "examples/controller/run.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	another := []byte(strings.Replace(string(run), requester.name, approver.name, 1))
	const refusal = "spec.requester is bob@example.com and this Run is created by alice@example.com"
	eventually(t, func() error {
		r := command(t, another, c.env, deploy, "kubectl", "apply", "--dry-run=server", "--as", requester.name, "--as-group", requester.group, "-f", "-")
		if r.code == 0 || !strings.Contains(r.stderr, refusal) {
			return fmt.Errorf("exit %d, want a refusal that says %q: %s%s", r.code, refusal, r.stdout, r.stderr)
		}
		return nil
	})
	as(requester, "-n", "team-a", "-f", "examples/workflows/registry-trust.yaml").ok(t)
	as(requester, "-f", "examples/controller/run.yaml").ok(t)
	as(requester, "-f", "examples/controller/trigger.yaml").ok(t)
	as(approver, "-f", "examples/controller/approval.yaml").ok(t)
	as(requester, "-f", "examples/controller/approval.yaml").refused(t, "forbidden")
	as(approver, "-f", "examples/controller/run.yaml").refused(t, "forbidden")
}

// wantRestricted wants the namespace to take the pods that the Deployment makes, and to refuse any that may do more.
func (c *cluster) wantRestricted(t *testing.T) {
	d := &appsv1.Deployment{}
	if err := c.client.Get(t.Context(), client.ObjectKey{Namespace: systemNamespace, Name: "tkgfix-controller"}, d); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		reason string
		change func(*corev1.PodSpec)
		want   string
	}{
		{"as it is", func(*corev1.PodSpec) {}, ""},
		{"root", func(s *corev1.PodSpec) { s.SecurityContext.RunAsNonRoot = nil }, "runAsNonRoot != true"},
		{"every system call", func(s *corev1.PodSpec) { s.SecurityContext.SeccompProfile = nil }, "seccompProfile"},
		{"capabilities", func(s *corev1.PodSpec) { s.Containers[0].SecurityContext.Capabilities = nil }, "unrestricted capabilities"},
		{"more rights", func(s *corev1.PodSpec) { s.Containers[0].SecurityContext.AllowPrivilegeEscalation = nil }, "allowPrivilegeEscalation != false"},
	} {
		spec := d.Spec.Template.Spec.DeepCopy()
		tc.change(spec)
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "try-", Namespace: systemNamespace, Labels: d.Spec.Template.Labels}, Spec: *spec}
		err := c.client.Create(t.Context(), pod, client.DryRunAll)
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("%s: %v", tc.reason, err)
		case tc.want != "" && (err == nil || !strings.Contains(err.Error(), `violates PodSecurity "restricted`) || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("%s: %v, want it to be refused for %s", tc.reason, err, tc.want)
		}
	}
}

// eventually waits until do succeeds.
func eventually(t *testing.T, do func() error) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, settled, true, func(context.Context) (bool, error) {
		last = do()
		return last == nil, nil
	})
	if err != nil {
		t.Fatalf("%v: %v", err, last)
	}
}
