package nodelook

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tkgfix/tkgfix/internal/probe"
)

func b64(s string) string { return ":" + base64.StdEncoding.EncodeToString([]byte(s)) }

// spoken is what the script prints for two files.
func spoken(replace ...string) string {
	text := "date 1790000000\nuid 0\nos " + b64("ID=photon\n") +
		"\nnames go " + b64("/etc/ssl/certs/a.pem\x00/etc/ssl/certs/tkg-b.pem\x00") +
		"\nstat go " + b64("3 1780000000 1780000000\n2 1780000001 1780000009\n") + "\nlstat go " + b64("1780000002 1780000003\n1780000000 1780000000\n") +
		"\ndata go " + b64("aaabb") + "\nend\n"
	return strings.NewReplacer(replace...).Replace(text)
}

func TestParse(t *testing.T) {
	t.Parallel()
	got, err := parse([]byte(spoken()), "")
	if err != nil {
		t.Fatal(err)
	}
	want := Look{
		OS: "photon", Family: Photon, Root: true, Time: time.Unix(1790000000, 0).UTC(),
		Files: []File{
			{Path: "/etc/ssl/certs/a.pem", Data: []byte("aaa"), Changed: time.Unix(1780000002, 0).UTC(), Placed: time.Unix(1780000003, 0).UTC(), Go: true},
			{Path: "/etc/ssl/certs/tkg-b.pem", Data: []byte("bb"), Changed: time.Unix(1780000001, 0).UTC(), Placed: time.Unix(1780000009, 0).UTC(), Go: true},
		},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(Look{}), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		out    string
	}{
		"Empty":        {reason: "silence is no answer", out: ""},
		"Cut":          {reason: "an answer without its end is not whole", out: spoken("end\n", "")},
		"After":        {reason: "nothing follows the end", out: spoken() + "date 1\n"},
		"NoDate":       {reason: "without a clock no date can be judged", out: spoken("date 1790000000\n", "")},
		"BadDate":      {reason: "a clock is a number", out: spoken("date 1790000000", "date tomorrow")},
		"Banner":       {reason: "a banner of the shell is not ours", out: "Welcome!\n" + spoken()},
		"NotBase64":    {reason: "a field is base64", out: spoken("data go :", "data go :*")},
		"OtherGroup":   {reason: "a group is one of two", out: spoken("data go", "data other")},
		"DataTooShort": {reason: "a file that is cut would be judged wrongly", out: spoken(b64("aaabb"), b64("aaab"))},
		"DataTooLong":  {reason: "so would one that grew", out: spoken(b64("aaabb"), b64("aaabbb"))},
		"FewerStats":   {reason: "each file has its size", out: spoken(b64("3 1780000000 1780000000\n2 1780000001 1780000009\n"), b64("3 1780000000 1780000000\n"))},
		"FewerLinks":   {reason: "and its link's time", out: spoken(b64("1780000002 1780000003\n1780000000 1780000000\n"), b64("1780000002 1780000003\n"))},
		"NegativeSize": {reason: "no size is negative", out: spoken(b64("3 1780000000 1780000000\n2 1780000001 1780000009\n"), b64("-3 1780000000 1\n8 1780000001 1\n"))},
		"HugeSize":     {reason: "nor larger than what came", out: spoken(b64("3 1780000000 1780000000\n2 1780000001 1780000009\n"), b64("3 1780000000 1\n9223372036854775807 1 1\n"))},
		"OtherPath":    {reason: "a path is where the script looks", out: spoken(b64("/etc/ssl/certs/a.pem\x00/etc/ssl/certs/tkg-b.pem\x00"), b64("/etc/ssl/certs/a.pem\x00/etc/shadow\x00"))},
		"Climbing":     {reason: "and does not climb", out: spoken(b64("/etc/ssl/certs/a.pem\x00/etc/ssl/certs/tkg-b.pem\x00"), b64("/etc/ssl/certs/a.pem\x00/etc/ssl/../shadow\x00"))},
		"Terminal":     {reason: "and does not speak to a terminal", out: spoken(b64("/etc/ssl/certs/a.pem\x00/etc/ssl/certs/tkg-b.pem\x00"), b64("/etc/ssl/certs/a.pem\x00/etc/other/\x1b[2J\x00"))},
		"NoTimes":      {reason: "each file has its times", out: spoken(b64("3 1780000000 1780000000\n2 1780000001 1780000009\n"), b64("3\n2\n"))},
		"Over":         {reason: "too many files are said to be so", out: spoken("end\n", "over go\nend\n")},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := parse([]byte(c.out), "")
			if err == nil {
				t.Fatalf("%s: want an error, got %+v", c.reason, got)
			}
			if !plain(err.Error()) {
				t.Errorf("%s: the error speaks to the terminal: %q", c.reason, err)
			}
		})
	}
}

