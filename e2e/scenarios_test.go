package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// planned is what a plan of the documented fix may do. Nothing but it is ever planned.
type planned string

const (
	// unchanged is for faults that neither trust nor new nodes mend, and for those that the given CA does not mend.
	unchanged planned = "nothing"
	// trusted corrects TkgServiceConfiguration and recreates the cluster.
	trusted planned = "trust and recreate"
	// renewed recreates the cluster alone: what is configured is right.
	renewed planned = "recreate"
)

// verdict is what tkgfix has to say of a scenario of the laboratory.
type verdict struct {
	reason        string
	cause, remedy string
	plan          planned
}

// verdicts has a row for each scenario. The CA that is given is the registry's root, as it is now. The documented fix looks for no owner, so
// that the remedy is that of a TanzuKubernetesCluster that one may do everything to; what it plans is the vendor's way all the same.
func verdicts() map[string]verdict {
	return map[string]verdict{
		"missing-ca":        {"the documented case", "missing-ca", "cluster-trust", trusted},
		"missing-ca-ubuntu": {"the same where trust files are links", "missing-ca", "cluster-trust", trusted},
		"missing-ca-rhel":   {"the same where anchors are extracted", "missing-ca", "cluster-trust", trusted},
		"wrong-ca":          {"the configured root has the name and another key", "wrong-ca", "cluster-trust", trusted},
		"vsphere-pod":       {"no trust of a cluster has a part in it", "vsphere-pod", "not-tkg", unchanged},
		// Where no pod fails nothing more is looked at, so that there is no cause.
		"healthy":             {"nothing fails", "", "", unchanged},
		"own-trust":           {"the cluster's own list is as good", "", "", unchanged},
		"own-wrong-ca":        {"the cluster's own list has the name and another key", "wrong-ca", "cluster-trust", trusted},
		"own-encoding":        {"the right CA with a layer too many", "wrong-encoding", "cluster-trust", trusted},
		"intermediate-anchor": {"Go takes an intermediate for an anchor, though openssl does not (K02)", "", "", unchanged},

		"expired-leaf":         {"only the registry can renew it (C01)", "expired", "server", unchanged},
		"name-mismatch":        {"no CA adds a name (D01)", "name-mismatch", "server", unchanged},
		"cn-only":              {"openssl says OK, Go does not (D02)", "no-san", "server", unchanged},
		"ip-address":           {"the certificate does not hold the address (D03)", "address-not-named", "server", unchanged},
		"missing-intermediate": {"the root is trusted already: recreating does not help by itself (B04)", "missing-intermediate", "server", unchanged},
		"self-signed":          {"the given CA did not issue it (B01)", "self-signed", "server", unchanged},
		"default-certificate":  {"to trust it would be worse than the fault (D07)", "default-certificate", "server", unchanged},
		"sha1":                 {"reads like a missing CA and is none (F01)", "weak-signature", "server", unchanged},
		"key-mismatch":         {"the server's own files (F15)", "key-mismatch", "server", unchanged},
		"client-auth-only":     {"the wrong usage (E01)", "key-usage", "server", unchanged},
		"expired-root":         {"the renewed root in the place of the expired one (C04)", "expired-ca", "cluster-trust", trusted},
		"leaf-as-ca-renewed":   {"the root in the place of the earlier certificate (I16)", "renewed-leaf", "cluster-trust", trusted},
		"old-tls":              {"TLS 1.2 is to be enabled (G01)", "old-tls-version", "server", unchanged},
		"mutual-tls":           {"the registry wants a certificate of its clients (G04, G05)", "client-certificate-required", "credentials", unchanged},

		"dns":              {"no certificate is at fault (A01)", "dns", "network", unchanged},
		"refused":          {"nobody listens (A02)", "refused", "network", unchanged},
		"plain-http":       {"there is no certificate (A08)", "plain-http", "network", unchanged},
		"not-tls":          {"another service (A09)", "not-tls", "network", unchanged},
		"handshake-silent": {"nobody answers (A04)", "handshake-timeout", "network", unchanged},

		"unauthorized":  {"TLS is fine (N01)", "auth", "credentials", unchanged},
		"not-found":     {"TLS is fine (N02)", "reference", "reference", unchanged},
		"rate-limited":  {"TLS is fine (N04)", "rate", "wait", unchanged},
		"registry-down": {"TLS is fine (N05)", "registry-error", "registry", unchanged},
		"token-realm":   {"another host's CA is missing, which is not the given one (T01)", "missing-ca", "cluster-trust", unchanged},
		"blob-host":     {"as token-realm, behind a redirect", "missing-ca", "cluster-trust", unchanged},

		"mirror":               {"what is dialled is a mirror with its own trust", "hosts-override", "mirror", unchanged},
		"mirror-fallback":      {"the true cause is the mirror's 404 (M01)", "reference", "reference", unchanged},
		"proxy-intercepts":     {"the proxy's CA is missing, not the registry's (P01)", "proxy-intercepts", "proxy", unchanged},
		"proxy-refuses":        {"the proxy does not let it pass (P04)", "proxy-refuses", "proxy", unchanged},
		"proxy-authentication": {"the proxy wants a login (P03)", "proxy-authentication", "proxy", unchanged},

		"over-encoded":    {"the right CA in the wrong form (I01)", "wrong-encoding", "cluster-trust", trusted},
		"under-encoded":   {"plain PEM where base64 belongs", "wrong-encoding", "cluster-trust", trusted},
		"glued":           {"two PEM blocks without a line end between them (I07)", "wrong-encoding", "cluster-trust", trusted},
		"bom":             {"a byte order mark (I04)", "wrong-encoding", "cluster-trust", trusted},
		"der":             {"DER in the place of PEM (I02)", "wrong-encoding", "cluster-trust", trusted},
		"private-key":     {"a key has leaked, which a person has to take out (I14)", "node-file-private-key", "cluster-trust", unchanged},
		"duplicate-names": {"one file for two entries", "duplicate-names", "cluster-trust", trusted},

		"stale-runtime": {"restart, neither recreate nor patch (S01)", "runtime-older", "restart-runtime", unchanged},
		"stale-node":    {"the configuration is right, the nodes are older", "stale-nodes", "roll-nodes", renewed},
		"removed-trust": {"nothing fails before the next restart (S03)", "", "", unchanged},
		"clock-behind":  {"the certificate is fine, the clock is not (C02)", "node-clock", "clock", unchanged},

		"sandbox-image":   {"the sandbox's image comes from the registry too", "missing-ca", "cluster-trust", trusted},
		"kapp-controller": {"it has its own trust", "kapp-controller", "not-tkg", unchanged},
		"old-kubelet":     {"the cause is in Events alone", "missing-ca", "cluster-trust", trusted},
		"events-expired":  {"the cause is nowhere: the nodes are asked", "missing-ca", "cluster-trust", trusted},
	}
}

