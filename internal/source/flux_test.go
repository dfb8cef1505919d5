package source_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
	"github.com/tkgfix/tkgfix/internal/kube/planetest"
	"github.com/tkgfix/tkgfix/internal/source"
	"github.com/tkgfix/tkgfix/plugins"
)

// sourceController is the module whose kinds the API server gets: newer than the types, so that what is
// read by these is what a newer source-controller writes.
const sourceController = "github.com/fluxcd/source-controller@v1.9.6"

// management is the API server of the tests that need one; the fuzz targets do not.
var management *planetest.Plane

func TestMain(m *testing.M) {
	code := m.Run()
	if management != nil {
		management.Stop()
	}
	os.Exit(code)
}

// flux is a client of the API server with Flux's kinds, and what was said before it had them.
type flux struct {
	client.Client
	before error
}

var withFlux = sync.OnceValues(func() (*flux, error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(corev1.AddToScheme(scheme), source.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	var err error
	if management, err = planetest.Start(planetest.Options{}); err != nil {
		return nil, err
	}
	config, err := management.Config("tester")
	if err != nil {
		return nil, err
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, err
	}
	f := &flux{Client: c}
	_, f.before = source.Artifact(context.Background(), c, "default", v1alpha1.SourceReference{Kind: "GitRepository", Name: "fleet", Path: "fix.yaml"})

	out, err := exec.Command("go", "mod", "download", "-json", sourceController).Output()
	if err != nil {
		return nil, fmt.Errorf("go mod download: %w: %s", err, out)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		return nil, err
	}
	return f, management.Apply(context.Background(), filepath.Join(module.Dir, "config", "crd", "bases"))
})

// fluxClient returns a client, and a namespace of the test's own.
func fluxClient(t *testing.T) (*flux, string) {
	t.Helper()
	c, err := withFlux()
	if err != nil {
		t.Fatal(err)
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "team-"}}
	if err := c.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	return c, ns.Name
}

// TestNotInstalled asks before the API server has Flux's kinds; the other tests go on with the same client when it has.
func TestNotInstalled(t *testing.T) {
	t.Parallel()
	before, _ := fluxClient(t)
	checkError(t, "Flux may be installed after what names a source", before.before, "source-controller is not installed", plugins.KindNotYet, "flux check")
}

func condition(o *sourcev1.GitRepository, kind string, state metav1.ConditionStatus, reason, message string) {
	conditions := o.Status.Conditions[:0:0]
	for _, c := range o.Status.Conditions {
		if c.Type != kind {
			conditions = append(conditions, c)
		}
	}
	o.Status.Conditions = append(conditions, metav1.Condition{
		Type: kind, Status: state, ObservedGeneration: o.Generation, LastTransitionTime: metav1.Now().Rfc3339Copy(), Reason: reason, Message: message,
	})
}

