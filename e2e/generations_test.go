package e2e

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
)

// generation is what a test has to know of a generation of TKG.
type generation struct {
	name, reason string
	// run and capi are the versions that its Supervisor prefers.
	run, capi string
	// class is where a Cluster names its class; empty for TanzuKubernetesClusters.
	class []string
	// variable is the one that declares trust, and foreign one that the class does not have.
	variable, foreign string
}

func generations() []generation {
	return []generation{
		{"v1alpha1", "vSphere 7.0 U2", "v1alpha1", "v1beta1", nil, "", ""},
		{"v1alpha2", "vSphere 7.0 U3", "v1alpha2", "v1beta1", nil, "", ""},
		{"v1alpha3", "vSphere 8", "v1alpha3", "v1beta2", nil, "", ""},
		{"tanzukubernetescluster", "vSphere 8 with Clusters", "v1alpha3", "v1beta1", []string{"class"}, "trust", "osConfiguration"},
		{"builtin-generic-v1beta1", "VKS 3.3", "v1alpha3", "v1beta1", []string{"class"}, "osConfiguration", "trust"},
		{"builtin-generic-v1beta2", "VKS 3.6", "v1alpha3", "v1beta2", []string{"classRef", "name"}, "osConfiguration", "trust"},
	}
}

// supervisor is a laboratory of a generation.
type supervisor struct {
	*laboratory
	generation
}

// TestGenerations lets a laboratory of each generation do what that generation is there for: trust that is declared wrongly, an edit
// that rolls the nodes, and a Machine that is deleted. Nothing of tkgfix has a part in it.
func TestGenerations(t *testing.T) {
	t.Parallel()
	two := make(chan struct{}, 2) // laboratories at a time
	for _, g := range generations() {
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			two <- struct{}{}
			t.Cleanup(func() { <-two })
			s := supervisor{upOf(t, g.name, "own-encoding"), g}
			s.testServed(t)
			s.testWrongEncoding(t)
			s.testVariables(t)
			s.testRoll(t)
			s.testDeletedMachine(t)
			s.plant(t, "stale-node")
			s.testFreshMachine(t)
			s.testRecreate(t)
			s.testRetire(t)
		})
	}
}

// upOf starts a laboratory of a generation that ends with the test.
func upOf(t *testing.T, generation, scenario string) *laboratory {
	t.Helper()
	return upWith(t, "imitated", scenario, "--generation", generation)
}

func (s supervisor) kind(group, name string) schema.GroupVersionResource {
	version := s.capi
	if group == "run.tanzu.vmware.com" {
		version = s.run
	}
	return schema.GroupVersionResource{Group: group, Version: version, Resource: name}
}

func (s supervisor) machines() schema.GroupVersionResource {
	return s.kind("cluster.x-k8s.io", "machines")
}

func (s supervisor) clusters() schema.GroupVersionResource {
	return s.kind("cluster.x-k8s.io", "clusters")
}

func (s supervisor) owners() schema.GroupVersionResource {
	if s.class == nil {
		return s.kind("run.tanzu.vmware.com", "tanzukubernetesclusters")
	}
	return s.clusters()
}

// as returns a client of one of the users.
func (s supervisor) as(t *testing.T, user string) dynamic.Interface {
	t.Helper()
	raw, err := os.ReadFile(s.kubeconfig(user))
	if err != nil {
		t.Fatal(err)
	}
	return clientOf(t, raw)
}

// testServed expects dev1 in the version that the Supervisor prefers, of the class that the generation has, and nothing newer.
func (s supervisor) testServed(t *testing.T) {
	t.Helper()
	owner := s.get(t, s.owners(), "team-a", "dev1")
	if s.class != nil {
		class, _, err := unstructured.NestedString(owner.Object, append([]string{"spec", "topology"}, s.class...)...)
		if err != nil || class == "" {
			t.Errorf("dev1 has no class: %v", err)
		}
		if host, _, _ := unstructured.NestedString(owner.Object, "spec", "controlPlaneEndpoint", "host"); host == "" {
			t.Error("nobody has written where dev1's API answers")
		}
	}
	for _, r := range []schema.GroupVersionResource{s.owners(), s.machines()} {
		newer := r
		newer.Version = map[string]string{"v1alpha1": "v1alpha2", "v1alpha2": "v1alpha3", "v1alpha3": "v1alpha4", "v1beta1": "v1beta2", "v1beta2": "v1"}[r.Version]
		if _, err := s.client(t).Resource(newer).Namespace("team-a").List(t.Context(), metav1.ListOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("%s is served: %v", newer, err)
		}
	}
}

