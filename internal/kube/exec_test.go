package kube_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"

	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/plugins"
)

var debugPod = types.NamespacedName{Namespace: "kube-system", Name: "p"}

// shell runs commands on this machine, as the container of every pod.
type shell struct{ began chan struct{} }

func (s shell) ExecInContainer(ctx context.Context, _, _, container string, args []string, in io.Reader, out, err io.WriteCloser, _ bool, _ <-chan remotecommand.TerminalSize, _ time.Duration) error {
	if container != "debug" {
		return fmt.Errorf("container not found (%q)", container)
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, err
	if s.began != nil {
		close(s.began)
	}
	failed := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](failed); ok {
		return utilexec.CodeExitError{Err: failed, Code: exit.ExitCode()}
	}
	return failed
}

// streaming is a server with kubelet's own streams. It does not speak the WebSocket protocol that a client asks for first, as API servers
// before Kubernetes 1.29 do not.
func streaming(t *testing.T, s shell) *kube.Client {
	t.Helper()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/v1/namespaces/forbidden/pods/p/exec" {
			status := apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "p",
				errors.New(`User "v" cannot create resource "pods/exec" in API group "" in the namespace "forbidden"`)).Status()
			status.Kind, status.APIVersion = "Status", "v1"
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusForbidden)
			_ = json.NewEncoder(w).Encode(status)
			return
		}
		if r.URL.Path != "/api/v1/namespaces/kube-system/pods/p/exec" {
			http.NotFound(w, r)
			return
		}
		q := r.URL.Query()
		opts := &remotecommand.Options{Stdin: q.Get("stdin") == "true", Stdout: q.Get("stdout") == "true", Stderr: q.Get("stderr") == "true"}
		remotecommand.ServeExec(w, r, s, "p", "", q.Get("container"), q["command"], opts, time.Minute, time.Minute, remotecommand.SupportedStreamingProtocols)
	}))
	t.Cleanup(server.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	client, err := kube.FromKubeconfig([]byte(config("server: '"+server.URL+"', certificate-authority-data: "+base64.StdEncoding.EncodeToString(ca), "token: hunter2")), "x")
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestExec(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("0123456789abcdef", 1<<16)
	cases := map[string]struct {
		reason         string
		pod            types.NamespacedName
		container      string
		args           []string
		stdin          io.Reader
		stdout, stderr string
		check          func(error) bool
	}{
		"Both":      {reason: "the streams are kept apart, arguments are kept whole", args: []string{"sh", "-c", `echo "$0"; echo two >&2`, "a b'\"&?%20"}, stdout: "a b'\"&?%20\n", stderr: "two\n"},
		"Stdin":     {reason: "standard input goes there and ends", args: []string{"cat"}, stdin: strings.NewReader(big), stdout: big},
		"Exit":      {reason: "a code is no failure of the way", args: []string{"sh", "-c", "exit 7"}, check: func(err error) bool { e, ok := errors.AsType[*kube.ExitError](err); return ok && e.Code == 7 }},
		"NoProgram": {reason: "what the runtime says is told", args: []string{"/no/such/program"}, check: func(err error) bool { return strings.Contains(err.Error(), "/no/such/program") }},
		"Container": {reason: "the container is named", container: "other", args: []string{"true"}, check: func(err error) bool { return strings.Contains(err.Error(), "container not found") }},
		"Forbidden": {
			reason: "who may not is told how to ask", pod: types.NamespacedName{Namespace: "forbidden", Name: "p"}, args: []string{"true"},
			check: func(err error) bool {
				return apierrors.IsForbidden(err) && strings.Contains(plugins.HintOf(err), "can-i")
			},
		},
		"NotFound": {reason: "there is no such pod", pod: types.NamespacedName{Namespace: "kube-system", Name: "q"}, args: []string{"true"}, check: func(err error) bool { return err != nil }},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.container == "" {
				c.container = "debug"
			}
			if c.pod.Name == "" {
				c.pod = debugPod
			}
			var stdout, stderr bytes.Buffer
			err := streaming(t, shell{}).Exec(t.Context(), c.pod, kube.Command{Container: c.container, Args: c.args, Stdin: c.stdin, Stdout: &stdout, Stderr: &stderr})
			if c.check == nil && err != nil || c.check != nil && (err == nil || !c.check(err)) {
				t.Errorf("%s: got %v; hint: %s", c.reason, err, plugins.HintOf(err))
			}
			if diff := cmp.Diff([]string{c.stdout, c.stderr}, []string{stdout.String(), stderr.String()}); diff != "" {
				t.Errorf("%s (-want, +got):\n%.500s", c.reason, diff)
			}
		})
	}
}

func TestExecEndsWithItsContext(t *testing.T) {
	t.Parallel()
	s := shell{began: make(chan struct{})}
	client := streaming(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-s.began
		cancel()
	}()
	err := client.Exec(ctx, debugPod, kube.Command{Container: "debug", Args: []string{"cat"}, Stdin: never{}, Stdout: io.Discard, Stderr: io.Discard})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("want that it was cancelled, got %v", err)
	}
}

// never is an input that does not end.
type never struct{}

func (never) Read([]byte) (int, error) { select {} }

func TestExecIsNotTried(t *testing.T) {
	t.Parallel()
	client := streaming(t, shell{})
	err := client.DryRun().Exec(t.Context(), debugPod, kube.Command{Container: "debug", Args: []string{"true"}, Stdout: io.Discard})
	if err == nil {
		t.Error("a dry run ran a command")
	}
}
