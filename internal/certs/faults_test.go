package certs_test

import (
	"bytes"
	"crypto/x509"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/certs"
)

func TestFaults(t *testing.T) {
	t.Parallel()
	p := newPKI(t)
	old := root(t, "Corp Root CA")
	none := certs.NewRoots(nil)
	late := server(t, p.inter, past(), names("other.test"))
	plain := root(t, "Harbor CA", organization(""))
	cases := map[string]struct {
		reason string
		chain  []*x509.Certificate
		roots  *certs.Roots
		atHand []*x509.Certificate
		want   []certs.Class
		found  *x509.Certificate
	}{
		"None":       {reason: "Go accepts it", chain: list(p.leaf, p.inter), roots: none.With(p.root.Certificate)},
		"Empty":      {reason: "no chain", want: []certs.Class{certs.ClassOther}},
		"Hidden":     {reason: "name and dates hide the authority", chain: list(late, p.inter), roots: none.With(old.Certificate), want: []certs.Class{certs.ClassNameMismatch, certs.ClassExpired, certs.ClassSameNameOtherKey}},
		"FoundRoot":  {reason: "the root is at hand", chain: list(p.leaf, p.inter), roots: none, atHand: list(old, p.root), want: []certs.Class{certs.ClassUntrustedRoot}, found: p.root.Certificate},
		"FoundInter": {reason: "the intermediate is at hand", chain: list(p.leaf), roots: none.With(p.root.Certificate), atHand: list(p.inter), want: []certs.Class{certs.ClassMissingIntermediate}, found: p.inter.Certificate},
		"NotFound":   {reason: "what is at hand has the name and another key", chain: list(p.leaf, p.inter), roots: none, atHand: list(old), want: []certs.Class{certs.ClassUntrustedRoot}},
		"SomeIssuer": {reason: "a lone leaf tells nothing of its issuer", chain: list(server(t, plain)), roots: none.With(old.Certificate), want: []certs.Class{certs.ClassMissingIssuer}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := certs.Faults(c.chain, host, c.roots, now(), c.atHand...)
			var classes []certs.Class
			var found *x509.Certificate
			for _, f := range got {
				classes = append(classes, f.Class)
				if f.Found != nil {
					found = f.Found
				}
			}
			if diff := cmp.Diff(c.want, classes); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", c.reason, diff)
			}
			if (found == nil) != (c.found == nil) || found != nil && !found.Equal(c.found) {
				t.Errorf("%s: found %v", c.reason, found)
			}
		})
	}
}

// TestFaultsAreBounded: a hundred certificates of one name cost a bounded number of signatures.
func TestFaultsAreBounded(t *testing.T) {
	t.Parallel()
	p := newPKI(t)
	chain := list(p.leaf)
	for range 500 {
		chain = append(chain, root(t, "Corp Issuing CA").Certificate)
	}
	got := certs.Faults(chain, host, certs.NewRoots(nil).With(p.root.Certificate), now())
	if len(got) != 1 || got[0].Class != certs.ClassOther || !strings.Contains(got[0].Note, "than are looked at") {
		t.Errorf("got %+v", got)
	}
}

// TestAcceptPrefersRoots: of two ways to accept a chain the one that ends in a root is told.
func TestAcceptPrefersRoots(t *testing.T) {
	t.Parallel()
	p := newPKI(t)
	got, err := certs.Accept(list(p.leaf, p.inter), host, certs.NewRoots(nil).With(p.inter.Certificate, p.root.Certificate), now())
	if err != nil || !bytes.Equal(got.Anchor.Raw, p.root.Raw) || got.Intermediate || got.Leaf {
		t.Errorf("got %+v, %v", got, err)
	}
}
