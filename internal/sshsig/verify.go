package sshsig

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	hiddeco "github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"

	"github.com/tkgfix/tkgfix/plugins"
)

// Why a signature is no approval. Each is returned wrapped, with what was found.
var (
	// ErrMalformed is for what is not an armored SSH signature.
	ErrMalformed = errors.New("not an SSH signature")
	// ErrWeak is for a key or an algorithm that proves too little.
	ErrWeak = errors.New("a key or an algorithm that is not accepted")
	// ErrNamespace is for a signature that was made for something else.
	ErrNamespace = errors.New("the signature was made for another namespace")
	// ErrForged is for a signature that its key did not make over this message.
	ErrForged = errors.New("the signature does not match what is to be signed")
	// ErrNotListed is for a key that the allowed-signers file does not list.
	ErrNotListed = errors.New("the key is not listed")
	// ErrNotAllowed is for a key that is listed, but not for now, not for approvals or not by this certificate.
	ErrNotAllowed = errors.New("the key is listed and not allowed")
	// ErrUnnamed is for a key that is allowed only by a pattern, which says nobody's name.
	ErrUnnamed = errors.New("the key is allowed and names nobody")
)

const (
	beginSignature = "-----BEGIN SSH SIGNATURE-----"
	endSignature   = "\n-----END SSH SIGNATURE-----"
	maxSignature   = 64 << 10
)

// Signer is who made a signature.
type Signer struct {
	// Principal is the first of Principals.
	Principal string
	// Principals are the names, in the order of the file, for which it allows the key. They are not empty.
	Principals []string
	// Fingerprint is of the key, as ssh-keygen -l prints it: SHA256:…. A certificate has its key's.
	Fingerprint string
	// KeyType is such as ssh-ed25519, or ssh-ed25519-cert-v01@openssh.com.
	KeyType string
}

// Verify returns who made the armored signature of message, if the file allows the key at a time in Namespace. Any other key, and
// one that is allowed only by a pattern, is an error: the package's sentinels sort them.
func (a *AllowedSigners) Verify(message, armored []byte, at time.Time) (Signer, error) {
	sig, err := parseSignature(armored)
	if err != nil {
		return Signer{}, err
	}
	key := sig.PublicKey
	signer := Signer{Fingerprint: ssh.FingerprintSHA256(bareKey(key)), KeyType: key.Type()}
	if err := check(sig, message); err != nil {
		return Signer{}, advise(fmt.Errorf("signature by %s key %s: %w", signer.KeyType, signer.Fingerprint, err))
	}
	if signer.Principals, err = a.names(key, at); err != nil {
		return Signer{}, a.refusal(key, signer, err)
	}
	signer.Principal = signer.Principals[0]
	return signer, nil
}

// check judges the signature by itself, whoever's key it is.
func check(sig *hiddeco.Signature, message []byte) error {
	if sig.Namespace != Namespace {
		return fmt.Errorf("%w: %q, want %q", ErrNamespace, clip(sig.Namespace), Namespace)
	}
	if err := strongSignature(sig.PublicKey, sig.Signature); err != nil {
		return err
	}
	if strings.HasPrefix(sig.Signature.Format, "sk-") {
		// PROTOCOL.u2f: flags, of which the lowest bit says that the key was touched, and a counter.
		if len(sig.Signature.Rest) != 5 {
			return fmt.Errorf("%w: a security key's flags are not there", ErrMalformed)
		}
		if sig.Signature.Rest[0]&1 == 0 {
			return fmt.Errorf("%w: the security key was not touched", ErrWeak)
		}
	} else if len(sig.Signature.Rest) > 0 {
		return fmt.Errorf("%w: something follows the signature proper", ErrMalformed)
	}
	if err := hiddeco.Verify(bytes.NewReader(message), sig, sig.PublicKey, sig.HashAlgorithm, Namespace); err != nil {
		return fmt.Errorf("%w: %w", ErrForged, err)
	}
	return nil
}

// advise gives what check found a hint.
func advise(err error) error {
	switch {
	case errors.Is(err, ErrNamespace):
		return plugins.Hint(err, "sign with ssh-keygen -Y sign -n %s -f KEY FILE", Namespace)
	case errors.Is(err, ErrForged):
		return plugins.Hint(err, "sign what the same command prints with --print-statement, with the same reason, to the byte")
	case errors.Is(err, ErrWeak):
		return plugins.Hint(err, "sign with another key; ssh-keygen -t ed25519 makes one")
	}
	return err
}

// parseSignature reads the armor as strictly as ssh-keygen does (sshsig.c, sshsig_dearmor), and what is in it.
func parseSignature(armored []byte) (*hiddeco.Signature, error) {
	if len(armored) > maxSignature {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrMalformed, maxSignature)
	}
	rest, found := strings.CutPrefix(string(armored), beginSignature)
	if !found || !strings.HasPrefix(strings.TrimPrefix(rest, "\r"), "\n") {
		return nil, plugins.Hint(fmt.Errorf("%w: it does not begin with %s", ErrMalformed, beginSignature),
			"ssh-keygen -Y sign -n %s -f KEY FILE writes one to FILE.sig", Namespace)
	}
	body, after, found := strings.Cut(rest, endSignature)
	if !found || strings.TrimSpace(after) != "" {
		return nil, fmt.Errorf("%w: it does not end with %s", ErrMalformed, endSignature[1:])
	}
	blob, err := base64.StdEncoding.Strict().DecodeString(strings.Join(strings.Fields(body), ""))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	sig, err := hiddeco.ParseSignature(blob)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return sig, nil
}

// names returns the names for which the file allows the key, or what is against it.
func (a *AllowedSigners) names(key ssh.PublicKey, at time.Time) ([]string, error) {
	var names []string
	var against, unnamed []error
	for _, l := range a.lines {
		found, err := l.allows(key, at)
		switch {
		case errors.Is(err, errOtherKey):
		case err != nil:
			against = append(against, fmt.Errorf("%s:%d: %w", a.name, l.number, err))
		case len(found) == 0:
			unnamed = append(unnamed, fmt.Errorf("%s:%d: %q is a pattern", a.name, l.number, clip(l.principals)))
		}
		for _, name := range found {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	switch {
	case len(names) > 0:
		return names, nil
	case len(unnamed) > 0:
		return nil, fmt.Errorf("%w: %w", ErrUnnamed, unnamed[0])
	case len(against) > 0:
		return nil, fmt.Errorf("%w: %w", ErrNotAllowed, against[0])
	}
	return nil, fmt.Errorf("%w in %s", ErrNotListed, a.name)
}

// refusal words why a signature that is good is not allowed, and what to do.
func (a *AllowedSigners) refusal(key ssh.PublicKey, s Signer, err error) error {
	err = fmt.Errorf("signature by %s key %s: %w", s.KeyType, s.Fingerprint, err)
	if len(a.problems) > 0 {
		err = fmt.Errorf("%w (lines that cannot be read: %d, first %w)", err, len(a.problems), a.problems[0])
	}
	if cert, ok := key.(*ssh.Certificate); ok {
		return plugins.Hint(err, `a certificate counts by its authority: NAME cert-authority,namespaces="%s" %s`, Namespace, keyText(cert.SignatureKey))
	}
	return plugins.Hint(err, `whoever keeps %s may write: NAME namespaces="%s" %s`, a.name, Namespace, keyText(key))
}

func keyText(key ssh.PublicKey) string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}
