package tkg_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/internal/tkg"
)

// makeCA returns a new self-signed CA of that subject and year; each call makes another key.
func makeCA(t *testing.T, subject pkix.Name, year int) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(year)), Subject: subject, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Date(year, 3, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(year+20, 3, 1, 0, 0, 0, 0, time.UTC),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func cn(name string) pkix.Name { return pkix.Name{CommonName: name} }

// stored returns an entry as the API holds it.
func stored(name string, layers int, list ...*x509.Certificate) tkg.TrustEntry {
	return tkg.TrustEntry{Name: name, Data: tkg.Encode(certs.Normalize(list), layers)}
}

func TestChoose(t *testing.T) {
	t.Parallel()
	root := makeCA(t, cn("Lab Root CA"), 2024)
	oldRoot := makeCA(t, cn("Lab Root CA"), 2019)
	intermediate := makeCA(t, cn("Lab Issuing CA"), 2024)
	corpA, corpB := makeCA(t, cn("Corp A"), 2020), makeCA(t, cn("Corp B"), 2021)
	nameless := makeCA(t, pkix.Name{}, 2024)
	otherNameless := makeCA(t, pkix.Name{}, 2023)

	cases := map[string]struct {
		reason    string
		list      []tkg.TrustEntry
		candidate []*x509.Certificate
		name      string
		want      tkg.Choice
	}{
		"empty list": {
			reason: "a list without entries gets its first one, with a name from the CN and the year", candidate: []*x509.Certificate{root},
			want: tkg.Choice{Act: tkg.Add, Index: 0, Name: "lab-root-ca-2024"},
		},
		"held under a name that is there twice": {
			reason: "which of the two a node keeps is chance: the outdated one is replaced, under a name of its own",
			list:   []tkg.TrustEntry{stored("root", 1, root), stored("a", 1, corpA), stored("root", 1, oldRoot)}, candidate: []*x509.Certificate{root},
			want: tkg.Choice{Act: tkg.Replace, Index: 2, Name: "lab-root-ca-2024"},
		},
		"held beside another CA of the name": {
			reason: "no other CA is lost, and the candidate gets a file of its own",
			list:   []tkg.TrustEntry{stored("root", 1, root), stored("root", 1, corpA)}, candidate: []*x509.Certificate{root}, name: "root",
			want: tkg.Choice{Act: tkg.Replace, Index: 0, Name: "lab-root-ca-2024"},
		},
		"held": {
			reason: "an entry that holds the candidate is left alone, whatever name is asked for",
			list:   []tkg.TrustEntry{stored("a", 1, corpA), stored("root", 1, root)}, candidate: []*x509.Certificate{root}, name: "another",
			want: tkg.Choice{Act: tkg.Keep, Index: 1, Name: "root"},
		},
		"held in a bundle": {
			reason: "a bundle with the candidate in it gives nodes the candidate",
			list:   []tkg.TrustEntry{stored("bundle", 1, corpA, root)}, candidate: []*x509.Certificate{root},
			want: tkg.Choice{Act: tkg.Keep, Index: 0, Name: "bundle"},
		},
		"named": {
			reason: "the entry that is named is replaced, even before one of the same subject",
			list:   []tkg.TrustEntry{stored("old", 1, oldRoot), stored("b", 1, corpB)}, candidate: []*x509.Certificate{root}, name: "b",
			want: tkg.Choice{Act: tkg.Replace, Index: 1, Name: "b"},
		},
		"old key": {
			reason: "the certificate of the same subject with another key is what is wrong: it is replaced under its name",
			list:   []tkg.TrustEntry{stored("a", 1, corpA), stored("old", 1, oldRoot), stored("b", 1, corpB)}, candidate: []*x509.Certificate{root},
			want: tkg.Choice{Act: tkg.Replace, Index: 1, Name: "old"},
		},
		"old key, new name": {
			reason: "a name that no entry has is the new name of the entry that is replaced",
			list:   []tkg.TrustEntry{stored("old", 1, oldRoot)}, candidate: []*x509.Certificate{root}, name: "new",
			want: tkg.Choice{Act: tkg.Replace, Index: 0, Name: "new"},
		},
		"encoded twice": {
			reason: "the right certificate in the wrong encoding is mended in its place, even if an old key comes first",
			list:   []tkg.TrustEntry{stored("old", 1, oldRoot), stored("root", 2, root)}, candidate: []*x509.Certificate{root},
			want: tkg.Choice{Act: tkg.Replace, Index: 1, Name: "root"},
		},
		"not encoded": {
			reason: "plain PEM where base64 is wanted is mended too",
			list:   []tkg.TrustEntry{stored("root", 0, root)}, candidate: []*x509.Certificate{root},
			want: tkg.Choice{Act: tkg.Replace, Index: 0, Name: "root"},
		},
		"old key in a bundle with others": {
			reason: "replacing a bundle would drop the CA beside the old one: an entry is added instead",
			list:   []tkg.TrustEntry{stored("bundle", 1, oldRoot, corpA)}, candidate: []*x509.Certificate{root},
			want: tkg.Choice{Act: tkg.Add, Index: 1, Name: "lab-root-ca-2024"},
		},
		"bundle of candidates": {
			reason: "a candidate of two certificates supersedes an entry with the old one of either; the root gives the name",
			list:   []tkg.TrustEntry{stored("a", 1, corpA)}, candidate: []*x509.Certificate{intermediate, root},
			want: tkg.Choice{Act: tkg.Add, Index: 1, Name: "lab-issuing-ca-2024"},
		},
		"part of a bundle": {
			reason: "an entry with only one of the candidate's two certificates is not enough, and is superseded",
			list:   []tkg.TrustEntry{stored("root", 1, root)}, candidate: []*x509.Certificate{root, intermediate},
			want: tkg.Choice{Act: tkg.Replace, Index: 0, Name: "root"},
		},
		"garbage": {
			reason: "an entry that holds nothing readable is not guessed at",
			list:   []tkg.TrustEntry{{Name: "x", Data: "bm90aGluZw=="}}, candidate: []*x509.Certificate{root},
			want: tkg.Choice{Act: tkg.Add, Index: 1, Name: "lab-root-ca-2024"},
		},
		"name taken": {
			reason: "a derived name that another entry has gets a number, whatever its case",
			list:   []tkg.TrustEntry{stored("Lab-Root-CA-2024", 1, corpA), stored("lab-root-ca-2024-2", 1, corpB)}, candidate: []*x509.Certificate{root},
			want: tkg.Choice{Act: tkg.Add, Index: 2, Name: "lab-root-ca-2024-3"},
		},
		"no subject": {
			reason: "two certificates without a subject are not namesakes",
			list:   []tkg.TrustEntry{stored("x", 1, otherNameless)}, candidate: []*x509.Certificate{nameless},
			want: tkg.Choice{Act: tkg.Add, Index: 1, Name: "ca-2024"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var list []tkg.Held
			for _, e := range tc.list {
				list = append(list, tkg.Hold(e.Name, e.Data, tkg.LayersService))
			}
			got := tkg.Choose(list, tc.candidate, tkg.Naming{Name: tc.name})
			if got.Why == "" {
				t.Errorf("%s: the choice has no reason", tc.reason)
			}
			got.Why = ""
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestChooseFresh is for Secrets, where a new key is what makes nodes roll (tkg-facts.md §2).
func TestChooseFresh(t *testing.T) {
	t.Parallel()
	root, oldRoot, corp := makeCA(t, cn("Lab Root CA"), 2024), makeCA(t, cn("Lab Root CA"), 2019), makeCA(t, cn("Corp"), 2020)
	held := func(name string, layers int, list ...*x509.Certificate) tkg.Held {
		return tkg.Hold(name, stored(name, layers, list...).Data, tkg.LayersSecret)
	}
	absent := tkg.Held{Name: "gone", Absent: true}
	cases := map[string]struct {
		reason string
		list   []tkg.Held
		naming tkg.Naming
		want   tkg.Choice
	}{
		"held": {reason: "right is right under any key", list: []tkg.Held{held("corp", 2, corp), held("root", 2, root)}, want: tkg.Choice{Act: tkg.Keep, Index: 1, Name: "root"}},
		"single": {
			reason: "the same certificate is encoded again under a new key, for the bytes alone roll nothing", list: []tkg.Held{held("lab-root-ca-2024", 1, root)},
			want: tkg.Choice{Act: tkg.Replace, Name: "lab-root-ca-2024-2"},
		},
		"old key": {
			reason: "the new CA does not take the old one's key", list: []tkg.Held{held("corp", 2, corp), held("harbor", 2, oldRoot)},
			want: tkg.Choice{Act: tkg.Replace, Index: 1, Name: "lab-root-ca-2024"},
		},
		"taken in the Secret": {
			reason: "a key that is in the Secret already may be another cluster's", naming: tkg.Naming{Taken: []string{"LAB-root-ca-2024"}},
			want: tkg.Choice{Act: tkg.Add, Name: "lab-root-ca-2024-2"},
		},
		"named": {
			reason: "the entry that is named is replaced, under another name", list: []tkg.Held{held("corp", 2, corp), held("harbor", 2, oldRoot)},
			naming: tkg.Naming{Name: "corp"}, want: tkg.Choice{Act: tkg.Replace, Name: "lab-root-ca-2024"},
		},
		"new name": {reason: "a name that is new is taken", naming: tkg.Naming{Name: "mine"}, want: tkg.Choice{Act: tkg.Add, Name: "mine"}},
		"absent": {
			reason: "what names a key that is not there loses nothing", list: []tkg.Held{held("corp", 2, corp), absent},
			want: tkg.Choice{Act: tkg.Replace, Index: 1, Name: "lab-root-ca-2024"},
		},
		"absent after others": {
			reason: "an entry that is superseded comes before one that names nothing", list: []tkg.Held{absent, held("harbor", 2, oldRoot)},
			want: tkg.Choice{Act: tkg.Replace, Index: 1, Name: "lab-root-ca-2024"},
		},
		"without a name": {reason: "no name asks for no entry", list: []tkg.Held{{Name: ""}}, want: tkg.Choice{Act: tkg.Add, Index: 1, Name: "lab-root-ca-2024"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.naming.Fresh = true
			got := tkg.Choose(tc.list, []*x509.Certificate{root}, tc.naming)
			got.Why = ""
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestFreeName(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason  string
		subject pkix.Name
		want    string
	}{
		"year there":   {reason: "the year is not said twice", subject: cn("Corp Root 2024"), want: "corp-root-2024"},
		"other script": {reason: "what is not a letter or digit is left out", subject: cn("Läb: Röot/CA"), want: "l-b-r-ot-ca-2024"},
		"no CN":        {reason: "the organization stands in for the CN", subject: pkix.Name{Organization: []string{"Example GmbH"}}, want: "example-gmbh-2024"},
		"long": {
			reason: "a name becomes a file name, so it is bounded", subject: cn("a very long name of a certificate authority that goes on and on"),
			want: "a-very-long-name-of-a-certificate-authority-that-2024",
		},
		"hostile": {reason: "no path and no shell gets through", subject: cn("../../etc/$(reboot)"), want: "etc-reboot-2024"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := tkg.FreeName(nil, []*x509.Certificate{makeCA(t, tc.subject, 2024)})
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
			if !tkg.ValidTrustName(got) {
				t.Errorf("%s: %q is not a name that the API takes", tc.reason, got)
			}
		})
	}
}
