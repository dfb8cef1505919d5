package diagnose_test

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/plugins/diagnose"
	"github.com/tkgfix/tkgfix/plugins/plugintest"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

const (
	serviceEntry = "TkgServiceConfiguration tkg-service-configuration, entry corp"
	ownEntry     = "TanzuKubernetesCluster team-a/dev1, entry corp"
	secretEntry  = "Secret team-a/dev1-user-trusted-ca-secret, entry corp"
)

// owner is what find-owner says of a TanzuKubernetesCluster of which nothing is special.
func owner(more ...object) object {
	out := object{
		"cluster": "team-a/dev1", "kind": "TanzuKubernetesCluster", "apiVersion": "run.tanzu.vmware.com/v1alpha3", "class": "", "way": "tkc",
		"retiring": false, "paused": false, "initialized": true,
		"managed": object{"by": "", "source": "", "text": ""}, "roll": object{"state": "settled", "note": ""},
		"may":      object{"clusterTrust": true, "serviceTrust": true, "deleteMachines": true, "deleteCluster": true},
		"declared": []object{},
	}
	for _, m := range more {
		maps.Copy(out, m)
	}
	return out
}

// class makes it a Cluster of VKS 3.
var class = object{"kind": "Cluster", "apiVersion": "cluster.x-k8s.io/v1beta2", "class": "vmware-system-vks-public/builtin-generic-v3.6.0", "way": "os-configuration"}

func may(more object) object {
	out := object{"clusterTrust": true, "serviceTrust": true, "deleteMachines": true, "deleteCluster": true}
	maps.Copy(out, more)
	return object{"may": out}
}

func rolls(state, note string) object { return object{"roll": object{"state": state, "note": note}} }

func managedBy(by, source, text string) object {
	return object{"managed": object{"by": by, "source": source, "text": text}}
}

// sees says of a stored CA, named as where, entry name, whether each machine was made since it was declared.
func sees(entry, seen, why string) object {
	where, name, _ := strings.Cut(entry, ", entry ")
	return object{"declared": []object{{"where": where, "name": name, "path": "p", "ok": true, "fingerprints": []string{"ff"}, "seen": seen, "why": why}}}
}

func ownedBy(o object) func(*situation) { return func(s *situation) { s.owner = o } }

func tried(remedies ...string) func(*situation) { return func(s *situation) { s.tried = remedies } }

// stores is the right CA under a name, in a right form or in a wrong one.
func stores(entry, problem string) func(*situation) {
	return func(s *situation) {
		where, name, _ := strings.Cut(entry, ", entry ")
		s.encoding["ok"] = problem == ""
		s.encoding["entries"] = []object{{"where": where, "name": name, "ok": problem == "", "problem": problem, "fingerprints": []string{"ff"}}}
		if problem == "" {
			s.encoding["candidate"].(object)["configuredAs"] = entry
		}
	}
}

const single = "1 layer of base64, and this place wants 2"

