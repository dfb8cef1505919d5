// Package runfiles puts what a Run names where its steps find it: kubeconfig, input files, credentials for the nodes, allowed signers.
//
// Steps read files, and what people approve names their paths. So each replica writes them to the same place, before each attempt.
package runfiles

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/plugins"
)

// maxContent bounds a value, in bytes; the API server keeps no larger Secret.
const maxContent = 1 << 20

// The keys of the Secret of connections.nodes.
const (
	keyIdentity   = "identity"
	keyPassword   = "password"
	keyKnownHosts = "known_hosts"
)

// Files says where the files of a run are. An empty path is of what the run does not have.
type Files struct {
	// Dir holds all of them, and nothing else.
	Dir string
	// Inputs are the inputs whose content is in a ConfigMap or a Secret, by name.
	Inputs map[string]Input
	// Kubeconfig is the Supervisor's, Context the one of its contexts that the Run names.
	Kubeconfig, Context string
	// Identity, Password and KnownHosts are for the nodes. Pinned says that KnownHosts is the user's own; else it is the namespace's book,
	// to which first sights are added.
	Identity, Password, KnownHosts string
	Pinned                         bool
	// Signers is the file of allowed signers of the namespace.
	Signers string
}

// Input is an input's content in a file.
type Input struct {
	Path string
	// Secret says that it comes from a Secret, and must not be written anywhere else.
	Secret bool
}

// Writer writes the files of runs.
type Writer struct {
	// Dir is the folder around all, the same on every replica.
	Dir string
	// Own reads and writes as the controller, without a cache: the allowed signers and the book of host keys.
	Own client.Client
	// As returns a reader with the rights of a service account.
	As func(namespace, serviceAccount string) (client.Reader, error)
	// InCluster writes a kubeconfig of this cluster for a service account to path.
	InCluster func(ctx context.Context, namespace, serviceAccount, path string) error
}

// Path returns the folder of a run's files.
func (w *Writer) Path(namespace, id string) string { return filepath.Join(w.Dir, namespace, id) }

// Write writes the files of a run, each in whole, with private modes. It blocks on the API server. What is missing there is an error
// for which apierrors.IsNotFound holds.
func (w *Writer) Write(ctx context.Context, run *v1alpha1.Run) (*Files, error) {
	reader, err := w.As(run.Namespace, run.Spec.ServiceAccountName)
	if err != nil {
		return nil, err
	}
	f := &Files{Dir: w.Path(run.Namespace, v1alpha1.RunID(run)), Inputs: map[string]Input{}}
	if err := os.MkdirAll(filepath.Join(f.Dir, "inputs"), 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the run: %w", err)
	}
	from := source{reader: reader, namespace: run.Namespace, as: run.Spec.ServiceAccountName}
	for name, in := range run.Spec.InputsFrom {
		// The name is a key of a map and becomes a file's: nothing in it may lead elsewhere.
		if name != filepath.Base(name) || name == "." || name == ".." {
			return nil, fmt.Errorf("inputsFrom: %q is no input's name", name)
		}
		data, err := from.key(ctx, in)
		if err != nil {
			return nil, fmt.Errorf("read input %s: %w", name, err)
		}
		path := filepath.Join(f.Dir, "inputs", name)
		if err := write(path, data); err != nil {
			return nil, err
		}
		f.Inputs[name] = Input{Path: path, Secret: in.SecretKeyRef != nil}
	}
	if err := w.supervisor(ctx, run, from, f); err != nil {
		return nil, err
	}
	if err := w.nodes(ctx, run, from, f); err != nil {
		return nil, err
	}
	return f, w.signers(ctx, run.Namespace, f)
}

// Remove removes the files of a run.
func (w *Writer) Remove(namespace, id string) error {
	if err := os.RemoveAll(w.Path(namespace, id)); err != nil {
		return fmt.Errorf("remove the files of run %s: %w", id, err)
	}
	return nil
}

func (w *Writer) supervisor(ctx context.Context, run *v1alpha1.Run, from source, f *Files) error {
	c := run.Spec.Connections
	if c == nil || c.Supervisor == nil {
		return nil
	}
	path := filepath.Join(f.Dir, "kubeconfig")
	if c.Supervisor.InCluster {
		f.Kubeconfig = path
		return w.InCluster(ctx, run.Namespace, run.Spec.ServiceAccountName, path)
	}
	data, err := Kubeconfig(ctx, from.reader, run.Namespace, c.Supervisor)
	if err != nil {
		return from.explain(err)
	}
	f.Kubeconfig, f.Context = path, c.Supervisor.Context
	return write(path, data)
}

