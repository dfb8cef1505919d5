package labworld

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tkgfix/tkgfix/internal/crashtest"
)

// maxEvent bounds a line of an audit log, in bytes.
const maxEvent = 16 << 20

// event is what is read of an entry of an audit log: https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/.
type event struct {
	Stage                    string
	Verb                     string
	RequestURI               string
	UserAgent                string
	RequestReceivedTimestamp time.Time
	User                     struct{ Username string }
	ObjectRef                struct {
		Resource, Namespace, Name, APIGroup, Subresource string
	}
	ResponseStatus struct{ Code int }
	// RequestObject of a deletion holds its options; of other requests an object or a patch.
	RequestObject json.RawMessage
}

// Writes implements crashtest.Place.
func (p *Place) Writes(ctx context.Context) ([]crashtest.Write, error) {
	clusters, err := p.logs()
	if err != nil {
		return nil, err
	}
	var out []crashtest.Write
	for path, cluster := range clusters {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		raw, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read an audit log: %w", err)
		}
		writes, err := writesIn(raw, cluster)
		if err != nil {
			return nil, fmt.Errorf("read audit log %s: %w", path, err)
		}
		out = append(out, writes...)
	}
	slices.SortStableFunc(out, func(a, b crashtest.Write) int { return a.At.Compare(b.At) })
	return out, nil
}

// logs returns the audit logs that there are, and of which cluster each is.
func (p *Place) logs() (map[string]string, error) {
	f, err := p.facts()
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	found, err := filepath.Glob(filepath.Join(p.Dir, "audit", "*.log"))
	if err != nil {
		return nil, err
	}
	// A cluster that is just being created again is not in lab.json, but its log is there: NAMESPACE-NAME.log.
	for _, path := range found {
		out[path] = p.names[filepath.Base(path)]
	}
	for _, c := range f.Clusters {
		out[c.Audit] = c.Namespace + "/" + c.Name
		p.names[filepath.Base(c.Audit)] = out[c.Audit]
	}
	return out, nil
}

// writesIn returns what tkgfix wrote by an audit log. A line that is not whole yet is left for the next time.
func writesIn(log []byte, cluster string) ([]crashtest.Write, error) {
	log = log[:bytes.LastIndexByte(log, '\n')+1]
	lines := bufio.NewScanner(bytes.NewReader(log))
	lines.Buffer(nil, maxEvent)
	var out []crashtest.Write
	for lines.Scan() {
		if isRead(lines.Bytes()) {
			continue
		}
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, err
		}
		if !e.isWrite() || !e.byTkgfix() {
			continue
		}
		o := e.ObjectRef
		if o.Resource == "namespaces" {
			o.Namespace = "" // the API server gives a namespace its own name as namespace
		}
		out = append(out, crashtest.Write{
			At: e.RequestReceivedTimestamp, Verb: e.Verb, Cluster: cluster, Group: o.APIGroup, Resource: o.Resource,
			Namespace: o.Namespace, Name: o.Name, UID: e.uid(), By: e.User.Username,
		})
	}
	return out, lines.Err()
}

// isRead tells most lines apart without decoding them.
func isRead(line []byte) bool {
	for _, verb := range []string{"get", "list", "watch"} {
		if bytes.Contains(line, []byte(`"verb":"`+verb+`"`)) {
			return true
		}
	}
	return false
}

// isWrite says whether the API server carried out a write on an object itself. A deletion says in its body that it is a dry-run,
// the others in the query.
func (e event) isWrite() bool {
	switch e.Verb {
	case "create", "update", "patch", "delete", "deletecollection":
	default:
		return false
	}
	var options struct{ DryRun []string }
	// To ask whether one may do something, an object is created that is never kept.
	if g := e.ObjectRef.APIGroup; g == "authorization.k8s.io" || g == "authentication.k8s.io" {
		return false
	}
	dry := strings.Contains(e.RequestURI, "dryRun=All") ||
		e.Verb == "delete" && json.Unmarshal(e.RequestObject, &options) == nil && slices.Contains(options.DryRun, "All")
	return !dry && e.Stage == "ResponseComplete" && e.ResponseStatus.Code < 300 && e.ObjectRef.Subresource == ""
}

// byTkgfix tells what tkgfix asked: by its own word, or by the login that only it uses.
func (e event) byTkgfix() bool {
	return strings.HasPrefix(e.UserAgent, "tkgfix/") || e.User.Username == "platform"
}

// uid returns the UID that a write names as its precondition.
func (e event) uid() string {
	if e.Verb == "delete" {
		var options struct{ Preconditions struct{ UID string } }
		_ = json.Unmarshal(e.RequestObject, &options) // without options there is no precondition
		return options.Preconditions.UID
	}
	var patch []struct {
		Op, Path string
		Value    any
	}
	_ = json.Unmarshal(e.RequestObject, &patch) // an object is no patch
	for _, p := range patch {
		if uid, ok := p.Value.(string); ok && p.Op == "test" && p.Path == "/metadata/uid" {
			return uid
		}
	}
	return ""
}
