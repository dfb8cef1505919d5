//go:build gitops

package gitops

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
)

// person has a key, and a login to the management cluster.
type person struct {
	name, key, kubeconfig string
}

func newPerson(t *testing.T, name string) person {
	t.Helper()
	p := person{name: name, key: filepath.Join(t.TempDir(), "id_ed25519"), kubeconfig: personFile(t, name)}
	command(t, nil, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", p.key).wantCode(t, 0)
	return p
}

// line is the person's line in the file of allowed signers.
func (p person) line(t *testing.T) string {
	t.Helper()
	public, err := os.ReadFile(p.key + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s namespaces=\"approval@tkgfix.dev\" %s\n", p.name, strings.TrimSpace(string(public)))
}

// tkgfix runs tkgfix with the person's login.
func (p person) tkgfix(t *testing.T, args ...string) result {
	t.Helper()
	return command(t, []string{"KUBECONFIG=" + p.kubeconfig, "TKGFIX_STATE="}, filepath.Join(bin, "tkgfix"), args...)
}

// signs types the line in a Run's status, as the one that approver names, and returns the Approval for a commit.
func (p person) signs(t *testing.T, line, approver, name string, change func(*v1alpha1.Approval)) string {
	t.Helper()
	words := strings.Fields(line)
	if words[0] != "tkgfix" {
		t.Fatalf("no line to paste: %q", line)
	}
	r := p.tkgfix(t, append(words[1:], "--key", p.key, "--approver", approver, "--manifest")...).wantCode(t, 0)
	var a v1alpha1.Approval
	if err := yaml.UnmarshalStrict([]byte(r.stdout), &a); err != nil {
		t.Fatalf("%v\n%s", err, r.stdout)
	}
	if a.Spec.Signature == "" {
		t.Fatalf("no signature in:\n%s", r.stdout)
	}
	a.Name = name
	if change != nil {
		change(&a)
	}
	return manifest(t, &a)
}

// manifest writes an object as YAML, without its status.
func manifest(t *testing.T, o any) string {
	t.Helper()
	data, err := yaml.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := yaml.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	delete(m, "status")
	if data, err = yaml.Marshal(m); err != nil {
		t.Fatal(err)
	}
	return string(data)
}
