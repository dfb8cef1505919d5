package clustertrust

import (
	"crypto/x509"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
)

var update = flag.Bool("update", false, "write the golden files anew")

// goldenCA is a certificate of the golden plans, which must not change with each run of the tests.
func goldenCA(t *testing.T, name string) *x509.Certificate {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	list, err := certs.ParseCandidate(data)
	if err != nil {
		t.Fatal(err)
	}
	return list[0]
}

// TestChanges holds the changes of each way, and that what Apply reads out of them is what was decided.
func TestChanges(t *testing.T) {
	t.Parallel()
	root, old := goldenCA(t, "root.pem"), goldenCA(t, "old-root.pem")
	value := tkg.Encode(certs.Normalize([]*x509.Certificate{old}), 2)
	single := tkg.Encode(certs.Normalize([]*x509.Certificate{root}), 1)
	const own = "dev1-user-trusted-ca-secret"
	for name, w := range map[string]world{
		"tkc-add":      worldOf(t, tkcHead+"  settings: {network: {proxy: {httpProxy: 'http://u:hunter2@h'}}}", tkg.WayTKC, nil),
		"tkc-replace":  worldOf(t, tkcHead+"  settings: {network: {trust: {additionalTrustedCAs: [{name: other, data: QQ==}, {name: corp, data: "+tkg.Encode(certs.Normalize([]*x509.Certificate{old}), 1)+"}]}}}", tkg.WayTKC, nil),
		"trust-create": worldOf(t, strings.Replace(clusterHead, "{name: np1, replicas: 2}", "{name: np1}", 1), tkg.WayTrust, nil),
		"trust-encode": worldOf(t, trustVariable("corp"), tkg.WayTrust, map[string]string{own: "data: {corp: " + single + ", secret: aHVudGVyMg==}"}),
		"os-repoint":   worldOf(t, osVariable(ref("registry", "corp"), "{caCert: {content: other}}"), tkg.WayOSConfiguration, map[string]string{"registry": "data: {corp: " + value + ", other: aHVudGVyMg==}"}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			candidate := []*x509.Certificate{root}
			d, err := w.decide(candidate, "", false)
			if err != nil {
				t.Fatal(err)
			}
			changes, err := w.changes(d, candidate)
			if err != nil {
				t.Fatal(err)
			}
			raw, err := json.MarshalIndent(changes, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name+".json", append(raw, '\n'))
			if strings.Contains(string(raw), "hunter2") || strings.Contains(string(raw), "aHVudGVyMg") {
				t.Error("the changes show what is beside the trust")
			}
			var journalled []plugins.PlannedChange
			if err := json.Unmarshal(raw, &journalled); err != nil {
				t.Fatal(err)
			}
			a, err := readApproved(journalled)
			if err != nil {
				t.Fatal(err)
			}
			got := []any{a.ref.String(), a.way, a.name, a.entrySecret(), a.write != nil, a.retire != nil}
			want := []any{"team-a/dev1", w.owner.Way, d.choice.Name, d.secret, d.write, d.retire != nil}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("what is approved (-want, +got):\n%s", diff)
			}
			if a.write != nil && a.write.value != tkg.SecretValue(candidate) {
				t.Error("another value is approved than was planned")
			}
			again, err := w.changes(d, candidate)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(changes, again); diff != "" {
				t.Errorf("the changes move, and void approvals:\n%s", diff)
			}
		})
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want, +got):\n%s", name, diff)
	}
}

// TestReadApprovedRefuses holds that no other shape of changes is carried out.
func TestReadApprovedRefuses(t *testing.T) {
	t.Parallel()
	root := goldenCA(t, "root.pem")
	w := worldOf(t, trustVariable("corp"), tkg.WayTrust, map[string]string{
		"dev1-user-trusted-ca-secret": "data: {corp: " + tkg.Encode(certs.Normalize([]*x509.Certificate{root}), 1) + "}",
	})
	d, err := w.decide([]*x509.Certificate{root}, "", false)
	if err != nil {
		t.Fatal(err)
	}
	plan := func() []plugins.PlannedChange {
		changes, err := w.changes(d, []*x509.Certificate{root})
		if err != nil || len(changes) != 3 {
			t.Fatalf("%d changes, %v", len(changes), err)
		}
		return changes
	}
	for name, tc := range map[string]struct {
		reason string
		change func([]plugins.PlannedChange) []plugins.PlannedChange
		want   string
	}{
		"none":       {"nothing is approved", func([]plugins.PlannedChange) []plugins.PlannedChange { return nil }, "0 changes of the cluster's own object"},
		"two owners": {"one object is changed", func(c []plugins.PlannedChange) []plugins.PlannedChange { return append(c, c[1]) }, "2 changes of the cluster's own object"},
		"delete":     {"nothing is ever deleted", func(c []plugins.PlannedChange) []plugins.PlannedChange { c[1].Action = plugins.Delete; return c }, "which this step never plans"},
		"other kind": {"an owner of another kind", func(c []plugins.PlannedChange) []plugins.PlannedChange { c[1].Target.Kind = "Pod"; return c }, "which this step never plans"},
		"no UID":     {"another object of the name", func(c []plugins.PlannedChange) []plugins.PlannedChange { c[1].Target.UID = ""; return c }, "which this step never plans"},
		"other's":    {"a Secret of another namespace", func(c []plugins.PlannedChange) []plugins.PlannedChange { c[0].Target.Namespace = "team-b"; return c }, "does not belong to cluster"},
		"two keys": {"one key is written", func(c []plugins.PlannedChange) []plugins.PlannedChange {
			c[0].After = []byte(`{"data":{"a":"x","b":"y"}}`)
			return c
		}, "of 2 keys"},
		"hostile key": {"it ends up in a JSON pointer", func(c []plugins.PlannedChange) []plugins.PlannedChange {
			c[0].After = []byte(`{"data":{"a/b":"x"}}`)
			return c
		}, "no key that this step plans"},
		"no document":   {"a journal that was damaged", func(c []plugins.PlannedChange) []plugins.PlannedChange { c[1].After = []byte(`[]`); return c }, "way"},
		"nothing moves": {"a change that changes nothing", func(c []plugins.PlannedChange) []plugins.PlannedChange { c[1].After = c[1].Before; return c }, "touches 0 entries"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := readApproved(tc.change(plan())); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: want %q, got %v", tc.reason, tc.want, err)
			}
		})
	}
}
