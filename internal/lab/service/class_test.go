package service

import (
	"context"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tkgfix/tkgfix/internal/lab/ca"
)

func TestClassOfCluster(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason, topology string
		want             types.NamespacedName
	}{
		"V1beta1":   {"class and classNamespace", "{class: c, classNamespace: other}", types.NamespacedName{Namespace: "other", Name: "c"}},
		"Own":       {"the Cluster's namespace", "{class: c}", types.NamespacedName{Namespace: "team-a", Name: "c"}},
		"V1beta2":   {"classRef", "{classRef: {name: c, namespace: other}}", types.NamespacedName{Namespace: "other", Name: "c"}},
		"Unrelated": {"no class at all", "{}", types.NamespacedName{Namespace: "team-a"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := classOwner{parse(t, "kind: Cluster\nmetadata: {name: dev1, namespace: team-a}\nspec: {topology: "+tc.topology+"}")}
			if diff := cmp.Diff(tc.want, o.class()); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestRenderClassTrust(t *testing.T) {
	t.Parallel()
	authority, err := ca.NewRoot("Root", ca.ECDSA, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	pem := string(authority.PEM())
	base := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	secret := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "dev1-user-trusted-ca-secret", "namespace": "team-a"},
		"data": map[string]any{"right": base(base(pem)), "single": base(pem), "triple": base(base(base(pem)))},
	}}
	tanzu := func(names string) string {
		return "[{name: trust, value: {additionalTrustedCAs: " + names + "}}]"
	}
	generic := func(caCert string) string {
		return "[{name: osConfiguration, value: {ntp: {servers: [t]}, trust: {additionalTrustedCAs: [{caCert: " + caCert + "}]}}}]"
	}
	cases := map[string]struct {
		reason, variables string
		// files are those with the CA
		files        []string
		fails, waits string
	}{
		"Right":     {"base64 twice", tanzu("[{name: right}]"), []string{"tkg-right.pem"}, "", ""},
		"Single":    {"a layer too few: the node never joins", tanzu("[{name: right}, {name: single}]"), []string{"tkg-right.pem"}, "key single", ""},
		"Triple":    {"a layer too many: no PEM either", tanzu("[{name: triple}]"), nil, "key triple", ""},
		"NoKey":     {"a key that is not there yet", tanzu("[{name: absent}]"), nil, "", "has no key absent"},
		"None":      {"nothing is declared", "[]", nil, "", ""},
		"SecretRef": {"by a name that nobody can know", generic("{secretRef: {name: dev1-user-trusted-ca-secret, key: right}}"), []string{"tkg-additional-ca-1.pem"}, "", ""},
		"NoSecret":  {"a Secret that is not there yet", generic("{secretRef: {name: other, key: right}}"), nil, "", "Secret team-a/other not found"},
		"Content":   {"PEM in the variable itself", generic("{content: " + `"` + strings.ReplaceAll(pem, "\n", `\n`) + `"}`), []string{"tkg-additional-ca-1.pem"}, "", ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			find := func(_ context.Context, _ schema.GroupVersionResource, namespace, name string) (*unstructured.Unstructured, error) {
				if namespace == secret.GetNamespace() && name == secret.GetName() {
					return secret, nil
				}
				return nil, nil
			}
			o := classOwner{parse(t, "kind: Cluster\nmetadata: {name: dev1, namespace: team-a}\nspec: {topology: {variables: "+tc.variables+"}}")}
			got, err := o.render(t.Context(), find)
			if err != nil {
				t.Fatal(err)
			}
			var files []string
			for _, entry := range got.trust {
				if name, data, ok := entry.File(); ok && string(data) == pem {
					files = append(files, name)
				}
			}
			if diff := cmp.Diff(tc.files, files); diff != "" {
				t.Errorf("%s: files (-want, +got):\n%s", tc.reason, diff)
			}
			if (got.fails == "") != (tc.fails == "") || !strings.Contains(got.fails, tc.fails) || (got.waits == "") != (tc.waits == "") || !strings.Contains(got.waits, tc.waits) {
				t.Errorf("%s: fails %q, waits %q", tc.reason, got.fails, got.waits)
			}
		})
	}
}
