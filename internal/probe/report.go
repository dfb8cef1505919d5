package probe

import (
	"crypto/x509"
	"time"

	"github.com/tkgfix/tkgfix/internal/certs"
)

// maxShown bounds the certificates of a chain that are shown. All are judged.
const maxShown = 32

// Report is what a probe found, in the form of tkgfix probe --output json.
type Report struct {
	Target Target `json:"target"`
	// From is local, or node/NAME.
	From string `json:"from"`
	// Accepted says whether containerd, with these roots, accepts the connection to the target.
	Accepted bool `json:"accepted"`
	Verdict
	// Message is for people: what is wrong, what mends it, what does not, and where to read on.
	Message string `json:"message"`
	// GoError is the error as containerd words it; empty when there is none.
	GoError string `json:"goError"`
	// Also are the verdicts that come to light once the first is mended.
	Also []Further `json:"also"`
	// Missing is the certificate that would complete the chain, when one would.
	Missing *Missing `json:"missing,omitempty"`
	Chain   []Cert   `json:"chain"`
	// Presented are the certificates themselves, all of them, as far as Go can read them.
	Presented []*x509.Certificate `json:"-"`
	Roots     Roots               `json:"roots"`
	OpenSSL   OpenSSL             `json:"openssl"`
	// WithCandidate is the answer with the candidate added to the roots; nil without one.
	WithCandidate *Candidate `json:"withCandidate,omitempty"`
	// CompletedBy names the stored CAs of the request with each of which the chain would be accepted.
	CompletedBy []string `json:"completedBy,omitempty"`
	// Proxy is the proxy by which the target was reached, without its credentials.
	Proxy string `json:"proxy,omitempty"`
	// Hops are the hosts of containerd's hosts.toml, if there is one, and the connections that a pull makes, with --image.
	Hops []Hop `json:"hops,omitempty"`
	// Notes say what else may make a pull from there differ.
	Notes []string `json:"notes,omitempty"`
}

// Target is what was dialled.
type Target struct {
	Host       string `json:"host"`
	Port       int    `json:"port"`
	ServerName string `json:"serverName"`
	// Address is the address and port of the TCP connection; empty when there was none, or a proxy or a node made it.
	Address string `json:"address"`
}

// Further is a fault behind the first.
type Further struct {
	Verdict
	Message string `json:"message"`
}

// Missing names a certificate.
type Missing struct {
	// Name is subject and key id, or what it issued.
	Name string `json:"name"`
	// Found says where it was at hand; empty when it was not.
	Found string `json:"found"`
	// PEM is the certificate when it was at hand.
	PEM string `json:"pem,omitempty"`
}

// Cert is a certificate of a chain.
type Cert struct {
	Subject        string    `json:"subject"`
	Issuer         string    `json:"issuer"`
	Serial         string    `json:"serial"`
	SHA256         string    `json:"sha256"`
	NotBefore      time.Time `json:"notBefore"`
	NotAfter       time.Time `json:"notAfter"`
	IsCA           bool      `json:"isCA"`
	SubjectKeyID   string    `json:"subjectKeyId"`
	AuthorityKeyID string    `json:"authorityKeyId"`
	DNSNames       []string  `json:"dnsNames"`
	IPAddresses    []string  `json:"ipAddresses"`
}

// Roots says what was trusted.
type Roots struct {
	Files        int        `json:"files"`
	Certificates int        `json:"certificates"`
	Rejected     []Rejected `json:"rejected"`
}

// Rejected is a file of the trust of which Go drops something.
type Rejected struct {
	File   string `json:"file"`
	Reason string `json:"reason"`
}

// OpenSSL is what openssl s_client says of the target.
type OpenSSL struct {
	Available bool `json:"available"`
	// VerifyCode is the number of its verify return code; -1 when it had no handshake.
	VerifyCode int    `json:"verifyCode"`
	Text       string `json:"text"`
	// Agrees says whether openssl and containerd come to the same end.
	Agrees bool   `json:"agrees"`
	Why    string `json:"why"`
}

// Candidate is the answer with the candidate added to the roots.
type Candidate struct {
	Accepted bool   `json:"accepted"`
	GoError  string `json:"goError"`
}

// Hop is a connection to one host of a pull.
type Hop struct {
	// Role is mirror, registry, token, manifest or blob.
	Role     string `json:"role"`
	Host     string `json:"host"`
	Accepted bool   `json:"accepted"`
	Status   int    `json:"status"`
	Verdict  string `json:"verdict"`
	GoError  string `json:"goError"`
	Chain    []Cert `json:"chain,omitempty"`
}

// CandidateAccepted says whether the connection would be accepted with the candidate added; false without one.
func (r Report) CandidateAccepted() bool { return r.WithCandidate != nil && r.WithCandidate.Accepted }

// MissingName names the certificate that would complete the chain; empty when none would.
func (r Report) MissingName() string {
	if r.Missing == nil {
		return ""
	}
	return r.Missing.Name
}

// certsOf returns the certificates that are shown.
func certsOf(chain []*x509.Certificate) []Cert {
	out := []Cert{}
	for _, c := range chain[:min(len(chain), maxShown)] {
		out = append(out, certOf(c))
	}
	return out
}

func certOf(c *x509.Certificate) Cert {
	info := certs.Info(c)
	out := Cert{
		Subject: info.Subject, Issuer: info.Issuer, SHA256: info.Fingerprint, NotBefore: c.NotBefore.UTC(), NotAfter: info.NotAfter,
		IsCA: info.IsCA, SubjectKeyID: certs.KeyID(c.SubjectKeyId), AuthorityKeyID: certs.KeyID(c.AuthorityKeyId),
		DNSNames: []string{}, IPAddresses: []string{},
	}
	if c.SerialNumber != nil {
		out.Serial = c.SerialNumber.Text(16)
	}
	for _, n := range c.DNSNames[:min(len(c.DNSNames), maxShown)] {
		out.DNSNames = append(out.DNSNames, certs.Clean(n))
	}
	for _, ip := range c.IPAddresses[:min(len(c.IPAddresses), maxShown)] {
		out.IPAddresses = append(out.IPAddresses, ip.String())
	}
	return out
}
