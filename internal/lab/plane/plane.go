// Package plane runs a Kubernetes control plane: etcd, kube-apiserver, and as many of the controllers as are asked for. The
// laboratory runs one as the Supervisor and one for each workload cluster.
package plane

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/tkgfix/tkgfix/internal/lab/ca"
	"github.com/tkgfix/tkgfix/internal/lab/proc"
)

// Port of an API server, on an address of its own.
const Port = 6443

// APIServerName is the common name of an API server's certificate, also where it is the client: at kubelets.
const APIServerName = "kube-apiserver"

const (
	etcdClientPort = 2379
	etcdPeerPort   = 2380
	issuer         = "https://kubernetes.default.svc.cluster.local"
	readyTimeout   = 3 * time.Minute
	readyEvery     = 100 * time.Millisecond
	// Nothing in a laboratory is worth waiting long for.
	grace = 3 * time.Second
	// adminGroup passes every authorization.
	adminGroup = "system:masters"
)

// Options say what control plane to run.
type Options struct {
	// Name is what kubeconfig files call it.
	Name string
	// Dir holds its data, keys and logs. Stop removes it.
	Dir string
	// Binary is hyperkube (hack/kube).
	Binary string
	// Address is the loopback address that it has for itself.
	Address string
	// Audit is the file of its audit log, which outlives it.
	Audit string
	// Tokens is the content of a static token file; empty for none.
	Tokens string
	// Controllers are the names of kube-controller-manager's controllers.
	Controllers []string
	// Scheduler says whether kube-scheduler runs as well.
	Scheduler bool
	// Now is the clock by which certificates and tokens are dated.
	Now func() time.Time
}

// Plane is a running control plane.
type Plane struct {
	opts      Options
	group     *proc.Group
	authority *ca.Authority
	sign      any // the key of service account tokens
	etcd      *proc.Process
	server    *proc.Process
	others    []*proc.Process
}

// Start starts etcd and kube-apiserver and returns when /readyz answers. Controllers come with StartControllers.
func Start(ctx context.Context, group *proc.Group, opts Options) (*Plane, error) {
	p := &Plane{opts: opts, group: group}
	if err := p.files(); err != nil {
		return nil, fmt.Errorf("preparing the control plane %s: %w", opts.Name, err)
	}
	var err error
	if p.etcd, err = group.Run(ctx, p.path("etcd.log"), opts.Binary, p.etcdArgs()...); err != nil {
		return nil, err
	}
	if p.server, err = group.Run(ctx, p.path("kube-apiserver.log"), opts.Binary, p.serverArgs()...); err != nil {
		p.Stop()
		return nil, err
	}
	if err := p.waitReady(ctx); err != nil {
		p.Stop()
		return nil, err
	}
	return p, nil
}

// StartControllers starts kube-controller-manager and kube-scheduler, as far as the options ask for them.
//
// The garbage collector learns about resources when it starts and every half minute: custom resources are to be there before.
func (p *Plane) StartControllers(ctx context.Context) error {
	if err := p.writeKubeconfig("controllers.kubeconfig", "system:kube-controller-manager"); err != nil {
		return err
	}
	if len(p.opts.Controllers) > 0 {
		if err := p.runOther(ctx, "kube-controller-manager", p.controllerArgs()...); err != nil {
			return err
		}
	}
	if p.opts.Scheduler {
		return p.runOther(ctx, "kube-scheduler", "--kubeconfig="+p.path("controllers.kubeconfig"), "--leader-elect=false", "--secure-port=0")
	}
	return nil
}

func (p *Plane) runOther(ctx context.Context, name string, args ...string) error {
	child, err := p.group.Run(ctx, p.path(name+".log"), p.opts.Binary, append([]string{name}, args...)...)
	if err != nil {
		return err
	}
	p.others = append(p.others, child)
	return nil
}

// Stop ends everything in order and removes the data. It may be called more than once.
func (p *Plane) Stop() {
	for _, child := range p.others {
		child.Stop(grace)
	}
	p.server.Stop(grace)
	p.etcd.Stop(grace)
	_ = os.RemoveAll(p.opts.Dir) // what is left goes with the laboratory
}

// URL is where the API server answers.
func (p *Plane) URL() string { return fmt.Sprintf("https://%s:%d", p.opts.Address, Port) }