// Kubeconfig reads the kubeconfig of a Supervisor connection from its Secret and refuses one that would reach outside itself. It blocks on
// the API server.
func Kubeconfig(ctx context.Context, reader client.Reader, namespace string, c *v1alpha1.SupervisorConnection) ([]byte, error) {
	if c.SecretRef == nil {
		return nil, errors.New("read the Supervisor's kubeconfig: connections.supervisor has no secretRef")
	}
	data, err := source{reader: reader, namespace: namespace}.secret(ctx, *c.SecretRef)
	if err != nil {
		return nil, fmt.Errorf("read the Supervisor's kubeconfig: %w", err)
	}
	return data, kube.CheckKubeconfig(data, "Secret "+namespace+"/"+c.SecretRef.Name)
}

func (w *Writer) nodes(ctx context.Context, run *v1alpha1.Run, from source, f *Files) error {
	f.KnownHosts = filepath.Join(f.Dir, keyKnownHosts)
	if c := run.Spec.Connections; c != nil && c.Nodes != nil {
		secret := &corev1.Secret{}
		key := client.ObjectKey{Namespace: run.Namespace, Name: c.Nodes.SecretRef.Name}
		if err := from.reader.Get(ctx, key, secret); err != nil {
			return from.explain(fmt.Errorf("read the credentials for the nodes: %w", err))
		}
		for name, path := range map[string]*string{keyIdentity: &f.Identity, keyPassword: &f.Password} {
			data, ok := secret.Data[name]
			if !ok {
				continue
			}
			*path = filepath.Join(f.Dir, name)
			if err := write(*path, data); err != nil {
				return err
			}
		}
		if data, ok := secret.Data[keyKnownHosts]; ok {
			f.Pinned = true
			return write(f.KnownHosts, data)
		}
	}
	book, err := w.book(ctx, run.Namespace)
	if err != nil {
		return err
	}
	return write(f.KnownHosts, []byte(book.Data[keyKnownHosts]))
}

func (w *Writer) signers(ctx context.Context, namespace string, f *Files) error {
	c := &corev1.ConfigMap{}
	err := w.Own.Get(ctx, client.ObjectKey{Namespace: namespace, Name: v1alpha1.SignersConfigMap}, c)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the allowed signers: %w", err)
	}
	f.Signers = filepath.Join(f.Dir, v1alpha1.SignersKey)
	return write(f.Signers, []byte(c.Data[v1alpha1.SignersKey]))
}

func write(path string, data []byte) error {
	if err := renameio.WriteFile(path, data, 0o600); err != nil {
		return fmt.Errorf("write a file of the run: %w", err)
	}
	return nil
}

// source reads keys as a service account.
type source struct {
	reader        client.Reader
	namespace, as string
}

func (s source) key(ctx context.Context, k v1alpha1.KeySource) ([]byte, error) {
	if k.SecretKeyRef != nil {
		data, err := s.secret(ctx, *k.SecretKeyRef)
		return data, s.explain(err)
	}
	if k.ConfigMapKeyRef == nil {
		return nil, errors.New("neither configMapKeyRef nor secretKeyRef is given")
	}
	ref := *k.ConfigMapKeyRef
	c := &corev1.ConfigMap{}
	if err := s.reader.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: ref.Name}, c); err != nil {
		return nil, s.explain(err)
	}
	if data, ok := c.BinaryData[ref.Key]; ok {
		return bounded("ConfigMap", s.namespace, ref, data)
	}
	text, ok := c.Data[ref.Key]
	if !ok {
		return nil, missing("ConfigMap", s.namespace, ref)
	}
	return bounded("ConfigMap", s.namespace, ref, []byte(text))
}

func (s source) secret(ctx context.Context, ref v1alpha1.KeyReference) ([]byte, error) {
	secret := &corev1.Secret{}
	if err := s.reader.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: ref.Name}, secret); err != nil {
		return nil, err
	}
	data, ok := secret.Data[ref.Key]
	if !ok {
		return nil, missing("Secret", s.namespace, ref)
	}
	return bounded("Secret", s.namespace, ref, data)
}

// explain adds to a refusal whose rights it was that did not suffice.
func (s source) explain(err error) error {
	if !apierrors.IsForbidden(err) {
		return err
	}
	return plugins.Hint(err, "let service account %s read what the Run names: kubectl auth can-i --list -n %s --as system:serviceaccount:%s:%s",
		s.as, s.namespace, s.namespace, s.as)
}

func missing(kind, namespace string, ref v1alpha1.KeyReference) error {
	return plugins.Hint(fmt.Errorf("%s %s/%s has no key %q", kind, namespace, ref.Name, ref.Key), "kubectl describe %s %s -n %s", kind, ref.Name, namespace)
}

func bounded(kind, namespace string, ref v1alpha1.KeyReference, data []byte) ([]byte, error) {
	if len(data) > maxContent {
		return nil, fmt.Errorf("%s %s/%s: the value of %q is larger than %d bytes", kind, namespace, ref.Name, ref.Key, maxContent)
	}
	return data, nil
}
