package redact

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestText(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		values []string
		text   string
		want   string
	}{
		"None":     {reason: "without a secret nothing is masked", values: []string{""}, text: "as it is", want: "as it is"},
		"Twice":    {reason: "each time", values: []string{"abc"}, text: "abc and abc", want: "*** and ***"},
		"Overlap":  {reason: "secrets that overlap are masked whole", values: []string{"abc", "cde"}, text: "xabcdex", want: "x***x"},
		"Itself":   {reason: "one that overlaps itself too", values: []string{"aba"}, text: "xababax", want: "x***x"},
		"Spaces":   {reason: "a file's last newline is not always printed", values: []string{"abc\n"}, text: "abc.", want: "***."},
		"Quoted":   {reason: "as JSON writes it", values: []string{`a"b`}, text: `{"x":"a\"b"}`, want: `{"x":"***"}`},
		"Base64":   {reason: "as a Secret writes it", values: []string{"hunter2"}, text: "data: aHVudGVyMg==", want: "data: ***"},
		"Password": {reason: "a proxy's password alone", values: []string{"http://u:p%40ss@proxy:3128"}, text: "p@ss p%40ss", want: "*** ***"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, Of(tc.values...).Text(tc.text)); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestObject(t *testing.T) {
	t.Parallel()
	in := map[string]any{"k abc": []any{"abc", 1.0, map[string]any{"x": "abc"}}, "n": nil}
	want := map[string]any{"k ***": []any{"***", 1.0, map[string]any{"x": "***"}}, "n": nil}
	if diff := cmp.Diff(want, Of("abc").Object(in)); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
	if _, kept := in["k abc"]; !kept {
		t.Error("the original was changed")
	}
}

func TestPrintable(t *testing.T) {
	t.Parallel()
	if got := Line("\n a\x1b[31mb\xffc\nsecond", 6); got != "a\uFFFD[31m…" {
		t.Errorf("got %q", got)
	}
}

// FuzzRedact looks for any secret in any output.
func FuzzRedact(f *testing.F) {
	f.Add("abc", "bcd", []byte("xabcdx"))
	f.Add("aa", "aba", []byte("aaabaaa"))
	f.Add("http://u:p%40ss@h", " t\n", []byte("p@ss p%40ss t u:p%40ss"))
	f.Fuzz(func(t *testing.T, one, two string, raw []byte) {
		if strings.Contains(one+two, "*") {
			return // the mask itself may look like it
		}
		s := Of(one, two)
		got := s.Part(raw, 0, len(raw))
		for _, secret := range s {
			if bytes.Contains(got, secret) {
				t.Errorf("%q is in %q, made of %q", secret, got, raw)
			}
		}
		if len(s) == 0 && !bytes.Equal(got, raw) {
			t.Errorf("without a secret %q became %q", raw, got)
		}
		// A part of the text shows nothing more than the whole.
		half := len(raw) / 2
		if parts := string(s.Part(raw, 0, half)) + string(s.Part(raw, half, len(raw))); strings.ReplaceAll(parts, Mask, "") != strings.ReplaceAll(string(got), Mask, "") {
			t.Errorf("in parts %q, whole %q", parts, got)
		}
	})
}
