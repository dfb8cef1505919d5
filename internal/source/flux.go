package source

import (
	"context"
	"fmt"
	"io/fs"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"github.com/opencontainers/go-digest"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/plugins"
)

// maxMessage bounds what of a condition's message an error repeats, in bytes.
const maxMessage = 512

// AddToScheme registers Flux's kinds, which the client that is given to Artifact must know.
func AddToScheme(s *runtime.Scheme) error { return sourcev1.AddToScheme(s) }

// fluxSource is what is read of a GitRepository and of an OCIRepository.
type fluxSource struct {
	ref        v1alpha1.SourceReference
	namespace  string
	generation int64
	observed   int64
	suspended  bool
	deleted    bool
	verifies   bool
	conditions []metav1.Condition
	artifact   *meta.Artifact
}

// Artifact returns the file that ref names out of the artifact of a Flux source of the namespace. The source must be ready for what its
// spec asks for now, have ref's revision if that is given, and, if ref wants it, have had its signature verified. The artifact is
// downloaded from source-controller and must have the digest that the source's status gives; not a byte of another is handed over.
//
// It blocks on the network, for a minute and a half at most beside the API server's own time. While the source is not ready, or serves
// another revision, the error is plugins.KindNotYet; an API server or a source-controller that does not answer is
// plugins.KindTransient. A digest that differs, a path that is not there and a source that verifies nothing do not pass by themselves.
func Artifact(ctx context.Context, reader client.Reader, namespace string, ref v1alpha1.SourceReference) (File, error) {
	if !fs.ValidPath(ref.Path) || ref.Path == "." {
		return File{}, plugins.Hint(fmt.Errorf("path %q in %s %s/%s is not one of a file below the root", ref.Path, ref.Kind, namespace, ref.Name),
			"write it as workflows/fix.yaml: no leading /, no . and no ..")
	}
	s, err := ready(ctx, reader, namespace, ref)
	if err != nil {
		return File{}, err
	}
	data, err := download(ctx, s.artifact, ref.Path)
	if digestDiffers(err) {
		// source-controller writes a revision's artifact anew, at the same address, when the source's spec has changed.
		if again, notReady := ready(ctx, reader, namespace, ref); notReady != nil {
			return File{}, notReady
		} else if again.artifact.Digest != s.artifact.Digest {
			return File{}, s.notYet("its artifact was replaced while it was downloaded")
		}
	}
	if err != nil {
		return File{}, s.explain(err)
	}
	return File{
		Name: fmt.Sprintf("%s/%s@%s//%s", ref.Kind, ref.Name, s.artifact.Revision, ref.Path),
		Data: data, Revision: s.artifact.Revision, Digest: s.artifact.Digest,
	}, nil
}

// ready reads a source and says why its artifact is not to be used.
func ready(ctx context.Context, reader client.Reader, namespace string, ref v1alpha1.SourceReference) (*fluxSource, error) {
	s, err := readSource(ctx, reader, namespace, ref)
	if err != nil {
		return nil, err
	}
	condition := apimeta.FindStatusCondition(s.conditions, meta.ReadyCondition)
	switch {
	case s.deleted:
		return nil, s.notYet("it is being deleted")
	case s.observed != s.generation || condition == nil || condition.ObservedGeneration != s.generation:
		return nil, s.notYet("source-controller has not seen its present spec yet")
	case condition.Status != metav1.ConditionTrue:
		return nil, s.notYet("it is not ready: %s: %s", printable(condition.Reason), printable(condition.Message))
	case s.artifact == nil:
		return nil, s.notYet("it has no artifact yet")
	case ref.Revision != "" && s.artifact.Revision != ref.Revision:
		return nil, s.notYet("it is at revision %s and not at %s", printable(s.artifact.Revision), printable(ref.Revision))
	}
	if err := s.verified(); err != nil {
		return nil, err
	}
	return s, s.checkArtifact()
}

// verified holds the source to ref.verified. The condition stays at the generation of the last verification when the source's spec
// changes in what is not verified, so that its own generation says nothing.
func (s *fluxSource) verified() error {
	if !s.ref.Verified {
		return nil
	}
	if !s.verifies {
		return plugins.Hint(fmt.Errorf("%s: the workflow must be verified, and the source verifies no signature", s),
			"set spec.verify: kubectl explain %s.spec.verify", resource(s.ref.Kind))
	}
	condition := apimeta.FindStatusCondition(s.conditions, sourcev1.SourceVerifiedCondition)
	switch {
	case condition == nil:
		return s.notYet("its signature has not been verified yet")
	case condition.Status != metav1.ConditionTrue:
		return s.notYet("its signature is not verified: %s", printable(condition.Message))
	}
	return nil
}

