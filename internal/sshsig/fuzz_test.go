package sshsig_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/pem"
	"slices"
	"strings"
	"testing"

	hiddeco "github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"

	"github.com/tkgfix/tkgfix/internal/sshsig"
)

func fixed(f *testing.F) ssh.Signer {
	f.Helper()
	signer, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		f.Fatal(err)
	}
	return signer
}

// FuzzParseAllowedSigners holds that any file is read or refused with its name, and that names are no patterns.
func FuzzParseAllowedSigners(f *testing.F) {
	public := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(fixed(f).PublicKey())))
	for name, tc := range verdicts() {
		if strings.Contains(name, "certificate") {
			continue
		}
		f.Add([]byte(strings.NewReplacer("{alice}", public, "{bob}", public).Replace(tc.file)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := sshsig.ParseAllowedSigners("file", data)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "file:") {
				t.Errorf("%v does not name the file", err)
			}
			return
		}
		names := a.Principals()
		if !slices.IsSorted(names) {
			t.Errorf("%q is not sorted", names)
		}
		for _, name := range names {
			if name == "" || strings.ContainsAny(name, "*?,\n\x1b") {
				t.Errorf("%q is no name", name)
			}
		}
		for _, problem := range a.Problems() {
			if !strings.HasPrefix(problem.Error(), "file:") {
				t.Errorf("%v does not name the file", problem)
			}
		}
	})
}

// FuzzVerify holds that a signature is good for the one message that was signed, and that nothing else is a signature.
func FuzzVerify(f *testing.F) {
	signer := fixed(f)
	public := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
	a, err := sshsig.ParseAllowedSigners("file", []byte("alice "+public+"\n* cert-authority "+public+"\n"))
	if err != nil {
		f.Fatal(err)
	}
	signed := []byte("tkgfix approval v1\n")
	sig, err := hiddeco.Sign(bytes.NewReader(signed), signer, hiddeco.HashSHA512, sshsig.Namespace)
	if err != nil {
		f.Fatal(err)
	}
	add := func(message []byte) {
		f.Add(message, hiddeco.Armor(sig), false)
		f.Add(message, sig.Marshal(), true)
	}
	add(signed)
	add([]byte("other"))
	cert := &ssh.Certificate{Key: signer.PublicKey(), CertType: ssh.UserCert, ValidPrincipals: []string{"bob"}, ValidBefore: ssh.CertTimeInfinity}
	if err := cert.SignCert(bytes.NewReader(make([]byte, 32)), signer); err != nil {
		f.Fatal(err)
	}
	sig.PublicKey = cert
	add(signed)
	sig.Namespace = "git"
	add(signed)
	f.Fuzz(func(t *testing.T, message, armored []byte, bare bool) {
		if bare { // base64 is hard to find by chance
			armored = pem.EncodeToMemory(&pem.Block{Type: hiddeco.PEMType, Bytes: armored})
		}
		s, err := a.Verify(message, armored, noon())
		if err == nil && (!bytes.Equal(message, signed) || s.Principal != "alice" && s.Principal != "bob") {
			t.Errorf("%q is signed by %+v", message, s)
		}
		if err != nil && s.Principal != "" {
			t.Errorf("%+v is named although %v", s, err)
		}
	})
}
