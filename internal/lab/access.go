package lab

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/tkgfix/tkgfix/internal/lab/plane"
)

// The users of the Supervisor besides the administrator.
const (
	platformUser = "platform"
	viewerUser   = "viewer"
	expiredUser  = "expired"
	adminUser    = "admin"
)

const tokenBytes = 24

type tokens struct{ platform, viewer string }

func newTokens() (tokens, error) {
	var raw [2 * tokenBytes]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return tokens{}, fmt.Errorf("making tokens: %w", err)
	}
	return tokens{platform: hex.EncodeToString(raw[:tokenBytes]), viewer: hex.EncodeToString(raw[tokenBytes:])}, nil
}

// file is kube-apiserver's static token file.
func (t tokens) file() string {
	return fmt.Sprintf("%s,%s,%s\n%s,%s,%s\n", t.platform, platformUser, platformUser, t.viewer, viewerUser, viewerUser)
}

// writeKubeconfigs writes a kubeconfig for each kind of user.
func writeKubeconfigs(dir string, supervisor *plane.Plane, t tokens) error {
	expired, err := supervisor.ExpiredToken(namespace, platformUser)
	if err != nil {
		return err
	}
	for user, token := range map[string]string{platformUser: t.platform, viewerUser: t.viewer, expiredUser: expired} {
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

// grant gives the users their rights (tkg-facts.md §5): platform is a vSphere administrator who also may edit the namespace; viewer
// may read clusters, and neither TkgServiceConfiguration nor Secrets.
func grant(ctx context.Context, client kubernetes.Interface) error {
	read := []string{"get", "list", "watch"}
	write := append([]string{"create", "update", "patch", "delete"}, read...)
	rule := func(verbs []string, group string, resources ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{Verbs: verbs, APIGroups: []string{group}, Resources: resources}
	}
	clusters := []rbacv1.PolicyRule{
		rule(read, "run.tanzu.vmware.com", "tanzukubernetesclusters"),
		rule(read, "cluster.x-k8s.io", "*"),
		rule(read, "vmoperator.vmware.com", "*"),
		rule(read, "", "namespaces", "pods", "events", "services", "persistentvolumeclaims"),
	}
	roles := map[string][]rbacv1.PolicyRule{
		viewerUser: clusters,
		platformUser: append(append([]rbacv1.PolicyRule(nil), clusters...),
			rule(write, "run.tanzu.vmware.com", "tkgserviceconfigurations", "tanzukubernetesclusters"),
			rule(write, "cluster.x-k8s.io", "clusters"),
			rule(write, "", "secrets", "configmaps"),
			rule(read, "events.k8s.io", "events"),
		),
	}
	for user, rules := range roles {
		meta := metav1.ObjectMeta{Name: "lab:" + user}
		if _, err := client.RbacV1().ClusterRoles().Create(ctx, &rbacv1.ClusterRole{ObjectMeta: meta, Rules: rules}, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("granting rights to %s: %w", user, err)
		}
		_, err := client.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
			ObjectMeta: meta,
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: meta.Name},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
		}, metav1.CreateOptions{})
		if err != nil {
			return fmt.Errorf("granting rights to %s: %w", user, err)
		}
	}
	_, err := client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("making the vSphere Namespace: %w", err)
	}
	return nil
}
