package tkg_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/tkg"
)

// pemText is no certificate: Decode looks for PEM and does not read it.
const pemText = "-----BEGIN CERTIFICATE-----\nMIIBhTCCASugAwIBAgIQIRi6zePL6mKjOipn+dNuaTAKBggqhkjOPQQDAjASMRAw\n-----END CERTIFICATE-----\n"

func TestDecode(t *testing.T) {
	t.Parallel()
	single := tkg.Encode([]byte(pemText), 1)
	wrapped := func(s string, eol string) string {
		var out strings.Builder
		for len(s) > 76 {
			out.WriteString(s[:76] + eol)
			s = s[76:]
		}
		return out.String() + s + eol
	}
	der := "\x30\x82\x01\x85\x30\x82\x01\x2b"
	cases := map[string]struct {
		reason  string
		data    string
		want    int // layers wanted
		layers  int
		pem     string
		problem string // part of it
	}{
		"single":               {reason: "right for TkgServiceConfiguration", data: single, want: 1, layers: 1, pem: pemText},
		"double":               {reason: "right for a Secret", data: tkg.Encode([]byte(pemText), 2), want: 2, layers: 2, pem: pemText},
		"double for single":    {reason: "the common slip", data: tkg.Encode([]byte(pemText), 2), want: 1, layers: 2, pem: pemText, problem: "too often or more: 2 layers of base64, this place wants 1"},
		"single for double":    {reason: "what the vendor warns of", data: single, want: 2, layers: 1, pem: pemText, problem: "too seldom"},
		"triple":               {reason: "counted, not assumed", data: tkg.Encode([]byte(pemText), 3), want: 1, layers: 3, pem: pemText, problem: "too often or more: 3 layers"},
		"five":                 {reason: "the last that is looked at", data: tkg.Encode([]byte(pemText), 5), want: 1, layers: 5, pem: pemText, problem: "5 layers"},
		"six":                  {reason: "there is an end", data: tkg.Encode([]byte(pemText), 6), want: 1, layers: 5, problem: "no PEM under 5 layers"},
		"plain":                {reason: "no layer at all", data: pemText, want: 1, layers: 0, pem: pemText, problem: "plain PEM"},
		"wrapped":              {reason: "base64 without -w0", data: wrapped(single, "\n"), want: 1, layers: 1, pem: pemText},
		"wrapped, CRLF":        {reason: "on Windows", data: wrapped(single, "\r\n"), want: 1, layers: 1, pem: pemText},
		"wrapped inside":       {reason: "the inner one wrapped too", data: tkg.Encode([]byte(wrapped(single, "\n")), 1), want: 2, layers: 2, pem: pemText},
		"no padding":           {reason: "some tools leave it out", data: strings.TrimRight(tkg.Encode([]byte(pemText+"x"), 1), "="), want: 1, layers: 1, pem: pemText + "x"},
		"text before BEGIN":    {reason: "openssl -text; a prefix would not be recognized", data: tkg.Encode([]byte("Certificate:\n"+pemText), 1), want: 1, layers: 1, pem: "Certificate:\n" + pemText},
		"BOM":                  {reason: "whether Go takes it is another question", data: tkg.Encode([]byte("\ufeff"+pemText), 1), want: 1, layers: 1, pem: "\ufeff" + pemText},
		"smart dashes":         {reason: "the same", data: tkg.Encode([]byte(strings.ReplaceAll(pemText, "-----", "–––––")), 1), want: 1, layers: 1, pem: strings.ReplaceAll(pemText, "-----", "–––––")},
		"private key":          {reason: "the same", data: tkg.Encode([]byte(strings.ReplaceAll(pemText, "CERTIFICATE", "PRIVATE KEY")), 1), want: 1, layers: 1, pem: strings.ReplaceAll(pemText, "CERTIFICATE", "PRIVATE KEY")},
		"DER":                  {reason: "binary under base64", data: tkg.Encode([]byte(der), 1), want: 1, layers: 1, problem: "DER"},
		"not base64":           {reason: "a path, say", data: "/etc/ssl/ca.pem!", want: 1, layers: 0, problem: "neither PEM nor base64"},
		"base64 of other text": {reason: "a word under base64", data: tkg.Encode([]byte("hello, world"), 1), want: 1, layers: 1, problem: "no PEM"},
		"empty":                {reason: "a half-written entry", data: "", want: 1, problem: "empty"},
		"white space":          {reason: "the same", data: " \n", want: 1, problem: "empty"},
		"too large":            {reason: "bounded", data: strings.Repeat("A", 1<<20+1), want: 1, problem: "larger than"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := tkg.Decode(tc.data, tc.want)
			if got.Layers != tc.layers {
				t.Errorf("%s: %d layers, want %d", tc.reason, got.Layers, tc.layers)
			}
			if diff := cmp.Diff(tc.pem, string(got.PEM)); diff != "" {
				t.Errorf("%s: PEM (-want, +got):\n%s", tc.reason, diff)
			}
			if (got.Problem == "") != (tc.problem == "") || !strings.Contains(got.Problem, tc.problem) {
				t.Errorf("%s: problem %q, want %q", tc.reason, got.Problem, tc.problem)
			}
		})
	}
}

func TestEncode(t *testing.T) {
	t.Parallel()
	if got := tkg.Encode([]byte(pemText), 0); got != pemText {
		t.Errorf("no layer: %q", got)
	}
	got := tkg.Encode([]byte(strings.Repeat(pemText, 3)), 1)
	if back, err := base64.StdEncoding.DecodeString(got); err != nil || string(back) != strings.Repeat(pemText, 3) {
		t.Errorf("one layer: %q, %v", back, err)
	}
	if strings.ContainsAny(got, "\r\n ") {
		t.Error("the stored value has line ends")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(pemText, 1)
	f.Add(tkg.Encode([]byte(pemText), 2), 1)
	f.Add("\ufeffLS0t LS1C\r\nRUdJTg", 1)
	f.Add("====", 2)
	f.Add("\xff\xfe-", 0)
	f.Fuzz(func(t *testing.T, data string, want int) {
		got := tkg.Decode(data, want)
		if got.Layers < 0 || got.Layers > 5 || len(got.PEM) > len(data) {
			t.Fatalf("%d layers, %d bytes of %d", got.Layers, len(got.PEM), len(data))
		}
		if (got.Problem == "") != (got.PEM != nil && got.Layers == want) {
			t.Fatalf("problem %q with %d layers, wanted %d, PEM %v", got.Problem, got.Layers, want, got.PEM != nil)
		}
		if got.PEM != nil && got.Layers > 0 && len(data) < 4096 {
			if again := tkg.Decode(tkg.Encode(got.PEM, got.Layers), got.Layers); again.Problem != "" || string(again.PEM) != string(got.PEM) {
				t.Fatalf("encoded again: %+v", again)
			}
		}
	})
}