func TestLadder(t *testing.T) {
	t.Parallel()
	argo := managedBy("argocd", "Application infra/dev1", "Argo CD keeps it as Application infra/dev1 has it")
	cases := map[string]struct {
		reason        string
		in            situation
		cause, remedy string
		// blocked and hint are parts of the block's words; why of the reasons of the remedies that it is not.
		blocked, hint string
		why           map[string]string
	}{
		"missing, TKC": {
			reason: "the cluster's own field rolls this cluster alone", in: sick(ownedBy(owner())), cause: "missing-ca", remedy: "cluster-trust",
			why: map[string]string{
				"roll-nodes":    "nothing that is declared completes the chain",
				"service-trust": "global and may roll every TanzuKubernetesCluster",
				"recreate":      "nothing shows that a roll cannot proceed",
			},
		},
		"missing, class": {
			reason: "TkgServiceConfiguration is no way there", in: sick(ownedBy(owner(class))), cause: "missing-ca", remedy: "cluster-trust",
			why: map[string]string{"service-trust": "TkgServiceConfiguration: it does not apply to a Cluster with a class by the vendor's page, although one field report says otherwise"},
		},
		"declared where the class does not look": {
			reason: "what is right in TkgServiceConfiguration is right for others",
			in:     sick(ownedBy(owner(class, sees(serviceEntry, "unknown", "sources differ"))), stores(serviceEntry, "")), cause: "missing-ca", remedy: "cluster-trust",
			why: map[string]string{"roll-nodes": serviceEntry + " would, but TkgServiceConfiguration: it does not apply"},
		},
		"stale node": {
			reason: "one worker after the other", in: sick(ownedBy(owner(sees(serviceEntry, "no", "each was made before"))), stores(serviceEntry, "")), cause: "stale-nodes", remedy: "roll-nodes",
			why: map[string]string{"cluster-trust": "replaces every node", "service-trust": "holds the CA already", "recreate": "nothing shows"},
		},
		"stale node, class": {
			reason: "the bytes of the Secret came after the nodes", in: sick(ownedBy(owner(class, sees(secretEntry, "no", "each was made before"))), stores(secretEntry, "")),
			cause: "stale-nodes", remedy: "roll-nodes", why: map[string]string{"service-trust": "by the vendor's page"},
		},
		"stale node, not known": {
			reason: "the first machine that is replaced proves it", in: sick(ownedBy(owner(sees(serviceEntry, "unknown", "sources disagree"))), stores(serviceEntry, "")),
			cause: "stale-nodes", remedy: "roll-nodes",
		},
		"machines as young as what is declared": {
			reason: "one more of the same would not have it either", in: sick(ownedBy(owner(sees(serviceEntry, "yes", "each of the 3 machines was made since"))), stores(serviceEntry, "")),
			cause: "stale-nodes", remedy: "cluster-trust", why: map[string]string{"roll-nodes": "new ones would get what these have: each of the 3 machines"},
		},
		"stale node, may not delete Machines": {
			reason: "a new entry rolls too", in: sick(ownedBy(owner(may(object{"deleteMachines": false}), sees(serviceEntry, "no", "each was made before"))), stores(serviceEntry, "")),
			cause: "stale-nodes", remedy: "cluster-trust", why: map[string]string{"roll-nodes": "this login may not delete Machines of team-a"},
		},
		"stale node, the roll came to nothing": {
			reason: "the new machine lacks it as well", in: sick(ownedBy(owner(sees(serviceEntry, "no", "each was made before"))), stores(serviceEntry, ""), tried("roll-nodes")),
			cause: "stale-nodes", remedy: "cluster-trust", why: map[string]string{"roll-nodes": "it was done, and the new machine does not have it"},
		},
		"stale node, a roll under way": {
			reason: "it brings what is missing", in: sick(ownedBy(owner(rolls("rolling", "1 of 3 Machines are new"), sees(ownEntry, "no", "each was made before"))), stores(ownEntry, "")),
			cause: "stale-nodes", remedy: "wait", blocked: "under way: 1 of 3 Machines are new", hint: "kubectl get machines -n team-a -w",
			why: map[string]string{"recreate": "nothing shows that a roll cannot proceed"},
		},
		"the roll is stuck, and what is declared is right": {
			reason: "one more roll would be stuck too", in: sick(ownedBy(owner(rolls("stuck", "dev1-np1-x has not joined for 40 minutes"), sees(ownEntry, "no", "each was made before"))), stores(ownEntry, "")),
			cause: "stale-nodes", remedy: "recreate",
			why: map[string]string{"roll-nodes": "a roll is stuck already: dev1-np1-x has not joined", "cluster-trust": "one more roll would meet what this one is stuck at"},
		},
		"the roll is stuck for want of the right form": {
			reason: "a new key supersedes it", in: sick(ownedBy(owner(class, rolls("stuck", "no machine has joined"), sees(secretEntry, "no", "each was made before"))), stores(secretEntry, single)),
			cause: "wrong-encoding", remedy: "cluster-trust",
			why: map[string]string{"roll-nodes": "is declared in a form that no node can use", "recreate": "nothing shows that a roll cannot proceed"},
		},
		"the roll is stuck at another CA": {
			reason: "a new cluster would read the same list",
			in: sick(ownedBy(owner(class, rolls("stuck", "no machine has joined"), object{"declared": []object{
				{"where": "Secret team-a/s", "name": "corp", "seen": "yes"}, {"where": "Secret team-a/s", "name": "old", "seen": "yes"},
			}})), stores("Secret team-a/s, entry corp", ""), func(s *situation) {
				s.encoding["entries"] = append(s.encoding["entries"].([]object), object{"where": "Secret team-a/s", "name": "old", "ok": false, "problem": single, "fingerprints": []string{"aa"}})
			}),
			cause: "stale-nodes", remedy: "cluster-trust", blocked: "Secret team-a/s, entry old is declared in a form that nodes cannot use", hint: "under a new key",
		},
		"declared anew, and in vain": {
			reason: "the last rung, and it is a new gate", in: sick(ownedBy(owner(sees(ownEntry, "no", "each was made before"))), stores(ownEntry, ""), tried("roll-nodes", "cluster-trust")),
			cause: "stale-nodes", remedy: "recreate", why: map[string]string{"cluster-trust": "what the new machines got does not make the chain valid"},
		},
		"not declared, though tried": {
			reason: "a step that failed before it acted is no ground to destroy", in: sick(ownedBy(owner()), tried("cluster-trust")),
			cause: "missing-ca", remedy: "cluster-trust", blocked: "it is not there", hint: "what came of it",
		},
		"after TkgServiceConfiguration": {
			reason: "existing clusters need not be rolled by themselves", in: sick(ownedBy(owner(may(object{"clusterTrust": false}), sees(serviceEntry, "no", "each was made before"))), stores(serviceEntry, ""), tried("service-trust")),
			cause: "stale-nodes", remedy: "roll-nodes",
		},
		"wrong form, own field": {
			reason: "this cluster alone is rolled", in: sick(ownedBy(owner(sees(ownEntry, "no", "each was made before"))), stores(ownEntry, "2 layers of base64")), cause: "wrong-encoding", remedy: "cluster-trust",
			why: map[string]string{"roll-nodes": ownEntry + " is declared in a form that no node can use"},
		},
		"wrong form in TkgServiceConfiguration": {
			reason: "the cluster's own field comes first", in: sick(ownedBy(owner(sees(serviceEntry, "no", "each was made before"))), stores(serviceEntry, "2 layers of base64")), cause: "wrong-encoding", remedy: "cluster-trust",
			why: map[string]string{"service-trust": "it is global"},
		},
		"wrong form where the class does not look": {
			reason: "it is not this cluster's", in: sick(ownedBy(owner(class)), stores(serviceEntry, "2 layers of base64")), cause: "missing-ca", remedy: "cluster-trust",
		},
		"editor, TKC": {
			reason: "the way that a namespace's editor has", in: sick(ownedBy(owner(may(object{"serviceTrust": false})))), cause: "missing-ca", remedy: "cluster-trust",
			why: map[string]string{"service-trust": "this login may not change TkgServiceConfiguration"},
		},
		"administrator without the namespace": {
			reason: "TkgServiceConfiguration is what is left", in: sick(ownedBy(owner(may(object{"clusterTrust": false})))), cause: "missing-ca", remedy: "service-trust",
			why: map[string]string{"cluster-trust": "this login may not change TanzuKubernetesCluster team-a/dev1", "recreate": "nothing shows"},
		},
		"TMC": {
			reason: "TMC sets no trust of its own, and TkgServiceConfiguration reaches it", in: sick(ownedBy(owner(managedBy("tmc", "", "Tanzu Mission Control keeps it")))), cause: "missing-ca", remedy: "service-trust",
			why: map[string]string{"cluster-trust": "of Tanzu Mission Control may have no trust of its own: Tanzu Mission Control keeps it"},
		},
		"TMC, no administrator": {
			reason: "it has no source where trust could be set, and somebody else may", in: sick(ownedBy(owner(managedBy("tmc", "", ""), may(object{"serviceTrust": false})))), cause: "missing-ca", remedy: "cluster-trust",
			blocked: "may have no trust of its own: it is managed by tmc; this login may not change TkgServiceConfiguration", hint: "let a vSphere administrator carry it out: kubectl auth can-i update tkgserviceconfigurations", why: map[string]string{"service-trust": "rights of a vSphere administrator"},
		},
		"TMC, stale node": {
			reason: "a Machine is nobody's definition", in: sick(ownedBy(owner(managedBy("tmc", "", ""), sees(serviceEntry, "no", "each was made before"))), stores(serviceEntry, "")), cause: "stale-nodes", remedy: "roll-nodes",
			why: map[string]string{"cluster-trust": "may have no trust of its own", "service-trust": "holds the CA already"},
		},
		"TMC, stale node, no Machine may go": {
			reason: "its own trust would do for another cluster, and there is no source to change",
			in:     sick(ownedBy(owner(managedBy("tmc", "", ""), may(object{"deleteMachines": false}), sees(serviceEntry, "no", "each was made before"))), stores(serviceEntry, "")), cause: "stale-nodes", remedy: "cluster-trust",
			blocked: "; this login may not delete Machines of team-a", hint: "who may: kubectl auth can-i delete machines -n team-a",
		},
		"TMC, class": {
			reason: "TkgServiceConfiguration does not reach it", in: sick(ownedBy(owner(class, managedBy("tmc", "", "")))), cause: "missing-ca", remedy: "cluster-trust", blocked: "managed by tmc", hint: "source",
		},
		"GitOps": {
			reason: "what is done by hand is undone", in: sick(ownedBy(owner(argo))), cause: "missing-ca", remedy: "cluster-trust",
			blocked: "would be put back: Argo CD keeps it", hint: "change it at its source: Application infra/dev1",
			why: map[string]string{"service-trust": "at its source", "recreate": "nothing shows"},
		},
		"GitOps, a roll is under way": {
			reason: "it brings the CA, so that there is nothing to change at the source",
			in:     sick(ownedBy(owner(class, argo, rolls("rolling", ""), sees(secretEntry, "no", "each was made before"))), stores(secretEntry, "")), cause: "stale-nodes", remedy: "wait",
			blocked: "the roll that brings the CA is under way", hint: "watch it",
		},
		"GitOps, stale node": {
			reason: "a Machine is nobody's manifest", in: sick(ownedBy(owner(class, argo, sees(secretEntry, "no", "each was made before"))), stores(secretEntry, "")), cause: "stale-nodes", remedy: "roll-nodes",
		},
		"paused": {
			reason: "nothing would be replaced", in: sick(ownedBy(owner(object{"paused": true}))), cause: "missing-ca", remedy: "cluster-trust",
			blocked: "the cluster is paused", hint: "kubectl get tanzukubernetescluster dev1 -n team-a -o yaml",
		},
		"retiring": {
			reason: "its Cluster is about to be the owner", in: sick(ownedBy(owner(object{"retiring": true}))), cause: "missing-ca", remedy: "cluster-trust", blocked: "being retired", hint: "wait until",
		},
		"no way": {
			reason: "a class without a variable for trust", in: sick(ownedBy(owner(class, object{"way": "none", "class": "team-a/own"}))), cause: "missing-ca", remedy: "recreate",
			why: map[string]string{"cluster-trust": "Cluster team-a/dev1 has no variable for trust: class team-a/own", "service-trust": "by the vendor's page"},
		},
		"no rights": {
			reason: "somebody else has to", in: sick(ownedBy(owner(class, may(object{"clusterTrust": false, "serviceTrust": false})))), cause: "missing-ca", remedy: "cluster-trust",
			blocked: "this login may not change Cluster team-a/dev1", hint: "kubectl auth can-i update cluster dev1 -n team-a",
		},
		"never up": {
			reason: "no node can be rolled", cause: "never-up", remedy: "recreate",
			in:  sick(noPods, ownedBy(owner(class, object{"initialized": false}, sees(secretEntry, "no", "each was made before"))), stores(secretEntry, single)),
			why: map[string]string{"cluster-trust": "no control plane has ever been up"},
		},
		"never up, for another cause": {
			reason: "a new cluster would come up as little", in: sick(noPods, ownedBy(owner(object{"initialized": false}, rolls("unknown", "no VM class of that name")))), cause: "never-up", remedy: "nothing",
			blocked: "has ever been up: no VM class of that name", hint: "kubectl describe tanzukubernetescluster dev1 -n team-a",
		},
		"server's fault": {
			reason: "whoever owns the cluster", in: sick(ownedBy(owner(class)), handshakes("expired", fails("x509: expired", ""))), cause: "expired", remedy: "server", blocked: "as node w1 sees it", hint: "renew",
			why: map[string]string{"roll-nodes": "new machines would meet the same", "service-trust": "by the vendor's page", "recreate": "changes nothing of the cause"},
		},
		"stale containerd": {
			reason: "there is a step for it, so that nothing stops", in: sick(ownedBy(owner()), handshakes("runtime-older", nil)), cause: "runtime-older", remedy: "restart-runtime",
			why: map[string]string{"roll-nodes": "containerd reads it when it starts", "cluster-trust": "the right CA is on the nodes already"},
		},
		"no candidate": {
			reason: "the CA is wanted before any right is asked for", in: sick(ownedBy(owner(argo)), noCandidate), cause: "missing-ca", remedy: "cluster-trust", blocked: "no CA was given", hint: "--input ca=FILE",
		},
	}
	known := documented(t)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, blocked := verdictOf(t, tc.in)
			wantDocumented(t, known, got.Cause, got.Remedy)
			if diff := cmp.Diff(tc.cause+" "+tc.remedy, got.Cause+" "+got.Remedy); diff != "" {
				t.Errorf("%s: -want, +got:\n%s%s", tc.reason, diff, got.Summary)
			}
			if !strings.Contains(blocked, tc.blocked) || !strings.Contains(blocked, tc.hint) || tc.blocked == "" && blocked != "" {
				t.Errorf("%s: blocked by %q, want %q with the hint %q", tc.reason, blocked, tc.blocked, tc.hint)
			}
			reasons := reasonsOf(t, tc.in)
			for remedy, want := range tc.why {
				if !strings.Contains(reasons[remedy], want) {
					t.Errorf("%s: why not %s: %q, want %q", tc.reason, remedy, reasons[remedy], want)
				}
			}
			for remedy, why := range reasons {
				if why == "" {
					t.Errorf("%s: no reason why not %s", tc.reason, remedy)
				}
			}
		})
	}
}

