package nodecert

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"slices"
	"strings"

	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/internal/nodelook"
	"github.com/tkgfix/tkgfix/internal/tkg"
)

// view is a look at a node with its files read as the node's Go reads them.
type view struct {
	nodelook.Look
	files []fileView
	// taken is what containerd would trust if it were started now.
	taken set
}

// fileView is a trust file, read.
type fileView struct {
	nodelook.File
	// taken are the certificates that the node's Go takes from it, lost those that a person would see in it and Go does not take.
	taken, lost []anchor
	// findings say what is unusual about its bytes.
	findings []certs.Finding
	// state is how the file is encoded when Go takes nothing from it: overEncoded, underEncoded, notPEM or ignoredByGo.
	state string
	// secret reports that there is a private key in it.
	secret bool
}

func newView(look nodelook.Look) view {
	v := view{Look: look, taken: set{}}
	lax := look.Containerd.Before("1.23") || strings.Contains(look.Containerd.Debug, "x509negativeserial=1")
	for _, f := range look.Files {
		read := readFile(f, lax)
		v.files = append(v.files, read)
		if f.Go {
			for _, a := range read.taken {
				v.taken[a.key()] = true
			}
		}
	}
	return v
}

// readFile reads a trust file. lax is for a Go that takes negative serial numbers.
func readFile(f nodelook.File, lax bool) fileView {
	bundle, err := certs.ParseBundle(f.Data)
	out := fileView{File: f, taken: anchors(bundle.Certs), lost: anchors(bundle.Recoverable), findings: bundle.Findings}
	if old := refused(f.Data); lax {
		out.taken = append(out.taken, old...)
	} else {
		out.lost = append(out.lost, old...)
	}
	out.secret = out.has(certs.KindPrivateKey)
	_, ours := f.Name()
	if err == nil || !ours || len(out.taken) > 0 {
		return out
	}
	out.secret = out.secret || secret(f.Data)
	out.state = notPEM
	switch d := tkg.Decode(string(f.Data), 0); {
	case d.PEM != nil && d.Layers > 0:
		inner, _ := certs.ParseBundle(d.PEM) // its findings are the stored value's
		out.state, out.lost = overEncoded, append(anchors(inner.Certs), anchors(inner.Recoverable)...)
	case underlayer(f.Data) != nil:
		out.state, out.lost = underEncoded, anchors(underlayer(f.Data))
	case len(out.lost) > 0:
		out.state = ignoredByGo
	}
	return out
}

func (f fileView) has(kind certs.FindingKind) bool {
	return slices.ContainsFunc(f.findings, func(found certs.Finding) bool { return found.Kind == kind })
}

// faults joins the findings because of which Go drops something.
func (f fileView) faults() string {
	var out []string
	for _, found := range f.findings {
		if found.Fatal {
			out = append(out, found.Text)
		}
	}
	return strings.Join(out, "; ")
}

// beheaded is what a decoder of base64 that skips other characters, as Python's in cloud-init does, makes of the line -----BEGIN
// CERTIFICATE-----. Its sixteen letters are twelve bytes, and the body that follows comes out whole (tkg-facts.md §1.0).
var beheaded, _ = base64.StdEncoding.DecodeString("BEGINCERTIFICATE")

// underlayer returns the certificate in a file that was made by decoding plain PEM as if it were base64, nil if the file is none such.
func underlayer(data []byte) []*x509.Certificate {
	der, ok := bytes.CutPrefix(data, beheaded)
	if !ok {
		return nil
	}
	var first asn1.RawValue // what follows comes of the END line
	if _, err := asn1.Unmarshal(der, &first); err != nil {
		return nil
	}
	c, err := x509.ParseCertificate(first.FullBytes)
	if err != nil {
		return nil
	}
	return []*x509.Certificate{c}
}

// secret reports a private key in a form in which certs does not look for one: in DER, or as the bytes that are left of PEM that was
// decoded as if it were base64.
func secret(data []byte) bool {
	letters := base64.StdEncoding.EncodeToString(data[:min(len(data), 30)])
	if strings.HasPrefix(letters, "BEGIN") && strings.Contains(letters, "PRIVATEKEY") {
		return true
	}
	if len(data) < 5 || data[0] != 0x30 {
		return false
	}
	_, err8 := x509.ParsePKCS8PrivateKey(data)
	_, err1 := x509.ParsePKCS1PrivateKey(data)
	_, errEC := x509.ParseECPrivateKey(data)
	return err8 == nil || err1 == nil || errEC == nil
}
