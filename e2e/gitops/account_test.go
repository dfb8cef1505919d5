//go:build gitops

package gitops

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// The people of the tests. They log in to the management cluster by these names.
const (
	rita    = "rita@example.com"    // asks for runs
	alice   = "alice@example.com"   // approves
	mallory = "mallory@example.com" // is nobody
)

// tokens are the logins of people, in the groups that examples/controller/namespace.yaml gives rights to.
func tokens() string {
	var out strings.Builder
	for user, group := range map[string]string{rita: "platform-engineers", alice: "platform-leads", mallory: "others"} {
		fmt.Fprintf(&out, "%s,%s,%s,%q\n", token(user), user, user, group)
	}
	return out.String()
}

// token is the static token of a person.
func token(user string) string {
	name, _, _ := strings.Cut(user, "@")
	return "token-of-" + name
}

func create(t *testing.T, objects ...client.Object) {
	t.Helper()
	for _, o := range objects {
		if err := admin.Create(t.Context(), o); err != nil {
			t.Fatalf("create %T %s: %v", o, o.GetName(), err)
		}
	}
}

func named(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name}
}

// account makes a service account with the rights of a Role of its name, if there is one, and returns its user name.
func account(t *testing.T, namespace, name string, rules ...rbacv1.PolicyRule) string {
	t.Helper()
	create(t, &corev1.ServiceAccount{ObjectMeta: named(namespace, name)})
	if len(rules) > 0 {
		create(t, &rbacv1.Role{ObjectMeta: named(namespace, name), Rules: rules}, &rbacv1.RoleBinding{
			ObjectMeta: named(namespace, name),
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
			Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: namespace, Name: name}},
		})
	}
	return "system:serviceaccount:" + namespace + ":" + name
}

// accountFile returns a kubeconfig of a service account, with a token that the API server made.
func accountFile(t *testing.T, namespace, name string) string {
	t.Helper()
	hour := int64(3600)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &hour}}
	sa := &corev1.ServiceAccount{ObjectMeta: named(namespace, name)}
	if err := admin.SubResource("token").Create(t.Context(), sa, request); err != nil {
		t.Fatalf("a token of %s/%s: %v", namespace, name, err)
	}
	return tokenFile(t, name, request.Status.Token)
}

// personFile returns a kubeconfig of a person.
func personFile(t *testing.T, user string) string {
	t.Helper()
	return tokenFile(t, user, token(user))
}

func tokenFile(t *testing.T, name, token string) string {
	t.Helper()
	data, err := management.Bearer(name, token)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name+".yaml")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// rule is a right in the namespace of a Role.
func rule(group, resources, verbs string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: strings.Fields(resources), Verbs: strings.Fields(verbs)}
}
