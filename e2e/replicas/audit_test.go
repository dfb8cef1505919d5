//go:build replicas

package replicas

import (
	"bufio"
	"encoding/json"
	"os"
	"testing"
	"time"
)

// event is what the audit log says of a request.
type event struct {
	Verb string
	User struct{ Username string }
	// UserAgent is the program's word; plugins say on which machine they run.
	UserAgent string
	ObjectRef struct{ Resource, Namespace, Name, Subresource string }
	// ResponseStatus is what the API server answered.
	ResponseStatus struct{ Code int }
	RequestObject  json.RawMessage
	// RequestReceivedTimestamp and StageTimestamp are when the request came and when it was answered.
	RequestReceivedTimestamp, StageTimestamp time.Time
}

// done says whether the request was carried out.
func (e *event) done() bool { return e.ResponseStatus.Code >= 200 && e.ResponseStatus.Code < 300 }

// writes says whether the request asked for a change.
func (e *event) writes() bool { return e.Verb != "get" && e.Verb != "list" && e.Verb != "watch" }

// audit returns the requests about a namespace, in the order in which they were answered.
func audit(t *testing.T, namespace string) []event {
	t.Helper()
	f, err := os.Open(management.Audit)
	must(t, err)
	defer f.Close()
	var out []event
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		must(t, json.Unmarshal(lines.Bytes(), &e))
		if e.ObjectRef.Namespace == namespace {
			out = append(out, e)
		}
	}
	must(t, lines.Err())
	return out
}

// uid returns the UID on which a deletion was made to depend.
func (e *event) uid(t *testing.T) string {
	t.Helper()
	var o struct{ Preconditions struct{ UID string } }
	must(t, json.Unmarshal(e.RequestObject, &o))
	return o.Preconditions.UID
}
