package tkg

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
)

// The bounds of Decode.
const (
	maxLayers = 5
	maxValue  = 1 << 20
)

// Decoded is a stored value with its layers of base64 taken off.
type Decoded struct {
	// Layers counts the layers of base64 that were over the PEM, or were taken off before it went no further.
	Layers int
	// PEM is what was under them, as it is: it may still be PEM that Go does not take (certs.ParseBundle). Nil if there is none.
	PEM []byte
	// Problem says in words what is wrong; empty if there is PEM under the right number of layers.
	Problem string
}

// Decode takes layers of base64 off a stored value until it comes to PEM, five at most and 1 MiB, and compares their number
// with what this place wants: one for TkgServiceConfiguration and TanzuKubernetesCluster, two for the value of a Secret as kubectl shows
// it (tkg-facts.md §1.0). It counts and never assumes. The problem never quotes the value.
func Decode(data string, wantLayers int) Decoded {
	if len(data) > maxValue {
		return Decoded{Problem: fmt.Sprintf("the value is larger than %d bytes", maxValue)}
	}
	if strings.TrimSpace(data) == "" {
		return Decoded{Problem: "the value is empty"}
	}
	at := []byte(data)
	for layers := 0; layers <= maxLayers; layers++ {
		if isPEM(at) {
			return Decoded{Layers: layers, PEM: at, Problem: compareLayers(layers, wantLayers)}
		}
		if layers > 0 && isDER(at) {
			return Decoded{Layers: layers, Problem: "under " + times(layers) + " of base64 there is DER (binary), not PEM"}
		}
		next, err := unbase64(at)
		if err != nil || len(next) == 0 {
			return Decoded{Layers: layers, Problem: noPEM(layers)}
		}
		at = next
	}
	return Decoded{Layers: maxLayers, Problem: "no PEM under " + times(maxLayers) + " of base64"}
}

// Encode puts layers of standard base64 without line ends over pem.
func Encode(pem []byte, layers int) string {
	for range layers {
		pem = []byte(base64.StdEncoding.EncodeToString(pem))
	}
	return string(pem)
}

func compareLayers(have, want int) string {
	switch {
	case have == want:
		return ""
	case have == 0:
		return "it is plain PEM; this place wants " + times(want) + " of base64"
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
	if n == 1 {
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

// isDER tells whether the bytes begin as an ASN.1 sequence with a length of two bytes, as any certificate does.
func isDER(b []byte) bool { return len(b) > 4 && b[0] == 0x30 && b[1] == 0x82 }

// unbase64 is as lenient as the programs that write such values: line ends and missing padding do not matter.
func unbase64(b []byte) ([]byte, error) {
	clean := bytes.Map(func(r rune) rune {
		if r == ' ' || r == '\n' || r == '\r' || r == '\t' {
			return -1
		}
		return r
	}, bytes.TrimPrefix(b, []byte("\ufeff")))
	clean = bytes.TrimRight(clean, "=")
	out := make([]byte, base64.RawStdEncoding.DecodedLen(len(clean)))
	n, err := base64.RawStdEncoding.Decode(out, clean)
	if err != nil {
		return nil, fmt.Errorf("decoding base64: %w", err)
	}
	return out[:n], nil
}
