package kube

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/tkgfix/tkgfix/plugins"
)

// maxKubeconfig bounds a kubeconfig, in bytes.
const maxKubeconfig = 4 << 20

const loginHint = "log in to the Supervisor: kubectl vsphere login --server=SUPERVISOR --vsphere-username=USER, " +
	"then name its kubeconfig: export KUBECONFIG=FILE"

// RESTConfig returns a configuration for the API server that conn names, by the rules of New. It connects to nothing.
func RESTConfig(conn plugins.Kube) (*rest.Config, error) { return fileConfig(conn) }

func fileConfig(conn plugins.Kube) (*rest.Config, error) {
	config, current, err := load(conn)
	if err != nil {
		return nil, err
	}
	where := fmt.Sprintf("kubeconfig %s, context %q", conn.Kubeconfig, current)
	if err := checkCluster(config, current, where); err != nil {
		return nil, err
	}
	rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: conn.Kubeconfig}
	out, err := clientcmd.NewNonInteractiveClientConfig(*config, current, &clientcmd.ConfigOverrides{}, rules).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", where, redacted(err))
	}
	return out, nil
}

// ContextNamespace returns the namespace that the context of conn names, empty if it names none. It reads the kubeconfig and connects
// to nothing.
func ContextNamespace(conn plugins.Kube) (string, error) {
	config, current, err := load(conn)
	if err != nil {
		return "", err
	}
	return config.Contexts[current].Namespace, nil
}

// load reads a kubeconfig and picks its context.
func load(conn plugins.Kube) (*api.Config, string, error) {
	if conn.Kubeconfig == "" {
		return nil, "", plugins.Hint(errors.New("no kubeconfig given"), "%s", loginHint)
	}
	if err := checkFile(conn.Kubeconfig); err != nil {
		return nil, "", err
	}
	rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: conn.Kubeconfig}
	config, err := rules.Load()
	if err != nil {
		// The cause may quote the file, which holds credentials.
		return nil, "", plugins.Hint(fmt.Errorf("read kubeconfig %s: it is not a kubeconfig", conn.Kubeconfig),
			"see what is wrong with it: kubectl --kubeconfig %s config view", conn.Kubeconfig)
	}
	current, err := pickContext(config, conn)
	return config, current, err
}

func checkFile(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return plugins.Hint(fmt.Errorf("no such kubeconfig: %s", path), "%s", loginHint)
	case err != nil:
		return fmt.Errorf("read kubeconfig: %w", err)
	case !info.Mode().IsRegular():
		return fmt.Errorf("read kubeconfig %s: it is not a regular file", path)
	case info.Size() > maxKubeconfig:
		return fmt.Errorf("read kubeconfig %s: it is larger than %d MiB", path, maxKubeconfig>>20)
	}
	return nil
}

func pickContext(config *api.Config, conn plugins.Kube) (string, error) {
	name := conn.Context
	if name == "" {
		name = config.CurrentContext
	}
	names := make([]string, 0, len(config.Contexts))
	for n := range config.Contexts {
		names = append(names, n)
	}
	slices.Sort(names)
	if name == "" {
		return "", plugins.Hint(fmt.Errorf("kubeconfig %s has no current context", conn.Kubeconfig),
			"name one of its contexts: %s", list(names))
	}
	if _, ok := config.Contexts[name]; !ok {
		return "", plugins.Hint(fmt.Errorf("kubeconfig %s has no context %q", conn.Kubeconfig, name),
			"its contexts are: %s", list(names))
	}
	return name, nil
}

func list(names []string) string {
	if len(names) == 0 {
		return "none; " + loginHint
	}
	const most = 20
	if len(names) > most {
		return strings.Join(names[:most], ", ") + ", ..."
	}
	return strings.Join(names, ", ")
}

