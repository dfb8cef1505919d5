//go:build gitops

package gitops

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// audited is an entry of an API server's audit log.
type audited struct {
	Stage, Verb, RequestURI, UserAgent string
	User                               struct{ Username string }
	ObjectRef                          struct{ Resource, Namespace, Name, Subresource string }
	ResponseStatus                     struct {
		Code    int
		Message string
	}
}

func (a audited) writes() bool {
	return slices.Contains([]string{"create", "update", "patch", "delete", "deletecollection"}, a.Verb)
}

// audit returns what the management cluster's API server saw, of the requests that keep says yes to.
func audit(t *testing.T, keep func(audited) bool) []audited {
	t.Helper()
	return auditOf(t, management.Audit, keep)
}

func auditOf(t *testing.T, file string, keep func(audited) bool) []audited {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out []audited
	lines := bufio.NewScanner(bytes.NewReader(raw[:bytes.LastIndexByte(raw, '\n')+1]))
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var a audited
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if a.Stage == "ResponseComplete" && keep(a) {
			out = append(out, a)
		}
	}
	return out
}

func wantSame(t *testing.T, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want, +got):\n%s", what, diff)
	}
}