// TestArtifact reads artifacts of GitRepositories in each of the states that source-controller leaves them in.
func TestArtifact(t *testing.T) {
	t.Parallel()
	c, ns := fluxClient(t)
	s := newStore(t, ns)
	good := archive(t, "workflows", "README.md")
	for name, tc := range map[string]struct {
		reason  string
		archive []byte
		spec    func(*sourcev1.GitRepositorySpec)
		status  func(*sourcev1.GitRepository)
		ref     v1alpha1.SourceReference
		want    string
		kind    plugins.ErrorKind
		hint    string
	}{
		"Ready": {reason: "the file is handed over"},
		"Dotted": {reason: "the copy of an OCI layer, or a tar of a folder, begins its names with ./",
			archive: archive(t, ".")},
		"Revision": {reason: "the revision that is asked for is there", ref: v1alpha1.SourceReference{Revision: revision}},
		"OtherRevision": {reason: "a run is of the revision that it names, or of none", ref: v1alpha1.SourceReference{Revision: "main@sha1:00"},
			want: "it is at revision " + revision + " and not at main@sha1:00", kind: plugins.KindNotYet, hint: "flux reconcile source git -n " + ns + " "},
		"Unseen": {reason: "an artifact of an older spec is not what the spec names now",
			status: func(o *sourcev1.GitRepository) { o.Status.ObservedGeneration = 0 }, want: "has not seen its present spec", kind: plugins.KindNotYet,
			hint: "flux reconcile source git -n " + ns + " "},
		"New": {reason: "a source of which nothing is known yet", status: func(o *sourcev1.GitRepository) { o.Status = sourcev1.GitRepositoryStatus{} },
			want: "has not seen its present spec", kind: plugins.KindNotYet, hint: "flux reconcile source git"},
		"Suspended": {reason: "a suspended source waits for a person", spec: func(s *sourcev1.GitRepositorySpec) { s.Suspend = true },
			status: func(o *sourcev1.GitRepository) { o.Status.ObservedGeneration = 0 }, want: "it is suspended", kind: plugins.KindNotYet,
			hint: "flux resume source git"},
		"NotReady": {reason: "the artifact of a source that fails is outdated", status: func(o *sourcev1.GitRepository) {
			condition(o, meta.ReadyCondition, metav1.ConditionFalse, "GitOperationFailed", "failed to checkout: authentication required")
		}, want: "it is not ready: GitOperationFailed: failed to checkout: authentication required", kind: plugins.KindNotYet, hint: "flux reconcile source git"},
		"NoArtifact": {reason: "ready without an artifact is nothing to read", status: func(o *sourcev1.GitRepository) { o.Status.Artifact = nil },
			want: "it has no artifact yet", kind: plugins.KindNotYet, hint: "flux reconcile source git"},
		"Verified": {reason: "a verified source", ref: v1alpha1.SourceReference{Verified: true}, spec: verifying, status: func(o *sourcev1.GitRepository) {
			condition(o, sourcev1.SourceVerifiedCondition, metav1.ConditionTrue, meta.SucceededReason, "verified signature of\n\t- commit '"+commit+"' with key 'x'")
		}},
		"Unverified": {reason: "who wants a signature gets none from a source that verifies none", ref: v1alpha1.SourceReference{Verified: true},
			want: "the source verifies no signature", kind: plugins.KindFailed, hint: "set spec.verify: kubectl explain gitrepository.spec.verify"},
		"StaleVerified": {reason: "a condition that outlived spec.verify says nothing", ref: v1alpha1.SourceReference{Verified: true}, status: func(o *sourcev1.GitRepository) {
			condition(o, sourcev1.SourceVerifiedCondition, metav1.ConditionTrue, meta.SucceededReason, "verified signature")
		}, want: "the source verifies no signature", kind: plugins.KindFailed, hint: "set spec.verify"},
		"NotVerifiedYet": {reason: "a source that is to verify and has not", ref: v1alpha1.SourceReference{Verified: true}, spec: verifying,
			want: "its signature has not been verified yet", kind: plugins.KindNotYet, hint: "flux reconcile source git"},
		"BadSignature": {reason: "a signature of nobody listed", ref: v1alpha1.SourceReference{Verified: true}, spec: verifying, status: func(o *sourcev1.GitRepository) {
			condition(o, sourcev1.SourceVerifiedCondition, metav1.ConditionFalse, "InvalidCommitSignature", "no signer")
		}, want: "its signature is not verified: no signer", kind: plugins.KindNotYet, hint: "flux reconcile source git"},
		"Digest": {reason: "bytes that were altered after they were stored are not used", status: func(o *sourcev1.GitRepository) {
			o.Status.Artifact.Digest = "sha256:" + strings.Repeat("0", 64)
		}, want: "the downloaded artifact has another digest than sha256:000", kind: plugins.KindFailed, hint: "see who answers at 127.0.0.1"},
		"DigestFirst": {reason: "what is not the artifact is not judged by its content", archive: []byte("no archive"), status: func(o *sourcev1.GitRepository) {
			o.Status.Artifact.Digest = "sha256:" + strings.Repeat("0", 64)
		}, want: "the downloaded artifact has another digest", kind: plugins.KindFailed},
		"SHA512": {reason: "a longer digest is verified as well", status: func(o *sourcev1.GitRepository) {
			o.Status.Artifact.Digest = "sha512:" + strings.Repeat("0", 128)
		}, want: "the downloaded artifact has another digest than sha512:000", kind: plugins.KindFailed},
		"BLAKE3": {reason: "a digest that cannot be verified is none", status: func(o *sourcev1.GitRepository) {
			o.Status.Artifact.Digest = "blake3:" + strings.Repeat("0", 64)
		}, want: "is none that can be verified", kind: plugins.KindFailed, hint: "kubectl get gitrepository -n " + ns + " "},
		"Size": {reason: "what is too large is not begun", status: func(o *sourcev1.GitRepository) { o.Status.Artifact.Size = new(int64(1 << 40)) },
			want: "the artifact has 1099511627776 bytes, more than", kind: plugins.KindFailed},
		"Path": {reason: "the hint names the file that may be meant", ref: v1alpha1.SourceReference{Path: "fix.yaml"},
			want: "the artifact has no file fix.yaml", kind: plugins.KindFailed, hint: "it has workflows/fix.yaml: name that as the path"},
		"NoPath": {reason: "what the source leaves out is not there", ref: v1alpha1.SourceReference{Path: "no.yaml"},
			want: "the artifact has no file no.yaml", kind: plugins.KindFailed, hint: "see what the source leaves out"},
		"Link": {reason: "a link is not followed", ref: v1alpha1.SourceReference{Path: "workflows/link.yaml"},
			want: "links are not followed", kind: plugins.KindFailed},
		"Folder": {reason: "a folder is no workflow", ref: v1alpha1.SourceReference{Path: "workflows"},
			want: "workflows is not a regular file", kind: plugins.KindFailed},
		"Outside": {reason: "a path out of the artifact is refused", ref: v1alpha1.SourceReference{Path: "../fix.yaml"},
			want: `path "../fix.yaml" in GitRepository ` + ns + "/", kind: plugins.KindFailed, hint: "no leading /"},
		"Gone": {reason: "source-controller's new pod has not fetched again yet", status: func(o *sourcev1.GitRepository) { o.Status.Artifact.URL += "x" },
			want: "it answers 404 Not Found", kind: plugins.KindTransient},
		"Redirect": {reason: "a request goes nowhere but to the source's URL", status: func(o *sourcev1.GitRepository) {
			o.Status.Artifact.URL = strings.Replace(o.Status.Artifact.URL, "/gitrepository/", "/moved/gitrepository/", 1)
		}, want: "a redirect is not followed", kind: plugins.KindFailed},
		"Cut": {reason: "a download that ends early may be tried again", status: func(o *sourcev1.GitRepository) { o.Status.Artifact.URL = s.url + "/cut/a" },
			want: "unexpected EOF", kind: plugins.KindTransient},
		"Unreached": {reason: "nobody answers", status: func(o *sourcev1.GitRepository) { o.Status.Artifact.URL = "http://127.0.0.1:1/a" },
			want: "connection refused", kind: plugins.KindTransient, hint: "see whether source-controller runs"},
		"Credential": {reason: "the URL is not repeated, as it may hold a password", status: func(o *sourcev1.GitRepository) {
			o.Status.Artifact.URL = "http://user:hunter2@127.0.0.1:1/a"
		}, want: "the artifact's URL is not one of http or https without a credential", kind: plugins.KindFailed},
		"File": {reason: "no file of this machine is read", status: func(o *sourcev1.GitRepository) { o.Status.Artifact.URL = "file:///etc/passwd" },
			want: "the artifact's URL is not one of http or https", kind: plugins.KindFailed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := &sourcev1.GitRepository{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: strings.ToLower(name)}}
			o.Spec.URL, o.Spec.Interval = "https://git.test/fleet", metav1.Duration{Duration: time.Minute}
			if tc.spec != nil {
				tc.spec(&o.Spec)
			}
			if err := c.Create(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			if tc.archive == nil {
				tc.archive = good
			}
			o.Status.Conditions, o.Status.ObservedGeneration, o.Status.Artifact = status(o.Generation, s.put(t, "GitRepository", o.Name, tc.archive))
			if tc.status != nil {
				tc.status(o)
			}
			if err := c.Status().Update(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			tc.ref.Kind, tc.ref.Name = "GitRepository", o.Name
			if tc.ref.Path == "" {
				tc.ref.Path = "workflows/fix.yaml"
			}
			got, err := source.Artifact(t.Context(), c, ns, tc.ref)
			if tc.want == "" && tc.kind == "" {
				want := source.File{
					Name: fmt.Sprintf("GitRepository/%s@%s//workflows/fix.yaml", o.Name, revision), Data: []byte(fix), Revision: revision, Digest: o.Status.Artifact.Digest,
				}
				if diff := cmp.Diff(want, got); diff != "" || err != nil {
					t.Errorf("%s: %v (-want, +got):\n%s", tc.reason, err, diff)
				}
				return
			}
			checkError(t, tc.reason, err, tc.want, tc.kind, tc.hint)
			if diff := cmp.Diff(source.File{}, got); diff != "" {
				t.Errorf("%s: something was handed over (-want, +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// checkError holds an error to what it must say, of what kind it is, and what its hint says.
func checkError(t *testing.T, reason string, err error, want string, kind plugins.ErrorKind, hint string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) || plugins.KindOf(err) != kind || !strings.Contains(plugins.HintOf(err), hint) {
		t.Errorf("%s:\ngot  %v\nwant %s\nkind %q, want %q\nhint %q\nwant %q", reason, err, want, plugins.KindOf(err), kind, plugins.HintOf(err), hint)
	}
	if err != nil && strings.Contains(err.Error()+plugins.HintOf(err), "hunter2") {
		t.Errorf("the password is in %v", err)
	}
}

func verifying(s *sourcev1.GitRepositorySpec) {
	s.Verification = &sourcev1.GitRepositoryVerification{Mode: sourcev1.ModeGitHEAD, SecretRef: meta.LocalObjectReference{Name: "keys"}}
}

// TestOCIArtifact reads the other kind of source.
func TestOCIArtifact(t *testing.T) {
	t.Parallel()
	c, ns := fluxClient(t)
	s := newStore(t, ns)
	o := &sourcev1.OCIRepository{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "fleet"}}
	o.Spec.URL, o.Spec.Interval = "oci://registry.test/fleet", metav1.Duration{Duration: time.Minute}
	ref := v1alpha1.SourceReference{Kind: "OCIRepository", Name: "fleet", Path: "workflows/fix.yaml"}
	_, err := source.Artifact(t.Context(), c, ns, ref)
	checkError(t, "a source may be applied after what names it", err, "OCIRepository "+ns+"/fleet: there is no such source", plugins.KindNotYet, "kubectl get ocirepository -n "+ns)

	if err := c.Create(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	o.Status.Conditions, o.Status.ObservedGeneration, o.Status.Artifact = status(o.Generation, s.put(t, "OCIRepository", o.Name, archive(t, ".")))
	if err := c.Status().Update(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	got, err := source.Artifact(t.Context(), c, ns, ref)
	if err != nil || !bytes.Equal(got.Data, []byte(fix)) {
		t.Errorf("got %q, %v", got.Data, err)
	}
	ref.Kind = "Bucket"
	_, err = source.Artifact(t.Context(), c, ns, ref)
	checkError(t, "other sources are not read", err, "Bucket is no kind of source", plugins.KindFailed, "")
}

// TestReplaced downloads while source-controller stores another archive of the same revision.
func TestReplaced(t *testing.T) {
	t.Parallel()
	c, ns := fluxClient(t)
	s := newStore(t, ns)
	o := &sourcev1.GitRepository{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "being-replaced"}}
	o.Spec.URL, o.Spec.Interval = "https://git.test/fleet", metav1.Duration{Duration: time.Minute}
	if err := c.Create(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	next := s.put(t, "GitRepository", o.Name, archive(t, "."))
	replacing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.Status.Artifact.Digest = next.Digest
		if err := c.Status().Update(r.Context(), o); err != nil {
			t.Error(err)
		}
		_, _ = w.Write(archive(t, "."))
	}))
	defer replacing.Close()
	before := *next
	before.URL, before.Digest = replacing.URL, "sha256:"+strings.Repeat("0", 64)
	o.Status.Conditions, o.Status.ObservedGeneration, o.Status.Artifact = status(o.Generation, &before)
	if err := c.Status().Update(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	_, err := source.Artifact(t.Context(), c, ns, v1alpha1.SourceReference{Kind: "GitRepository", Name: o.Name, Path: "workflows/fix.yaml"})
	checkError(t, "it passes", err, "its artifact was replaced while it was downloaded", plugins.KindNotYet, "flux reconcile")
}
