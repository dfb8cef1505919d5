package labworld

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/crashtest"
)

// TestWritesIn reads an audit log of which each line differs from a write of tkgfix in one thing.
func TestWritesIn(t *testing.T) {
	t.Parallel()
	const write = `{"stage":"ResponseComplete","verb":"patch","requestURI":"/x?fieldManager=tkgfix","userAgent":"tkgfix/dev","requestReceivedTimestamp":"2026-11-24T00:02:09.114000Z",` +
		`"user":{"username":"platform"},"objectRef":{"resource":"lamps","namespace":"team-a","name":"desk","apiGroup":"g.x"},"responseStatus":{"code":200},` +
		`"requestObject":[{"op":"test","path":"/metadata/uid","value":"u0"},{"op":"test","path":"/spec/list","value":[1]}]}`
	at := time.Date(2026, 11, 24, 0, 2, 9, 114e6, time.UTC)
	want := crashtest.Write{At: at, Verb: "patch", Cluster: "team-a/dev1", Group: "g.x", Resource: "lamps", Namespace: "team-a", Name: "desk", UID: "u0", By: "platform"}
	deletion := want
	deletion.Verb = "delete"
	created := want
	created.Verb, created.UID = "create", ""
	space := created
	space.Resource, space.Namespace = "namespaces", ""
	change := func(oldnew ...string) string { return strings.NewReplacer(oldnew...).Replace(write) }
	object := write[strings.Index(write, `[{"op"`) : len(write)-1]
	for name, tc := range map[string]struct {
		reason string
		line   string
		want   []crashtest.Write
	}{
		"Patch":        {"the UID is what it tests", write, []crashtest.Write{want}},
		"Delete":       {"the UID is its precondition", change("patch", "delete", object, `{"preconditions":{"uid":"u0"}}`), []crashtest.Write{deletion}},
		"Create":       {"there is no UID yet", change("patch", "create", object, `{"kind":"Lamp"}`), []crashtest.Write{created}},
		"Namespace":    {"a namespace is in none", change("patch", "create", object, `{}`, "lamps", "namespaces"), []crashtest.Write{space}},
		"ByLogin":      {"whoever uses tkgfix's login is tkgfix", change("tkgfix/dev", "curl"), []crashtest.Write{want}},
		"DryPatch":     {"the query says that it is a dry-run", change("/x?", "/x?dryRun=All&"), nil},
		"DryDelete":    {"the body says that it is a dry-run", change("patch", "delete", object, `{"dryRun":["All"]}`), nil},
		"Refused":      {"it was not carried out", change("200", "409"), nil},
		"MayI":         {"a question is no write", change("g.x", "authorization.k8s.io"), nil},
		"Status":       {"it is not about the object itself", change(`"apiGroup"`, `"subresource":"status","apiGroup"`), nil},
		"SomebodyElse": {"somebody else wrote it", change("tkgfix/dev", "kubectl", "platform", "admin"), nil},
		"Read":         {"it is no write", change("patch", "list"), nil},
		"Early":        {"it is not complete", change("ResponseComplete", "RequestReceived"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := writesIn([]byte(tc.line+"\n"+`{"stage":"cut o`), "team-a/dev1")
			if err != nil {
				t.Fatalf("%s: %v", tc.reason, err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", tc.reason, diff)
			}
		})
	}
	if _, err := writesIn([]byte("no JSON\n"), ""); err == nil {
		t.Error("a log that cannot be read was read")
	}
}
