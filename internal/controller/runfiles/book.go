package runfiles

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// BookConfigMap is the ConfigMap with the host keys that runs of a namespace have seen: what one replica pins, another must hold to.
const BookConfigMap = "tkgfix-known-hosts"

// maxBook bounds the book, in bytes.
const maxBook = 768 << 10

// KeepKnownHosts adds to the namespace's book the host keys that an attempt has seen first. It blocks on the API server.
func (w *Writer) KeepKnownHosts(ctx context.Context, namespace string, f *Files) error {
	if f.Pinned {
		return nil
	}
	data, err := os.ReadFile(f.KnownHosts)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("keep the host keys: %w", err)
	}
	// Two replicas may add at once: the second reads again what the first wrote.
	err = retry.OnError(retry.DefaultBackoff, func(err error) bool { return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) }, func() error {
		book, err := w.book(ctx, namespace)
		if err != nil {
			return err
		}
		merged := merge(book.Data[keyKnownHosts], string(data))
		switch {
		case merged == book.Data[keyKnownHosts]:
			return nil
		case len(merged) > maxBook:
			return fmt.Errorf("ConfigMap %s/%s would be larger than %d bytes: take out the host keys of machines that are gone", namespace, BookConfigMap, maxBook)
		}
		book.Data = map[string]string{keyKnownHosts: merged}
		if book.ResourceVersion == "" {
			return w.Own.Create(ctx, book)
		}
		return w.Own.Update(ctx, book)
	})
	if err != nil {
		return fmt.Errorf("keep the host keys: %w", err)
	}
	return nil
}

// book returns the namespace's book, an empty one that is not created yet if there is none.
func (w *Writer) book(ctx context.Context, namespace string) (*corev1.ConfigMap, error) {
	c := &corev1.ConfigMap{}
	err := w.Own.Get(ctx, client.ObjectKey{Namespace: namespace, Name: BookConfigMap}, c)
	if apierrors.IsNotFound(err) {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: BookConfigMap}}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the host keys: %w", err)
	}
	return c, nil
}

// merge returns the lines of a book and after them those of another that it does not have.
func merge(book, more string) string {
	lines := strings.FieldsFunc(book, func(r rune) bool { return r == '\n' })
	for line := range strings.Lines(more) {
		if line = strings.TrimRight(line, "\r\n"); line != "" && !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		return ""
	}
	return strings.Join(lines, "\n") + "\n"
}
