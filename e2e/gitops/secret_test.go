//go:build gitops

package gitops

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
)

// noSecret looks for the credentials that the run used in all that is kept of it, and in what the replicas said.
func (s *story) noSecret(t *testing.T) {
	t.Helper()
	written := map[string]string{}
	for _, r := range s.replicas {
		text, err := os.ReadFile(r.log)
		if err != nil {
			t.Fatal(err)
		}
		written[r.log] = string(text)
	}
	var journal v1alpha1.JournalEntryList
	if err := admin.List(t.Context(), &journal, client.InNamespace(remedies)); err != nil {
		t.Fatal(err)
	}
	for _, e := range journal.Items {
		lines, err := gzip.NewReader(bytes.NewReader(e.Spec.Data))
		if err != nil {
			t.Fatalf("%s: %v", e.Name, err)
		}
		text, err := io.ReadAll(lines)
		if err != nil {
			t.Fatalf("%s: %v", e.Name, err)
		}
		written[e.Name] = string(text)
	}
	for _, list := range []client.ObjectList{&v1alpha1.RunList{}, &v1alpha1.ApprovalList{}, &corev1.EventList{}, &corev1.ConfigMapList{}} {
		if err := admin.List(t.Context(), list, client.InNamespace(remedies)); err != nil {
			t.Fatal(err)
		}
		written[fmt.Sprintf("%T", list)] = manifest(t, list)
	}
	all := strings.Join(slices.Collect(maps.Values(written)), "\n")
	for _, known := range []string{s.digest, s.run.Status.RunID, alice, "certificate signed by unknown authority"} {
		if !strings.Contains(all, known) {
			t.Errorf("nothing holds %q: this test looks at the wrong thing", known)
		}
	}
	for i, secret := range s.lab.secrets(t) {
		for where, text := range written {
			if strings.Contains(text, secret) {
				t.Errorf("secret %d is in %s", i, where)
			}
		}
	}
}