// testWrongEncoding expects, of a TanzuKubernetesCluster, that all nodes have come and trust nothing; of a Cluster, that the roll to the
// wrong Secret hangs at its first machine, which answers and never joins.
func (s supervisor) testWrongEncoding(t *testing.T) {
	t.Helper()
	if s.class == nil {
		for _, m := range s.listMachines(t) {
			if phaseOf(m) != "Running" {
				t.Errorf("Machine %s is %s", m.GetName(), phaseOf(m))
			}
		}
		return
	}
	var hanging []unstructured.Unstructured
	s.eventually(t, "the roll hangs", func() bool {
		hanging = slices.DeleteFunc(s.listMachines(t), func(m unstructured.Unstructured) bool { return phaseOf(m) == "Running" })
		rolling, _ := s.condition(s.get(t, s.clusters(), "team-a", "dev1"), "RollingOut")
		return len(hanging) == 1 && phaseOf(hanging[0]) == "Provisioned" && rolling == "True"
	})
	addresses, _, _ := unstructured.NestedSlice(hanging[0].Object, "status", "addresses")
	if len(addresses) == 0 {
		t.Fatalf("the machine that hangs has no address: %v", hanging[0].Object["status"])
	}
	address, _ := addresses[0].(map[string]any)["address"].(string)
	conn, err := net.DialTimeout("tcp", net.JoinHostPort(address, s.ssh), 5*time.Second)
	if err != nil {
		t.Errorf("the machine that hangs does not answer: %v", err)
	} else {
		_ = conn.Close()
	}
	if diff := cmp.Diff(3, len(s.listMachines(t))-1); diff != "" {
		t.Errorf("machines besides the one that hangs (-want, +got):\n%s", diff)
	}
}

// testVariables expects a variable that the class does not have to be refused.
func (s supervisor) testVariables(t *testing.T) {
	t.Helper()
	if s.class == nil {
		return
	}
	patch := fmt.Appendf(nil, `[{"op":"add","path":"/spec/topology/variables/-","value":{"name":%q,"value":{}}}]`, s.foreign)
	_, err := s.as(t, "editor").Resource(s.clusters()).Namespace("team-a").Patch(t.Context(), "dev1", types.JSONPatchType, patch, metav1.PatchOptions{})
	if err == nil || !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "variable is not defined") {
		t.Errorf("the variable %s: %v", s.foreign, err)
	}
}

// testRoll declares the registry's root as an editor of the namespace does, in the place of the wrong one and under another name, sees
// the nodes being replaced one at a time, and expects the pods to pull in the end.
func (s supervisor) testRoll(t *testing.T) {
	t.Helper()
	before := s.names(t)
	s.declare(t, "rolled-root")
	most, told := 0, false
	s.eventually(t, "the roll ends and the pods pull", func() bool {
		now := s.names(t)
		most = max(most, len(now))
		if status, _ := s.condition(s.get(t, s.clusters(), "team-a", "dev1"), "RollingOut"); status == "True" {
			told = true
		}
		left := slices.ContainsFunc(now, func(name string) bool { return slices.Contains(before, name) })
		return !left && len(now) == 3 && s.settled(t) && s.phases(t, "dev1")["Running"] == 6
	})
	if diff := cmp.Diff(4, most); diff != "" {
		t.Errorf("machines at a time (-want, +got):\n%s", diff)
	}
	if told != (s.name != "v1alpha1") { // whose Cluster has no such condition
		t.Errorf("the Cluster has told of the roll: %v", told)
	}
}

// settled says whether the owner says that all is well.
func (s supervisor) settled(t *testing.T) bool {
	t.Helper()
	owner := s.get(t, s.owners(), "team-a", "dev1")
	switch {
	case s.name == "v1alpha1":
		return phaseOf(*owner) == "running"
	case s.class == nil:
		status, _ := s.condition(owner, "Ready")
		return status == "True"
	}
	observed, _, _ := unstructured.NestedInt64(owner.Object, "status", "observedGeneration")
	rolling, _ := s.condition(owner, "RollingOut")
	fresh, _ := s.condition(owner, "WorkerMachinesUpToDate")
	return phaseOf(*owner) == "Provisioned" && rolling == "False" && fresh == "True" && observed == owner.GetGeneration()
}

