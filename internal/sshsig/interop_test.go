package sshsig_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/sshsig"
)

// TestInterop proves both ways for each kind of key: ssh-keygen takes what Sign makes, and Verify what ssh-keygen makes.
func TestInterop(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		args   []string
		kind   string
	}{
		"ed25519":   {reason: "what most have", args: []string{"-t", "ed25519"}, kind: "ssh-ed25519"},
		"ecdsa-256": {reason: "each curve has its own name and hash", args: []string{"-t", "ecdsa", "-b", "256"}, kind: "ecdsa-sha2-nistp256"},
		"ecdsa-384": {reason: "each curve has its own name and hash", args: []string{"-t", "ecdsa", "-b", "384"}, kind: "ecdsa-sha2-nistp384"},
		"ecdsa-521": {reason: "each curve has its own name and hash", args: []string{"-t", "ecdsa", "-b", "521"}, kind: "ecdsa-sha2-nistp521"},
		"rsa-3072":  {reason: "RSA must sign with SHA-2, which is not its default", args: []string{"-t", "rsa", "-b", "3072"}, kind: "ssh-rsa"},
		"rsa-pem":   {reason: "older keys are PKCS#1 in PEM", args: []string{"-t", "rsa", "-b", "2048", "-m", "PEM"}, kind: "ssh-rsa"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k, m := newKey(t, tc.args...), message(t)
			allowed := "alice " + k.public(t) + "\n"
			armored, err := sshsig.Sign(t.Context(), sshsig.KeySource{File: k.file}, m)
			if err != nil {
				t.Fatalf("%s: %v", tc.reason, err)
			}
			files := stockFiles(t, allowed, armored)
			if ok, out := stockVerify(t, files, "alice", m, noon()); !ok {
				t.Errorf("%s: ssh-keygen -Y verify refuses what Sign made: %s", tc.reason, out)
			}
			if out, err := stock(t, nil, m, "ssh-keygen", append([]string{"-Y", "check-novalidate"}, files[2:]...)...); err != nil {
				t.Errorf("%s: ssh-keygen -Y check-novalidate refuses what Sign made: %s", tc.reason, out)
			}
			want := sshsig.Signer{Principal: "alice", Principals: []string{"alice"}, KeyType: tc.kind, Fingerprint: fingerprint(t, k)}
			for who, sig := range map[string][]byte{"Sign": armored, "ssh-keygen": stockSign(t, k.file, sshsig.Namespace, m)} {
				got, err := parse(t, allowed).Verify(m, sig, noon())
				if err != nil {
					t.Errorf("%s: Verify refuses what %s made: %v", tc.reason, who, err)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s: by %s: -want, +got:\n%s", tc.reason, who, diff)
				}
			}
		})
	}
}

// TestHashes proves that a signature over SHA-256, which Sign does not make, is accepted too.
func TestHashes(t *testing.T) {
	t.Parallel()
	k, m := newKey(t), message(t)
	for _, hash := range []string{"sha256", "sha512"} {
		sig, err := stock(t, nil, m, "ssh-keygen", "-q", "-Y", "sign", "-O", "hashalg="+hash, "-n", sshsig.Namespace, "-f", k.file)
		must(t, sig, err)
		if _, err := parse(t, "alice "+k.public(t)).Verify(m, []byte(sig), noon()); err != nil {
			t.Errorf("%s: %v", hash, err)
		}
	}
}

// fingerprint asks ssh-keygen.
func fingerprint(t *testing.T, k key) string {
	t.Helper()
	out, err := stock(t, nil, nil, "ssh-keygen", "-l", "-f", k.file+".pub")
	must(t, out, err)
	return strings.Fields(out)[1]
}
