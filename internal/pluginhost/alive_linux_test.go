package pluginhost

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseStat(t *testing.T) {
	t.Parallel()
	fields := func(name, state, group, start string) string {
		return "42 (" + name + ") " + state + " 1 " + group + " 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 " + start + " 100 200\n"
	}
	cases := map[string]struct {
		reason string
		raw    string
		want   seen
		fails  bool
	}{
		"Runs":    {reason: "a process as it is", raw: fields("sh", "S", "42", "12345"), want: seen{startTicks: 12345, group: 42}},
		"Zombie":  {reason: "one that was not reaped is dead", raw: fields("sh", "Z", "42", "1"), want: seen{startTicks: 1, group: 42, dead: true}},
		"Name":    {reason: "a name cannot pass for the fields", raw: fields("a) R 1 (b", "S", "42", "9"), want: seen{startTicks: 9, group: 42}},
		"Short":   {reason: "too few fields", raw: "42 (sh) S 1 42", fails: true},
		"Empty":   {reason: "nothing", raw: "", fails: true},
		"NoGroup": {reason: "a group that is no number", raw: fields("sh", "S", "x", "1"), fails: true},
		"NoStart": {reason: "a start that is no number", raw: fields("sh", "S", "1", "-1"), fails: true},
	}
	for name, tc := range cases {
		got, err := parseStat([]byte(tc.raw))
		if (err != nil) != tc.fails {
			t.Errorf("%s: %s: error %v", name, tc.reason, err)
		}
		if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(seen{})); diff != "" {
			t.Errorf("%s: %s (-want, +got):\n%s", name, tc.reason, diff)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("42 (sh) S 1 42 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 100 200"))
	f.Add([]byte(")"))
	f.Fuzz(func(_ *testing.T, raw []byte) { _, _ = parseStat(raw) })
}

func TestIdentifySelf(t *testing.T) {
	t.Parallel()
	p, err := identify("me", os.Getpid())
	if err != nil || p.StartTicks == 0 || len(p.BootID) != 36 || p.Name != "me" {
		t.Errorf("%+v %v", p, err)
	}
	if alive, err := Alive(p); !alive || err != nil {
		t.Errorf("this test does not live: %v %v", alive, err)
	}
}

func TestTail(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	tail := newTail("probe", &out, 3)
	for _, part := range []string{"one\ntw", "o\n\n  \nthr\x1b[2Jee\tx\n", "fo\xffur\r\nfi", "ve"} {
		if n, err := tail.Write([]byte(part)); n != len(part) || err != nil {
			t.Errorf("write: %d %v", n, err)
		}
	}
	want := []string{"thr[2Jee x", "fo?ur", "five"}
	if diff := cmp.Diff(want, tail.Last()); diff != "" {
		t.Errorf("last lines (-want, +got):\n%s", diff)
	}
	if diff := cmp.Diff("probe: one\nprobe: two\nprobe: thr[2Jee x\nprobe: fo?ur\nprobe: five\n", out.String()); diff != "" {
		t.Errorf("passed on (-want, +got):\n%s", diff)
	}
	long := newTail("probe", nil, 3)
	for range 100 {
		_, _ = long.Write([]byte(strings.Repeat("x", 1000)))
	}
	if got := long.Last(); len(got) != 1 || len(got[0]) != tailLineMax {
		t.Errorf("a line without end is not bounded: %d lines", len(got))
	}
}
