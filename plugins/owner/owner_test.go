package owner

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/internal/handshake/registrytest"
	"github.com/tkgfix/tkgfix/internal/kube/kubetest"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/plugintest"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

const dev1 = `{"cluster": "team-a/dev1"}`

// The order of times in these tests: the cluster was made at t2, its machine at t3.
const (
	t1 = "2026-01-01T00:00:00Z"
	t2 = "2026-02-01T00:00:00Z"
	t3 = "2026-03-01T00:00:00Z"
)

var now = time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC)

func head(version, kind, more string) string {
	return fmt.Sprintf("apiVersion: %s, kind: %s, metadata: {name: dev1, namespace: team-a, creationTimestamp: %q%s}", version, kind, t2, more)
}

func machine() string {
	return fmt.Sprintf("{apiVersion: cluster.x-k8s.io/v1beta1, kind: Machine, metadata: {name: dev1-a, namespace: team-a, creationTimestamp: %q, labels: {cluster.x-k8s.io/cluster-name: dev1}}, "+
		"status: {nodeRef: {name: dev1-a}}}", t3)
}

func service(value string) string {
	return fmt.Sprintf("{apiVersion: run.tanzu.vmware.com/v1alpha3, kind: TkgServiceConfiguration, metadata: {name: tkg-service-configuration, creationTimestamp: %q, managedFields: "+
		"[{manager: m, operation: Update, time: %q, fieldsType: FieldsV1, fieldsV1: {'f:spec': {'f:trust': {}}}}]}, spec: {trust: {additionalTrustedCAs: [{name: corp, data: %q}]}}}", t1, t1, value)
}

func supervisor(objects ...string) kubetest.Server {
	return kubetest.Server{
		Kinds:   []string{"v1/Secret", "cluster.x-k8s.io/v1beta1/Cluster", "cluster.x-k8s.io/v1beta1/ClusterClass", "cluster.x-k8s.io/v1beta1/Machine"},
		Objects: objects,
	}
}

func plan(t *testing.T, server kubetest.Server, in string) (plugins.PlanResponse, error) {
	t.Helper()
	conn := server.Start(t)
	return New(sdk.Env{Now: func() time.Time { return now }}).Plan(t.Context(), plugins.PlanRequest{Input: json.RawMessage(in), Connections: plugins.Connections{Supervisor: &conn}})
}

func TestConformance(t *testing.T) {
	t.Parallel()
	ca := registrytest.NewRoot(t, "Corp Root CA")
	samples := map[string]plugintest.Sample{}
	for name, s := range map[string]kubetest.Server{
		"tkc":   supervisor("{"+head("run.tanzu.vmware.com/v1alpha3", "TanzuKubernetesCluster", "")+", status: {phase: running}}", service(tkg.Encode(ca.PEM(), 1)), machine()),
		"class": supervisor("{" + head("cluster.x-k8s.io/v1beta1", "Cluster", "") + ", spec: {topology: {class: tanzukubernetescluster, variables: [{name: trust, value: {additionalTrustedCAs: [{name: x}]}}]}}}"),
	} {
		conn := s.Start(t)
		samples[name] = plugintest.Sample{Reason: "an owner of each kind", Input: json.RawMessage(dev1), Connections: plugins.Connections{Supervisor: &conn}}
	}
	plugintest.Conformance(t, New(sdk.Env{}), plugintest.Cases{Samples: samples})
}

