package trustconfig

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	jsonpatch "gopkg.in/evanphx/json-patch.v4" // the API server's own
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

const uid = "0b1c"

// objectFrom returns a TkgServiceConfiguration with this spec; "" is no spec at all.
func objectFrom(t *testing.T, spec string) *unstructured.Unstructured {
	t.Helper()
	text := `{"apiVersion":"run.tanzu.vmware.com/v1alpha3","kind":"TkgServiceConfiguration",
		"metadata":{"name":"tkg-service-configuration","uid":"` + uid + `","resourceVersion":"17"}`
	if spec != "" {
		text += `,"spec":` + spec
	}
	obj := &unstructured.Unstructured{}
	if err := obj.UnmarshalJSON([]byte(text + "}")); err != nil {
		t.Fatal(err)
	}
	return obj
}

func TestJSONPatch(t *testing.T) {
	t.Parallel()
	entry := tkg.TrustEntry{Name: "n", Data: "bmV3"}
	cases := map[string]struct {
		reason string
		spec   string
		index  int
		want   string // the patch
		spec2  string // what the server makes of it
	}{
		"replace": {
			reason: "one index is replaced, and the whole old list is tested with what it holds beside name and data",
			spec:   `{"defaultCNI":"antrea","trust":{"additionalTrustedCAs":[{"name":"a","data":"YQ==","x":"y"},{"name":"b","data":"Yg=="}]}}`, index: 1,
			want: `[{"op":"test","path":"/metadata/uid","value":"0b1c"},` +
				`{"op":"test","path":"/spec/trust/additionalTrustedCAs","value":[{"data":"YQ==","name":"a","x":"y"},{"data":"Yg==","name":"b"}]},` +
				`{"op":"replace","path":"/spec/trust/additionalTrustedCAs/1","value":{"data":"bmV3","name":"n"}}]`,
			spec2: `{"defaultCNI":"antrea","trust":{"additionalTrustedCAs":[{"name":"a","data":"YQ==","x":"y"},{"name":"n","data":"bmV3"}]}}`,
		},
		"add": {
			reason: "an entry is added at the end and the others stay where they are",
			spec:   `{"trust":{"additionalTrustedCAs":[{"name":"a","data":"YQ=="}]}}`, index: 1,
			want: `[{"op":"test","path":"/metadata/uid","value":"0b1c"},` +
				`{"op":"test","path":"/spec/trust/additionalTrustedCAs","value":[{"data":"YQ==","name":"a"}]},` +
				`{"op":"add","path":"/spec/trust/additionalTrustedCAs/-","value":{"data":"bmV3","name":"n"}}]`,
			spec2: `{"trust":{"additionalTrustedCAs":[{"name":"a","data":"YQ=="},{"name":"n","data":"bmV3"}]}}`,
		},
		"empty list": {
			reason: "an empty list is a list",
			spec:   `{"trust":{"additionalTrustedCAs":[]}}`,
			want: `[{"op":"test","path":"/metadata/uid","value":"0b1c"},` +
				`{"op":"test","path":"/spec/trust/additionalTrustedCAs","value":[]},` +
				`{"op":"add","path":"/spec/trust/additionalTrustedCAs/-","value":{"data":"bmV3","name":"n"}}]`,
			spec2: `{"trust":{"additionalTrustedCAs":[{"name":"n","data":"bmV3"}]}}`,
		},
		"no list": {
			reason: "trust without a list is tested whole, so that a list that appears meanwhile is not overwritten",
			spec:   `{"defaultCNI":"antrea","trust":{}}`,
			want: `[{"op":"test","path":"/metadata/uid","value":"0b1c"},{"op":"test","path":"/spec/trust","value":{}},` +
				`{"op":"add","path":"/spec/trust/additionalTrustedCAs","value":[{"data":"bmV3","name":"n"}]}]`,
			spec2: `{"defaultCNI":"antrea","trust":{"additionalTrustedCAs":[{"name":"n","data":"bmV3"}]}}`,
		},
		"null list": {
			reason: "null is as good as none",
			spec:   `{"trust":{"additionalTrustedCAs":null}}`,
			want: `[{"op":"test","path":"/metadata/uid","value":"0b1c"},{"op":"test","path":"/spec/trust","value":{"additionalTrustedCAs":null}},` +
				`{"op":"add","path":"/spec/trust/additionalTrustedCAs","value":[{"data":"bmV3","name":"n"}]}]`,
			spec2: `{"trust":{"additionalTrustedCAs":[{"name":"n","data":"bmV3"}]}}`,
		},
		"no trust": {
			reason: "trust that is absent is made, if it is still absent",
			spec:   `{"defaultCNI":"antrea"}`,
			want: `[{"op":"test","path":"/metadata/uid","value":"0b1c"},{"op":"test","path":"/spec/trust","value":null},` +
				`{"op":"add","path":"/spec/trust","value":{"additionalTrustedCAs":[{"data":"bmV3","name":"n"}]}}]`,
			spec2: `{"defaultCNI":"antrea","trust":{"additionalTrustedCAs":[{"name":"n","data":"bmV3"}]}}`,
		},
		"no spec": {
			reason: "an object without a spec gets one",
			want: `[{"op":"test","path":"/metadata/uid","value":"0b1c"},{"op":"test","path":"/spec","value":null},` +
				`{"op":"add","path":"/spec","value":{"trust":{"additionalTrustedCAs":[{"data":"bmV3","name":"n"}]}}}]`,
			spec2: `{"trust":{"additionalTrustedCAs":[{"name":"n","data":"bmV3"}]}}`,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			live := objectFrom(t, tc.spec)
			before := documentOf(live)
			after := before.with(tc.index, entry)
			patch, err := jsonPatch(uid, before, after)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, string(patch)); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(objectFrom(t, tc.spec).Object, live.Object); diff != "" {
				t.Errorf("%s: making the patch changed what was read: -want, +got:\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(objectFrom(t, tc.spec2).Object, apply(t, live, patch)); diff != "" {
				t.Errorf("%s: what the server makes of it: -want, +got:\n%s", tc.reason, diff)
			}
			// The change goes through the journal as JSON, and the same patch must come of it.
			if diff := cmp.Diff(string(patch), string(throughJournal(t, before, after))); diff != "" {
				t.Errorf("%s: the approved change makes another patch: -want, +got:\n%s", tc.reason, diff)
			}
			undo, err := undoPatch(before, after)
			if err != nil {
				t.Fatal(err)
			}
			back := apply(t, objectFrom(t, tc.spec2), undo)
			entries, err := tkg.ServiceTrust(&unstructured.Unstructured{Object: back})
			if err != nil {
				t.Fatal(err)
			}
			old, err := before.entries()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tkg.TrustHash(old), tkg.TrustHash(entries)); diff != "" {
				t.Errorf("%s: the undo does not bring the list back: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func throughJournal(t *testing.T, before, after document) []byte {
	t.Helper()
	change := plugins.PlannedChange{Target: plugins.Target{Kind: kind, Name: tkg.ServiceConfigurationName}}
	var err1, err2 error
	change.Before, err1 = before.JSON()
	change.After, err2 = after.JSON()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	b, a, err := documents(change)
	if err != nil {
		t.Fatal(err)
	}
	patch, err := jsonPatch(uid, b, a)
	if err != nil {
		t.Fatal(err)
	}
	return patch
}

// apply does what the API server does with a JSON patch.
func apply(t *testing.T, obj *unstructured.Unstructured, patch []byte) map[string]any {
	t.Helper()
	out, err := tryApply(obj, patch)
	if err != nil {
		t.Fatalf("the server would refuse the patch: %v", err)
	}
	return out
}

func tryApply(obj *unstructured.Unstructured, patch []byte) (map[string]any, error) {
	raw, err := obj.MarshalJSON()
	if err != nil {
		return nil, err
	}
	ops, err := jsonpatch.DecodePatch(patch)
	if err != nil {
		return nil, err
	}
	if raw, err = ops.Apply(raw); err != nil {
		return nil, err
	}
	out := &unstructured.Unstructured{}
	err = out.UnmarshalJSON(raw)
	return out.Object, err
}

func TestJSONPatchIsRefusedWhenTheListMoved(t *testing.T) {
	t.Parallel()
	const list = `{"trust":{"additionalTrustedCAs":[{"name":"a","data":"YQ=="}]}}`
	cases := map[string]struct {
		reason      string
		planned     string
		now         string
		anotherUID  bool
		wantRefused bool
	}{
		"same":          {reason: "nothing moved", planned: list, now: list},
		"entry added":   {reason: "an entry added meanwhile", planned: list, now: `{"trust":{"additionalTrustedCAs":[{"name":"a","data":"YQ=="},{"name":"b","data":"Yg=="}]}}`, wantRefused: true},
		"entry edited":  {reason: "an entry edited meanwhile", planned: list, now: `{"trust":{"additionalTrustedCAs":[{"name":"a","data":"Yg=="}]}}`, wantRefused: true},
		"list gone":     {reason: "the list taken away meanwhile", planned: list, now: `{}`, wantRefused: true},
		"list appeared": {reason: "a list that appeared where there was no trust must not be overwritten", planned: `{}`, now: list, wantRefused: true},
		"spec appeared": {reason: "a list that appeared where there was no spec must not be overwritten", planned: "", now: list, wantRefused: true},
		"list in trust": {reason: "a list that appeared in an empty trust must not be overwritten", planned: `{"trust":{}}`, now: list, wantRefused: true},
		"another":       {reason: "another object of the same name", planned: list, now: list, anotherUID: true, wantRefused: true},
		"other fields":  {reason: "another part of the spec is none of this step's business", planned: list, now: `{"defaultCNI":"calico","trust":{"additionalTrustedCAs":[{"name":"a","data":"YQ=="}]}}`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := documentOf(objectFrom(t, tc.planned))
			list, _ := before.list()
			patch, err := jsonPatch(uid, before, before.with(len(list), tkg.TrustEntry{Name: "n", Data: "bmV3"}))
			if err != nil {
				t.Fatal(err)
			}
			now := objectFrom(t, tc.now)
			if tc.anotherUID {
				now.SetUID("ffff")
			}
			_, err = tryApply(now, patch)
			if diff := cmp.Diff(tc.wantRefused, err != nil); diff != "" {
				t.Errorf("%s: %v: -want, +got:\n%s", tc.reason, err, diff)
			}
		})
	}
}

func TestChangedEntryRefusesWhatWasNeverPlanned(t *testing.T) {
	t.Parallel()
	list := func(names ...string) document {
		d := document{"spec": map[string]any{"trust": map[string]any{"additionalTrustedCAs": []any{}}}}
		for i, n := range names {
			d = d.with(i, tkg.TrustEntry{Name: n, Data: "eA=="})
		}
		return d
	}
	cases := map[string]struct {
		reason        string
		before, after document
		want          string
	}{
		"dropped":   {reason: "a list that loses a CA", before: list("a", "b"), after: list("a"), want: "makes 1 entries of 2"},
		"two":       {reason: "two entries at once", before: list("a", "b"), after: list("x", "y"), want: "touches 2 entries"},
		"two more":  {reason: "two new entries", before: list("a"), after: list("a", "b", "c"), want: "makes 3 entries of 1"},
		"nothing":   {reason: "a change that changes nothing", before: list("a"), after: list("a"), want: "touches 0 entries"},
		"reordered": {reason: "another order", before: list("a", "b"), after: list("b", "a"), want: "touches 2 entries"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := jsonPatch(uid, tc.before, tc.after)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: error %v, want %q in it", tc.reason, err, tc.want)
			}
		})
	}
}

