package kubelet

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tkgfix/tkgfix/internal/lab/ca"
)

func TestHostRoot(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	host := corev1.Volume{Name: "host", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}}
	logs := corev1.Volume{Name: "host", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/var/log"}}}
	mount := []corev1.VolumeMount{{Name: "other", MountPath: "/other"}, {Name: "host", MountPath: "/host", ReadOnly: true}}
	cases := map[string]struct {
		reason     string
		privileged *bool
		volume     corev1.Volume
		mounts     []corev1.VolumeMount
		want       string
	}{
		"Privileged":   {"it has the node's root", &yes, host, mount, "/host"},
		"Unprivileged": {"it has not", &no, host, mount, ""},
		"Unsaid":       {"not privileged is the default", nil, host, mount, ""},
		"OtherPath":    {"it has another folder of the node", &yes, logs, mount, ""},
		"NotMounted":   {"the pod has it, this container has not", &yes, host, mount[:1], ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			container := corev1.Container{Name: "c", VolumeMounts: c.mounts, SecurityContext: &corev1.SecurityContext{Privileged: c.privileged}}
			pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{container}, Volumes: []corev1.Volume{c.volume}}}
			path, readOnly := hostRoot(pod, &pod.Spec.Containers[0])
			if path != c.want || readOnly != (c.want != "") {
				t.Errorf("%s: got %q, read-only %v", c.reason, path, readOnly)
			}
		})
	}
}

// TestOnlyTheAPIServer serves as a kubelet and calls as everybody who may try.
func TestOnlyTheAPIServer(t *testing.T) {
	t.Parallel()
	root, err := ca.NewRoot("kubernetes", ca.ECDSA, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	other, err := ca.NewRoot("kubernetes", ca.ECDSA, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	serving, err := root.Issue(ca.Leaf{CommonName: "system:node", DNS: []string{"node"}})
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(root.PEM())
	k := New(Options{Name: "node", Now: time.Now, Serving: &Serving{Client: "kube-apiserver", TLS: &tls.Config{
		Certificates: []tls.Certificate{pairOf(t, serving)}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12,
	}}})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := k.server()
	server.ErrorLog = log.New(io.Discard, "", 0) // handshakes that fail are what this is about
	go func() { _ = server.ServeTLS(listener, "", "") }()
	t.Cleanup(func() { _ = server.Close() })
	for name, c := range map[string]struct {
		reason string
		by     *ca.Authority
		client string
		want   int
	}{
		"APIServer":   {"it asks for a pod that is not there", root, "kube-apiserver", http.StatusNotFound},
		"Admin":       {"a client of the cluster, and not its API server", root, "kubernetes-admin", http.StatusForbidden},
		"OtherCA":     {"another cluster's API server", other, "kube-apiserver", 0},
		"Certificate": {"nobody", nil, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := &tls.Config{RootCAs: pool, ServerName: "node", MinVersion: tls.VersionTLS12}
			if c.by != nil {
				pair, err := c.by.Issue(ca.Leaf{CommonName: c.client, Client: true})
				if err != nil {
					t.Fatal(err)
				}
				config.Certificates = []tls.Certificate{pairOf(t, pair)}
			}
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: config}}
			resp, err := client.Post("https://"+listener.Addr().String()+"/exec/kube-system/p/debug?output=1&command=id", "", nil)
			if err != nil {
				if c.want != 0 {
					t.Errorf("%s: %v", c.reason, err)
				}
				return
			}
			_ = resp.Body.Close()
			if diff := cmp.Diff(c.want, resp.StatusCode); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", c.reason, diff)
			}
		})
	}
}

func pairOf(t *testing.T, pair ca.Pair) tls.Certificate {
	t.Helper()
	cert, err := tls.X509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestDeadline(t *testing.T) {
	t.Parallel()
	now := time.Now()
	seconds := func(n int64) *int64 { return &n }
	pod := func(limit *int64, began time.Time) *corev1.Pod {
		p := &corev1.Pod{Spec: corev1.PodSpec{ActiveDeadlineSeconds: limit}}
		if !began.IsZero() {
			at := metav1.NewTime(began)
			p.Status.StartTime = &at
		}
		return p
	}
	w := &worker{kubelet: &Kubelet{opts: Options{Now: func() time.Time { return now }}}, over: never()}
	over := func(what string, want bool) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if want {
			ctx = t.Context()
		}
		select {
		case <-w.over.C:
			if !want {
				t.Errorf("%s: its time is over", what)
			}
		case <-ctx.Done():
		}
	}
	w.limit(pod(nil, time.Time{}))
	over("no deadline", false)
	w.limit(pod(seconds(3600), time.Time{}))
	over("an hour", false)
	w.limit(pod(seconds(1), now.Add(-time.Minute)))
	over("made shorter than it has run", true)
}

func TestOnNode(t *testing.T) {
	t.Parallel()
	images := Images("v1.26.5+vmware.2-fips.1")
	have := onNode(images)
	for _, name := range []string{"localhost:5000/vmware.io/kube-proxy:v1.26.5_vmware.2-fips.1", images[0].Names[0], "localhost:5000/vmware.io/pause:3.9"} {
		if image, ok := have[name]; !ok || image.Size == 0 || image.ID == "" {
			t.Errorf("%s is not on the node: %+v", name, image)
		}
	}
	for i := 1; i < len(images); i++ {
		if images[i].SizeBytes > images[i-1].SizeBytes {
			t.Errorf("%s is larger than what is before it", images[i].Names[1])
		}
	}
}
