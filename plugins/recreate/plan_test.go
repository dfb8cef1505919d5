package recreate

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
)

const liveText = `
apiVersion: run.tanzu.vmware.com/v1alpha3
kind: TanzuKubernetesCluster
metadata:
  name: dev1
  namespace: team-a
  uid: old
  generation: 3
  resourceVersion: "100"
  creationTimestamp: "2026-01-01T00:00:00Z"
  finalizers: [run.tanzu.vmware.com/tkc]
  annotations: {tkg.tanzu.vmware.com/tkg-proxy-ca-cert: LS0t, team: a}
  managedFields: [{manager: controller, operation: Update, time: "2026-01-01T00:00:00Z"}]
spec:
  topology: {controlPlane: {replicas: 1}, nodePools: [{name: np1, replicas: 3}]}
status: {conditions: [{type: Ready, status: "True", lastTransitionTime: "2026-01-01T00:00:00Z"}]}
`

func plannedOn(t *testing.T, live *unstructured.Unstructured) []plugins.PlannedChange {
	t.Helper()
	workloads, err := parseWorkloads([]byte("{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: demo}, spec: {replicas: 6}}\n---\n{apiVersion: v1, kind: Namespace, metadata: {name: demo}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	r := request{
		input: input{Registry: "registry.lab:5443", Trust: []tkg.TrustEntry{{Name: "root", Data: "eA=="}}},
		ref:   tkg.Ref{Namespace: "team-a", Name: "dev1"}, workloads: workloads,
	}
	manifest, _, err := r.cleaned(live)
	if err != nil {
		t.Fatal(err)
	}
	changes, err := r.changes(live, newCluster{manifest: manifest, service: &theService, source: "TkgServiceConfiguration"}, []string{"a", "b"})
	if err != nil {
		t.Fatal(err)
	}
	return changes
}

var theService = plugins.Target{Group: "run.tanzu.vmware.com", Version: "v1alpha3", Kind: "TkgServiceConfiguration", Name: "tkg-service-configuration"}

func TestChangesAreGolden(t *testing.T) {
	t.Parallel()
	const clean = `{"apiVersion":"run.tanzu.vmware.com/v1alpha3","kind":"TanzuKubernetesCluster",` +
		`"metadata":{"annotations":{"team":"a"},"name":"dev1","namespace":"team-a"},` +
		`"spec":{"topology":{"controlPlane":{"replicas":1},"nodePools":[{"name":"np1","replicas":3}]}}}`
	old := plugins.Target{Group: "run.tanzu.vmware.com", Version: "v1alpha3", Kind: "TanzuKubernetesCluster", Namespace: "team-a", Name: "dev1", UID: "old"}
	made := old
	made.UID = ""
	want := []plugins.PlannedChange{
		{
			Action: plugins.Delete, Target: old,
			Reason: "its nodes do not trust registry.lab:5443, and only new nodes get the CA from TkgServiceConfiguration",
			Before: json.RawMessage(clean),
			Preconditions: []plugins.Precondition{
				{Target: old, Field: "metadata.uid", Value: "old"},
				{Target: old, Field: "metadata.generation", Value: "3"},
				{Target: theService, Field: "spec.trust.additionalTrustedCAs", Value: tkg.TrustHash([]tkg.TrustEntry{{Name: "root", Data: "eA=="}})},
			},
			Lost: []string{"a", "b"},
			Undo: "it cannot be undone; the changes that follow create the cluster again, without what is listed as lost",
		},
		{
			Action: plugins.Create, Target: made,
			Reason: "create the cluster again, from the live object, without what the server and the controllers wrote into it",
			After:  json.RawMessage(clean), Undo: "kubectl delete tanzukubernetescluster dev1 -n team-a",
		},
		{
			Action: plugins.Create, Target: plugins.Target{Cluster: "team-a/dev1", Version: "v1", Kind: "Namespace", Name: "demo"},
			Reason: "apply it on the new cluster, from the file of workloads",
			After:  json.RawMessage(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"demo"}}`), Undo: "delete it on the new cluster",
		},
		{
			Action: plugins.Create, Target: plugins.Target{Cluster: "team-a/dev1", Group: "apps", Version: "v1", Kind: "Deployment", Namespace: "demo", Name: "web"},
			Reason: "apply it on the new cluster, from the file of workloads",
			After:  json.RawMessage(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","namespace":"demo"},"spec":{"replicas":6}}`), Undo: "delete it on the new cluster",
		},
	}
	live := object(t, liveText)
	got := plannedOn(t, live)
	if diff := cmp.Diff(want, got, cmp.Transformer("text", func(r json.RawMessage) string { return string(r) })); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}

	// A status update, a controller's write and a later look change nothing that an approval covers.
	live.SetResourceVersion("200")
	live.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: "other", Operation: "Update"}})
	live.Object["status"] = map[string]any{"conditions": []any{}}
	if diff := cmp.Diff(got, plannedOn(t, live)); diff != "" {
		t.Errorf("a status update moves the changes, and voids approvals: -before, +after:\n%s", diff)
	}
	live.SetGeneration(4)
	if cmp.Equal(got, plannedOn(t, live)) {
		t.Error("an edit of the cluster does not move the changes, and an old approval would hold for it")
	}
}