func TestFind(t *testing.T) {
	t.Parallel()
	ca := registrytest.NewRoot(t, "Corp Root CA")
	fp := []string{certs.Fingerprint(ca.Cert)}
	once, twice := tkg.Encode(ca.PEM(), 1), tkg.Encode(ca.PEM(), 2)
	all := rights{ClusterTrust: true, ServiceTrust: true, DeleteMachines: true, DeleteCluster: true}
	none := []string{}
	const (
		tscWhere  = "TkgServiceConfiguration tkg-service-configuration"
		tscPath   = "spec.trust.additionalTrustedCAs[0].data"
		tkcKind   = "TanzuKubernetesCluster"
		tkcAPI    = "run.tanzu.vmware.com/v1alpha3"
		clusterUp = "status: {conditions: [{type: ControlPlaneInitialized, status: 'True'}]}"
	)
	classed := func(class, variable, status string) string {
		return "{" + head("cluster.x-k8s.io/v1beta1", "Cluster", "") + ", spec: {topology: {class: " + class + ", variables: [" + variable + "]}}, " + status + "}"
	}
	secret := func(name, value string) string {
		return fmt.Sprintf("{apiVersion: v1, kind: Secret, metadata: {name: %s, namespace: team-a, creationTimestamp: %q}, data: {corp: %q, private: c2VjcmV0}}", name, t1, value)
	}
	const (
		trust = "{name: trust, value: {additionalTrustedCAs: [{name: corp}]}}"
		os    = "{name: osConfiguration, value: {trust: {additionalTrustedCAs: [{caCert: {secretRef: {name: mine, key: corp}}}]}}}"
	)
	cases := map[string]struct {
		reason    string
		server    kubetest.Server
		forbidden []string
		mayNot    []string
		noReviews bool
		want      output
		roll      string
		warning   string
	}{
		"tkc": {
			reason: "TkgServiceConfiguration was there before it", roll: "settled",
			server: supervisor("{"+head(tkcAPI, tkcKind, "")+", status: {phase: running}}", service(once), machine()),
			want: output{
				Kind: tkcKind, APIVersion: tkcAPI, Way: "tkc", Initialized: true, May: all,
				Declared: []declared{{Where: tscWhere, Name: "corp", Path: tscPath, OK: true, Fingerprints: fp, Seen: "yes"}},
			},
		},
		"editor": {
			reason: "who may not read TkgServiceConfiguration gets through with a note", roll: "settled",
			server:    supervisor("{"+head(tkcAPI, tkcKind, "")+", spec: {settings: {network: {trust: {additionalTrustedCAs: [{name: corp, data: "+twice+"}]}}}}, status: {phase: running}}", service(once), machine()),
			forbidden: []string{"tkgserviceconfigurations"}, mayNot: []string{"patch tkgserviceconfigurations"}, warning: "you may not read TkgServiceConfiguration",
			want: output{
				Kind: tkcKind, APIVersion: tkcAPI, Way: "tkc", Initialized: true, May: rights{ClusterTrust: true, DeleteMachines: true, DeleteCluster: true},
				Declared: []declared{{Where: "TanzuKubernetesCluster team-a/dev1", Name: "corp", Path: "spec.settings.network.trust.additionalTrustedCAs[0].data", Fingerprints: fp, Seen: "unknown"}},
			},
		},
		"retired, paused, of Argo CD": {
			reason: "each mark is told, those of the Cluster below it too",
			server: supervisor("{"+head(tkcAPI, tkcKind, ", labels: {kubernetes.vmware.com/retire-tkc: ''}, annotations: {argocd.argoproj.io/tracking-id: 'apps:x/y:team-a/dev1'}")+", status: {phase: creating}}",
				"{"+head("cluster.x-k8s.io/v1beta1", "Cluster", "")+", spec: {paused: true}}"),
			want: output{
				Kind: tkcKind, APIVersion: tkcAPI, Way: "tkc", Retiring: true, Paused: true, May: rights{ClusterTrust: true, DeleteMachines: true, DeleteCluster: true},
				Managed: tkg.Managed{By: "argocd", Source: "Application apps", Text: "Argo CD keeps it as its source says: Application apps (argocd.argoproj.io/tracking-id: apps:x/y:team-a/dev1)"},
			},
			warning: "serves no TkgServiceConfiguration",
		},
		"trust variable": {
			reason: "the Secret has one layer too few, and TkgServiceConfiguration may not reach it", roll: "settled",
			server: supervisor(classed("tanzukubernetescluster", trust, clusterUp), secret("dev1-user-trusted-ca-secret", once), service(once), machine()),
			want: output{
				Kind: "Cluster", APIVersion: "cluster.x-k8s.io/v1beta1", Class: "team-a/tanzukubernetescluster", Way: "trust-variable", Initialized: true, May: all,
				Declared: []declared{
					{Where: tscWhere, Name: "corp", Path: tscPath, OK: true, Fingerprints: fp, Seen: "unknown"},
					{Where: "Secret team-a/dev1-user-trusted-ca-secret", Name: "corp", Path: "data.corp", Fingerprints: fp, Seen: "unknown"},
				},
			},
		},
		"osConfiguration, wedged": {
			reason: "a Secret that is not there, and a control plane that never came up",
			server: supervisor(classed("builtin-generic-v3.3.0", os, "status: {v1beta2: {conditions: [{type: ControlPlaneInitialized, status: 'False'}]}}")),
			mayNot: []string{"create secrets", "delete machines", "create clusters"}, warning: "serves no TkgServiceConfiguration",
			want: output{
				Kind: "Cluster", APIVersion: "cluster.x-k8s.io/v1beta1", Class: "team-a/builtin-generic-v3.3.0", Way: "os-configuration",
				Declared: []declared{{Where: "Secret team-a/mine", Name: "corp", Path: "data.corp", Fingerprints: none, Seen: "no"}},
			},
		},
		"stuck": {
			reason: "a machine that never joined", roll: "stuck", warning: "serves no TkgServiceConfiguration",
			server: supervisor(classed("builtin-generic-v3.3.0", os, clusterUp), secret("mine", twice), machine(), strings.NewReplacer("dev1-a", "dev1-b", "nodeRef", "none").Replace(machine())),
			want: output{
				Kind: "Cluster", APIVersion: "cluster.x-k8s.io/v1beta1", Class: "team-a/builtin-generic-v3.3.0", Way: "os-configuration", Initialized: true,
				May:      rights{ClusterTrust: true, DeleteMachines: true, DeleteCluster: true},
				Declared: []declared{{Where: "Secret team-a/mine", Name: "corp", Path: "data.corp", OK: true, Fingerprints: fp, Seen: "unknown"}},
			},
		},
		"Machines hidden": {
			reason: "said, and the rest is told", server: supervisor(classed("builtin-generic-v3.3.0", "", clusterUp), machine()), forbidden: []string{"machines"}, warning: "may not list Machines",
			want: output{
				Kind: "Cluster", APIVersion: "cluster.x-k8s.io/v1beta1", Class: "team-a/builtin-generic-v3.3.0", Way: "os-configuration", Initialized: true,
				May: rights{ClusterTrust: true, DeleteMachines: true, DeleteCluster: true},
			},
		},
		"no class": {
			reason: "nothing declares trust", warning: "serves no TkgServiceConfiguration", server: supervisor("{" + head("cluster.x-k8s.io/v1beta1", "Cluster", "") + "}"),
			want: output{Kind: "Cluster", APIVersion: "cluster.x-k8s.io/v1beta1", Way: "none", May: rights{ClusterTrust: true, DeleteMachines: true, DeleteCluster: true}},
		},
		"no answer about rights": {
			reason: "the dry-run of the step that acts decides", server: supervisor("{"+head(tkcAPI, tkcKind, "")+"}", service(once)), noReviews: true, warning: "does not say what this login may do",
			want: output{
				Kind: tkcKind, APIVersion: tkcAPI, Way: "tkc", May: all,
				Declared: []declared{{Where: tscWhere, Name: "corp", Path: tscPath, OK: true, Fingerprints: fp, Seen: "yes"}},
			},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.server.Forbidden, c.server.MayNot, c.server.NoReviews = c.forbidden, c.mayNot, c.noReviews
			resp, err := plan(t, c.server, dev1)
			if err != nil {
				t.Fatal(err)
			}
			var got output
			if err := json.Unmarshal(resp.Outputs, &got); err != nil {
				t.Fatal(err)
			}
			for i, d := range got.Declared {
				if d.Why == "" {
					t.Errorf("%s: no reason for %+v", c.reason, d)
				}
				got.Declared[i].Why = ""
			}
			c.want.Cluster = "team-a/dev1"
			if c.want.Roll.State = string(tkg.RollUnknown); c.roll != "" {
				c.want.Roll.State = c.roll
			}
			if got.Roll.Note == "" {
				t.Errorf("%s: the roll has no note", c.reason)
			}
			got.Roll.Note = ""
			if c.want.Declared == nil {
				c.want.Declared = []declared{}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", c.reason, diff)
			}
			if warnings := strings.Join(resp.Warnings, "\n"); !strings.Contains(warnings, c.warning) || c.warning == "" && warnings != "" {
				t.Errorf("%s: warnings %q, want %q", c.reason, warnings, c.warning)
			}
			raw, err := json.Marshal(resp)
			for _, hidden := range []string{once, twice, "c2VjcmV0", "BEGIN CERTIFICATE"} {
				if err != nil || strings.Contains(string(raw), hidden) {
					t.Errorf("%s: a stored value shows (%v): %.300s", c.reason, err, raw)
				}
			}
		})
	}
}

