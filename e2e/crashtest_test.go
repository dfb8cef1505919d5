package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tkgfix/tkgfix/internal/crashtest"
)

// TestCrashtestCatches gives tkgfix crashtest an engine with one thing wrong, on the documented fix in the laboratory, and a schedule
// under which that does harm. The assertion that it breaks must say so. That the sound engine passes is what make crashtest shows.
func TestCrashtestCatches(t *testing.T) {
	me, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		reason   string
		schedule string
		want     crashtest.Assertion
	}{
		"no-fsync":   {"the act is done and its intent is lost", "kill-engine:before:effect.done(trust/patch-tkgserviceconfiguration)", crashtest.Intended},
		"no-observe": {"a workload is applied again", "kill-engine:before:effect.done(recreate/apply-workloads:2)", crashtest.OneEffect},
		"no-fence":   {"one that lost its lock writes into another's journal", "pause-engine:before:effect.intended(trust/patch-tkgserviceconfiguration)", crashtest.NoLostLock},
		"no-digest":  {"what was approved is not what is done", "meddle", crashtest.Approved},
	} {
		t.Run(name, func(t *testing.T) {
			r := command(t, []string{doubleEnv + "=" + name}, me, "crashtest", documentedFix,
				"--lab", filepath.Join(bin, "tkgfix-lab"), "--schedule", tc.schedule, "--shrink-budget", "1s")
			if !strings.Contains(r.stdout, string(tc.want)) {
				t.Errorf("%s: not caught by %q: exit %d\n%s\n%s", tc.reason, tc.want, r.code, r.stdout, r.stderr)
			}
			if r.code != 1 || !strings.Contains(r.stdout, "shortest failing schedule: "+tc.schedule[:strings.LastIndexAny(tc.schedule+"(", "(")]) {
				t.Errorf("%s: exit %d, want 1 and the schedule\n%s", tc.reason, r.code, r.stdout)
			}
		})
	}
}