// declare adds the registry's root to dev1's own trust under a name, as the generation wants it.
func (s supervisor) declare(t *testing.T, name string) {
	t.Helper()
	owners := s.as(t, "editor").Resource(s.owners()).Namespace("team-a")
	live, err := owners.Get(t.Context(), "dev1", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if s.class == nil {
		entries := []any{map[string]any{"name": name, "data": s.root(t)}}
		if err := unstructured.SetNestedSlice(live.Object, entries, "spec", "settings", "network", "trust", "additionalTrustedCAs"); err != nil {
			t.Fatal(err)
		}
	} else {
		s.putRoot(t, name)
		s.setVariable(t, live, name)
	}
	if _, err := owners.Update(t.Context(), live, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// root returns the registry's root as base64.
func (s supervisor) root(t *testing.T) string {
	t.Helper()
	root, err := os.ReadFile(s.ca("root"))
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(root)
}

// putRoot writes the registry's root under a key of dev1's Secret, as base64 of base64 once the API has stored it.
func (s supervisor) putRoot(t *testing.T, key string) {
	t.Helper()
	objects := s.as(t, "editor").Resource(secrets).Namespace("team-a")
	patch := fmt.Appendf(nil, `{"stringData":{%q:%q}}`, key, s.root(t))
	_, err := objects.Patch(t.Context(), "dev1-user-trusted-ca-secret", types.MergePatchType, patch, metav1.PatchOptions{})
	if apierrors.IsNotFound(err) {
		_, err = objects.Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "dev1-user-trusted-ca-secret"}, "stringData": map[string]any{key: s.root(t)},
		}}, metav1.CreateOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// setVariable lets a Cluster's variable name a key of its Secret.
func (s supervisor) setVariable(t *testing.T, live *unstructured.Unstructured, key string) {
	t.Helper()
	variables, _, err := unstructured.NestedSlice(live.Object, "spec", "topology", "variables")
	if err != nil {
		t.Fatal(err)
	}
	variables = slices.DeleteFunc(variables, func(v any) bool { return v.(map[string]any)["name"] == s.variable })
	trust := map[string]any{"additionalTrustedCAs": []any{map[string]any{"name": key}}}
	value := trust
	if s.variable == "osConfiguration" {
		ref := map[string]any{"name": "dev1-user-trusted-ca-secret", "key": key}
		trust["additionalTrustedCAs"] = []any{map[string]any{"caCert": map[string]any{"secretRef": ref}}}
		value = map[string]any{"ntp": map[string]any{"servers": []any{"time.corp.lab"}}, "trust": trust}
	}
	variables = append(variables, map[string]any{"name": s.variable, "value": value})
	if err := unstructured.SetNestedSlice(live.Object, variables, "spec", "topology", "variables"); err != nil {
		t.Fatal(err)
	}
}

// testDeletedMachine deletes a worker, which an editor may not, and expects another in its place.
func (s supervisor) testDeletedMachine(t *testing.T) {
	t.Helper()
	victim := s.worker(t)
	err := s.as(t, "editor").Resource(s.machines()).Namespace("team-a").Delete(t.Context(), victim, metav1.DeleteOptions{})
	if !apierrors.IsForbidden(err) {
		t.Errorf("an editor deletes a Machine: %v", err)
	}
	others := slices.DeleteFunc(s.names(t), func(name string) bool { return name == victim })
	s.replace(t, victim)
	if diff := cmp.Diff(others, slices.DeleteFunc(s.names(t), func(name string) bool { return !slices.Contains(others, name) })); diff != "" {
		t.Errorf("the other machines (-want, +got):\n%s", diff)
	}
	s.eventually(t, "the pods run again", func() bool { return s.phases(t, "dev1")["Running"] == 6 })
}

// testFreshMachine expects of a declaration that was corrected without a roll: a new machine has it, the old ones do not.
func (s supervisor) testFreshMachine(t *testing.T) {
	t.Helper()
	root, err := os.ReadFile(s.ca("root"))
	if err != nil {
		t.Fatal(err)
	}
	old := s.names(t)
	s.replace(t, s.worker(t))
	for _, name := range s.names(t) {
		if diff := cmp.Diff(!slices.Contains(old, name), s.trusts(t, name, string(root))); diff != "" {
			t.Errorf("node %s, made after the correction, has the root (-want, +got):\n%s", name, diff)
		}
	}
}

// testRecreate deletes a Cluster, expects its Secrets to go with it, and makes it again. That of a TanzuKubernetesCluster is tested elsewhere.
func (s supervisor) testRecreate(t *testing.T) {
	t.Helper()
	if s.class == nil {
		return
	}
	clusters := s.as(t, "editor").Resource(s.clusters()).Namespace("team-a")
	live, err := clusters.Get(t.Context(), "dev1", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := clusters.Delete(t.Context(), "dev1", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	s.eventually(t, "the cluster is gone, its Secrets too", func() bool {
		for r, names := range map[schema.GroupVersionResource][]string{
			s.clusters(): {"dev1"}, secrets: {"dev1-user-trusted-ca-secret", "dev1-ssh", "dev1-kubeconfig"},
		} {
			for _, name := range names {
				if _, err := s.client(t).Resource(r).Namespace("team-a").Get(t.Context(), name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
					return false
				}
			}
		}
		return len(s.listMachines(t)) == 0
	})
	fresh := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"topology": live.Object["spec"].(map[string]any)["topology"]}}}
	fresh.SetAPIVersion(live.GetAPIVersion())
	fresh.SetKind("Cluster")
	fresh.SetName("dev1")
	if _, err := clusters.Create(t.Context(), fresh, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	s.eventually(t, "the machines wait for the Secret", func() bool {
		list := s.listMachines(t)
		return len(list) == 3 && !slices.ContainsFunc(list, func(m unstructured.Unstructured) bool { return phaseOf(m) != "Pending" })
	})
	s.putRoot(t, "corp-root")
	s.eventually(t, "the cluster is there again", func() bool { return s.settled(t) && len(s.listMachines(t)) == 3 })
}

// trusts says whether a node has a certificate among the files of its trust.
func (s supervisor) trusts(t *testing.T, node, pem string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.dir, "nodes", "dev1", node, "etc/ssl/certs/tkg-*.pem"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if string(data) == pem {
			return true
		}
	}
	return false
}

// replace deletes a Machine as the platform team does and waits for the one in its place.
func (s supervisor) replace(t *testing.T, victim string) {
	t.Helper()
	if err := s.as(t, "platform").Resource(s.machines()).Namespace("team-a").Delete(t.Context(), victim, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	s.eventually(t, "another machine is in the place of "+victim, func() bool {
		list := s.listMachines(t)
		return len(list) == 3 && !slices.ContainsFunc(list, func(m unstructured.Unstructured) bool { return m.GetName() == victim || phaseOf(m) != "Running" })
	})
}

// worker returns the name of one of dev1's workers.
func (s supervisor) worker(t *testing.T) string {
	t.Helper()
	for _, m := range s.listMachines(t) {
		if _, controlPlane := m.GetLabels()["cluster.x-k8s.io/control-plane"]; !controlPlane {
			return m.GetName()
		}
	}
	t.Fatal("dev1 has no worker")
	return ""
}

func (s supervisor) listMachines(t *testing.T) []unstructured.Unstructured {
	t.Helper()
	list, err := s.client(t).Resource(s.machines()).Namespace("team-a").List(t.Context(), metav1.ListOptions{LabelSelector: "cluster.x-k8s.io/cluster-name=dev1"})
	if err != nil {
		t.Fatal(err)
	}
	return list.Items
}

func (s supervisor) names(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, m := range s.listMachines(t) {
		out = append(out, m.GetName())
	}
	return out
}

// condition reads a condition wherever the object's version has it.
func (s supervisor) condition(u *unstructured.Unstructured, kind string) (status, reason string) {
	for _, path := range [][]string{{"status", "conditions"}, {"status", "v1beta2", "conditions"}} {
		list, _, _ := unstructured.NestedSlice(u.Object, path...)
		for _, each := range list {
			if c := each.(map[string]any); c["type"] == kind {
				status, _ = c["status"].(string)
				reason, _ = c["reason"].(string)
			}
		}
	}
	return status, reason
}

func phaseOf(u unstructured.Unstructured) string {
	phase, _, _ := unstructured.NestedString(u.Object, "status", "phase")
	return phase
}

func (s supervisor) eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	began := time.Now()
	err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) { return condition(), nil })
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	t.Logf("%s after %s", what, time.Since(began).Round(time.Millisecond))
}
