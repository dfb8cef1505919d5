package clustertrust

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/tkgfix/tkgfix/internal/certs"
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

// makeCA returns a new self-signed CA of that name and year; each call makes another key.
func makeCA(t *testing.T, name string, year int) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(year)), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Date(year, 3, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(year+20, 3, 1, 0, 0, 0, 0, time.UTC),
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

func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	obj := &unstructured.Unstructured{}
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err == nil {
		err = obj.UnmarshalJSON(raw)
	}
	if err != nil {
		t.Fatal(err)
	}
	return obj
}

const (
	tkcHead     = "apiVersion: run.tanzu.vmware.com/v1alpha3\nkind: TanzuKubernetesCluster\nmetadata: {name: dev1, namespace: team-a, uid: u-1}\nspec:\n  topology: {controlPlane: {replicas: 3}, nodePools: [{name: np1, replicas: 2}]}\n"
	clusterHead = "apiVersion: cluster.x-k8s.io/v1beta2\nkind: Cluster\nmetadata: {name: dev1, namespace: team-a, uid: u-1}\nspec:\n  topology:\n    controlPlane: {replicas: 1}\n    workers: {machineDeployments: [{name: np1, replicas: 2}]}\n"
)

// worldOf reads a world as the step does, from objects: the owner, the Secrets by name, and the other Clusters.
func worldOf(t *testing.T, owner string, way tkg.Way, secrets map[string]string, others ...string) world {
	t.Helper()
	obj := object(t, owner)
	w := world{owner: tkg.Owner{Kind: obj.GetKind(), APIVersion: obj.GetAPIVersion(), UID: obj.GetUID(), Object: obj, Way: way}, secrets: map[string]*unstructured.Unstructured{}}
	if way != tkg.WayTKC {
		w.cluster = obj
	}
	for name, text := range secrets {
		w.secrets[name] = object(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: "+name+", namespace: team-a, uid: s-"+name+"}\n"+text)
	}
	for _, o := range others {
		w.others = append(w.others, object(t, o))
	}
	var err error
	w.entries, err = tkg.OwnTrust(obj, way, func(secret, key string) (string, bool) { return tkg.SecretKey(w.secrets[secret], key) })
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func trustVariable(keys ...string) string {
	var list []string
	for _, k := range keys {
		list = append(list, "{name: "+k+"}")
	}
	return clusterHead + "    variables: [{name: vmClass, value: small}, {name: trust, value: {additionalTrustedCAs: [" + strings.Join(list, ", ") + "]}}]\n"
}

func osVariable(entries ...string) string {
	return clusterHead + "    variables: [{name: osConfiguration, value: {ntp: {servers: [t1]}, trust: {additionalTrustedCAs: [" + strings.Join(entries, ", ") + "]}}}]\n"
}

func ref(secret, key string) string {
	return "{caCert: {secretRef: {name: " + secret + ", key: " + key + "}}}"
}

func TestDecide(t *testing.T) {
	t.Parallel()
	root, oldRoot, corp := makeCA(t, "Lab Root CA", 2024), makeCA(t, "Lab Root CA", 2019), makeCA(t, "Corp", 2020)
	one := func(c *x509.Certificate, layers int) string {
		return tkg.Encode(certs.Normalize([]*x509.Certificate{c}), layers)
	}
	const own = "dev1-user-trusted-ca-secret"
	data := func(pairs ...string) string {
		out := "data: {"
		for i := 0; i < len(pairs); i += 2 {
			out += pairs[i] + ": " + pairs[i+1] + ", "
		}
		return strings.TrimSuffix(out, ", ") + "}"
	}
	type answer struct {
		Act    string
		Index  int
		Name   string
		Secret string
		Write  bool
		Retire string
		Kept   string
	}
	for name, tc := range map[string]struct {
		reason string
		world  world
		name   string
		again  bool
		want   answer
		err    string
	}{
		"tkc, first": {
			reason: "one entry, no Secret", world: worldOf(t, tkcHead, tkg.WayTKC, nil), want: answer{Act: "add", Name: "lab-root-ca-2024"},
		},
		"tkc, encoded twice": {
			reason: "mended in its place, under its name",
			world:  worldOf(t, tkcHead+"  settings: {network: {trust: {additionalTrustedCAs: [{name: a, data: "+one(corp, 1)+"}, {name: b, data: "+one(root, 2)+"}]}}}", tkg.WayTKC, nil),
			want:   answer{Act: "replace", Index: 1, Name: "b"},
		},
		"tkc, declared and not there": {
			reason: "another name is what has the nodes replaced", again: true,
			world: worldOf(t, tkcHead+"  settings: {network: {trust: {additionalTrustedCAs: [{name: b, data: "+one(root, 1)+"}]}}}", tkg.WayTKC, nil),
			want:  answer{Act: "replace", Name: "lab-root-ca-2024"},
		},
		"trust, no Secret": {
			reason: "the Secret of the fixed name is made", world: worldOf(t, clusterHead, tkg.WayTrust, nil), want: answer{Act: "add", Name: "lab-root-ca-2024", Secret: own, Write: true},
		},
		"trust, encoded once": {
			reason: "the same CA under a new key, and the old one goes",
			world:  worldOf(t, trustVariable("corp", "root"), tkg.WayTrust, map[string]string{own: data("corp", one(corp, 2), "root", one(root, 1))}),
			want:   answer{Act: "replace", Index: 1, Name: "lab-root-ca-2024", Secret: own, Write: true, Retire: own + "/root"},
		},
		"trust, held": {
			reason: "nothing is to be done", world: worldOf(t, trustVariable("root"), tkg.WayTrust, map[string]string{own: data("root", one(root, 2))}),
			want: answer{Act: "keep", Name: "root", Secret: own},
		},
		"trust, left over": {
			reason: "a run before this one wrote the key and no more: it is not written again",
			world:  worldOf(t, trustVariable("root"), tkg.WayTrust, map[string]string{own: data("root", one(oldRoot, 2), "lab-root-ca-2024", one(root, 2))}),
			want:   answer{Act: "replace", Name: "lab-root-ca-2024", Secret: own, Retire: own + "/root"},
		},
		"trust, key taken": {
			reason: "a key with another content is not touched",
			world:  worldOf(t, trustVariable(), tkg.WayTrust, map[string]string{own: data("lab-root-ca-2024", one(corp, 2))}),
			want:   answer{Act: "add", Name: "lab-root-ca-2024-2", Secret: own, Write: true},
		},
		"trust, wanted name taken": {
			reason: "bytes alone replace no node", name: "corp", err: "has a key corp already",
			world: worldOf(t, trustVariable(), tkg.WayTrust, map[string]string{own: data("corp", one(corp, 2))}),
		},
		"trust, key not there": {
			reason: "a name without a key wedges new nodes; nothing is lost with it", world: worldOf(t, trustVariable("gone"), tkg.WayTrust, nil),
			want: answer{Act: "replace", Name: "lab-root-ca-2024", Secret: own, Write: true},
		},
		"os, another Secret": {
			reason: "the new key goes where the old one was", world: worldOf(t, osVariable(ref("registry", "root")), tkg.WayOSConfiguration, map[string]string{"registry": data("root", one(oldRoot, 2))}),
			want: answer{Act: "replace", Name: "lab-root-ca-2024", Secret: "registry", Write: true, Retire: "registry/root"},
		},
		"os, shared by two clusters": {
			reason: "nothing of the other's changes: the old key stays",
			world: worldOf(t, osVariable(ref("registry", "root")), tkg.WayOSConfiguration, map[string]string{"registry": data("root", one(oldRoot, 2))},
				strings.Replace(osVariable(ref("registry", "root")), "name: dev1", "name: dev2", 1)),
			want: answer{Act: "replace", Name: "lab-root-ca-2024", Secret: "registry", Write: true, Kept: "key root of Secret registry stays: cluster team-a/dev2 names it too"},
		},
		"os, shared by other keys": {
			reason: "another key of the same Secret is no reason to keep this one",
			world: worldOf(t, osVariable(ref("registry", "root")), tkg.WayOSConfiguration, map[string]string{"registry": data("root", one(oldRoot, 2), "x", one(corp, 2))},
				strings.Replace(osVariable(ref("registry", "x")), "name: dev1", "name: dev2", 1)),
			want: answer{Act: "replace", Name: "lab-root-ca-2024", Secret: "registry", Write: true, Retire: "registry/root"},
		},
		"os, named twice": {
			reason: "another entry of this cluster names the key", world: worldOf(t, osVariable(ref("registry", "root"), ref("registry", "root")), tkg.WayOSConfiguration, map[string]string{"registry": data("root", one(oldRoot, 2))}),
			want: answer{Act: "replace", Name: "lab-root-ca-2024", Secret: "registry", Write: true, Kept: "key root of Secret registry stays: entry 1 of this cluster names it too"},
		},
		"os, immutable": {
			reason: "no key can be added there", world: worldOf(t, osVariable(ref("registry", "root")), tkg.WayOSConfiguration, map[string]string{"registry": "immutable: true\n" + data("root", one(oldRoot, 2))}),
			want: answer{Act: "replace", Name: "lab-root-ca-2024", Secret: own, Write: true, Retire: "registry/root"},
		},
		"os, another cluster's": {
			reason: "a Secret that goes with another cluster gets no key of this one",
			world:  worldOf(t, osVariable(ref("registry", "root")), tkg.WayOSConfiguration, map[string]string{"registry": "metadata: {name: registry, namespace: team-a, uid: s-registry, ownerReferences: [{kind: Cluster, name: dev2, apiVersion: x, uid: y}]}\n" + data("root", one(oldRoot, 2))}),
			want:   answer{Act: "replace", Name: "lab-root-ca-2024", Secret: own, Write: true, Retire: "registry/root"},
		},
		"os, inline": {
			reason: "what stands in the Cluster becomes a key of its own Secret", world: worldOf(t, osVariable("{caCert: {content: "+strings.TrimSpace(string(mustQuote(certs.Normalize([]*x509.Certificate{oldRoot}))))+"}}"), tkg.WayOSConfiguration, nil),
			want: answer{Act: "replace", Name: "lab-root-ca-2024", Secret: own, Write: true},
		},
		"private key": {
			reason: "a plan must not carry it", err: "holds a private key",
			world: worldOf(t, osVariable("{caCert: {content: "+string(mustQuote([]byte("-----BEGIN EC PRIVATE KEY-----\nQUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo=\n-----END EC PRIVATE KEY-----\n")))+"}}"), tkg.WayOSConfiguration, nil),
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, err := tc.world.decide([]*x509.Certificate{root}, tc.name, tc.again)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) || plugins.HintOf(err) == "" {
					t.Errorf("%s: want %q with a hint, got %v", tc.reason, tc.err, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := answer{d.choice.Act.String(), d.choice.Index, d.choice.Name, d.secret, d.write, "", d.kept}
			if d.retire != nil {
				got.Retire = d.retire.secret + "/" + d.retire.name
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", tc.reason, diff)
			}
		})
	}
	unknown := worldOf(t, trustVariable("root"), tkg.WayTrust, map[string]string{own: data("root", one(oldRoot, 2))})
	unknown.othersErr = errors.New("forbidden")
	if d, err := unknown.decide([]*x509.Certificate{root}, "", false); err != nil || d.retire != nil || !strings.Contains(d.kept, "is not known (forbidden)") {
		t.Errorf("who may not see the other clusters keeps the key: %+v, %v", d, err)
	}
}

func mustQuote(b []byte) []byte { raw, _ := json.Marshal(string(b)); return raw }

func TestOverrideBlocks(t *testing.T) {
	t.Parallel()
	pool := strings.Replace(osVariable(), "{name: np1, replicas: 2}", "{name: np1, replicas: 2, variables: {overrides: [{name: osConfiguration, value: {ntp: {}}}]}}", 1)
	for text, want := range map[string]int{osVariable(): 0, pool: 1} {
		w := worldOf(t, text, tkg.WayOSConfiguration, nil)
		if got := w.overrideBlocks(); len(got) != want {
			t.Errorf("want %d blocks, got %+v", want, got)
		}
	}
}

func TestObservations(t *testing.T) {
	t.Parallel()
	secret := func(data string) *unstructured.Unstructured {
		return object(t, "kind: Secret\nmetadata: {name: s, namespace: team-a, uid: u}\ndata: {"+data+"}")
	}
	s := secretChange{key: "new", value: "WA==", change: plugins.PlannedChange{Target: plugins.Target{Kind: "Secret", Namespace: "team-a", Name: "s"}}}
	old := secretChange{key: "old", value: hashText("QQ=="), change: s.change}
	for name, tc := range map[string]struct {
		got  sdk.Observation
		want sdk.State
	}{
		"not written":     {writtenSeen(secret("a: QQ=="), s), sdk.No},
		"no Secret":       {writtenSeen(nil, s), sdk.No},
		"written":         {writtenSeen(secret("new: WA=="), s), sdk.Yes},
		"another's":       {writtenSeen(secret("new: QQ=="), s), sdk.Unknowable},
		"not retired":     {retiredSeen(secret("old: QQ=="), old), sdk.No},
		"retired":         {retiredSeen(secret("new: WA=="), old), sdk.Yes},
		"Secret gone":     {retiredSeen(nil, old), sdk.Yes},
		"written by them": {retiredSeen(secret("old: Qg=="), old), sdk.Unknowable},
	} {
		if tc.got.State != tc.want || tc.got.Note == "" {
			t.Errorf("%s: want %s and a note, got %+v", name, tc.want, tc.got)
		}
	}
	part := func(keys ...string) tkg.Part {
		p, err := tkg.TrustPart(object(t, trustVariable(keys...)), tkg.WayTrust)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	a := approved{before: part("a"), after: part("a", "b"), owner: plugins.PlannedChange{Target: plugins.Target{Kind: "Cluster"}}, ref: tkg.Ref{Namespace: "team-a", Name: "dev1"}}
	for want, now := range map[sdk.State]tkg.Part{sdk.No: part("a"), sdk.Yes: part("a", "b"), sdk.Unknowable: part("c")} {
		if got := a.listSeen(now); got.State != want || got.Note == "" {
			t.Errorf("want %s and a note, got %+v", want, got)
		}
	}
}

// TestStored is a server that takes a patch and does not keep it (tkg-facts.md §1.2).
func TestStored(t *testing.T) {
	t.Parallel()
	part, err := tkg.TrustPart(object(t, tkcHead), tkg.WayTKC)
	if err != nil {
		t.Fatal(err)
	}
	after, err := part.With(tkg.Declaration{Way: tkg.WayTKC, Name: "a", Data: "QQ=="})
	if err != nil {
		t.Fatal(err)
	}
	a := actor{approved: approved{way: tkg.WayTKC, before: part, after: after}}
	for text, want := range map[string]error{
		tkcHead: errPruned,
		tkcHead + "  settings: {network: {trust: {additionalTrustedCAs: [{name: a, data: QQ==}]}}}": nil,
		tkcHead + "  settings: {network: {trust: {additionalTrustedCAs: [{name: b, data: QQ==}]}}}": errStoredOther,
	} {
		err := a.stored(object(t, text))
		if !errors.Is(err, want) {
			t.Errorf("want %v, got %v", want, err)
		}
		if err == nil {
			continue
		}
		if b, ok := refusal(plugins.Target{Kind: "x"}, err); !ok || b.Reason == "" || b.Hint == "" {
			t.Errorf("%v is no block: %+v", err, b)
		}
	}
	if _, ok := refusal(plugins.Target{}, errors.New("connection refused")); ok {
		t.Error("what may pass is a block")
	}
}

func TestUnsettled(t *testing.T) {
	t.Parallel()
	since := time.Date(2026, 10, 1, 10, 0, 0, 0, time.UTC)
	sight := func(created time.Duration, ok bool) remedy.Sight {
		return remedy.Sight{Node: tkg.Node{Name: "n", Created: since.Add(created)}, Joined: true, Report: probe.Report{Accepted: ok}}
	}
	r := run{actor: actor{approved: approved{ref: tkg.Ref{Namespace: "team-a", Name: "dev1"}}}, registry: "reg.lab"}
	for name, tc := range map[string]struct {
		reason      string
		sights      []remedy.Sight
		wait, right bool
	}{
		"right":   {"all trust", []remedy.Sight{sight(time.Minute, true)}, false, true},
		"old":     {"it is older than the change: the roll has not come to it", []remedy.Sight{sight(-time.Minute, false)}, true, false},
		"new":     {"it is new and lacks the CA: waiting would not help", []remedy.Sight{sight(time.Minute, false)}, false, false},
		"silent":  {"a node that is up a moment ago", []remedy.Sight{{Joined: true, Err: errors.New("refused")}}, true, false},
		"nobody":  {"no worker proves nothing", nil, false, false},
		"in part": {"one that fails is enough", []remedy.Sight{sight(time.Minute, true), sight(time.Minute, false)}, false, false},
	} {
		if got := unsettled(tc.sights, since) != ""; got != tc.wait {
			t.Errorf("%s, %s: wait %v", name, tc.reason, got)
		}
		err := r.proved(tc.sights)
		if (err == nil) != tc.right || err != nil && plugins.HintOf(err) == "" {
			t.Errorf("%s, %s: %v", name, tc.reason, err)
		}
	}
}
