package e2e

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"
)

var (
	tscs    = schema.GroupVersionResource{Group: "run.tanzu.vmware.com", Version: "v1alpha3", Resource: "tkgserviceconfigurations"}
	tkcs    = schema.GroupVersionResource{Group: "run.tanzu.vmware.com", Version: "v1alpha3", Resource: "tanzukubernetesclusters"}
	pods    = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	secrets = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
)

// laboratory is a running laboratory.
type laboratory struct {
	kind  string
	dir   string
	state string
	ssh   string
	// said is all that tkgfix printed.
	said strings.Builder
}

// up starts a laboratory with imitated nodes that ends with the test.
func up(t *testing.T, scenario string) *laboratory {
	t.Helper()
	return upWith(t, "imitated", scenario)
}

// upWith starts a laboratory with nodes of a kind, and with more flags, that ends with the test.
func upWith(t *testing.T, nodes, scenario string, more ...string) *laboratory {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "lab")
	lab := &laboratory{kind: nodes, dir: dir, state: filepath.Join(t.TempDir(), "state")}
	args := append([]string{"up", "--dir", dir, "--nodes", nodes, "--scenario", scenario}, more...)
	command(t, nil, filepath.Join(bin, "tkgfix-lab"), args...).wantCode(t, 0)
	t.Cleanup(func() {
		if t.Failed() {
			log, err := os.ReadFile(filepath.Join(dir, "lab.log"))
			t.Logf("the end of lab.log (%v):\n%s", err, log[max(0, len(log)-8000):])
		}
		// t.Context ends before clean-ups run, so this does not go through command.
		if out, err := down(dir); err != nil {
			t.Errorf("tkgfix-lab down: %v\n%s", err, out)
		}
	})
	raw, err := os.ReadFile(filepath.Join(dir, "lab.json"))
	if err != nil {
		t.Fatal(err)
	}
	lab.ssh = fmt.Sprint(decode[struct{ SSHPort int }](t, raw).SSHPort)
	return lab
}

func (l *laboratory) kubeconfig(name string) string {
	return filepath.Join(l.dir, "kubeconfig", name+".yaml")
}

func (l *laboratory) ca(name string) string { return filepath.Join(l.dir, "ca", name+".pem") }

// inputs are the flags of the documented fix for a cluster and a CA.
func (l *laboratory) inputs(cluster, ca string) []string {
	return []string{
		"--input", "cluster=" + cluster, "--input", "ca=" + ca, "--input", "sshPort=" + l.ssh,
		"--input", "workloads=" + filepath.Join(l.dir, "workload.yaml"),
	}
}

const documentedFix = "../examples/workflows/documented-fix.yaml"

// tkgfix runs tkgfix with a kubeconfig.
func (l *laboratory) tkgfix(t *testing.T, kubeconfig string, args ...string) result {
	t.Helper()
	r := command(t, []string{"KUBECONFIG=" + kubeconfig, "TKGFIX_STATE=" + l.state}, filepath.Join(bin, "tkgfix"), args...)
	l.said.WriteString(r.stdout + r.stderr)
	return r
}

// client returns an administrator's client of the Supervisor.
func (l *laboratory) client(t *testing.T) dynamic.Interface {
	t.Helper()
	raw, err := os.ReadFile(l.kubeconfig("admin"))
	if err != nil {
		t.Fatal(err)
	}
	return clientOf(t, raw)
}

