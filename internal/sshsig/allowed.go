package sshsig

import (
	"bytes"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/tkgfix/tkgfix/plugins"
)

const (
	maxFile    = 1 << 20
	maxLines   = 10_000
	minRSABits = 2048
)

// AllowedSigners is a parsed allowed-signers file.
type AllowedSigners struct {
	name     string
	lines    []*line
	problems []error
}

// ParseAllowedSigners reads an allowed-signers file (ssh-keygen(1), ALLOWED SIGNERS) of at most 1 MiB and 10000 lines. The name is
// for errors, which name file:line. Times without a zone are local ones.
//
// A line that cannot be read allows nobody and does not stop the others, as with ssh-keygen: Problems returns those lines. A file of
// which no line is left is an error.
func ParseAllowedSigners(name string, data []byte) (*AllowedSigners, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s: the file has more than %d bytes", name, maxFile)
	}
	a := &AllowedSigners{name: name}
	number := 0
	for text := range bytes.Lines(data) {
		if number++; number > maxLines {
			return nil, fmt.Errorf("%s:%d: the file has more than %d lines", name, number, maxLines)
		}
		l, err := parseLine(strings.TrimRight(string(text), "\r\n"), time.Local)
		switch {
		case err != nil:
			a.problems = append(a.problems, fmt.Errorf("%s:%d: %w", name, number, err))
		case l != nil:
			l.number = number
			a.lines = append(a.lines, l)
		}
	}
	if len(a.lines) > 0 {
		return a, nil
	}
	err := fmt.Errorf("%s: the file allows nobody", name)
	if len(a.problems) > 0 {
		err = fmt.Errorf("%w: %w", err, a.problems[0])
	}
	return nil, plugins.Hint(err, `a line reads: NAME namespaces="%s" KEYTYPE KEY, the last two as in the person's .pub file`, Namespace)
}

// Problems returns, with file:line, what is wrong with each line that cannot be read and so allows nobody.
func (a *AllowedSigners) Problems() []error { return slices.Clone(a.problems) }

// Principals returns the names that the file lists, sorted, each once, without patterns. Whether a name's key is valid now, and the
// names that an authority's certificates may hold, it does not say.
func (a *AllowedSigners) Principals() []string {
	var out []string
	for _, l := range a.lines {
		out = append(out, literals(l.principals)...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// allows returns the names for which the line allows the key at a time, which are none if it lists only patterns. It returns
// errOtherKey if the line is about another key, and what is against it if it is about this one.
func (l *line) allows(key ssh.PublicKey, at time.Time) ([]string, error) {
	names, err := l.names(key, at)
	if err != nil {
		return nil, err
	}
	if l.restricted && !matchList(Namespace, l.namespaces) {
		return nil, fmt.Errorf("the key may sign for the namespaces %q only", l.namespaces)
	}
	now := at.Unix()
	if !l.after.IsZero() && now < l.after.Unix() {
		return nil, fmt.Errorf("the key is not valid before %s", l.after.UTC().Format(time.RFC3339))
	}
	if !l.before.IsZero() && now > l.before.Unix() {
		return nil, fmt.Errorf("the key expired at %s", l.before.UTC().Format(time.RFC3339))
	}
	return names, nil
}

var errOtherKey = errors.New("another key")

func (l *line) names(key ssh.PublicKey, at time.Time) ([]string, error) {
	cert, certified := key.(*ssh.Certificate)
	switch {
	case !certified && !sameKey(l.key, key):
		return nil, errOtherKey
	case !certified && l.authority:
		return nil, errors.New("the key is listed with cert-authority: it may sign certificates and no approvals")
	case !certified:
		return literals(l.principals), nil
	case !l.authority && sameKey(l.key, cert.Key):
		return nil, errors.New("the key is listed itself and the signature was made with a certificate for it: sign with the key alone")
	case !l.authority || !sameKey(l.key, cert.SignatureKey):
		return nil, errOtherKey
	}
	if err := checkCertificate(cert, at); err != nil {
		return nil, err
	}
	var out []string
	for _, name := range cert.ValidPrincipals {
		if matchList(name, l.principals) && visible(name) == nil && !strings.ContainsAny(name, "*?!,") {
			out = append(out, name)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("the certificate holds no name that the line takes")
	}
	return out, nil
}

// checkCertificate judges a user certificate at a time: signed by the authority that it names, within its time, for somebody.
func checkCertificate(cert *ssh.Certificate, at time.Time) error {
	switch {
	case cert.CertType != ssh.UserCert:
		return errors.New("the certificate is not a user's")
	case len(cert.ValidPrincipals) == 0:
		return errors.New("the certificate names no principal")
	}
	if err := strongSignature(cert.SignatureKey, cert.Signature); err != nil {
		return fmt.Errorf("the certificate's authority: %w", err)
	}
	checker := ssh.CertChecker{Clock: func() time.Time { return at }}
	if err := checker.CheckCert(cert.ValidPrincipals[0], cert); err != nil {
		return fmt.Errorf("the certificate is not valid: %w", err)
	}
	return nil
}

// isKeyType says whether the word is the type of a key or a certificate that golang.org/x/crypto/ssh reads.
func isKeyType(word string) bool {
	if plain, ok := strings.CutSuffix(word, "-cert-v01@openssh.com"); ok {
		return isKeyType(plain) || isKeyType(plain+"@openssh.com")
	}
	switch word {
	case ssh.KeyAlgoRSA, ssh.InsecureKeyAlgoDSA, ssh.KeyAlgoED25519, ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256,
		ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521:
		return true
	}
	return false
}

// strongKey refuses a key whose signatures prove too little.
func strongKey(key ssh.PublicKey) error {
	key = bareKey(key)
	switch key.Type() {
	case ssh.InsecureKeyAlgoDSA:
		return fmt.Errorf("%w: DSA", ErrWeak)
	case ssh.KeyAlgoRSA:
		crypt, ok := key.(ssh.CryptoPublicKey)
		if !ok {
			return fmt.Errorf("%w: RSA of unknown size", ErrWeak)
		}
		pub, ok := crypt.CryptoPublicKey().(*rsa.PublicKey)
		if !ok || pub.N.BitLen() < minRSABits {
			return fmt.Errorf("%w: RSA below %d bits", ErrWeak, minRSABits)
		}
	}
	return nil
}

// strongSignature refuses a weak key, and a signature by another algorithm than the key's own one or, for RSA, SHA-2.
func strongSignature(key ssh.PublicKey, sig *ssh.Signature) error {
	if err := strongKey(key); err != nil {
		return err
	}
	want := []string{bareKey(key).Type()}
	if want[0] == ssh.KeyAlgoRSA {
		want = []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	}
	if !slices.Contains(want, sig.Format) {
		return fmt.Errorf("%w: signature algorithm %q, want %s", ErrWeak, clip(sig.Format), strings.Join(want, " or "))
	}
	return nil
}

// bareKey returns the key that a certificate is for, any other key as it is.
func bareKey(key ssh.PublicKey) ssh.PublicKey {
	if cert, ok := key.(*ssh.Certificate); ok {
		return cert.Key
	}
	return key
}

func sameKey(a, b ssh.PublicKey) bool { return bytes.Equal(a.Marshal(), b.Marshal()) }
