package confine_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"

	"github.com/tkgfix/tkgfix/internal/controller/confine"
	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/kube/kubetest"
	"github.com/tkgfix/tkgfix/plugins"
)

// step plans what it is given and applies nothing.
type step struct {
	plugins.Step
	change  plugins.PlannedChange
	applied *bool
}

func (s step) Plan(context.Context, plugins.PlanRequest) (plugins.PlanResponse, error) {
	return plugins.PlanResponse{Outputs: json.RawMessage(`{}`), Changes: []plugins.PlannedChange{s.change}}, nil
}

func (s step) Apply(context.Context, plugins.ApplyRequest, plugins.Host) (plugins.ApplyResponse, error) {
	*s.applied = true
	return plugins.ApplyResponse{}, nil
}

type launched struct{ step step }

func (l launched) Step(context.Context, string) (plugins.Step, error) { return l.step, nil }
func (launched) Close(context.Context) error                          { return nil }

// authority returns the CA of a server of its own, in PEM.
func authority(t *testing.T) []byte {
	t.Helper()
	s := httptest.NewTLSServer(nil)
	t.Cleanup(s.Close)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

func kubeconfigSecret(name, ca string) string {
	config := fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: x, contexts: [{name: x, context: {cluster: x, user: x}}], users: [{name: x, user: {token: hunter2}}],
clusters: [{name: x, cluster: {server: "https://10.0.0.1:6443"%s}}]}`, ca)
	return fmt.Sprintf(`{apiVersion: v1, kind: Secret, metadata: {namespace: team-a, name: %s-kubeconfig}, data: {value: %s}}`, name, base64.StdEncoding.EncodeToString([]byte(config)))
}

// TestHome blocks the deletion of the cluster on which the controller runs, and of one of which that cannot be told.
func TestHome(t *testing.T) {
	t.Parallel()
	ours := authority(t)
	inline := func(ca []byte) string {
		return ", certificate-authority-data: " + base64.StdEncoding.EncodeToString(ca)
	}
	// httptest's servers all have one certificate: another CA is made of other bytes.
	other := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("another CA")})
	dir := t.TempDir()
	supervisor := kubetest.Server{Kinds: []string{"v1/Secret"}, Objects: []string{
		kubeconfigSecret("home", inline(ours)), kubeconfigSecret("bundle", inline(append(other, ours...))), kubeconfigSecret("other", inline(other)), kubeconfigSecret("bare", ""),
		`{apiVersion: v1, kind: Secret, metadata: {namespace: team-a, name: junk-kubeconfig}, data: {value: "%%%"}}`,
	}}.Start(t)
	data, err := os.ReadFile(supervisor.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	supervisor.Kubeconfig = filepath.Join(dir, "kubeconfig")
	if err := os.WriteFile(supervisor.Kubeconfig, data, 0o600); err != nil {
		t.Fatal(err)
	}
	closed := kubetest.Server{Kinds: []string{"v1/Secret"}, Forbidden: []string{"secrets"}}.Start(t)
	cluster := func(name string) plugins.PlannedChange {
		return plugins.PlannedChange{Action: plugins.Delete, Target: plugins.Target{Group: "cluster.x-k8s.io", Kind: "Cluster", Namespace: "team-a", Name: name}}
	}
	inside := cluster("home")
	inside.Target.Cluster = "team-a/x"
	for name, tc := range map[string]struct {
		reason string
		home   []byte
		change plugins.PlannedChange
		conns  plugins.Connections
		dir    string
		want   string
	}{
		"Home":      {"it would end itself halfway", ours, cluster("home"), plugins.Connections{Supervisor: &supervisor}, dir, "is the cluster on which this controller runs"},
		"Bundle":    {"one CA of several is enough", ours, cluster("bundle"), plugins.Connections{Supervisor: &supervisor}, dir, "is the cluster on which this controller runs"},
		"Other":     {"another cluster may be deleted", ours, cluster("other"), plugins.Connections{Supervisor: &supervisor}, dir, ""},
		"NeverUp":   {"on a cluster that never had an API server nothing runs", ours, cluster("new"), plugins.Connections{Supervisor: &supervisor}, dir, ""},
		"Inside":    {"an object in a cluster that is called Cluster is no cluster", ours, inside, plugins.Connections{Supervisor: &supervisor}, dir, ""},
		"NoCA":      {"a kubeconfig that trusts the system's roots tells nothing", ours, cluster("bare"), plugins.Connections{Supervisor: &supervisor}, dir, "cannot be told"},
		"Junk":      {"a Secret that holds no kubeconfig tells nothing", ours, cluster("junk"), plugins.Connections{Supervisor: &supervisor}, dir, "cannot be told"},
		"Unknown":   {"the controller does not know its own CA", nil, cluster("other"), plugins.Connections{Supervisor: &supervisor}, dir, "cannot be told"},
		"Forbidden": {"the Secret may not be read", ours, cluster("other"), plugins.Connections{Supervisor: &closed}, filepath.Dir(closed.Kubeconfig), "cannot be told"},
		"Nowhere":   {"the step has no Supervisor", ours, cluster("other"), plugins.Connections{}, dir, "cannot be told"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			home, err := confine.NewHome(&rest.Config{TLSClientConfig: rest.TLSClientConfig{CAData: tc.home}})
			if err != nil {
				t.Fatal(err)
			}
			p := confine.Plugins{Plugins: launched{step{change: tc.change}}, Dir: tc.dir, Home: home}
			s, err := p.Step(t.Context(), "x")
			if err != nil {
				t.Fatal(err)
			}
			resp, err := s.Plan(t.Context(), plugins.PlanRequest{Connections: tc.conns})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]plugins.PlannedChange{tc.change}, resp.Changes); diff != "" {
				t.Errorf("%s: a plan that is blocked is shown all the same (-want, +got):\n%s", tc.reason, diff)
			}
			got := ""
			if len(resp.Blocks) > 0 {
				got = resp.Blocks[0].Reason
			}
			if (tc.want == "") != (got == "") || !strings.Contains(got, tc.want) || strings.Contains(got, "hunter2") {
				t.Errorf("%s: blocked by %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
}

// TestWithin keeps steps to the files of their run.
func TestWithin(t *testing.T) {
	t.Parallel()
	const dir = "/run/tkgfix/team-a/trust-0123abcd"
	nodes := func(change func(*plugins.Nodes)) plugins.Connections {
		n := &plugins.Nodes{KnownHosts: dir + "/known_hosts"}
		change(n)
		return plugins.Connections{Nodes: n}
	}
	for name, tc := range map[string]struct {
		reason string
		conns  plugins.Connections
		ok     bool
	}{
		"Own":       {"the run's own kubeconfig", plugins.Connections{Supervisor: &plugins.Kube{Kubeconfig: dir + "/kubeconfig"}}, true},
		"None":      {"no file at all", plugins.Connections{Supervisor: &plugins.Kube{}}, true},
		"Token":     {"the controller's own credentials", plugins.Connections{Supervisor: &plugins.Kube{Kubeconfig: "/var/run/secrets/kubernetes.io/serviceaccount/token"}}, false},
		"Neighbour": {"another run's", plugins.Connections{Supervisor: &plugins.Kube{Kubeconfig: "/run/tkgfix/team-b/x/kubeconfig"}}, false},
		"Prefix":    {"a folder whose name begins alike", plugins.Connections{Supervisor: &plugins.Kube{Kubeconfig: dir + "0/kubeconfig"}}, false},
		"Up":        {"a way up and out", plugins.Connections{Supervisor: &plugins.Kube{Kubeconfig: dir + "/../x/kubeconfig"}}, false},
		"Identity":  {"a private key elsewhere", nodes(func(n *plugins.Nodes) { n.IdentityFile = "/root/.ssh/id_ed25519" }), false},
		"Password":  {"a password elsewhere", nodes(func(n *plugins.Nodes) { n.PasswordFile = "/etc/shadow" }), false},
		"Hosts":     {"host keys elsewhere", nodes(func(n *plugins.Nodes) { n.KnownHosts = "/root/.ssh/known_hosts" }), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			applied := false
			next := func(plugins.Connections, func(context.Context, engine.Process) error) engine.Plugins {
				return launched{step{applied: &applied}}
			}
			s, err := confine.Launch(next, dir, &confine.Home{})(tc.conns, nil).Step(t.Context(), "x")
			if err != nil {
				t.Fatal(err)
			}
			_, plan := s.Plan(t.Context(), plugins.PlanRequest{Connections: tc.conns})
			_, apply := s.Apply(t.Context(), plugins.ApplyRequest{Connections: tc.conns}, nil)
			if (plan == nil) != tc.ok || (apply == nil) != tc.ok || applied != tc.ok {
				t.Errorf("%s: plan: %v, apply: %v", tc.reason, plan, errors.Join(apply))
			}
		})
	}
}
