package diagnose_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/pull"
)

// of makes the failing pods of these classes, all of one registry.
func of(scope string, classes ...string) func(*situation) {
	return func(s *situation) {
		failing := []object{}
		for _, class := range classes {
			failing = append(failing, object{"scope": scope, "registry": "registry.lab:5443", "class": class})
		}
		s.detect["class"], s.detect["failing"], s.detect["failingCount"] = classes[0], failing, len(failing)
	}
}

type verdict struct {
	Cause, Remedy, Summary string
	Trust                  bool
}

func verdictOf(t *testing.T, s situation) (verdict, string) {
	t.Helper()
	resp, err := plan(t, s)
	if err != nil {
		t.Fatal(err)
	}
	var got verdict
	if err := json.Unmarshal(resp.Outputs, &got); err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for _, b := range resp.Blocks {
		blocks = append(blocks, b.Reason+": "+b.Hint)
	}
	return got, strings.Join(blocks, "; ")
}

// remedies is what each class ends in when all that was seen of the nodes is well.
func remedies() map[string]string {
	return map[string]string{
		pull.Trust: "nothing", pull.ServerCertificate: "nothing", pull.Unknown: "nothing", // back-off repeats what is mended
		pull.DNS: "network", pull.Network: "network", pull.Proxy: "proxy", pull.PlainHTTP: "network", pull.RegistryError: "registry",
		pull.Auth: "credentials", pull.Rate: "wait", pull.Reference: "reference", pull.Signature: "reference", pull.SandboxImage: "reference",
		pull.Runtime: "restart-runtime", pull.KappController: "not-tkg", pull.VSpherePod: "not-tkg",
	}
}

// Whatever the pods name, with nodes that trust the registry nothing is done to trust, and no cluster is recreated.
func TestEachClassWithHealthyNodes(t *testing.T) {
	t.Parallel()
	if diff := cmp.Diff(slices.Sorted(slices.Values(pull.Classes())), slices.Sorted(maps.Keys(remedies()))); diff != "" {
		t.Fatalf("the table misses a class (-want, +got):\n%s", diff)
	}
	evidence := map[string][]func(*situation){
		"well":             {handshakes("", nil)},
		"configured":       {handshakes("", nil), configuredAs("TSC, entry corp")},
		"no candidate":     {handshakes("", nil), noCandidate},
		"badly configured": {handshakes("", nil), func(s *situation) { s.encoding["ok"] = false }},
	}
	known := documented(t)
	for name, changes := range evidence {
		for class, want := range remedies() {
			t.Run(name+"/"+class, func(t *testing.T) {
				t.Parallel()
				got, blocked := verdictOf(t, sick(append([]func(*situation){of("cluster", class)}, changes...)...))
				wantDocumented(t, known, got.Cause, got.Remedy)
				if got.Remedy != want || got.Trust {
					t.Errorf("remedy %s, trust %v, want %s: %s", got.Remedy, got.Trust, want, got.Summary)
				}
				if (want != "nothing") != (blocked != "") {
					t.Errorf("what tkgfix does not mend blocks the plan with the next command, got %q", blocked)
				}
			})
		}
	}
}

// With nodes that lack trust only a class that speaks of certificates, or of nothing, may end in trust or in a recreate.
func TestEachClassWithoutTrust(t *testing.T) {
	t.Parallel()
	allowed := []string{pull.Trust, pull.ServerCertificate, pull.Unknown}
	for name, change := range map[string]func(*situation){
		"not configured": func(*situation) {}, "configured": configuredAs("TSC, entry corp"), "no candidate": noCandidate,
	} {
		for class, healthy := range remedies() {
			t.Run(name+"/"+class, func(t *testing.T) {
				t.Parallel()
				got, blocked := verdictOf(t, sick(of("cluster", class), change))
				touches := slices.Contains([]string{"roll-nodes", "cluster-trust", "service-trust", "recreate"}, got.Remedy)
				switch {
				case slices.Contains(allowed, class) && !touches:
					t.Errorf("no node trusts the registry, and the remedy is %s", got.Remedy)
				case !slices.Contains(allowed, class) && (touches || got.Trust || got.Remedy != healthy || blocked == ""):
					t.Errorf("trust mends no %s: remedy %s, blocked by %q", class, got.Remedy, blocked)
				}
			})
		}
	}
}

func TestMixedPods(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason        string
		in            situation
		cause, remedy string
		warning       string
	}{
		"auth and silence":  {"a pod that names no cause may well lack trust, which the nodes show", sick(of("cluster", pull.Auth, pull.Unknown)), "missing-ca", "cluster-trust", ""},
		"proxy and network": {"all name a cause on the way", sick(of("cluster", pull.Proxy, pull.Network)), "proxy", "proxy", ""},
		"trust and proxy":   {"a proxy for some is no excuse", sick(of("cluster", pull.Trust, pull.Proxy)), "missing-ca", "cluster-trust", ""},
		"packages alone":    {"kapp-controller has its own trust", sick(of("package", pull.KappController), handshakes("", nil)), "kapp-controller", "not-tkg", ""},
		"packages beside pods": {
			"the pods come first, and that packages fail is said",
			sick(func(s *situation) {
				of("cluster", pull.Trust)(s)
				s.detect["failing"] = append(s.detect["failing"].([]object), object{"scope": "package", "registry": "pkg.lab", "class": pull.KappController})
			}),
			"missing-ca", "cluster-trust", "packages of kapp-controller fail as well",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, _ := verdictOf(t, c.in)
			if diff := cmp.Diff(c.cause+" "+c.remedy, got.Cause+" "+got.Remedy); diff != "" {
				t.Errorf("%s: -want, +got:\n%s%s", c.reason, diff, got.Summary)
			}
			resp, err := plan(t, c.in)
			if err != nil || !strings.Contains(strings.Join(resp.Warnings, "\n"), c.warning) {
				t.Errorf("%s: warnings %q, want %q; %v", c.reason, resp.Warnings, c.warning, err)
			}
		})
	}
}
