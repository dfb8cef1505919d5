package tkg

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
)

// The bounds of Decode.
const (
	maxLayers = 5
	maxValue  = 1 << 20
)

// Form names a shape in which a value is found that should be base64 of PEM, in kebab-case.
type Form string

// The forms that Decode tells apart. Those of what is inside, such as der, are in Decoded as well.
const (
	FormEmpty         Form = "empty"
	FormTooLarge      Form = "too-large"
	FormPlain         Form = "plain-pem"
	FormTooManyLayers Form = "too-many-layers"
	FormTooFewLayers  Form = "too-few-layers"
	FormNotBase64     Form = "not-base64"
	FormNoCertificate Form = "no-certificate"
	FormDER           Form = "der"
	// FormWrapped is base64 in lines, as base64 writes it without -w0. Who decodes it skips line ends, so it is no fault.
	FormWrapped Form = "wrapped-base64"
	// The rest are base64 that a strict reader refuses, and Python's, which cloud-init uses, refuses or reads wrongly.
	FormBase64BOM     Form = "base64-bom"
	FormBase64Padding Form = "base64-padding"
	FormBase64Quoted  Form = "base64-quoted"
	FormBase64Joined  Form = "base64-joined"
	FormBase64URL     Form = "base64-url-alphabet"
	// FormUTF16 is text as PowerShell writes it, over the base64 or under it.
	FormUTF16 Form = "utf-16"
)

// Decoded is a stored value with its layers of base64 taken off.
type Decoded struct {
	// Layers counts the layers of base64 that were over the PEM, or were taken off before it went no further.
	Layers int
	// PEM is what was under them, as it is: it may still be PEM that Go does not take (certs.ParseBundle). Nil if there is none.
	PEM []byte
	// DER is what was under them if that is binary: a certificate, a key or a container of such. Nil if it is not.
	DER []byte
	// Forms are the shapes that were met, each once: first what is wrong with the layers, then what is unusual about the base64.
	Forms []Form
	// Problem says in words what is wrong; empty if there is PEM under the right number of layers of clean base64.
	Problem string
}

// Has tells whether the form was met.
func (d Decoded) Has(form Form) bool { return slices.Contains(d.Forms, form) }

// Decode takes layers of base64 off a stored value until it comes to PEM, five at most and 1 MiB, and compares their number
// with what this place wants: one for TkgServiceConfiguration and TanzuKubernetesCluster, two for the value of a Secret as kubectl shows
// it (tkg-facts.md §1.0). It counts and never assumes. The problem never quotes the value.
func Decode(data string, wantLayers int) Decoded {
	if len(data) > maxValue {
		return Decoded{Forms: []Form{FormTooLarge}, Problem: fmt.Sprintf("the value is larger than %d bytes", maxValue)}
	}
	if strings.TrimSpace(data) == "" {
		return Decoded{Forms: []Form{FormEmpty}, Problem: "the value is empty"}
	}
	at := []byte(data)
	var quirks []Form
	for layers := 0; layers <= maxLayers; layers++ {
		if text, wide := narrow(at); wide {
			at, quirks = text, add(quirks, FormUTF16)
		}
		if isPEM(at) {
			return found(Decoded{Layers: layers, PEM: at}, quirks, wantLayers)
		}
		if layers > 0 && isDER(at) {
			d := found(Decoded{Layers: layers, DER: at, Forms: []Form{FormDER}}, quirks, wantLayers)
			d.Problem = "under " + times(layers) + " of base64 there is DER (binary), not PEM"
			return d
		}
		next, more, err := unbase64(at)
		if err != nil || len(next) == 0 {
			form := FormNoCertificate
			if layers == 0 {
				form = FormNotBase64
			}
			return Decoded{Layers: layers, Forms: add([]Form{form}, quirks...), Problem: noPEM(layers)}
		}
		at, quirks = next, add(quirks, more...)
	}
	return Decoded{Layers: maxLayers, Forms: add([]Form{FormNoCertificate}, quirks...), Problem: "no PEM under " + times(maxLayers) + " of base64"}
}

// found compares the layers over a PEM with those that are wanted, and adds what is unusual about them.
func found(d Decoded, quirks []Form, want int) Decoded {
	var problems []string
	if text := LayerProblem(d.Layers, want); text != "" {
		problems = append(problems, text)
		d.Forms = add(d.Forms, layerForm(d.Layers, want))
	}
	for _, quirk := range quirks {
		if text := quirk.Problem(); text != "" {
			problems = append(problems, text)
		}
	}
	d.Forms, d.Problem = add(d.Forms, quirks...), strings.Join(problems, "; ")
	return d
}

func layerForm(have, want int) Form {
	switch {
	case have == 0:
		return FormPlain
	case have > want:
		return FormTooManyLayers
	}
	return FormTooFewLayers
}

// Problem says why base64 in this form cannot be used; empty if it can, and for a form that is not one of the base64's.
func (f Form) Problem() string {
	switch f {
	case FormBase64BOM:
		return "a byte order mark stands before the base64"
	case FormBase64Padding:
		return "the base64 is not padded rightly: its = at the end are missing or too many"
	case FormBase64Quoted:
		return "quotation marks are part of the value"
	case FormBase64Joined:
		return "several base64 values stand one behind another, and a reader ends after the first: join the PEM files and encode them once"
	case FormBase64URL:
		return "it is base64 of the URL alphabet, with - and _"
	case FormUTF16:
		return "the text is UTF-16, as PowerShell writes it, and not ASCII"
	}
	return ""
}