func TestSeen(t *testing.T) {
	t.Parallel()
	const was, wanted = `{"trust":{"additionalTrustedCAs":[{"name":"a","data":"YQ=="}]}}`,
		`{"trust":{"additionalTrustedCAs":[{"name":"a","data":"YQ=="},{"name":"n","data":"bmV3"}]}}`
	cases := map[string]struct {
		reason string
		now    string
		uid    string
		want   sdk.State
	}{
		"before":  {reason: "the list is as it was: the patch did not happen", now: was, uid: uid, want: sdk.No},
		"after":   {reason: "the list is as approved: the patch happened, whoever made it", now: wanted, uid: uid, want: sdk.Yes},
		"foreign": {reason: "a third list: nobody can say", now: `{"trust":{"additionalTrustedCAs":[]}}`, uid: uid, want: sdk.Unknowable},
		"beside":  {reason: "another part of the object does not count", now: `{"defaultCNI":"x",` + wanted[1:], uid: uid, want: sdk.Yes},
		"another": {reason: "another object of the name says nothing about the one that was approved", now: wanted, uid: "ffff", want: sdk.Unknowable},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := seen(objectFrom(t, tc.now), tc.uid, documentOf(objectFrom(t, was)), documentOf(objectFrom(t, wanted)))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got.State); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
			if got.Note == "" {
				t.Errorf("%s: the observation has no note", tc.reason)
			}
		})
	}
}

