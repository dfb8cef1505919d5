package crashtest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/state"
	"github.com/tkgfix/tkgfix/plugins"
)

func TestLabels(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		reason string
		drafts []state.Draft
		want   string
	}{
		"Bare":   {"an entry without a step", []state.Draft{{Kind: "run.resumed", Data: []byte(`{"by":{}}`)}}, "run.resumed"},
		"Effect": {"step and key", []state.Draft{{Kind: "effect.intended", Data: []byte(`{"step":"a","key":"b:1"}`)}}, "effect.intended(a/b:1)"},
		"Object": {"a step may be an object, and its gate too", []state.Draft{{Kind: "step.planned", Data: []byte(`{"step":{"id":"a"},"gate":{"step":"a"}}`)}}, "step.planned(a)"},
		"Plugin": {"its name", []state.Draft{{Kind: "plugin.started", Data: []byte(`{"name":"detect","pid":7}`)}}, "plugin.started(detect)"},
		"Signs":  {"nothing that a point gives a meaning to", []state.Draft{{Kind: "effect.done", Data: []byte(`{"step":"a[0]","key":"x (y)@z#1"}`)}}, "effect.done(a%5B0%5D/x%20%28y%29%40z%231)"},
		"Odd":    {"data of another shape is no crash", []state.Draft{{Kind: "odd", Data: []byte(`[1]`)}}, "odd"},
		"Batch":  {"all kinds of it", []state.Draft{{Kind: "step.started", Data: []byte(`{"step":"a"}`)}, {Kind: "run.finished"}}, "run.finished+step.started(a)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := labelOf(tc.drafts)
			if got != tc.want {
				t.Errorf("%s: got %s, want %s", tc.reason, got, tc.want)
			}
			p := Point{Do: KillEngine, Boundary: Boundary{When: Before, Label: got, Since: got}}
			if again, err := ParsePoint(p.String()); err != nil || again != p {
				t.Errorf("%s: a point there is read as %+v: %v", tc.reason, again, err)
			}
		})
	}
}

// journal makes facts of kinds and data, a second apart.
func journal(lines ...string) []fact {
	var entries []state.Entry
	for i, l := range lines {
		kind, data, _ := strings.Cut(l, " ")
		entries = append(entries, state.Entry{Seq: uint64(i + 1), Time: time.Unix(int64(i+1), 0), Kind: kind, Data: []byte(data)})
	}
	return facts(entries)
}

const (
	decided  = `gate.decided {"gate":"turn","digest":"d1","approved":true}`
	rejected = `gate.decided {"gate":"turn","digest":"d1","approved":false}`
	begun    = `step.started {"step":"turn","digest":"d1"}`
	other    = `step.started {"step":"turn","digest":"d2"}`
	meant    = `effect.intended {"step":"turn","key":"turn","target":{"kind":"Lamp","name":"desk","uid":"u0"}}`
	instance = `effect.intended {"step":"turn[1]","key":"turn","target":{"kind":"Lamp","name":"desk","uid":"u0"}}`
)

func TestCheckApproved(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		reason string
		all    []fact
		given  approvals
		want   string
	}{
		"Right":       {"decided, started, intended", journal(decided, begun, meant), approvals{"turn": {"d1"}}, ""},
		"Instance":    {"a step's gate covers its instances", journal(decided, begun, instance), approvals{"turn": {"d1"}}, ""},
		"NotStarted":  {"an intent belongs to a start", journal(decided, meant), approvals{"turn": {"d1"}}, "never started"},
		"OtherDigest": {"the start names what was approved", journal(decided, other, meant), approvals{"turn": {"d1"}}, `started for d2, which nobody approved; approved was ["d1"]`},
		"Forged":      {"a decision that this process did not make is none", journal(decided, begun, meant), approvals{}, "which nobody approved"},
		"TooLate":     {"a decision comes first", journal(begun, meant, decided), approvals{"turn": {"d1"}}, "no decision on d1"},
		"Rejected":    {"a rejection is no approval", journal(rejected, begun, meant), approvals{"turn": {"d1"}}, "no decision on d1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantLines(t, tc.reason, tc.want, checkApproved(tc.all, tc.given))
		})
	}
}

// wantLines wants exactly one line that holds want, or none.
func wantLines(t *testing.T, reason, want string, got []string) {
	t.Helper()
	if want == "" && len(got) > 0 || want != "" && (len(got) == 0 || !strings.Contains(got[0], want)) {
		t.Errorf("%s: got %q, want %q", reason, got, want)
	}
}

