package kube_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tkgfix/tkgfix/internal/handshake/registrytest"
	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/plugins"
)

// config is a kubeconfig with one context; cluster and user are the fields of each.
func config(cluster, user string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: team-a
contexts: [{name: team-a, context: {cluster: c, user: u}}, {name: other, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {%s}}]
users: [{name: u, user: {%s}}]
`, cluster, user)
}

func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestNew(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason  string
		config  string
		context string
		err     string
		hint    string
	}{
		"Good":       {reason: "it connects to nothing yet", config: config("server: https://10.0.0.1:6443", "token: hunter2")},
		"Named":      {reason: "another context", config: config("server: https://10.0.0.1", "token: hunter2"), context: "other"},
		"NoContext":  {reason: "the contexts that there are help", config: config("server: https://10.0.0.1", ""), context: "gone", err: `no context "gone"`, hint: "other, team-a"},
		"Insecure":   {reason: "a server that is not verified is not talked to", config: config("server: https://10.0.0.1, insecure-skip-tls-verify: true", "token: hunter2"), err: "insecure-skip-tls-verify", hint: "download.zip"},
		"PlainHTTP":  {reason: "nor one without TLS", config: config("server: http://10.0.0.1", "token: hunter2"), err: "not https", hint: "kubectl vsphere login"},
		"NoServer":   {reason: "a cluster without a server", config: config("", "token: hunter2"), err: "no server", hint: "kubectl vsphere login"},
		"Credential": {reason: "no credential in a URL", config: config("server: https://u:hunter2@10.0.0.1", ""), err: "holds a credential"},
		"NotYAML":    {reason: "the file is not quoted", config: "token: hunter2: [", err: "not a kubeconfig", hint: "config view"},
		"BadProxy":   {reason: "nor is a proxy's password", config: config("server: https://10.0.0.1, proxy-url: 'http://u:hunter2@proxy:99999x'", ""), err: "kubeconfig"},
		"Plugin":     {reason: "the user's own file may run a credential plugin", config: config("server: https://10.0.0.1", "exec: {apiVersion: client.authentication.k8s.io/v1, command: x, interactiveMode: Never}")},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, err := kube.New(plugins.Kube{Kubeconfig: write(t, c.config), Context: c.context})
			check(t, c.reason, c.err, c.hint, err)
			if err == nil && !strings.HasPrefix(client.Server(), "10.0.0.1:") {
				t.Errorf("%s: Server: got %q", c.reason, client.Server())
			}
		})
	}
	_, err := kube.New(plugins.Kube{Kubeconfig: filepath.Join(t.TempDir(), "gone")})
	check(t, "a file that is not there", "no such kubeconfig", "kubectl vsphere login", err)
	_, err = kube.New(plugins.Kube{Kubeconfig: t.TempDir()})
	check(t, "a folder", "not a regular file", "", err)
}

func TestContextNamespace(t *testing.T) {
	t.Parallel()
	text := strings.Replace(config("server: https://10.0.0.1", "token: hunter2"), "{cluster: c, user: u}}, {name: other", "{cluster: c, user: u, namespace: team-a}}, {name: other", 1)
	path := write(t, text)
	for context, want := range map[string]string{"": "team-a", "team-a": "team-a", "other": ""} {
		got, err := kube.ContextNamespace(plugins.Kube{Kubeconfig: path, Context: context})
		if err != nil || got != want {
			t.Errorf("context %q: want %q, got %q, %v", context, want, got, err)
		}
	}
	_, err := kube.ContextNamespace(plugins.Kube{Kubeconfig: path, Context: "gone"})
	check(t, "a context that is not there", `no context "gone"`, "other, team-a", err)
}

func check(t *testing.T, reason, want, hint string, err error) {
	t.Helper()
	if (want == "") != (err == nil) {
		t.Fatalf("%s: want the error %q, got %v", reason, want, err)
	}
	if err == nil {
		return
	}
	if !strings.Contains(err.Error(), want) || !strings.Contains(plugins.HintOf(err), hint) {
		t.Errorf("%s: want %q and the hint %q, got %v; %s", reason, want, hint, err, plugins.HintOf(err))
	}
	if strings.Contains(err.Error()+plugins.HintOf(err), "hunter2") {
		t.Errorf("%s: a credential is in %v", reason, err)
	}
}

func TestFromKubeconfig(t *testing.T) {
	t.Parallel()
	const server = "server: https://10.0.0.1:6443"
	cases := map[string]struct {
		reason string
		config string
		err    string
	}{
		"Token":      {reason: "what the Cluster API writes, more or less", config: config(server, "token: hunter2")},
		"Exec":       {reason: "it would run a program here", config: config(server, "exec: {apiVersion: client.authentication.k8s.io/v1, command: reboot, interactiveMode: Never}"), err: "exec"},
		"Provider":   {reason: "it would run a library's code", config: config(server, "auth-provider: {name: oidc}"), err: "auth provider"},
		"Token file": {reason: "it would send a file of this machine away", config: config(server, "tokenFile: /etc/shadow"), err: "token file"},
		"Key file":   {reason: "it reads a file of this machine", config: config(server, "client-key: /etc/key, client-certificate: /etc/cert"), err: "client key file"},
		"CA file":    {reason: "it reads a file of this machine", config: config(server+", certificate-authority: /etc/ca", ""), err: "CA file"},
		"Proxy":      {reason: "it would send the key elsewhere", config: config(server+", proxy-url: http://10.0.0.9", ""), err: "proxy"},
		"Insecure":   {reason: "always verified", config: config(server+", insecure-skip-tls-verify: true", ""), err: "insecure-skip-tls-verify"},
		"Garbage":    {reason: "not quoted", config: "hunter2: [", err: "cannot be read"},
		"Empty":      {reason: "nothing in it", config: "", err: "no current context"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := kube.FromKubeconfig([]byte(c.config), "Secret team-a/dev1-kubeconfig")
			check(t, c.reason, c.err, "", err)
			if err != nil && !strings.Contains(err.Error(), "Secret team-a/dev1-kubeconfig") {
				t.Errorf("%s: want the Secret named, got %v", c.reason, err)
			}
		})
	}
	_, err := kube.FromKubeconfig(bytes.Repeat([]byte("#"), 5<<20), "x")
	check(t, "bounded", "larger than", "", err)
}

func TestDryRun(t *testing.T) {
	t.Parallel()
	client, err := kube.FromKubeconfig([]byte(config("server: https://10.0.0.1", "")), "x")
	if err != nil {
		t.Fatal(err)
	}
	if dry := client.DryRun(); client.IsDryRun() || !dry.IsDryRun() {
		t.Errorf("want only the copy to be dry: %v, %v", client.IsDryRun(), dry.IsDryRun())
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	tsc := schema.GroupResource{Group: "run.tanzu.vmware.com", Resource: "tkgserviceconfigurations"}
	refused := &url.Error{Op: "Get", URL: "https://10.0.0.1:6443/api", Err: &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}}
	cases := map[string]struct {
		reason string
		err    error
		kind   plugins.ErrorKind
		hint   string
		is     func(error) bool
	}{
		"Unauthorized": {reason: "a token that is over", err: apierrors.NewUnauthorized("Unauthorized"), kind: plugins.KindFailed, hint: "kubectl vsphere login", is: apierrors.IsUnauthorized},
		"ForbiddenTSC": {
			reason: "an editor of a namespace may not", kind: plugins.KindFailed, hint: "kubectl auth can-i patch tkgserviceconfigurations.run.tanzu.vmware.com", is: apierrors.IsForbidden,
			err: apierrors.NewForbidden(tsc, "tkg-service-configuration", errors.New(`User "v" cannot patch resource "tkgserviceconfigurations" in API group "run.tanzu.vmware.com" at the cluster scope`)),
		},
		"ForbiddenSecret": {
			reason: "verb, resource and namespace are named", kind: plugins.KindFailed, hint: "kubectl auth can-i get secrets -n team-a", is: apierrors.IsForbidden,
			err: apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "dev1-ssh", errors.New(`User "v" cannot get resource "secrets" in API group "" in the namespace "team-a"`)),
		},
		"Webhook":   {reason: "a webhook says why by itself", err: apierrors.NewForbidden(tsc, "x", errors.New("admission webhook denied the request: no")), kind: plugins.KindFailed, is: apierrors.IsForbidden},
		"NotFound":  {reason: "as it is", err: apierrors.NewNotFound(tsc, "x"), kind: plugins.KindFailed, is: apierrors.IsNotFound},
		"Conflict":  {reason: "as it is", err: apierrors.NewConflict(tsc, "x", errors.New("no")), kind: plugins.KindFailed, is: apierrors.IsConflict},
		"Busy":      {reason: "it may pass", err: apierrors.NewTooManyRequests("later", 1), kind: plugins.KindTransient, is: apierrors.IsTooManyRequests},
		"Down":      {reason: "it may pass", err: apierrors.NewServiceUnavailable("x"), kind: plugins.KindTransient, is: apierrors.IsServiceUnavailable},
		"Refused":   {reason: "host and port are named", err: refused, kind: plugins.KindTransient, hint: "10.0.0.1:6443", is: func(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }},
		"Cancelled": {reason: "who gives up needs no hint", err: &url.Error{Op: "Get", URL: "https://x", Err: context.Canceled}, kind: plugins.KindFailed, is: func(err error) bool { return errors.Is(err, context.Canceled) }},
		"Certificate": {
			reason: "no retry mends it", kind: plugins.KindFailed, hint: "log in again", is: func(err error) bool { return true },
			err: &url.Error{Op: "Get", URL: "https://x", Err: &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}},
		},
		"Proxy": {reason: "a proxy's password is no one's business", kind: plugins.KindFailed, is: func(err error) bool { return !strings.Contains(err.Error(), "hunter2") }, err: errors.New("proxyconnect http://u:hunter2@proxy:1: no")},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := kube.Explain(fmt.Errorf("get it: %w", c.err))
			if kind := plugins.KindOf(got); kind != c.kind {
				t.Errorf("%s: want the kind %s, got %s", c.reason, c.kind, kind)
			}
			hint := plugins.HintOf(got)
			if (c.hint == "") != (hint == "") || !strings.Contains(hint, c.hint) {
				t.Errorf("%s: want the hint %q, got %q", c.reason, c.hint, hint)
			}
			if !c.is(got) {
				t.Errorf("%s: the error is no longer what it was: %v", c.reason, got)
			}
			if again := kube.Explain(got); plugins.HintOf(again) != hint || again.Error() != got.Error() {
				t.Errorf("%s: explaining twice changes it: %v", c.reason, again)
			}
		})
	}
	if kube.Explain(nil) != nil {
		t.Error("nil stays nil")
	}
}

func TestServerIsVerified(t *testing.T) {
	t.Parallel()
	root, other := registrytest.NewRoot(t, "Supervisor CA"), registrytest.NewRoot(t, "Other CA")
	leaf := root.Leaf(t, func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} })
	server := "server: 'https://" + registrytest.Serve(t, leaf, nil) + "', certificate-authority-data: "
	client, err := kube.FromKubeconfig([]byte(config(server+base64.StdEncoding.EncodeToString(other.PEM()), "token: hunter2")), "x")
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Resource(t.Context(), "run.tanzu.vmware.com", "TanzuKubernetesCluster")
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); !ok || plugins.KindOf(err) != plugins.KindFailed {
		t.Errorf("want a refusal of the certificate, got %v", err)
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	client, err := kube.FromKubeconfig([]byte(config("server: https://127.0.0.1:1", "token: hunter2")), "x")
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Resource(t.Context(), "", "Pod")
	if plugins.KindOf(err) != plugins.KindTransient || !strings.Contains(plugins.HintOf(err), "127.0.0.1:1") {
		t.Errorf("want a transient error with host and port, got %v; %s", err, plugins.HintOf(err))
	}
}

func TestAs(t *testing.T) {
	t.Parallel()
	obj := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "s"}, "data": map[string]any{"value": base64.StdEncoding.EncodeToString([]byte("text"))},
	}}
	secret, err := kube.As[corev1.Secret](obj)
	if err != nil || string(secret.Data["value"]) != "text" {
		t.Errorf("want text, got %q, %v", secret.Data["value"], err)
	}
	obj.Object["data"] = "no map"
	if _, err := kube.As[corev1.Secret](obj); err == nil {
		t.Error("want an error for a Secret that is none")
	}
}
