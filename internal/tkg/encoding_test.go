package tkg_test

import (
	"encoding/base64"
	"slices"
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
		problem string     // part of it
		forms   []tkg.Form // looked at if given
		der     bool
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
		"no padding":           {reason: "Python, and so cloud-init, refuses it", data: strings.TrimRight(single, "="), want: 1, layers: 1, pem: pemText, problem: "padded", forms: []tkg.Form{tkg.FormBase64Padding}},
		"too much padding":     {reason: "the same", data: tkg.Encode([]byte(pemText+"xx"), 1) + "==", want: 1, layers: 1, pem: pemText + "xx", problem: "padded", forms: []tkg.Form{tkg.FormBase64Padding}},
		"quoted":               {reason: "quotes of a shell or of YAML that went along", data: `"` + single + `"`, want: 1, layers: 1, pem: pemText, problem: "quotation", forms: []tkg.Form{tkg.FormBase64Quoted}},
		"joined":               {reason: "cat a.b64 b.b64: who reads it ends at the first =", data: single + single, want: 1, layers: 1, pem: pemText + pemText, problem: "several", forms: []tkg.Form{tkg.FormBase64Joined}},
		"BOM before base64":    {reason: "Notepad saved it", data: "\ufeff" + single, want: 1, layers: 1, pem: pemText, problem: "byte order mark", forms: []tkg.Form{tkg.FormBase64BOM}},
		"UTF-16 inside":        {reason: "PowerShell's Unicode without a mark", data: tkg.Encode(wide(pemText), 1), want: 1, layers: 1, pem: pemText, problem: "UTF-16", forms: []tkg.Form{tkg.FormUTF16}},
		"UTF-16, marked":       {reason: "Out-File", data: tkg.Encode(append([]byte{0xff, 0xfe}, wide(pemText)...), 1), want: 1, layers: 1, pem: pemText, problem: "UTF-16", forms: []tkg.Form{tkg.FormUTF16}},
		"UTF-16 of base64":     {reason: "the inner value went through PowerShell", data: tkg.Encode(wide(single), 1), want: 2, layers: 2, pem: pemText, problem: "UTF-16", forms: []tkg.Form{tkg.FormUTF16}},
		"URL alphabet":         {reason: "of a binary only, for PEM gives no such letter", data: strings.NewReplacer("+", "-", "/", "_").Replace(tkg.Encode([]byte("\x30\x82\x01\x85\xff\xfe\xfb\xef\xbe"), 1)), want: 1, layers: 1, problem: "DER", der: true, forms: []tkg.Form{tkg.FormDER, tkg.FormBase64URL}},
		"plain where wanted":   {reason: "caCert.content of a VKS class", data: pemText, want: 0, layers: 0, pem: pemText},
		"once where plain":     {reason: "the same, encoded", data: single, want: 0, layers: 1, pem: pemText, problem: "wants plain PEM", forms: []tkg.Form{tkg.FormTooManyLayers}},
		"long length":          {reason: "a chain over 64 KiB is DER as well", data: tkg.Encode([]byte("\x30\x83\x01\x85\x30\x82"), 1), want: 1, layers: 1, problem: "DER", der: true, forms: []tkg.Form{tkg.FormDER}},
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
			if tc.forms != nil {
				if diff := cmp.Diff(tc.forms, got.Forms); diff != "" {
					t.Errorf("%s: forms (-want, +got):\n%s", tc.reason, diff)
				}
			}
			if (got.DER != nil) != (tc.der || strings.Contains(tc.problem, "DER")) {
				t.Errorf("%s: DER %x", tc.reason, got.DER)
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

// wide returns ASCII as UTF-16, little end first.
func wide(s string) []byte {
	var out []byte
	for _, b := range []byte(s) {
		out = append(out, b, 0)
	}
	return out
}

// Each form of the wrong number of layers has its own name.
func TestDecodeForms(t *testing.T) {
	t.Parallel()
	for want := range 3 {
		for have := range 5 {
			var form []tkg.Form
			switch {
			case have == want:
			case have == 0:
				form = []tkg.Form{tkg.FormPlain}
			case have > want:
				form = []tkg.Form{tkg.FormTooManyLayers}
			default:
				form = []tkg.Form{tkg.FormTooFewLayers}
			}
			got := tkg.Decode(tkg.Encode([]byte(pemText), have), want)
			if diff := cmp.Diff(form, got.Forms); diff != "" || got.Layers != have {
				t.Errorf("%d layers, wanted %d: %d found, forms (-want, +got):\n%s", have, want, got.Layers, diff)
			}
		}
	}
	for data, form := range map[string]tkg.Form{
		"": tkg.FormEmpty, "/etc/ca.pem!": tkg.FormNotBase64, tkg.Encode([]byte("hello, world"), 1): tkg.FormNoCertificate,
		strings.Repeat("A", 1<<20+1): tkg.FormTooLarge,
	} {
		if got := tkg.Decode(data, 1); !got.Has(form) {
			t.Errorf("%.20q: %v, want %s", data, got.Forms, form)
		}
	}
}

// FuzzDecode holds of any value: the bounds; that a value without a problem is PEM under exactly the wanted layers of base64 that a
// strict reader takes; and that what was found, encoded afresh, is right.
func FuzzDecode(f *testing.F) {
	f.Add(pemText, 1)
	f.Add(tkg.Encode([]byte(pemText), 2), 1)
	f.Add("\ufeffLS0t LS1C\r\nRUdJTg", 1)
	f.Add("====", 2)
	f.Add("\xff\xfe-", 0)
	f.Add(`"`+strings.Repeat(tkg.Encode([]byte(pemText), 1), 2)+`"`, 1)
	f.Add(tkg.Encode(wide(tkg.Encode([]byte(pemText), 1)), 1), 2)
	f.Add("MIIBhQ-_-_", 1)
	f.Fuzz(func(t *testing.T, data string, want int) {
		got := tkg.Decode(data, want)
		if got.Layers < 0 || got.Layers > 5 || len(got.PEM) > len(data) || len(got.DER) > len(data) || got.PEM != nil && got.DER != nil {
			t.Fatalf("%d layers, %d and %d bytes of %d", got.Layers, len(got.PEM), len(got.DER), len(data))
		}
		clean := !slices.ContainsFunc(got.Forms, func(form tkg.Form) bool { return form != tkg.FormWrapped })
		if (got.Problem == "") != (got.PEM != nil && got.Layers == want && clean) {
			t.Fatalf("problem %q with %d layers, wanted %d, PEM %v, forms %v", got.Problem, got.Layers, want, got.PEM != nil, got.Forms)
		}
		if got.Problem == "" && !strict(data, want, got.PEM) {
			t.Fatalf("no problem with what a strict reader does not take: %v", got.Forms)
		}
		if got.PEM != nil && got.Layers > 0 && len(data) < 4096 {
			if again := tkg.Decode(tkg.Encode(got.PEM, got.Layers), got.Layers); again.Problem != "" || string(again.PEM) != string(got.PEM) {
				t.Fatalf("encoded again: %+v", again)
			}
		}
	})
}

// strict decodes as one does who takes no more than white space amiss.
func strict(data string, layers int, pem []byte) bool {
	at := []byte(data)
	for range layers {
		next, err := base64.StdEncoding.DecodeString(strings.NewReplacer(" ", "", "\t", "", "\n", "", "\r", "").Replace(strings.TrimSpace(string(at))))
		if err != nil {
			return false
		}
		at = next
	}
	return string(at) == string(pem)
}
