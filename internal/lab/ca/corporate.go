package ca

import (
	"fmt"
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
	// Partner signs the certificates of other hosts that a pull may lead to: a token server, a store of blobs, a mirror.
	// The root is Partner, PartnerIssuing is what it signs with.
	Partner, PartnerIssuing *Authority
	// Proxy signs what the proxy that looks into TLS presents in the place of a server's own certificate.
	Proxy *Authority
	// ExpiredRoot is Root's certificate of an earlier time, with the same key, in PEM.
	ExpiredRoot []byte
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
		{"Partner Root CA", &c.Partner},
		{"Corp Proxy CA", &c.Proxy},
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
	if c.ExpiredRoot, err = c.Root.Expired(); err != nil {
		return nil, err
	}
	if c.PartnerIssuing, err = c.Partner.Intermediate("Partner Issuing CA 1"); err != nil {
		return nil, err
	}
	c.Intermediate, err = c.Root.Intermediate("Laboratory Corp Issuing CA 1")
	return c, err
}

// Files returns what goes to the laboratory's folder ca, by file name.
func (c *Corporate) Files() map[string][]byte {
	return map[string][]byte{
		"root.pem":         c.Root.PEM(),
		"intermediate.pem": c.Intermediate.PEM(),
		"old-root.pem":     c.OldRoot.PEM(),
		"other-root.pem":   c.OtherRoot.PEM(),
		"expired-root.pem": c.ExpiredRoot,
		"partner-root.pem": c.Partner.PEM(),
		"proxy-root.pem":   c.Proxy.PEM(),
		"corp-a.pem":       c.CorpA.PEM(),
		"corp-b.pem":       c.CorpB.PEM(),
	}
}
