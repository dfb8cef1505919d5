package encoding

import (
	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/internal/tkg"
)

// The forms that this step tells apart beside those of tkg.Form (the layers) and certs.FindingKind (the PEM).
const (
	formPKCS7         = "pkcs7"
	formPKCS12        = "pkcs12"
	formNoNewline     = "no-final-newline"
	formNotACA        = "not-a-ca"
	formBadName       = "bad-name"
	formDuplicateName = "duplicate-name"
	formNoSecret      = string(tkg.AbsentSecret)
	formNoKey         = string(tkg.AbsentKey)
	formUnread        = string(tkg.AbsentUnread)
	formPrivateKey    = string(certs.KindPrivateKey)
)

// finding is one form in which a value was found.
type finding struct {
	// ID names the form in kebab-case.
	ID string `json:"id"`
	// Message says it in words, without a piece of the value.
	Message string `json:"message"`
	// Fatal says that the nodes cannot use the value because of it, or that it must not be stored.
	Fatal bool `json:"fatal"`
}

// messages has one message for each form that does not bring its own, since layers are counted and Go's reasons differ.
func messages() map[string]string {
	return map[string]string{
		string(certs.KindBOM):         "a byte order mark before BEGIN: Go drops the first certificate",
		string(certs.KindUTF16):       "UTF-16 text, as PowerShell writes it, which Go drops",
		string(certs.KindCRLF):        "Windows line ends, which Go accepts",
		string(certs.KindGlued):       "an END line and the next BEGIN on one line: Go drops the certificates on both sides",
		string(certs.KindIndented):    "white space before BEGIN, which Go drops",
		string(certs.KindDER):         "DER (binary) and not PEM: the nodes get a file that Go drops",
		string(certs.KindTrusted):     "BEGIN TRUSTED CERTIFICATE, openssl's own format, which Go drops",
		string(certs.KindHeaders):     "a certificate block with PEM headers, which Go drops",
		string(certs.KindTruncated):   "a BEGIN line without its END line: the value is cut off",
		string(certs.KindDashes):      "not five plain hyphens around BEGIN or END, as a word processor, a wiki or a slip writes them: Go drops the certificate",
		string(certs.KindEscaped):     "backslash and n in place of line ends, which Go drops",
		string(certs.KindSurrounding): "text before the first BEGIN line, which Go accepts",
		string(tkg.FormWrapped):       "the base64 is in lines, which does no harm",
		formPrivateKey:                "a private key is stored here; it is not shown. Take it for leaked and replace it: everybody who may read this object, and every node, has it",
		formPKCS7:                     "PKCS#7 (.p7b), a container of certificates, which Go drops",
		formPKCS12:                    "PKCS#12 (.p12, .pfx), a container that as a rule holds a private key: take that for leaked and replace it",
		formNoNewline:                 "no line end after the last END line: Photon's rehash script joins it to the next file, which openssl and curl then misread",
		formNotACA:                    "no CA: Go takes it until the registry's certificate is renewed; store the CA that issues it",
		formBadName:                   "its name may hold only letters, digits, dash, underscore and dot, and is part of a file name on the nodes",
		formNoSecret:                  "the Secret that the cluster names does not exist in its namespace, so that new nodes do not come up",
		formNoKey:                     "the Secret that the cluster names has no such key, so that new nodes do not come up",
		formUnread:                    "the Secret that the cluster names may not be read with this login, so that its value is not judged",
	}
}

// find adds a finding, once; text is used when the form has no message of its own.
func (e *entry) find(id, text string, fatal bool) {
	if own := messages()[id]; own != "" {
		text = own
	}
	if text == "" {
		return
	}
	for i, f := range e.Findings {
		if f.ID == id && f.Message == text {
			e.Findings[i].Fatal = f.Fatal || fatal
			if fatal {
				e.reject(text)
			}
			return
		}
	}
	e.Findings = append(e.Findings, finding{ID: id, Message: text, Fatal: fatal})
	if fatal {
		e.reject(text)
	}
}

func (e *entry) has(id string) bool {
	for _, f := range e.Findings {
		if f.ID == id {
			return true
		}
	}
	return false
}