func clientOf(t *testing.T, kubeconfig []byte) dynamic.Interface {
	t.Helper()
	config, err := clientcmd.RESTConfigFromKubeConfig(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config.UserAgent = "e2e"
	c, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// get returns an object of the Supervisor.
func (l *laboratory) get(t *testing.T, r schema.GroupVersionResource, namespace, name string) *unstructured.Unstructured {
	t.Helper()
	u, err := l.client(t).Resource(r).Namespace(namespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// phases returns how the pods of the workload stand, by their names' hash-free prefix and phase, counted.
func (l *laboratory) phases(t *testing.T, cluster string) map[string]int {
	t.Helper()
	s := l.get(t, secrets, "team-a", cluster+"-kubeconfig")
	value, _, err := unstructured.NestedString(s.Object, "data", "value")
	if err != nil {
		t.Fatal(err)
	}
	list, err := clientOf(t, unbase64(t, value)).Resource(pods).Namespace("demo").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]int{}
	for _, p := range list.Items {
		phase, _, _ := unstructured.NestedString(p.Object, "status", "phase")
		out[phase]++
	}
	return out
}

// trust returns the entries of TkgServiceConfiguration as they are stored, by name.
func (l *laboratory) trust(t *testing.T) map[string]string {
	t.Helper()
	u := l.get(t, tscs, "", "tkg-service-configuration")
	list, _, err := unstructured.NestedSlice(u.Object, "spec", "trust", "additionalTrustedCAs")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, e := range list {
		m := e.(map[string]any)
		out[m["name"].(string)] = m["data"].(string)
	}
	return out
}

// audited is an entry of an API server's audit log.
type audited struct {
	Stage      string
	Verb       string
	RequestURI string
	UserAgent  string
	User       struct{ Username string }
	ObjectRef  struct {
		Resource, Namespace, Name, Subresource string
	}
	ResponseStatus struct{ Code int }
	// RequestObject of a deletion holds its options; of other requests an object or a patch.
	RequestObject json.RawMessage
}

func (a audited) String() string {
	return fmt.Sprintf("%s %s by %s (%s): %d", a.Verb, a.RequestURI, a.User.Username, a.UserAgent, a.ResponseStatus.Code)
}

func (a audited) writes() bool {
	if a.ObjectRef.Resource == "selfsubjectaccessreviews" {
		return false // a question in the form of an object: nothing is kept
	}
	switch a.Verb {
	case "create", "update", "patch", "delete", "deletecollection":
		var options struct{ DryRun []string }
		dry := a.Verb == "delete" && json.Unmarshal(a.RequestObject, &options) == nil && slices.Contains(options.DryRun, "All")
		return !dry && !strings.Contains(a.RequestURI, "dryRun=All")
	}
	return false
}

// audit returns what an API server saw, of the requests that keep says yes to.
func (l *laboratory) audit(t *testing.T, server string, keep func(audited) bool) []audited {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(l.dir, "audit", server+".log"))
	if err != nil {
		t.Fatal(err)
	}
	var out []audited
	lines := bufio.NewScanner(bytes.NewReader(raw))
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		if a := decode[audited](t, lines.Bytes()); a.Stage == "ResponseComplete" && keep(a) {
			out = append(out, a)
		}
	}
	return out
}

// byTkgfix tells what tkgfix asked: by its own word, or by the login that only it uses.
func byTkgfix(a audited) bool {
	return strings.HasPrefix(a.UserAgent, "tkgfix/") || a.User.Username == "platform"
}

// writes returns the writes that the Supervisor's API server carried out on an object of the test's cluster, by verb.
func (l *laboratory) writes(t *testing.T, resource, name string) map[string]int {
	t.Helper()
	out := map[string]int{}
	for _, a := range l.audit(t, "supervisor", func(a audited) bool {
		// What the TKG Service itself does to the object, such as its finalizers, is not tkgfix's.
		return a.writes() && a.ResponseStatus.Code < 300 && a.ObjectRef.Resource == resource && a.ObjectRef.Name == name &&
			a.ObjectRef.Subresource == "" && byTkgfix(a)
	}) {
		out[a.Verb]++
	}
	return out
}

// files returns a digest of every file of the nodes' etc folders, with modes and times.
func (l *laboratory) files(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	root := filepath.Join(l.dir, "nodes")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || !strings.Contains(path, "/etc/") {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		out[path] = fmt.Sprintf("%v %v %x", info.Mode(), info.ModTime(), sha256.Sum256(data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) == 0 {
		t.Fatalf("no files of nodes below %s", root)
	}
	return out
}
