package rollnodes

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/internal/probe"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/internal/remedy"
	"github.com/tkgfix/tkgfix/plugins/plugintest"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	plugintest.Conformance(t, New(sdk.Env{}), plugintest.Cases{})
}

var changedAt = time.Date(2026, 10, 1, 10, 0, 0, 0, time.UTC)

// worker is a worker that was made so long after the change, and what it says of the registry.
func worker(name, pool string, created time.Duration, verdict string) remedy.Sight {
	return remedy.Sight{
		Node: tkg.Node{Name: name, Pool: pool, MachineUID: types.UID("u-" + name), Created: changedAt.Add(created)}, Joined: true,
		Report: probe.Report{Accepted: verdict == "trusted", Verdict: probe.VerdictOf(verdict), GoError: "unknown authority"},
	}
}

func TestStale(t *testing.T) {
	t.Parallel()
	silent := worker("e", "np1", 0, "untrusted-root")
	silent.Err = errors.New("no route")
	apart := worker("f", "np1", 0, "untrusted-root")
	apart.Joined = false
	f := found{sights: []remedy.Sight{
		worker("d", "np2", 0, "untrusted-root"), worker("b", "np1", 0, "untrusted-root"), worker("a", "np1", 0, "trusted"), worker("c", "np1", 0, "runtime-older"), silent, apart,
	}}
	// Pool by pool; not those that trust, that a restart is enough for, of which nothing is known, and that have not come up.
	if diff := cmp.Diff("b, d", remedy.Names(f.stale())); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
}

func makeCA(t *testing.T) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Corp"}, IsCA: true, BasicConstraintsValid: true, NotBefore: changedAt, NotAfter: changedAt.AddDate(9, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDeclaredBlocks(t *testing.T) {
	t.Parallel()
	ca, other := makeCA(t), makeCA(t)
	declared := func(c *x509.Certificate, layers int, more func(*tkg.Declared)) tkg.Declared {
		d := tkg.Declared{Where: "Secret team-a/s", Name: "corp", Layers: 2, Data: tkg.Encode(certs.Normalize([]*x509.Certificate{c}), layers), Change: tkg.Change{After: changedAt, Until: changedAt}}
		if more != nil {
			more(&d)
		}
		return d
	}
	older, same, newer := worker("a", "np1", -time.Hour, "untrusted-root"), worker("b", "np1", 0, "untrusted-root"), worker("c", "np1", time.Hour, "untrusted-root")
	for name, tc := range map[string]struct {
		reason   string
		declared []tkg.Declared
		stale    []remedy.Sight
		want     string
	}{
		"older":        {"it is to be rolled", []tkg.Declared{declared(ca, 2, nil)}, []remedy.Sight{older}, ""},
		"same second":  {"times are whole seconds", []tkg.Declared{declared(ca, 2, nil)}, []remedy.Sight{same}, ""},
		"newer":        {"another new one would lack it too", []tkg.Declared{declared(ca, 2, nil)}, []remedy.Sight{older, newer}, "node c was made after Secret team-a/s was changed"},
		"time unknown": {"the first node will tell", []tkg.Declared{declared(ca, 2, func(d *tkg.Declared) { d.Change = tkg.Change{} })}, []remedy.Sight{newer}, ""},
		"two places":   {"the later one is what the node lacks", []tkg.Declared{declared(ca, 2, nil), declared(ca, 2, func(d *tkg.Declared) { d.Change.Until = changedAt.Add(2 * time.Hour) })}, []remedy.Sight{newer}, ""},
		"nothing":      {"a new node would be as the old", nil, []remedy.Sight{older}, "nothing that is declared"},
		"another CA":   {"a new node would be as the old", []tkg.Declared{declared(other, 2, nil)}, []remedy.Sight{older}, "nothing that is declared"},
		"wrong layers": {"a new node could not read it", []tkg.Declared{declared(ca, 1, nil)}, []remedy.Sight{older}, "nothing that is declared"},
		"no key":       {"it is named and not there", []tkg.Declared{declared(ca, 2, func(d *tkg.Declared) { d.Absent = tkg.AbsentKey })}, []remedy.Sight{older}, "nothing that is declared"},
		"not for it":   {"sources differ on whether it reaches the cluster", []tkg.Declared{declared(ca, 2, func(d *tkg.Declared) { d.Conflicting = true })}, []remedy.Sight{older}, "nothing that is declared"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := found{declared: tc.declared}
			blocks := f.declaredBlocks(request{remedy.Request{Candidate: []*x509.Certificate{ca}}}, tc.stale)
			got := ""
			for _, b := range blocks {
				got += b.Reason
				if b.Hint == "" {
					t.Errorf("%s: no hint", tc.reason)
				}
			}
			if (got == "") != (tc.want == "") || !strings.HasPrefix(got, tc.want) {
				t.Errorf("%s: want %q, got %q", tc.reason, tc.want, got)
			}
		})
	}
}