func TestCheckWrites(t *testing.T) {
	t.Parallel()
	write := func(second int, verb, uid string) Write {
		return Write{At: time.Unix(int64(second), 500), Verb: verb, Resource: "lamps", Name: "desk", UID: uid, By: "tkgfix"}
	}
	elsewhere := write(3, "patch", "u0")
	elsewhere.Cluster = "team-a/dev1"
	all := journal(decided, begun, meant)
	for name, tc := range map[string]struct {
		reason                string
		writes                []Write
		intended, one, noMore string
	}{
		"Right":        {"one write after its intent", []Write{write(3, "patch", "u0")}, "", "", ""},
		"None":         {"an intent without a write is none", nil, "", "", ""},
		"TooEarly":     {"the intent came after it", []Write{write(2, "patch", "u0")}, "no intent is left", "", ""},
		"Elsewhere":    {"the same name in another cluster is another object", []Write{elsewhere}, "no intent is left", "", "in team-a/dev1"},
		"Twice":        {"an intent is good for one write", []Write{write(3, "patch", "u0"), write(4, "patch", "u0")}, "no intent is left", "2 times: patch lamps desk u0", "2 times, 1 in"},
		"OtherUID":     {"each incarnation counts by itself", []Write{write(3, "patch", "u0"), write(4, "patch", "u9")}, "no intent is left", "", "2 times, 1 in"},
		"Incarnations": {"a creation begins another incarnation", []Write{write(3, "delete", ""), write(4, "create", ""), write(5, "delete", "")}, "no intent is left", "", "1 times, 0 in"},
		"NoUID":        {"without a UID the incarnation counts", []Write{write(3, "delete", ""), write(4, "delete", "")}, "no intent is left", "2 times: delete lamps desk incarnation 0", "2 times, 0 in"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantLines(t, tc.reason, tc.intended, checkIntended(all, tc.writes))
			wantLines(t, tc.reason, tc.one, checkOne(all, tc.writes))
			wantLines(t, tc.reason, tc.noMore, checkNoMore(tc.writes, map[string]int{"patch lamps desk": 1}))
		})
	}
}

// TestWritesOfTwoEffects lets two effects be on one object, as the two keys of a Secret are: it is written to twice and not more often.
func TestWritesOfTwoEffects(t *testing.T) {
	t.Parallel()
	all := journal(decided, begun, meant, `effect.intended {"step":"turn","key":"dim","target":{"kind":"Lamp","name":"desk","uid":"u0"}}`, meant)
	write := Write{At: time.Unix(9, 0), Verb: "patch", Resource: "lamps", Name: "desk", UID: "u0"}
	wantLines(t, "an effect each", "", checkOne(all, []Write{write, write}))
	wantLines(t, "an effect that is intended twice is one", "3 times: patch lamps desk u0", checkOne(all, []Write{write, write, write}))
	machine := Write{Verb: "delete", Resource: "machines", Name: "dev1-np1-3f9ac-x2n9q"}
	wantLines(t, "names that servers make up", "", checkNoMore([]Write{machine}, map[string]int{"delete machines dev1-np1-<machine>": 1}))
	again := machine
	again.Name = "dev1-np1-3f9ac-bbbbb"
	wantLines(t, "Machines are counted", "2 times, 1 in the undisturbed run", checkNoMore([]Write{machine, again}, map[string]int{"delete machines dev1-np1-<machine>": 1}))
}

func TestObjectOfATarget(t *testing.T) {
	t.Parallel()
	f := fact{Target: plugins.Target{Cluster: "team-a/dev1", Group: "run.tanzu.vmware.com", Kind: "TkgServiceConfiguration", Name: "c"}}
	if got, want := objectOf(f), "tkgserviceconfigurations.run.tanzu.vmware.com c in team-a/dev1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestDiffLinesShowsWhatDiffers(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 1000)
	got := diffLines([]string{"a: 1", "b: " + long + "one", "gone"}, []string{"a: 1", "b: " + long + "two", "new"})
	tail := strings.Repeat("x", shownBefore)
	want := []string{"- b …" + tail + "one", "+ b …" + tail + "two", "- gone", "+ new"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want, +got):\n%s", diff)
	}
}

