package probe

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSpares(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		rule   rule
		build  Build
		want   bool
	}{
		"Unknown":     {"one that is not known has all rules", ruleNegativeSerial, Build{}, false},
		"NoVersion":   {"a vendor's words are no version", ruleNegativeSerial, Build{Go: "devel"}, false},
		"Before":      {"the release before", ruleNegativeSerial, Build{Go: "1.22"}, true},
		"PatchBefore": {"with its patches", ruleNegativeSerial, Build{Go: "1.22.9"}, true},
		"Since":       {"the release itself", ruleNegativeSerial, Build{Go: "1.23"}, false},
		"Numbers":     {"releases are numbers and not text", ruleNegativeSerial, Build{Go: "1.9"}, true},
		"Debug":       {"GODEBUG takes it back", ruleNegativeSerial, Build{Go: "1.25", Debug: "a=b,x509negativeserial=1"}, true},
		"DebugLast":   {"the last one counts", ruleNegativeSerial, Build{Go: "1.25", Debug: "x509negativeserial=1,x509negativeserial=0"}, false},
		"DebugPuts":   {"or puts it in force", ruleTinyKey, Build{Go: "1.21", Debug: "rsa1024min=1"}, false},
		"DebugOther":  {"another is not it", ruleTinyKey, Build{Go: "1.25", Debug: "xrsa1024min=0"}, false},
		"NoSetting":   {"the compiler is not known by the go line", rulePolicies, Build{Go: "1.21"}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := c.rule.spares(c.build); got != c.want {
				t.Errorf("%s: want %v, got %v", c.reason, c.want, got)
			}
		})
	}
}

// negative is a self-signed certificate with a serial number below zero.
func negative(t testing.TB, serial []byte) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	placeholder := bytes.Repeat([]byte{0x11}, len(serial))
	template := &x509.Certificate{SerialNumber: new(big.Int).SetBytes(placeholder), Subject: pkix.Name{CommonName: "a"}, NotAfter: time.Unix(1<<32, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Replace(der, placeholder, serial, 1)
}

func TestParseOlder(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		reason string
		serial []byte
		want   int64
	}{
		"One":  {"one byte", []byte{0xfb}, -5},
		"Two":  {"two bytes", []byte{0x80, 0x01}, -32767},
		"Most": {"many bytes", []byte{0x80, 0, 0, 0, 0, 0, 0, 1}, -1<<63 + 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			der := negative(t, c.serial)
			if _, err := x509.ParseCertificate(der); err == nil {
				t.Fatalf("%s: today's Go reads it", c.reason)
			}
			got, err := parseOlder(der)
			if err != nil {
				t.Fatalf("%s: %v", c.reason, err)
			}
			if diff := cmp.Diff(big.NewInt(c.want).String(), got.SerialNumber.String()); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", c.reason, diff)
			}
			if !bytes.Equal(got.Raw, der) || !bytes.Contains(der, got.RawTBSCertificate) || !bytes.Contains(got.RawTBSCertificate, c.serial) {
				t.Errorf("%s: what was signed is not what came", c.reason)
			}
		})
	}
}

// FuzzParseOlder: what is read keeps its bytes, and what today's Go reads is read alike.
func FuzzParseOlder(f *testing.F) {
	f.Add(negative(f, []byte{0xfb}))
	f.Add(negative(f, []byte{0x11}))
	f.Add([]byte{0x30, 3, 0x30, 1, 2})
	f.Fuzz(func(t *testing.T, der []byte) {
		before := bytes.Clone(der)
		got, err := parseOlder(der)
		today, refused := x509.ParseCertificate(der)
		switch {
		case !bytes.Equal(before, der):
			t.Error("the bytes were changed")
		case err == nil && (!bytes.Equal(got.Raw, der) || !bytes.Contains(der, got.RawTBSCertificate)):
			t.Error("it is not what came")
		case refused == nil && (err != nil || !got.Equal(today)):
			t.Errorf("today's Go reads it: %v", err)
		}
	})
}

// FuzzSaid: whatever an openssl prints becomes text that is fit to print, and what fails is no agreement.
func FuzzSaid(f *testing.F) {
	f.Add("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\nNew, TLSv1.3, Cipher is X\nVerify return code: 0 (ok)\n", 0)
	f.Add("verify error:num=20:a\x1b[2J\nVerify return code: 99999999999999999999 (x)", 1)
	f.Fuzz(func(t *testing.T, text string, exit int) {
		said := Said{Text: text, Exit: exit}
		out := OpenSSL{VerifyCode: -1}
		ok := said.read(&out)
		if ok && (out.VerifyCode != 0 || exit == timedOut) {
			t.Errorf("accepted with %d and exit code %d", out.VerifyCode, exit)
		}
		if len(out.Text) > 16<<10 || bytes.ContainsAny([]byte(out.Text), "\x1b\x00\n") {
			t.Errorf("not fit to print: %q", out.Text)
		}
		said.Chain()
	})
}