func reasonsOf(t *testing.T, s situation) map[string]string {
	t.Helper()
	resp, err := plan(t, s)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		RuledOut []struct{ Remedy, Reason string }
	}
	if err := json.Unmarshal(resp.Outputs, &got); err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, r := range got.RuledOut {
		out[r.Remedy] = r.Reason
	}
	return out
}

// No facts of the owner make of a fault of the server, or of a cluster that works, a change; and none makes a roll a recreate that could
// proceed.
func TestLadderIsClimbedForNothingElse(t *testing.T) {
	t.Parallel()
	owners := map[string]object{
		"stuck": owner(rolls("stuck", "x")), "no way": owner(class, object{"way": "none"}), "no rights": owner(may(object{"clusterTrust": false, "serviceTrust": false, "deleteMachines": false, "deleteCluster": false})),
		"paused": owner(object{"paused": true}), "managed": owner(managedBy("flux", "x", "y")),
	}
	situations := map[string]situation{
		"server": sick(handshakes("name-mismatch", fails("x509: name", ""))), "back-off": sick(handshakes("", nil)), "well": sick(noPods, handshakes("", nil)), "auth": sick(pods("auth")),
	}
	for which, o := range owners {
		for name, s := range situations {
			s.owner = o
			if got, _ := verdictOf(t, s); got.Trust || strings.Contains("roll-nodes cluster-trust service-trust recreate", got.Remedy) {
				t.Errorf("%s, %s: remedy %s", which, name, got.Remedy)
			}
		}
	}
}

func TestOwnerConformance(t *testing.T) {
	t.Parallel()
	plugintest.Conformance(t, diagnose.New(sdk.Env{}), plugintest.Cases{Samples: map[string]plugintest.Sample{
		"owner":   {Reason: "the ladder has the facts", Input: inputOf(t, sick(ownedBy(owner(class)), tried("roll-nodes")))},
		"unknown": {Reason: "an owner that nobody found is left out, or empty", Input: inputOf(t, sick(ownedBy(object{})))},
	}})
}