func add(forms []Form, more ...Form) []Form {
	for _, form := range more {
		if !slices.Contains(forms, form) {
			forms = append(forms, form)
		}
	}
	return forms
}

// Encode puts layers of standard base64 without line ends over pem.
func Encode(pem []byte, layers int) string {
	for range layers {
		pem = []byte(base64.StdEncoding.EncodeToString(pem))
	}
	return string(pem)
}

// LayerProblem says in words how the layers that a value has differ from those that its place wants; empty if they do not.
func LayerProblem(have, want int) string {
	switch {
	case have == want:
		return ""
	case have == 0:
		return "it is plain PEM; this place wants " + times(want) + " of base64"
	case want == 0:
		return times(have) + " of base64 over it, and this place wants plain PEM"
	case have > want:
		return fmt.Sprintf("encoded once too often or more: %s of base64, this place wants %d", times(have), want)
	}
	return fmt.Sprintf("encoded too seldom: %s of base64, this place wants %d", times(have), want)
}

func noPEM(layers int) string {
	if layers == 0 {
		return "it is neither PEM nor base64"
	}
	return "under " + times(layers) + " of base64 there is no PEM"
}

func times(n int) string {
	switch n {
	case 0:
		return "no layer"
	case 1:
		return "1 layer"
	}
	return fmt.Sprintf("%d layers", n)
}

// isPEM tells whether the bytes are meant as PEM, even as PEM that Go would drop: a BEGIN line with whatever dashes, or UTF-16 text.
func isPEM(b []byte) bool {
	if bytes.HasPrefix(b, []byte{0xff, 0xfe}) || bytes.HasPrefix(b, []byte{0xfe, 0xff}) {
		return true
	}
	return bytes.Contains(b, []byte("-----BEGIN")) || bytes.Contains(b, []byte("BEGIN ")) && bytes.Contains(b, []byte("CERTIFICATE"))
}

// isDER tells whether the bytes begin as an ASN.1 sequence: with a length of several bytes, or of none, as any certificate and most keys
// and containers do, or with a short one that is exactly theirs, as small keys have.
func isDER(b []byte) bool {
	return len(b) > 4 && b[0] == 0x30 && (b[1] >= 0x80 && b[1] <= 0x84 || int(b[1]) == len(b)-2)
}

// unbase64 takes one layer off, and tells what is unusual about it.
func unbase64(b []byte) ([]byte, []Form, error) {
	var forms []Form
	text, bom := bytes.CutPrefix(b, []byte("\ufeff"))
	if bom {
		forms = append(forms, FormBase64BOM)
	}
	text = bytes.TrimSpace(text)
	if n := len(text); n > 2 && (text[0] == '"' || text[0] == '\'') && text[n-1] == text[0] {
		text, forms = bytes.TrimSpace(text[1:n-1]), append(forms, FormBase64Quoted)
	}
	clean := bytes.Map(func(r rune) rune {
		if r == ' ' || r == '\n' || r == '\r' || r == '\t' {
			return -1
		}
		return r
	}, text)
	if len(clean) != len(text) {
		forms = append(forms, FormWrapped)
	}
	out, more, err := letters(clean)
	if err != nil {
		return nil, nil, fmt.Errorf("decoding base64: %w", err)
	}
	return out, append(forms, more...), nil
}

// letters decodes base64 without white space: one value, or several of which each but the last ends with its padding.
func letters(clean []byte) ([]byte, []Form, error) {
	var out []byte
	var forms []Form
	for pieces := 0; len(clean) > 0; pieces++ {
		if pieces == 1 {
			forms = append(forms, FormBase64Joined)
		}
		end := bytes.IndexByte(clean, '=')
		if end < 0 {
			end = len(clean)
		}
		body, rest := clean[:end], bytes.TrimLeft(clean[end:], "=")
		if (len(clean)-len(rest))%4 != 0 {
			forms = add(forms, FormBase64Padding)
		}
		piece, form, err := piece(body)
		if err != nil {
			return nil, nil, err
		}
		out, forms, clean = append(out, piece...), add(forms, form...), rest
	}
	return out, forms, nil
}

// piece decodes the letters of one value. Those of the URL alphabet are taken only when a binary is under them, for base64 of PEM holds
// no letter in which the alphabets differ.
func piece(body []byte) ([]byte, []Form, error) {
	out := make([]byte, base64.RawStdEncoding.DecodedLen(len(body)))
	n, err := base64.RawStdEncoding.Decode(out, body)
	if err == nil {
		return out[:n], nil, nil
	}
	if n, urlErr := base64.RawURLEncoding.Decode(out, body); urlErr == nil && isDER(out[:n]) {
		return out[:n], []Form{FormBase64URL}, nil
	}
	return nil, nil, err
}

// narrow returns the text of UTF-16 that holds ASCII alone, and whether it was that.
func narrow(b []byte) ([]byte, bool) {
	if len(b) < 8 || len(b)%2 != 0 {
		return b, false
	}
	text := b
	if bytes.HasPrefix(b, []byte{0xff, 0xfe}) || bytes.HasPrefix(b, []byte{0xfe, 0xff}) {
		text = b[2:]
	}
	for low := range 2 {
		out := make([]byte, 0, len(text)/2)
		for i := 0; i < len(text) && text[i+1-low] == 0 && text[i+low] != 0 && text[i+low] < 0x80; i += 2 {
			out = append(out, text[i+low])
		}
		if len(out) == len(text)/2 {
			return out, true
		}
	}
	return b, false
}