// Admin returns a kubeconfig of a user that may do everything, by client certificate.
func (p *Plane) Admin(user string) ([]byte, error) {
	pair, err := p.authority.Issue(ca.Leaf{CommonName: user, Organization: []string{adminGroup}, Client: true})
	if err != nil {
		return nil, err
	}
	return p.kubeconfig(user, &clientcmdapi.AuthInfo{ClientCertificateData: pair.Cert, ClientKeyData: pair.Key})
}

// Bearer returns a kubeconfig with a token.
func (p *Plane) Bearer(user, token string) ([]byte, error) {
	return p.kubeconfig(user, &clientcmdapi.AuthInfo{Token: token})
}

// Config returns a client configuration of a user that may do everything.
func (p *Plane) Config(user string) (*rest.Config, error) {
	data, err := p.Admin(user)
	if err != nil {
		return nil, err
	}
	config, err := clientcmd.RESTConfigFromKubeConfig(data)
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig of %s: %w", user, err)
	}
	config.QPS, config.Burst = 200, 400
	config.WarningHandler = rest.NoWarnings{} // finalizers have the names that they have in the field
	config.UserAgent = user
	return config, nil
}

// ExpiredToken returns a service account's token that the API server signed and that ran out an hour ago: what a login of
// yesterday looks like (tkg-facts.md §5).
func (p *Plane) ExpiredToken(namespace, name string) (string, error) {
	past := p.opts.Now().Add(-11 * time.Hour)
	claims := jwt.MapClaims{
		"iss": issuer, "aud": []string{issuer}, "sub": "system:serviceaccount:" + namespace + ":" + name,
		"iat": past.Unix(), "nbf": past.Unix(), "exp": past.Add(10 * time.Hour).Unix(),
		"kubernetes.io": map[string]any{"namespace": namespace, "serviceaccount": map[string]any{"name": name, "uid": "00000000-0000-0000-0000-000000000000"}},
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodES256, claims).SignedString(p.sign)
	if err != nil {
		return "", fmt.Errorf("signing a token: %w", err)
	}
	return token, nil
}

func (p *Plane) kubeconfig(user string, auth *clientcmdapi.AuthInfo) ([]byte, error) {
	config := clientcmdapi.NewConfig()
	config.Clusters[p.opts.Name] = &clientcmdapi.Cluster{Server: p.URL(), CertificateAuthorityData: p.authority.PEM()}
	config.AuthInfos[user] = auth
	context := user + "@" + p.opts.Name
	config.Contexts[context] = &clientcmdapi.Context{Cluster: p.opts.Name, AuthInfo: user}
	config.CurrentContext = context
	data, err := clientcmd.Write(*config)
	if err != nil {
		return nil, fmt.Errorf("writing the kubeconfig of %s: %w", user, err)
	}
	return data, nil
}

func (p *Plane) waitReady(ctx context.Context) error {
	config, err := p.Config("readiness")
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("making a client of %s: %w", p.opts.Name, err)
	}
	last := errors.New("not asked yet")
	err = wait.PollUntilContextTimeout(ctx, readyEvery, readyTimeout, false, func(ctx context.Context) (bool, error) {
		select {
		case <-p.etcd.Done():
			return false, p.etcd.Err()
		case <-p.server.Done():
			return false, p.server.Err()
		default:
		}
		_, last = client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for the API server of %s: %w", p.opts.Name, errors.Join(err, last))
	}
	return nil
}

func (p *Plane) path(name string) string { return filepath.Join(p.opts.Dir, name) }

