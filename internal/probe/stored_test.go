package probe

import (
	"crypto/x509"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/internal/handshake/registrytest"
)

// TestStored holds what is said of CAs that are configured and have not reached the trust.
func TestStored(t *testing.T) {
	t.Parallel()
	root, other := registrytest.NewRoot(t, "Corp Root CA"), registrytest.NewRoot(t, "Other CA")
	right, wrong := Stored{"TSC, entry corp", []*x509.Certificate{root.Cert}}, Stored{"TSC, entry other", []*x509.Certificate{other.Cert}}
	both := Stored{"TSC, entry both", []*x509.Certificate{other.Cert, root.Cert}}
	good := root.Leaf(t, nil)
	client := root.Leaf(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
	type answer struct {
		CompletedBy []string
		Found       string
	}
	cases := map[string]struct {
		reason string
		leaf   registrytest.Leaf
		trust  *x509.Certificate
		stored []Stored
		want   answer
	}{
		"One":      {"the one that signed it", good, nil, []Stored{wrong, right}, answer{[]string{right.Name}, right.Name}},
		"Two":      {"each that would do", good, nil, []Stored{right, both}, answer{[]string{right.Name, both.Name}, both.Name}},
		"None":     {"none that did not", good, nil, []Stored{wrong}, answer{nil, ""}},
		"Accepted": {"nothing is missing", good, root.Cert, []Stored{right}, answer{nil, ""}},
		"Fault":    {"it is found, and does not do", client, nil, []Stored{right}, answer{nil, right.Name}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			trust := Trust{}.done()
			if c.trust != nil {
				trust = trust.With(c.trust)
			}
			got := Judge(Question{
				Chain: []*x509.Certificate{c.leaf.Cert}, Host: registrytest.Host, Trust: trust, Stored: c.stored, Now: time.Now(),
			})
			found := ""
			if got.Missing != nil {
				found = got.Missing.Found
			}
			if diff := cmp.Diff(c.want, answer{got.CompletedBy, found}); diff != "" {
				t.Errorf("%s (-want, +got):\n%s%s: %s", c.reason, diff, got.ID, certs.Clean(got.Note))
			}
		})
	}
}
