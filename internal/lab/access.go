package lab

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/tkgfix/tkgfix/internal/lab/plane"
	"github.com/tkgfix/tkgfix/internal/lab/service"
)

// The users of the Supervisor besides the administrator.
const (
	platformUser = "platform"
	editorUser   = "editor"
	viewerUser   = "viewer"
	expiredUser  = "expired"
	adminUser    = "admin"
)

const tokenBytes = 24

// tokens are the users' bearer tokens, by user.
type tokens map[string]string

func newTokens() (tokens, error) {
	out := tokens{}
	for _, user := range []string{platformUser, editorUser, viewerUser} {
		var raw [tokenBytes]byte
		if _, err := rand.Read(raw[:]); err != nil {
			return nil, fmt.Errorf("making tokens: %w", err)
		}
		out[user] = hex.EncodeToString(raw[:])
	}
	return out, nil
}

// file is kube-apiserver's static token file.
func (t tokens) file() string {
	var out strings.Builder
	for _, user := range slices.Sorted(maps.Keys(t)) {
		fmt.Fprintf(&out, "%s,%s,%s\n", t[user], user, user)
	}
	return out.String()
}

// writeKubeconfigs writes a kubeconfig for each kind of user.
func writeKubeconfigs(dir string, supervisor *plane.Plane, t tokens) error {
	expired, err := supervisor.ExpiredToken(namespace, platformUser)
	if err != nil {
		return err
	}
	bearers := maps.Clone(t)
	bearers[expiredUser] = expired
	for user, token := range bearers {
		data, err := supervisor.Bearer(user, token)
		if err != nil {
			return err
		}
		if err := os.WriteFile(kubeconfigPath(dir, user), data, 0o600); err != nil {
			return fmt.Errorf("writing the kubeconfig of %s: %w", user, err)
		}
	}
	data, err := supervisor.Admin(adminUser)
	if err != nil {
		return err
	}
	if err := os.WriteFile(kubeconfigPath(dir, adminUser), data, 0o600); err != nil {
		return fmt.Errorf("writing the kubeconfig of %s: %w", adminUser, err)
	}
	return nil
}

func kubeconfigPath(dir, user string) string { return filepath.Join(dir, "kubeconfig", user+".yaml") }

// grant makes the namespaces and gives the users their rights (tkg-facts.md §5): platform is a vSphere administrator who also may edit the
// namespace; editor has the role Can Edit on the namespace, and nothing of TkgServiceConfiguration; viewer may read clusters, and neither
// TkgServiceConfiguration nor Secrets.
func grant(ctx context.Context, client kubernetes.Interface) error {
	for _, name := range []string{namespace, service.PublicNamespace, service.LabNamespace} {
		_, err := client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		if err != nil {
			return fmt.Errorf("making the namespace %s: %w", name, err)
		}
	}
	for _, r := range roles() {
		if err := r.grant(ctx, client); err != nil {
			return fmt.Errorf("granting rights to %s: %w", r.user, err)
		}
	}
	return nil
}

// role is what a user may do, in one namespace or everywhere.
type role struct {
	name, user string
	namespace  string
	rules      []rbacv1.PolicyRule
}

func roles() []role {
	read := []string{"get", "list", "watch"}
	write := append([]string{"create", "update", "patch", "delete"}, read...)
	rule := func(verbs []string, group string, resources ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{Verbs: verbs, APIGroups: []string{group}, Resources: resources}
	}
	releases := rule(read, "run.tanzu.vmware.com", "tanzukubernetesreleases")
	clusters := []rbacv1.PolicyRule{
		rule(read, "run.tanzu.vmware.com", "tanzukubernetesclusters"),
		rule(read, "cluster.x-k8s.io", "*"),
		rule(read, "vmoperator.vmware.com", "*"),
		rule(read, "", "namespaces", "pods", "events", "services", "persistentvolumeclaims"),
		releases,
	}
	return []role{
		{name: viewerUser, user: viewerUser, rules: clusters},
		{name: platformUser, user: platformUser, rules: slices.Concat(clusters, []rbacv1.PolicyRule{
			rule(write, "run.tanzu.vmware.com", "tkgserviceconfigurations", "tanzukubernetesclusters"),
			rule(write, "cluster.x-k8s.io", "clusters"),
			rule([]string{"delete"}, "cluster.x-k8s.io", "machines"),
			rule(write, "", "secrets", "configmaps"),
			rule(read, "events.k8s.io", "events"),
		})},
		{name: editorUser, user: editorUser, namespace: namespace, rules: slices.Concat(clusters, []rbacv1.PolicyRule{
			rule(write, "run.tanzu.vmware.com", "tanzukubernetesclusters"),
			rule(write, "cluster.x-k8s.io", "clusters"),
			rule(write, "", "secrets", "configmaps", "persistentvolumeclaims"),
			rule(read, "events.k8s.io", "events"),
		})},
		{name: editorUser + "-releases", user: editorUser, rules: []rbacv1.PolicyRule{releases}},
		{name: editorUser + "-classes", user: editorUser, namespace: service.PublicNamespace, rules: []rbacv1.PolicyRule{rule(read, "cluster.x-k8s.io", "clusterclasses")}},
	}
}

func (r role) grant(ctx context.Context, client kubernetes.Interface) error {
	meta := metav1.ObjectMeta{Name: "lab:" + r.name}
	if _, err := client.RbacV1().ClusterRoles().Create(ctx, &rbacv1.ClusterRole{ObjectMeta: meta, Rules: r.rules}, metav1.CreateOptions{}); err != nil {
		return err
	}
	ref := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: meta.Name}
	subjects := []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: r.user}}
	var err error
	if r.namespace == "" {
		_, err = client.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{ObjectMeta: meta, RoleRef: ref, Subjects: subjects}, metav1.CreateOptions{})
	} else {
		_, err = client.RbacV1().RoleBindings(r.namespace).Create(ctx, &rbacv1.RoleBinding{ObjectMeta: meta, RoleRef: ref, Subjects: subjects}, metav1.CreateOptions{})
	}
	return err
}