// checkArtifact holds what the status says of the artifact to what can be verified.
func (s *fluxSource) checkArtifact() error {
	d, err := digest.Parse(s.artifact.Digest)
	if err != nil || !d.Algorithm().Available() {
		return s.never(fmt.Errorf("the artifact's digest %q is none that can be verified: sha256, sha384 and sha512 can", printable(s.artifact.Digest)))
	}
	if s.artifact.Size != nil && *s.artifact.Size > maxArtifact {
		return s.never(fmt.Errorf("the artifact has %d bytes, more than %d: leave out of it what is no workflow (spec.ignore)", *s.artifact.Size, maxArtifact))
	}
	if s.artifact.Revision == "" || len(s.artifact.Revision) > maxMessage || printable(s.artifact.Revision) != s.artifact.Revision {
		return s.never(fmt.Errorf("the artifact's revision %q is not one that can be shown", printable(s.artifact.Revision)))
	}
	return nil
}

func readSource(ctx context.Context, reader client.Reader, namespace string, ref v1alpha1.SourceReference) (*fluxSource, error) {
	s := &fluxSource{ref: ref, namespace: namespace}
	name := types.NamespacedName{Namespace: namespace, Name: ref.Name}
	var err error
	switch ref.Kind {
	case sourcev1.GitRepositoryKind:
		var o sourcev1.GitRepository
		err = reader.Get(ctx, name, &o)
		s.fill(&o.ObjectMeta, o.Status.ObservedGeneration, o.Spec.Suspend, o.Status.Conditions, o.Status.Artifact)
		s.verifies = o.Spec.Verification != nil
	case sourcev1.OCIRepositoryKind:
		var o sourcev1.OCIRepository
		err = reader.Get(ctx, name, &o)
		s.fill(&o.ObjectMeta, o.Status.ObservedGeneration, o.Spec.Suspend, o.Status.Conditions, o.Status.Artifact)
		s.verifies = o.Spec.Verify != nil
	default:
		return nil, fmt.Errorf("%s is no kind of source: GitRepository and OCIRepository are", printable(ref.Kind))
	}
	switch {
	case apierrors.IsNotFound(err):
		return nil, plugins.Hint(plugins.NotYet("%s: there is no such source", s), "kubectl get %s -n %s", resource(ref.Kind), namespace)
	case apimeta.IsNoMatchError(err):
		return nil, plugins.Hint(plugins.NotYet("%s: this cluster has no such kind: Flux's source-controller is not installed, or is older than 1.6", s),
			"flux check")
	case err != nil:
		return nil, kube.Explain(fmt.Errorf("%s: %w", s, err))
	}
	return s, nil
}

func (s *fluxSource) fill(m *metav1.ObjectMeta, observed int64, suspended bool, conditions []metav1.Condition, artifact *meta.Artifact) {
	s.generation, s.observed, s.suspended, s.deleted = m.Generation, observed, suspended, m.DeletionTimestamp != nil
	s.conditions, s.artifact = conditions, artifact
}

// String names the source.
func (s *fluxSource) String() string {
	return fmt.Sprintf("%s %s/%s", s.ref.Kind, s.namespace, s.ref.Name)
}

// notYet is an error that may pass, with what moves the source on.
func (s *fluxSource) notYet(format string, args ...any) error {
	verb := "reconcile"
	if s.suspended {
		verb = "resume"
		format += "; it is suspended"
	}
	return plugins.Hint(plugins.NotYet("%s: "+format, append([]any{s}, args...)...), "flux %s source %s -n %s %s", verb, fluxName(s.ref.Kind), s.namespace, s.ref.Name)
}

// never is an error that does not pass, with what shows the source.
func (s *fluxSource) never(err error) error {
	return plugins.Hint(fmt.Errorf("%s: %w", s, err), "kubectl get %s -n %s %s -o yaml", resource(s.ref.Kind), s.namespace, s.ref.Name)
}

// explain says of which source an error of the download is, and keeps its kind and its hint.
func (s *fluxSource) explain(err error) error {
	named := fmt.Errorf("%s at %s: %w", s, s.artifact.Revision, err)
	if hint := plugins.HintOf(err); hint != "" {
		return plugins.Hint(named, "%s", hint)
	}
	return plugins.Hint(named, "kubectl get %s -n %s %s -o yaml", resource(s.ref.Kind), s.namespace, s.ref.Name)
}

func resource(kind string) string {
	if kind == sourcev1.OCIRepositoryKind {
		return "ocirepository"
	}
	return "gitrepository"
}

// fluxName is what flux(1) calls a kind of source.
func fluxName(kind string) string {
	if kind == sourcev1.OCIRepositoryKind {
		return "oci"
	}
	return "git"
}
