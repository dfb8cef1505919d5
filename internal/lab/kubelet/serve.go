package kubelet

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	"k8s.io/utils/exec"

	"github.com/tkgfix/tkgfix/internal/lab/vm"
)

// Port is where each kubelet answers its API server.
const Port = 10250

const (
	streamIdle     = 4 * time.Hour
	streamCreation = 30 * time.Second
	headerTimeout  = 10 * time.Second
)

// Runner runs commands in containers on the node.
type Runner interface {
	// RunIn runs a command and returns its exit code. It blocks until the command ends, or ctx does.
	RunIn(ctx context.Context, c vm.Command) (int, error)
}

// Serving is how a kubelet answers its API server.
type Serving struct {
	// TLS holds the kubelet's certificate, and whose clients it trusts.
	TLS *tls.Config
	// Client is the common name of the one client that is answered.
	Client string
	Runner Runner
}

// started are the containers of a pod in which commands can run.
type started struct {
	mu    sync.Mutex
	names map[string]bool
}

func (s *started) add(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.names == nil {
		s.names = map[string]bool{}
	}
	s.names[name] = true
}

func (s *started) has(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.names[name]
}

// serve answers the API server until ctx ends.
func (k *Kubelet) serve(ctx context.Context) error {
	if k.opts.Serving == nil {
		<-ctx.Done()
		return nil
	}
	var listen net.ListenConfig
	listener, err := listen.Listen(ctx, "tcp", net.JoinHostPort(k.opts.Address, strconv.Itoa(Port)))
	if err != nil {
		return fmt.Errorf("opening the kubelet's port on %s: %w", k.opts.Name, err)
	}
	server := k.server()
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving as the kubelet of %s: %w", k.opts.Name, err)
	}
	return nil
}

func (k *Kubelet) server() *http.Server {
	mux := http.NewServeMux()
	// The paths and parameters are those of kubelet's server (pkg/kubelet/server/server.go).
	mux.HandleFunc("/exec/{namespace}/{pod}/{container}", k.exec)
	mux.HandleFunc("/exec/{namespace}/{pod}/{uid}/{container}", k.exec)
	return &http.Server{Handler: k.authorized(mux), TLSConfig: k.opts.Serving.TLS, ReadHeaderTimeout: headerTimeout}
}

// authorized lets only the API server through.
func (k *Kubelet) authorized(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 || r.TLS.PeerCertificates[0].Subject.CommonName != k.opts.Serving.Client {
			http.Error(w, "Forbidden", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// exec runs a command in a container, with kubelet's own library for the streams.
func (k *Kubelet) exec(w http.ResponseWriter, r *http.Request) {
	worker := k.workerOf(r.PathValue("namespace"), r.PathValue("pod"), r.PathValue("uid"))
	if worker == nil {
		http.Error(w, "pod does not exist", http.StatusNotFound)
		return
	}
	streams, err := remotecommand.NewOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	remotecommand.ServeExec(w, r, executor{worker, k.opts.Serving.Runner}, worker.pod.Name, string(worker.pod.UID), r.PathValue("container"),
		r.URL.Query()["command"], streams, streamIdle, streamCreation, remotecommand.SupportedStreamingProtocols)
}

func (k *Kubelet) workerOf(namespace, name, uid string) *worker {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, w := range k.pods {
		if w.pod.Namespace == namespace && w.pod.Name == name && (uid == "" || uid == string(w.pod.UID)) {
			return w
		}
	}
	return nil
}

// executor runs commands in the containers of one pod.
type executor struct {
	worker *worker
	runner Runner
}

var _ remotecommand.Executor = executor{}

// ExecInContainer runs a command until it ends or the pod does.
func (e executor) ExecInContainer(_ context.Context, _, _, container string, cmd []string, in io.Reader, out, err io.WriteCloser, _ bool, _ <-chan remotecommand.TerminalSize, _ time.Duration) error {
	spec := containerOf(e.worker.pod, container)
	if spec == nil || !e.worker.started.has(container) {
		return fmt.Errorf("container not found (%q)", container)
	}
	host, readOnly := hostRoot(e.worker.pod, spec)
	code, failed := e.runner.RunIn(e.worker.living, vm.Command{Host: host, ReadOnly: readOnly, Args: cmd, Stdin: in, Stdout: out, Stderr: err})
	switch {
	case failed != nil:
		return failed
	case code != 0:
		return exec.CodeExitError{Err: fmt.Errorf("command terminated with exit code %d", code), Code: code}
	}
	return nil
}

func containerOf(pod *corev1.Pod, name string) *corev1.Container {
	for i := range pod.Spec.Containers {
		if pod.Spec.Containers[i].Name == name {
			return &pod.Spec.Containers[i]
		}
	}
	return nil
}

// hostRoot returns where a container has the node's root; it is empty unless the pod is privileged and mounts it.
func hostRoot(pod *corev1.Pod, c *corev1.Container) (path string, readOnly bool) {
	if c.SecurityContext == nil || c.SecurityContext.Privileged == nil || !*c.SecurityContext.Privileged {
		return "", false
	}
	for _, v := range pod.Spec.Volumes {
		if v.HostPath == nil || v.HostPath.Path != "/" {
			continue
		}
		for _, m := range c.VolumeMounts {
			if m.Name == v.Name {
				return m.MountPath, m.ReadOnly
			}
		}
	}
	return "", false
}
