package source_test

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	commit   = "5394cb7f48332b2de7c17dd8b8384bbc84b7e738"
	revision = "main@sha1:" + commit
	fix      = "apiVersion: tkgfix.dev/v1alpha1\nkind: Workflow\n"
)

// store is source-controller's: artifacts under a folder, served as they are.
type store struct{ dir, url, namespace string }

func newStore(t *testing.T, namespace string) *store {
	t.Helper()
	s := &store{dir: t.TempDir(), namespace: namespace}
	files := http.FileServer(http.Dir(s.dir))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/moved/"):
			http.Redirect(w, r, strings.TrimPrefix(r.URL.Path, "/moved"), http.StatusFound)
		case strings.HasPrefix(r.URL.Path, "/cut/"):
			w.Header().Set("Content-Length", "100000")
			_, _ = w.Write([]byte("\x1f\x8b"))
		default:
			files.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// put stores an archive and returns what the status says of it.
func (s *store) put(t *testing.T, kind, name string, archive []byte) *meta.Artifact {
	t.Helper()
	at := path.Join(strings.ToLower(kind), s.namespace, name, commit+".tar.gz")
	file := filepath.Join(s.dir, filepath.FromSlash(at))
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, archive, 0o600); err != nil {
		t.Fatal(err)
	}
	sum, size := sha256.Sum256(archive), int64(len(archive))
	return &meta.Artifact{
		Path: at, URL: s.url + "/" + at, Revision: revision, Digest: "sha256:" + hex.EncodeToString(sum[:]), Size: &size,
		LastUpdateTime: metav1.Now().Rfc3339Copy(),
	}
}

// archive packs a folder with tar(1).
func archive(t *testing.T, args ...string) []byte {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{"workflows/fix.yaml": fix, "README.md": "read me\n"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("fix.yaml", filepath.Join(dir, "workflows", "link.yaml")); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "tar", append([]string{"-C", dir, "-cz"}, args...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// status is what source-controller writes when it has stored an artifact.
func status(generation int64, a *meta.Artifact) ([]metav1.Condition, int64, *meta.Artifact) {
	at := metav1.Now().Rfc3339Copy()
	return []metav1.Condition{
		{Type: meta.ReadyCondition, Status: metav1.ConditionTrue, ObservedGeneration: generation, LastTransitionTime: at, Reason: meta.SucceededReason,
			Message: "stored artifact for revision '" + revision + "'"},
		{Type: sourcev1.ArtifactInStorageCondition, Status: metav1.ConditionTrue, ObservedGeneration: generation, LastTransitionTime: at,
			Reason: meta.SucceededReason, Message: "stored artifact for revision '" + revision + "'"},
	}, generation, a
}
