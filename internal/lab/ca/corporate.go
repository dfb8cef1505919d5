package ca

import (
	"fmt"
	"net"
	"time"

	"golang.org/x/sync/errgroup"
)

// RootName is the subject's common name of the registry's root, and of the old root that it replaced.
const RootName = "Laboratory Corp Root CA"

// Corporate is the PKI around the laboratory's registry.
type Corporate struct {
	// Root signs Intermediate, which signs the registry's certificate.
	Root, Intermediate *Authority
	// OldRoot has Root's subject and another key: what is left in a configuration after a CA was made anew.
	OldRoot *Authority
	// OtherRoot signs nothing here.
	OtherRoot *Authority
	// CorpA and CorpB are the unrelated CAs that TkgServiceConfiguration holds for other registries.
	CorpA, CorpB *Authority
	// Public stands for the public roots that a node's operating system brings.
	Public *Authority
}

// NewCorporate makes all of it. It takes a second or so, for the RSA keys.
func NewCorporate(now time.Time) (*Corporate, error) {
	c := &Corporate{}
	var group errgroup.Group
	for _, root := range []struct {
		name string
		to   **Authority
	}{
		{RootName, &c.Root},
		{RootName, &c.OldRoot},
		{"Other Root CA", &c.OtherRoot},
		{"Corp A Root CA", &c.CorpA},
		{"Corp B Root CA", &c.CorpB},
		{"Public Web Root CA", &c.Public},
	} {
		group.Go(func() (err error) {
			*root.to, err = NewRoot(root.name, RSA, now)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("making the corporate PKI: %w", err)
	}
	var err error
	c.Intermediate, err = c.Root.Intermediate("Laboratory Corp Issuing CA 1")
	return c, err
}

// Registry issues the registry's certificate for the name.
func (c *Corporate) Registry(name string) (Pair, error) {
	return c.Intermediate.Issue(Leaf{CommonName: name, DNS: []string{name}, IPs: []net.IP{}})
}

// Files returns what goes to the laboratory's folder ca, by file name.
func (c *Corporate) Files() map[string][]byte {
	return map[string][]byte{
		"root.pem":         c.Root.PEM(),
		"intermediate.pem": c.Intermediate.PEM(),
		"old-root.pem":     c.OldRoot.PEM(),
		"other-root.pem":   c.OtherRoot.PEM(),
		"corp-a.pem":       c.CorpA.PEM(),
		"corp-b.pem":       c.CorpB.PEM(),
	}
}