func TestNormal(t *testing.T) {
	t.Parallel()
	const text = `{"n":["dev1-np1-nprtz-gjp92 at 10.0.0.7","dev1-np1-8xk2d-kkxbg at 10.0.0.8"],"at":"2026-11-24T00:02:06.216Z","uid":"d20e54bb-228c-4917-a383-6222f8f57221","took":"1m3.5s","kept":"corp-root"}`
	const want = `{"at":"<time>","kept":"corp-root","n":["dev1-np1-<machine> at <address>"],"took":"<span>","uid":"<uid>"}`
	got := strings.NewReplacer(`\u003c`, "<", `\u003e`, ">").Replace(NormalJSON([]byte(text)))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want, +got):\n%s", diff)
	}
}

// points makes n points that differ.
func points(n int) Schedule {
	var out Schedule
	for i := range n {
		out = append(out, Point{Do: KillEngine, Boundary: Boundary{When: Before, Label: fmt.Sprintf("p%d", i)}})
	}
	return out
}

func TestShrink(t *testing.T) {
	t.Parallel()
	all := points(20)
	for name, tc := range map[string]struct {
		reason string
		needs  []int
		// budget is how many tries there are; 0 is as many as it takes.
		budget int
		want   int
	}{
		"Last":     {"the last point is tried first", []int{19}, 1, 1},
		"First":    {"one that is anywhere is found", []int{0}, 0, 1},
		"Pair":     {"points that do harm together stay together", []int{3, 14}, 0, 2},
		"All":      {"where each is needed nothing is lost", []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19}, 0, 20},
		"NoBudget": {"what was found when the budget ends counts", []int{0}, 7, 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tries := 0
			fails := func(s Schedule) (bool, error) {
				if tries++; tc.budget > 0 && tries > tc.budget {
					return false, errBudget
				}
				for _, i := range tc.needs {
					if !slices.Contains(s, all[i]) {
						return false, nil
					}
				}
				return true, nil
			}
			got, err := shrink(all, fails)
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range tc.needs {
				if !slices.Contains(got, all[i]) {
					t.Errorf("%s: %v is not in %v", tc.reason, all[i], got)
				}
			}
			if len(got) != tc.want {
				t.Errorf("%s: %d points after %d tries, want %d", tc.reason, len(got), tries, tc.want)
			}
		})
	}
	boom := errors.New("boom")
	if _, err := shrink(all, func(Schedule) (bool, error) { return false, boom }); !errors.Is(err, boom) {
		t.Errorf("an error of the machinery: got %v, want boom", err)
	}
}

// TestScheduledStrikesOnce has points at one boundary strike one after the other, and only when their time has come.
func TestScheduledStrikesOnce(t *testing.T) {
	t.Parallel()
	b := Boundary{When: Before, Label: "run.resumed", Since: "run.planned"}
	anywhere := Point{Do: KillEngine, Boundary: Boundary{When: Before, Label: "run.resumed"}, Nth: 2}
	here := Point{Do: PauseEngine, Boundary: b}
	never := Point{Do: KillEngine, Boundary: Boundary{When: Before, Label: "run.resumed", Since: "effect.done(a/b)"}}
	d := follow(Schedule{anywhere, here, never, {Do: Meddle}})
	var got []Do
	for range 3 {
		if p, ok := d.at(b); ok {
			got = append(got, p.Do)
		}
	}
	if diff := cmp.Diff([]Do{PauseEngine, KillEngine}, got); diff != "" {
		t.Errorf("struck (-want, +got):\n%s", diff)
	}
	if diff := cmp.Diff(Schedule{never}, d.missed()); diff != "" {
		t.Errorf("missed (-want, +got):\n%s", diff)
	}
	if !d.meddles() {
		t.Error("it does not meddle")
	}
}

// TestSeedRepeats wants the same schedule of the same seed, and another of another.
func TestSeedRepeats(t *testing.T) {
	t.Parallel()
	of := func(seed uint64) string { return random(rand.New(rand.NewPCG(seed, seed)), points(30)).String() }
	if a, b := of(1), of(1); a != b {
		t.Errorf("one seed, two schedules:\n%s\n%s", a, b)
	}
	if of(1) == of(2) {
		t.Error("two seeds, one schedule")
	}
}

func TestLateSteps(t *testing.T) {
	t.Parallel()
	all := journal(`step.planned {"step":{"id":"trust"}}`, `effect.done {"step":"trust","key":"k"}`, `step.planned {"step":{"id":"verify"}}`)
	if diff := cmp.Diff(map[string]bool{"verify": true}, lateSteps(all)); diff != "" {
		t.Errorf("(-want, +got):\n%s", diff)
	}
}