func TestChangesNeverShowACredential(t *testing.T) {
	t.Parallel()
	live := object(t, liveText)
	if err := unstructured.SetNestedField(live.Object, "http://u:hunter2@proxy:3128", "spec", "settings", "network", "proxy", "httpProxy"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := (request{}).cleaned(live); err == nil || !strings.Contains(plugins.HintOf(err), "give manifest:") {
		t.Errorf("a live object with a credential must not become a manifest; the hint is what to do: %v (%q)", err, plugins.HintOf(err))
	}
	r := request{manifest: object(t, manifestText), input: input{Manifest: "/m.yaml"}, ref: tkg.Ref{Namespace: "team-a", Name: "dev1"}}
	manifest, _, err := r.cleaned(live)
	if err != nil {
		t.Fatal(err)
	}
	changes, err := r.changes(live, newCluster{manifest: manifest}, nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(changes)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(raw), "hunter2") {
		t.Error("the changes show the proxy's password of the live object")
	}
	if diff := cmp.Diff(`{"apiVersion":"run.tanzu.vmware.com/v1alpha3","kind":"TanzuKubernetesCluster","metadata":{"name":"dev1","namespace":"team-a"}}`, string(changes[0].Before)); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}

	r.manifest = live
	if _, _, err := r.cleaned(live); err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "/m.yaml") {
		t.Errorf("a manifest with a credential is refused by its path alone: %v", err)
	}
}

func TestRecreatable(t *testing.T) {
	t.Parallel()
	ref := tkg.Ref{Namespace: "team-a", Name: "dev1"}
	if err := recreatable(world{owner: object(t, tkcAlive)}, ref); err != nil {
		t.Errorf("a cluster that nobody deletes: %v", err)
	}
	err := recreatable(world{owner: object(t, tkcGoing), cluster: object(t, clusterGoing)}, ref)
	if err == nil || !strings.Contains(err.Error(), "WaitingForWorkersDeletion") || plugins.HintOf(err) == "" {
		t.Errorf("a deletion under way is told with its reason and a hint: %v", err)
	}
	if err := recreatable(world{}, ref); err == nil {
		t.Error("a cluster that went away cannot be recreated")
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	gr := schema.GroupResource{Group: "run.tanzu.vmware.com", Resource: "tanzukubernetesclusters"}
	status := func(code int32) error {
		return &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: code}}
	}
	cases := map[string]struct {
		reason string
		err    error
		want   bool
	}{
		"invalid":      {reason: "a webhook or the schema says no", err: apierrors.NewInvalid(schema.GroupKind{Kind: "x"}, "x", nil), want: true},
		"forbidden":    {reason: "the user may not, and the plan shows it", err: apierrors.NewForbidden(gr, "dev1", errors.New("no")), want: true},
		"not served":   {reason: "the manifest's version is not served", err: apierrors.NewNotFound(gr, ""), want: true},
		"wrapped":      {reason: "the words around it do not matter", err: fmt.Errorf("create: %w", apierrors.NewBadRequest("x")), want: true},
		"unauthorized": {reason: "logging in again mends it", err: status(http.StatusUnauthorized)},
		"busy":         {reason: "asking again mends it", err: apierrors.NewTooManyRequests("x", 1)},
		"internal":     {reason: "a broken webhook says nothing about the manifest", err: apierrors.NewInternalError(errors.New("x"))},
		"network":      {reason: "no answer is no refusal", err: errors.New("connection refused")},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, refused(tc.err)); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