func TestConflicts(t *testing.T) {
	t.Parallel()
	live := objectFrom(t, `{"trust":{"additionalTrustedCAs":[{"name":"a","data":"YQ=="}]}}`)
	target := plugins.Target{Kind: kind, Name: tkg.ServiceConfigurationName}
	right := tkg.TrustHash([]tkg.TrustEntry{{Name: "a", Data: "YQ=="}})
	cases := map[string]struct {
		reason       string
		field, value string
		wantKind     plugins.ErrorKind
		want         string
	}{
		"holds": {reason: "the list that was planned on is there", field: listPath, value: right},
		"list": {
			reason: "a conflict names the field, before and now", field: listPath, value: "sha256:00", wantKind: plugins.KindConflict,
			want: "spec.trust.additionalTrustedCAs of TkgServiceConfiguration tkg-service-configuration changed since the plan: it was sha256:00 and is now " + right,
		},
		"uid": {
			reason: "another object is a conflict", field: "metadata.uid", value: "ffff", wantKind: plugins.KindConflict,
			want: "metadata.uid of TkgServiceConfiguration tkg-service-configuration changed since the plan: it was ffff and is now 0b1c",
		},
		"unknown": {
			reason: "a precondition that nobody can check must not pass", field: "metadata.labels", value: "x", wantKind: plugins.KindFailed,
			want: "the approved change stands on metadata.labels, which this step does not know",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := conflicts(live, []plugins.Precondition{{Target: target, Field: tc.field, Value: tc.value}})
			if tc.want == "" {
				if err != nil {
					t.Errorf("%s: %v", tc.reason, err)
				}
				return
			}
			if err == nil {
				t.Fatalf("%s: no error", tc.reason)
			}
			if diff := cmp.Diff([]string{string(tc.wantKind), tc.want}, []string{string(plugins.KindOf(err)), err.Error()}); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestChangeIsGolden(t *testing.T) {
	t.Parallel()
	root, oldRoot := makeCA(t, cn("Lab Root CA"), 2024), makeCA(t, cn("Lab Root CA"), 2019)
	other := stored("corp", 1, makeCA(t, cn("Corp"), 2020))
	was, now := stored("it's", 1, oldRoot), stored("it's", 1, root)
	spec, err := json.Marshal(map[string]any{"defaultCNI": "antrea", "proxy": map[string]any{"httpProxy": "http://u:hunter2@proxy"},
		"trust": map[string]any{"additionalTrustedCAs": []tkg.TrustEntry{other, was}}})
	if err != nil {
		t.Fatal(err)
	}
	live := objectFrom(t, string(spec))
	list, err := decode([]tkg.TrustEntry{other, was})
	if err != nil {
		t.Fatal(err)
	}
	candidate := tkg.Choose(list, certsOf(root), tkg.Naming{})
	change, err := changeOf(tkg.Ref{Namespace: "team-a", Name: "dev1"}, live, candidate, certsOf(root))
	if err != nil {
		t.Fatal(err)
	}
	doc := func(second tkg.TrustEntry) string {
		return `{"spec":{"trust":{"additionalTrustedCAs":[{"data":"` + other.Data + `","name":"corp"},{"data":"` + second.Data + `","name":"it's"}]}}}`
	}
	target := plugins.Target{Group: "run.tanzu.vmware.com", Version: "v1alpha3", Kind: kind, Name: "tkg-service-configuration", UID: uid}
	want := plugins.PlannedChange{
		Action: plugins.Update, Target: target,
		Reason: `replace entry "it's" (it holds another certificate of the same subject), so that new nodes of team-a/dev1 trust the registry`,
		Before: json.RawMessage(doc(was)), After: json.RawMessage(doc(now)),
		Preconditions: []plugins.Precondition{
			{Target: target, Field: "metadata.uid", Value: uid},
			{Target: target, Field: "spec.trust.additionalTrustedCAs", Value: tkg.TrustHash([]tkg.TrustEntry{other, was})},
		},
		Undo: `new nodes follow: kubectl patch tkgserviceconfigurations.run.tanzu.vmware.com tkg-service-configuration --type=json -p='` +
			`[{"op":"test","path":"/spec/trust/additionalTrustedCAs/1","value":{"data":"` + now.Data + `","name":"it'\''s"}},` +
			`{"op":"replace","path":"/spec/trust/additionalTrustedCAs/1","value":{"data":"` + was.Data + `","name":"it'\''s"}}]'`,
	}
	if diff := cmp.Diff(want, change, cmp.Transformer("text", func(r json.RawMessage) string { return string(r) })); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
	if whole, _ := json.Marshal(change); strings.Contains(string(whole), "hunter2") {
		t.Error("the change shows the proxy's password, which is beside the list")
	}

	live.SetResourceVersion("18")
	live.SetGeneration(9)
	again, err := changeOf(tkg.Ref{Namespace: "team-a", Name: "dev1"}, live, candidate, certsOf(root))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(change, again); diff != "" {
		t.Errorf("a status update moves the change, and voids approvals: -before, +after:\n%s", diff)
	}
}