func machine(uid string, deleting bool) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{}}
	u.SetAPIVersion("cluster.x-k8s.io/v1beta2")
	u.SetKind(machineKind)
	u.SetName("m")
	u.SetNamespace("team-a")
	u.SetUID(types.UID(uid))
	if deleting {
		now := metav1.NewTime(changedAt)
		u.SetDeletionTimestamp(&now)
		u.Object["status"] = map[string]any{"conditions": []any{map[string]any{"type": "Deleting", "status": "True", "reason": "DrainingNode"}}}
	}
	return u
}

func TestGoneSeen(t *testing.T) {
	t.Parallel()
	target := plugins.Target{Kind: machineKind, Namespace: "team-a", Name: "m", UID: "u-1"}
	for name, tc := range map[string]struct {
		live *unstructured.Unstructured
		want sdk.Observation
	}{
		"gone":     {nil, sdk.Observation{State: sdk.Yes, Note: "Machine team-a/m is gone"}},
		"another":  {machine("u-2", false), sdk.Observation{State: sdk.Yes, Note: "Machine team-a/m is gone, and another has its name, with UID u-2"}},
		"draining": {machine("u-1", true), sdk.Observation{State: sdk.Underway, Note: "waiting for Machine team-a/m to go: DrainingNode"}},
		"there":    {machine("u-1", false), sdk.Observation{State: sdk.No, Note: "Machine team-a/m is there"}},
	} {
		if diff := cmp.Diff(tc.want, goneSeen(tc.live, target)); diff != "" {
			t.Errorf("%s (-want, +got):\n%s", name, diff)
		}
	}
}

func changeOf(t *testing.T, s remedy.Sight) plugins.PlannedChange {
	t.Helper()
	r := kube.Resource{GVK: machine("", false).GroupVersionKind()}
	return found{}.change(r, machine(string(s.Node.MachineUID), false), s)
}

func TestCheck(t *testing.T) {
	t.Parallel()
	ref := tkg.Ref{Namespace: "team-a", Name: "dev1"}
	good := changeOf(t, worker("a", "np1", 0, "untrusted-root"))
	if err := check([]plugins.PlannedChange{good}, ref); err != nil {
		t.Errorf("what is planned is refused: %v", err)
	}
	if got := nodeOf(good); got != "a" {
		t.Errorf("the node is %q", got)
	}
	for name, change := range map[string]func(*plugins.PlannedChange){
		"update":            func(c *plugins.PlannedChange) { c.Action = plugins.Update },
		"another kind":      func(c *plugins.PlannedChange) { c.Target.Kind = "Cluster" },
		"another group":     func(c *plugins.PlannedChange) { c.Target.Group = "" },
		"another namespace": func(c *plugins.PlannedChange) { c.Target.Namespace = "team-b" },
		"no UID":            func(c *plugins.PlannedChange) { c.Target.UID = "" },
		"in the cluster":    func(c *plugins.PlannedChange) { c.Target.Cluster = "team-a/dev1" },
	} {
		bad := good
		change(&bad)
		if err := check([]plugins.PlannedChange{good, bad}, ref); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if err := check(nil, ref); err == nil {
		t.Error("nothing is taken")
	}
}

func TestOrphan(t *testing.T) {
	t.Parallel()
	m := machine("u-1", false)
	if len(orphan(m)) != 1 {
		t.Error("a machine that nobody makes anew is taken")
	}
	yes := true
	m.SetOwnerReferences([]metav1.OwnerReference{{Kind: "MachineSet", Name: "s", Controller: &yes}})
	if len(orphan(m)) != 0 {
		t.Error("a machine of a pool is refused")
	}
}

// TestFirstDecides holds that the first new node that lacks the CA ends it, with the rest as they are.
func TestFirstDecides(t *testing.T) {
	t.Parallel()
	a, b := worker("a", "np1", 0, "untrusted-root"), worker("b", "np1", 0, "untrusted-root")
	r := run{ref: tkg.Ref{Namespace: "team-a", Name: "dev1"}, registry: "reg.lab", changes: []plugins.PlannedChange{changeOf(t, a), changeOf(t, b)}}
	if r.pending(a, 0) || !r.pending(b, 0) || r.pending(b, 1) {
		t.Error("after the first the second is still to come, and nothing after it")
	}
	if err := r.proved([]remedy.Sight{worker("new", "np1", time.Hour, "trusted")}, 0); err != nil {
		t.Errorf("a right new node: %v", err)
	}
	err := r.proved([]remedy.Sight{worker("new", "np1", time.Hour, "untrusted-root")}, 0)
	if err == nil || !strings.HasPrefix(err.Error(), "a new node does not get what is declared: new") ||
		plugins.HintOf(err) != "1 machines were left as they are; let the step patch-cluster-trust declare the CA anew" {
		t.Errorf("a wrong new node: %v, hint %q", err, plugins.HintOf(err))
	}
	if err := r.proved(nil, 0); err == nil {
		t.Error("no node proves nothing")
	}
}