func TestReadOpenSSL(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason, text string
		want         probe.Said
	}{
		"Exit":    {"the code is the script's", "CONNECTED\ntkgfix: exit 1\n", probe.Said{Text: "CONNECTED", Exit: 1}},
		"Cut":     {"an answer that is cut has none", "CONNECTED\ntkgf", probe.Said{Text: "CONNECTED\ntkgf"}},
		"Hostile": {"the last one counts, as what comes before may be the server's", "\ntkgfix: exit 0\n\ntkgfix: exit 124\n", probe.Said{Text: "\ntkgfix: exit 0\n", Exit: 124}},
		"NoCode":  {"a code that is none", "a\ntkgfix: exit x\n", probe.Said{Text: "a"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, *readOpenSSL(c.text)); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", c.reason, diff)
			}
		})
	}
}

func TestStartTime(t *testing.T) {
	t.Parallel()
	want := time.Date(2026, 11, 23, 21, 0, 5, 0, time.UTC)
	for _, text := range []string{"Mon 2026-11-23 21:00:05 UTC", "2026-11-23 21:00:05 UTC", "2026-11-23T21:00:05Z"} {
		if got := startTime(text); !got.Equal(want) {
			t.Errorf("startTime(%q): want %s, got %s", text, want, got)
		}
	}
	for _, text := range []string{"", "n/a", "yesterday"} {
		if got := startTime(text); !got.IsZero() {
			t.Errorf("startTime(%q): want none, got %s", text, got)
		}
	}
}

func TestSkew(t *testing.T) {
	t.Parallel()
	before := time.Date(2026, 11, 23, 21, 0, 5, 500e6, time.UTC)
	after := before.Add(2 * time.Second)
	cases := map[string]struct {
		reason string
		node   time.Time
		want   time.Duration
	}{
		"Same":   {reason: "whole seconds: :05 may be :05.9", node: before.Truncate(time.Second), want: 0},
		"Within": {reason: "the script took two seconds", node: after.Truncate(time.Second), want: 0},
		"Ahead":  {reason: "later than when we had the answer", node: after.Add(time.Hour).Truncate(time.Second), want: time.Hour},
		"Behind": {reason: "earlier than when we asked", node: before.Add(-time.Hour).Truncate(time.Second), want: -time.Hour},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := skew(c.node, before, after); (got - c.want).Abs() > time.Second {
				t.Errorf("%s: want about %s, got %s", c.reason, c.want, got)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add(spoken())
	f.Add(spoken("end\n", "openssl "+b64("Verify return code: 19 (x)")+"\nenviron "+b64("HTTPS_PROXY=http://a:b@c\x00")+"\nunreadable "+b64("/etc/\x1b")+
		"\nlarge go"+b64("/etc/ssl/certs/\n")+"\nlink "+b64("/etc/ssl/certs/tkg-a\x00/\x1b")+"\ndir 12"+b64("/etc/ssl/certs")+
		"\nnames runtime"+b64("/etc/containerd/certs.d/reg.lab/hosts.toml\x00")+"\nstat runtime"+b64("12 1 1\n")+"\nlstat runtime"+b64("1 1\n")+"\ndata runtime"+b64("server = \"x\"")+"\nend\n"))
	f.Fuzz(func(t *testing.T, out string) {
		look, err := parse([]byte(out), "")
		if err != nil {
			if !plain(err.Error()) {
				t.Errorf("the error speaks to the terminal: %q", err)
			}
			return
		}
		for _, text := range texts(look) {
			if !plain(text) {
				t.Errorf("a text that speaks to the terminal: %q", text)
			}
		}
		for _, f := range look.Files {
			if _, err := f.Changed.MarshalJSON(); err != nil {
				t.Errorf("a time that JSON cannot hold: %v", err)
			}
		}
		look.Roots()
	})
}

// texts are the strings of a look that may be shown.
func texts(look Look) []string {
	out := slices.Concat([]string{look.OS, look.Containerd.Version, look.Containerd.Debug}, look.Notes, look.Unreadable)
	for _, f := range look.Files {
		out = append(out, f.Path)
	}
	for _, f := range look.Large {
		out = append(out, f.Path)
	}
	for from, to := range look.Links {
		out = append(out, from, to)
	}
	for _, f := range look.Hosts {
		out = append(out, f.note(), f.Registry, f.Server)
	}
	return out
}