// planOf says what a plan does, of the things that are feared: a change of what all clusters trust, and the end of a cluster.
func planOf(actions []string) planned {
	patches, deletes := false, false
	for _, a := range actions {
		patches = patches || strings.Contains(a, " TkgServiceConfiguration ")
		deletes = deletes || strings.HasPrefix(a, "delete ")
	}
	switch {
	case len(actions) == 0:
		return unchanged
	case patches && deletes:
		return trusted
	case deletes:
		return renewed
	}
	return planned(strings.Join(actions, ", "))
}

// TestScenarios lets one laboratory go through all its scenarios and plans the documented fix in each.
func TestScenarios(t *testing.T) {
	t.Parallel() // most of it is waiting
	lab := up(t, "healthy")
	want := verdicts()
	for line := range strings.Lines(command(t, nil, filepath.Join(bin, "tkgfix-lab"), "scenarios").wantCode(t, 0).stdout) {
		name, _, _ := strings.Cut(line, " ")
		v, ok := want[name]
		if !ok {
			t.Errorf("the scenario %s has no row here", name)
			continue
		}
		delete(want, name)
		t.Run(name, func(t *testing.T) {
			lab.plant(t, name)
			lab.wantVerdict(t, v)
		})
	}
	for name := range want {
		t.Errorf("the row %s is about no scenario", name)
	}
	for _, a := range lab.audit(t, "supervisor", func(a audited) bool { return byTkgfix(a) && a.writes() }) {
		t.Errorf("a plan wrote: %s", a)
	}
}

// plant lets the laboratory go to another scenario.
func (l *laboratory) plant(t *testing.T, scenario string) {
	t.Helper()
	command(t, nil, filepath.Join(bin, "tkgfix-lab"), "plant", "--dir", l.dir, scenario).wantCode(t, 0)
}

// wantVerdict plans the documented fix with the registry's root and wants it to say and to do what it has to.
func (l *laboratory) wantVerdict(t *testing.T, want verdict) {
	t.Helper()
	r := l.tkgfix(t, l.kubeconfig("platform"), append([]string{"plan", documentedFix, "--output", "json"}, l.inputs("team-a/dev1", l.ca("root"))...)...)
	plan := decodePlan(t, r)
	if diff := cmp.Diff(want.plan, planOf(plan.actions())); diff != "" {
		t.Errorf("%s: planned (-want, +got):\n%s%v", want.reason, diff, plan.actions())
	}
	told := plan.step(t, "diagnose")
	outputs := told.outputs(t)
	cause, _ := outputs["cause"].(string)
	remedy, _ := outputs["remedy"].(string)
	if diff := cmp.Diff([]string{want.cause, want.remedy}, []string{cause, remedy}); diff != "" {
		t.Errorf("%s: cause and remedy (-want, +got):\n%s%v\n%s", want.reason, diff, outputs["summary"], r.stderr)
	}
}