// checkCluster holds for every kubeconfig: the server is named, spoken to over TLS, and verified.
func checkCluster(config *api.Config, context, where string) error {
	cluster := config.Clusters[config.Contexts[context].Cluster]
	if cluster == nil || cluster.Server == "" {
		return plugins.Hint(fmt.Errorf("%s: it names no server", where), "%s", loginHint)
	}
	if cluster.InsecureSkipTLSVerify {
		return plugins.Hint(fmt.Errorf("%s: insecure-skip-tls-verify is set; tkgfix talks only to a server that it can verify", where),
			"trust the Supervisor's CA (https://VCENTER/certs/download.zip), or put it into certificate-authority-data, and log in again without --insecure-skip-tls-verify")
	}
	u, err := url.Parse(cluster.Server)
	if err != nil || u.Host == "" {
		return fmt.Errorf("%s: its server is not a URL", where)
	}
	if u.Scheme != "https" {
		return plugins.Hint(fmt.Errorf("%s: its server %s is not https", where, u.Host), "%s", loginHint)
	}
	if u.User != nil {
		return fmt.Errorf("%s: its server's URL holds a credential", where)
	}
	return nil
}

// CheckKubeconfig refuses a kubeconfig that came from a cluster, in any of its contexts, by the rules of FromKubeconfig; name is for messages.
func CheckKubeconfig(data []byte, name string) error {
	if len(data) > maxKubeconfig {
		return fmt.Errorf("kubeconfig of %s is larger than %d MiB", name, maxKubeconfig>>20)
	}
	config, err := clientcmd.Load(data)
	if err != nil {
		return fmt.Errorf("kubeconfig of %s cannot be read as one", name) // the cause may quote credentials
	}
	where := "kubeconfig of " + name
	if len(config.Contexts) == 0 {
		return fmt.Errorf("%s has no context", where)
	}
	for context, c := range config.Contexts {
		if err := checkCluster(config, context, where); err != nil {
			return err
		}
		if err := checkForeign(config.Clusters[c.Cluster], config.AuthInfos[c.AuthInfo], where); err != nil {
			return err
		}
	}
	return nil
}

func checkForeign(cluster *api.Cluster, user *api.AuthInfo, where string) error {
	what := foreign(cluster, user)
	if what == "" {
		return nil
	}
	return plugins.Hint(fmt.Errorf("%s has %s, which tkgfix does not follow in a kubeconfig that comes from a cluster", where, what),
		"see who wrote the Secret; the Cluster API's own holds only certificates")
}

func secretConfig(data []byte, name string) (*rest.Config, error) {
	if len(data) > maxKubeconfig {
		return nil, fmt.Errorf("kubeconfig of %s is larger than %d MiB", name, maxKubeconfig>>20)
	}
	config, err := clientcmd.Load(data)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig of %s cannot be read as one", name) // the cause may quote credentials
	}
	where := "kubeconfig of " + name
	context, ok := config.Contexts[config.CurrentContext]
	if !ok {
		return nil, fmt.Errorf("%s has no current context", where)
	}
	if err := checkCluster(config, config.CurrentContext, where); err != nil {
		return nil, err
	}
	if err := checkForeign(config.Clusters[context.Cluster], config.AuthInfos[context.AuthInfo], where); err != nil {
		return nil, err
	}
	out, err := clientcmd.NewNonInteractiveClientConfig(*config, config.CurrentContext, &clientcmd.ConfigOverrides{},
		&clientcmd.ClientConfigLoadingRules{}).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", where, redacted(err))
	}
	return out, nil
}

// foreign names what in a kubeconfig would reach outside it, empty if nothing does.
func foreign(cluster *api.Cluster, user *api.AuthInfo) string {
	if user == nil {
		user = &api.AuthInfo{}
	}
	for what, has := range map[string]bool{
		"a credential plugin (exec)":       user.Exec != nil,
		"an auth provider":                 user.AuthProvider != nil,
		"a reference to a CA file":         cluster.CertificateAuthority != "",
		"a reference to a client key file": user.ClientKey != "" || user.ClientCertificate != "",
		"a reference to a token file":      user.TokenFile != "",
		"a proxy":                          cluster.ProxyURL != "",
	} {
		if has {
			return what
		}
	}
	return ""
}

var userinfo = regexp.MustCompile(`://[^/@\s"]*@`)

// redacted takes credentials in URLs out of an error of a library, and forgets the error itself.
func redacted(err error) error {
	text := err.Error()
	if clean := userinfo.ReplaceAllString(text, "://REDACTED@"); clean != text {
		return errors.New(clean)
	}
	return err
}

// hostPort returns the host and port of a server's URL.
func hostPort(server string) string {
	u, err := url.Parse(server)
	if err != nil || u.Host == "" {
		return server
	}
	if u.Port() == "" {
		return net.JoinHostPort(u.Hostname(), "443")
	}
	return u.Host
}