// files writes keys, certificates and the audit policy.
func (p *Plane) files() error {
	if err := os.MkdirAll(p.opts.Dir, 0o700); err != nil {
		return err
	}
	var err error
	if p.authority, err = ca.NewRoot(p.opts.Name+" kubernetes", ca.ECDSA, p.opts.Now()); err != nil {
		return err
	}
	serving, err := p.authority.Issue(ca.Leaf{
		CommonName: APIServerName, Client: true,
		DNS: []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"},
		// The last is what a pod knows it by: the first address for Services.
		IPs: []net.IP{net.ParseIP(p.opts.Address), net.IPv4(127, 0, 0, 1), net.IPv4(10, 96, 0, 1)},
	})
	if err != nil {
		return err
	}
	signing, private, public, err := ca.SigningKey()
	if err != nil {
		return err
	}
	p.sign = signing
	for name, data := range map[string][]byte{
		"ca.pem": p.authority.PEM(), "tls.pem": serving.Cert, "tls.key": serving.Key,
		"sa.key": private, "sa.pub": public, "audit-policy.yaml": []byte(auditPolicy), "tokens.csv": []byte(p.opts.Tokens),
	} {
		if err := os.WriteFile(p.path(name), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (p *Plane) writeKubeconfig(name, user string) error {
	data, err := p.Admin(user)
	if err != nil {
		return err
	}
	return os.WriteFile(p.path(name), data, 0o600)
}

func (p *Plane) etcdArgs() []string {
	client := fmt.Sprintf("https://%s:%d", p.opts.Address, etcdClientPort)
	peer := fmt.Sprintf("https://%s:%d", p.opts.Address, etcdPeerPort)
	return []string{
		"etcd", "--name=lab", "--data-dir=" + p.path("etcd"), "--log-level=warn",
		"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=lab=" + peer,
		"--cert-file=" + p.path("tls.pem"), "--key-file=" + p.path("tls.key"), "--trusted-ca-file=" + p.path("ca.pem"), "--client-cert-auth",
		"--peer-cert-file=" + p.path("tls.pem"), "--peer-key-file=" + p.path("tls.key"), "--peer-trusted-ca-file=" + p.path("ca.pem"), "--peer-client-cert-auth",
		"--unsafe-no-fsync", // its data does not outlive it
	}
}

func (p *Plane) serverArgs() []string {
	args := []string{
		"kube-apiserver",
		fmt.Sprintf("--etcd-servers=https://%s:%d", p.opts.Address, etcdClientPort),
		"--etcd-cafile=" + p.path("ca.pem"), "--etcd-certfile=" + p.path("tls.pem"), "--etcd-keyfile=" + p.path("tls.key"),
		"--bind-address=" + p.opts.Address, "--advertise-address=" + p.opts.Address, fmt.Sprintf("--secure-port=%d", Port),
		"--endpoint-reconciler-type=none", // a loopback address cannot be an endpoint
		"--tls-cert-file=" + p.path("tls.pem"), "--tls-private-key-file=" + p.path("tls.key"), "--client-ca-file=" + p.path("ca.pem"),
		"--cert-dir=" + p.opts.Dir,
		"--service-account-issuer=" + issuer,
		"--service-account-key-file=" + p.path("sa.pub"), "--service-account-signing-key-file=" + p.path("sa.key"),
		"--service-cluster-ip-range=10.96.0.0/16", "--authorization-mode=RBAC", "--allow-privileged",
		"--kubelet-client-certificate=" + p.path("tls.pem"), "--kubelet-client-key=" + p.path("tls.key"), "--kubelet-certificate-authority=" + p.path("ca.pem"),
		"--kubelet-preferred-address-types=InternalIP", // nobody resolves the names of nodes
		"--audit-policy-file=" + p.path("audit-policy.yaml"), "--audit-log-path=" + p.opts.Audit, "--audit-log-format=json", "--audit-log-mode=blocking",
		"--profiling=false",
	}
	if p.opts.Tokens != "" {
		args = append(args, "--token-auth-file="+p.path("tokens.csv"))
	}
	return args
}

func (p *Plane) controllerArgs() []string {
	return []string{
		"--kubeconfig=" + p.path("controllers.kubeconfig"), "--controllers=" + strings.Join(p.opts.Controllers, ","),
		"--leader-elect=false", "--secure-port=0", "--use-service-account-credentials=false", "--profiling=false",
	}
}

// auditPolicy keeps who did what, and the whole request of a write, but never the content of a Secret.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted, Panic]
rules:
- level: None
  users: ["system:apiserver"]
- level: None
  users: ["readiness"]
- level: None
  users: ["system:kube-controller-manager", "tkg-service"]
  verbs: [get, list, watch]
- level: Metadata
  resources: [{group: "", resources: [secrets, configmaps, serviceaccounts/token]}]
- level: Request
  verbs: [create, update, patch, delete, deletecollection]
- level: Metadata
`