func TestFindNothing(t *testing.T) {
	t.Parallel()
	if _, err := plan(t, supervisor(), dev1); !apierrors.IsNotFound(err) || plugins.HintOf(err) == "" {
		t.Errorf("no cluster: %v, hint %q", err, plugins.HintOf(err))
	}
	if _, err := plan(t, kubetest.Server{Kinds: []string{"v1/Secret"}}, dev1); err == nil || !strings.Contains(err.Error(), "is not a Supervisor") {
		t.Errorf("a workload cluster: %v", err)
	}
	if _, err := plan(t, supervisor("{"+head("run.tanzu.vmware.com/v1alpha3", "TanzuKubernetesCluster", "")+", spec: {settings: {network: {trust: [1]}}}}"), dev1); err == nil || plugins.HintOf(err) == "" {
		t.Errorf("a hostile cluster: %v, hint %q", err, plugins.HintOf(err))
	}
}

// What others wrote is bounded and stays on its line.
func TestHostile(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 5000)
	resp, err := plan(t, supervisor("{"+head("run.tanzu.vmware.com/v1alpha3", "TanzuKubernetesCluster", `, annotations: {argocd.argoproj.io/tracking-id: "a\e[2Jb`+long+`"}`)+
		`, spec: {settings: {network: {trust: {additionalTrustedCAs: [{name: "../../x\e[2J`+long+`", data: "%%%"}]}}}}}`), dev1)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(resp)
	if err != nil || strings.Contains(string(raw), `\u001b`) || len(raw) > 20_000 {
		t.Errorf("%v, %d bytes: %.500s", err, len(raw), raw)
	}
	var out output
	if err := json.Unmarshal(resp.Outputs, &out); err != nil || len(out.Declared) != 1 || out.Declared[0].OK {
		t.Errorf("%v: %s", err, resp.Outputs)
	}
	var many []string
	for i := range 1000 {
		many = append(many, fmt.Sprintf("{name: c%d, data: LS0t}", i))
	}
	resp, err = plan(t, supervisor("{"+head("run.tanzu.vmware.com/v1alpha3", "TanzuKubernetesCluster", "")+", spec: {settings: {network: {trust: {additionalTrustedCAs: ["+strings.Join(many, ", ")+"]}}}}}"), dev1)
	if err != nil || len(resp.Evidence) > maxEvidence+5 {
		t.Errorf("%v: %d pieces of evidence", err, len(resp.Evidence))
	}
}

// FuzzJudge gives a declared CA any value, name and place.
func FuzzJudge(f *testing.F) {
	ca := registrytest.NewRoot(f, "Corp Root CA")
	f.Add(tkg.Encode(ca.PEM(), 1), "corp", 1)
	f.Add(tkg.Encode(ca.PEM(), 2), "../\x1b[2J", 0)
	f.Add("%%%", "", 2)
	f.Fuzz(func(t *testing.T, data, name string, layers int) {
		d := judge(tkg.Declared{Where: name, Name: name, Path: name, Data: data, Layers: layers % 3})
		if d.OK && len(d.Fingerprints) == 0 {
			t.Errorf("right, and nothing in it: %+v", d)
		}
		if strings.ContainsAny(d.Name+d.Where+d.Path, "\x1b\n") {
			t.Errorf("a text that speaks to the terminal: %+v", d)
		}
	})
}
