package sshsig_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"io"
	"strings"
	"testing"

	hiddeco "github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"

	"github.com/tkgfix/tkgfix/internal/sshsig"
	"github.com/tkgfix/tkgfix/plugins"
)

func TestVerifyRefuses(t *testing.T) {
	t.Parallel()
	k, other, m := newKey(t), newKey(t), message(t)
	a := parse(t, "alice "+k.public(t)+"\nbroken\n")
	good := string(stockSign(t, k.file, sshsig.Namespace, m))
	body := strings.TrimSuffix(strings.TrimPrefix(good, "-----BEGIN SSH SIGNATURE-----\n"), "-----END SSH SIGNATURE-----\n")
	cases := map[string]struct {
		reason  string
		armored string
		message string
		want    error
		says    string
		hint    string
	}{
		"other message": {reason: "a rejection is no approval", armored: good, message: strings.Replace(string(m), "approve", "reject", 1), want: sshsig.ErrForged, hint: "--print-statement"},
		"line end":      {reason: "each byte counts", armored: good, message: string(m) + "\n", want: sshsig.ErrForged},
		"namespace":     {reason: "a signature of a commit", armored: string(stockSign(t, k.file, "git", m)), want: sshsig.ErrNamespace, says: `"git", want "approval@tkgfix.dev"`, hint: "-n approval@tkgfix.dev"},
		"not listed": {reason: "the hint is the line to add, the error says what cannot be read", armored: string(stockSign(t, other.file, sshsig.Namespace, m)), want: sshsig.ErrNotListed,
			says: "allowed:2: missing key", hint: other.public(t)},
		"empty":         {reason: "nothing", want: sshsig.ErrMalformed, hint: "ssh-keygen -Y sign -n approval@tkgfix.dev"},
		"text before":   {reason: "ssh-keygen wants it at the beginning", armored: "\n" + good, want: sshsig.ErrMalformed},
		"text after":    {reason: "what is it?", armored: good + "x", want: sshsig.ErrMalformed},
		"no end":        {reason: "cut off", armored: good[:len(good)-10], want: sshsig.ErrMalformed},
		"no base64":     {reason: "garbled", armored: strings.Replace(good, body[:1], "%", 1), want: sshsig.ErrMalformed},
		"pem headers":   {reason: "PEM may have them, a signature may not", armored: strings.Replace(good, body, "X: y\n\n"+body, 1), want: sshsig.ErrMalformed},
		"nested":        {reason: "the second begin is not looked for", armored: "-----BEGIN SSH SIGNATURE-----\n!\n" + good, want: sshsig.ErrMalformed},
		"not base64 in": {reason: "something else in the armor", armored: strings.Replace(good, body, "AAAA\n", 1), want: sshsig.ErrMalformed},
		"too large":     {reason: "bounded", armored: strings.Replace(good, body, body+strings.Repeat("\n", 1<<17), 1), want: sshsig.ErrMalformed, says: "65536 bytes"},
		"a public key":  {reason: "the wrong file", armored: k.public(t), want: sshsig.ErrMalformed},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := a.Verify([]byte(first(tc.message, string(m))), []byte(tc.armored), noon())
			if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.says) || !strings.Contains(plugins.HintOf(err), tc.hint) {
				t.Errorf("%s: got %v, %v (%s), want %q saying %q (%s)", tc.reason, got, err, plugins.HintOf(err), tc.want, tc.says, tc.hint)
			}
		})
	}
	crlf := strings.ReplaceAll(good, "\n", "\r\n")
	for name, armored := range map[string]string{"unchanged": good, "crlf": crlf, "white space after": good + "\n \n"} {
		if _, err := a.Verify(m, []byte(armored), noon()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestFlipped flips each bit of a signature.
func TestFlipped(t *testing.T) {
	t.Parallel()
	k, m := newKey(t), message(t)
	a := parse(t, "alice "+k.public(t))
	block, _ := pem.Decode(stockSign(t, k.file, sshsig.Namespace, m))
	if _, err := a.Verify(m, pem.EncodeToMemory(block), noon()); err != nil {
		t.Fatal(err)
	}
	for i := range len(block.Bytes) * 8 {
		block.Bytes[i/8] ^= 1 << (i % 8)
		if got, err := a.Verify(m, pem.EncodeToMemory(block), noon()); err == nil {
			t.Errorf("bit %d of byte %d is flipped, and it is still %s's", i%8, i/8, got.Principal)
		}
		block.Bytes[i/8] ^= 1 << (i % 8)
	}
}

// token is a security key in software, as PROTOCOL.u2f describes what it signs.
type token struct {
	private ed25519.PrivateKey
	public  ssh.PublicKey
	flags   byte
}

const application = "ssh:tkgfix"

func newToken(t *testing.T, flags byte) token {
	t.Helper()
	private := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	public, err := ssh.ParsePublicKey(ssh.Marshal(struct{ Type, Key, Application string }{ssh.KeyAlgoSKED25519, string(private.Public().(ed25519.PublicKey)), application}))
	if err != nil {
		t.Fatal(err)
	}
	return token{private: private, public: public, flags: flags}
}

func (k token) PublicKey() ssh.PublicKey { return k.public }

func (k token) Sign(_ io.Reader, data []byte) (*ssh.Signature, error) {
	app, sum := sha256.Sum256([]byte(application)), sha256.Sum256(data)
	rest := binary.BigEndian.AppendUint32([]byte{k.flags}, 7)
	signed := append(append(app[:], rest...), sum[:]...)
	return &ssh.Signature{Format: ssh.KeyAlgoSKED25519, Blob: ed25519.Sign(k.private, signed), Rest: rest}, nil
}

func TestSecurityKey(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason  string
		flags   byte
		change  func(*ssh.Signature)
		theirs  bool
		refused error
	}{
		"touched":           {reason: "user presence", flags: 1, theirs: true},
		"touched and PIN":   {reason: "user verification too", flags: 5, theirs: true},
		"not touched":       {reason: "nobody was there; ssh-keygen does not look", flags: 0, theirs: true, refused: sshsig.ErrWeak},
		"claims to be":      {reason: "the flags are signed", flags: 0, change: func(s *ssh.Signature) { s.Rest[0] = 1 }, refused: sshsig.ErrForged},
		"flags left out":    {reason: "no flags", flags: 1, change: func(s *ssh.Signature) { s.Rest = nil }, refused: sshsig.ErrMalformed},
		"something follows": {reason: "what is it?", flags: 1, change: func(s *ssh.Signature) { s.Rest = append(s.Rest, 0) }, refused: sshsig.ErrMalformed},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k, m := newToken(t, tc.flags), message(t)
			sig, err := hiddeco.Sign(strings.NewReader(string(m)), k, hiddeco.HashSHA512, sshsig.Namespace)
			if err != nil {
				t.Fatal(err)
			}
			if tc.change != nil {
				tc.change(sig.Signature)
			}
			armored, text := hiddeco.Armor(sig), "alice "+string(ssh.MarshalAuthorizedKey(k.public))
			if ok, out := stockVerify(t, stockFiles(t, text, armored), "alice", m, noon()); ok != tc.theirs {
				t.Errorf("%s: ssh-keygen says %s", tc.reason, out)
			}
			if _, err := parse(t, text).Verify(m, armored, noon()); !errors.Is(err, tc.refused) {
				t.Errorf("%s: got %v, want %v", tc.reason, err, tc.refused)
			}
		})
	}
}

// TestWeakSignature has keys sign with what they should not.
func TestWeakSignature(t *testing.T) {
	t.Parallel()
	m := message(t)
	cases := map[string]struct {
		reason, algorithm string
		change            func(*ssh.Signature)
		want              error
	}{
		"sha512":  {reason: "the default", algorithm: ssh.KeyAlgoRSASHA512},
		"sha256":  {reason: "SHA-2 too", algorithm: ssh.KeyAlgoRSASHA256},
		"sha1":    {reason: "ssh-rsa is SHA-1", algorithm: ssh.KeyAlgoRSA, want: sshsig.ErrMalformed},
		"renamed": {reason: "SHA-1 under another name", algorithm: ssh.KeyAlgoRSA, change: func(s *ssh.Signature) { s.Format = ssh.KeyAlgoRSASHA512 }, want: sshsig.ErrForged},
		"more":    {reason: "bytes after the signature", algorithm: ssh.KeyAlgoRSASHA512, change: func(s *ssh.Signature) { s.Rest = []byte{0} }, want: sshsig.ErrMalformed},
	}
	k := newKey(t, "-t", "rsa", "-b", "2048")
	signer, err := ssh.ParsePrivateKey([]byte(read(t, k.file)))
	if err != nil {
		t.Fatal(err)
	}
	certified, _, _, _, err := ssh.ParseAuthorizedKey([]byte(read(t, k.certified(t, k, "-n", "alice"))))
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sig, err := hiddeco.Sign(strings.NewReader(string(m)), chosen{signer.(ssh.AlgorithmSigner), tc.algorithm}, hiddeco.HashSHA512, sshsig.Namespace)
			if err != nil {
				t.Fatal(err)
			}
			if tc.change != nil {
				tc.change(sig.Signature)
			}
			text := "alice " + k.public(t) + "\nalice cert-authority " + k.public(t)
			armored := hiddeco.Armor(sig)
			ok, out := stockVerify(t, stockFiles(t, text, armored), "alice", m, noon())
			if ok != (tc.want == nil) {
				t.Errorf("%s: ssh-keygen says %s", tc.reason, out)
			}
			if _, err := parse(t, text).Verify(m, armored, noon()); !errors.Is(err, tc.want) {
				t.Errorf("%s: got %v, want %v", tc.reason, err, tc.want)
			}
			// The library looks at an RSA key's algorithm, and not at that of a certificate for one.
			sig.PublicKey = certified
			if _, err := parse(t, text).Verify(m, hiddeco.Armor(sig), noon()); (err == nil) != (tc.want == nil) {
				t.Errorf("%s: with a certificate: got %v, want %v", tc.reason, err, tc.want)
			}
		})
	}
}

// chosen signs by one algorithm, whatever it is asked for.
type chosen struct {
	ssh.AlgorithmSigner
	algorithm string
}

func (c chosen) SignWithAlgorithm(rand io.Reader, data []byte, _ string) (*ssh.Signature, error) {
	return c.AlgorithmSigner.SignWithAlgorithm(rand, data, c.algorithm)
}

func TestParseAllowedSigners(t *testing.T) {
	t.Parallel()
	public := "ssh-ed25519 " + base64.StdEncoding.EncodeToString(ssh.Marshal(struct{ Type, Key string }{"ssh-ed25519", strings.Repeat("k", 32)}))
	cases := map[string]struct {
		reason, text string
		names        string
		problem      string
		err          string
	}{
		"sorted":       {reason: "each once, no patterns", text: "bob,*@corp,!eve " + public + "\nalice,bob " + public, names: "alice bob"},
		"bad line":     {reason: "the others stay", text: "alice " + public + "\n\nbob x " + public[:20], names: "alice", problem: "f:3: invalid key: ssh: short read"},
		"bad option":   {reason: "named", text: "alice " + public + "\nbob valid-befor=\"20270101\" " + public, names: "alice", problem: `f:2: bad options: unknown key option "valid-befor=`},
		"bad date":     {reason: "named", text: "alice " + public + "\nbob valid-before=\"tomorrow\" " + public, names: "alice", problem: `f:2: bad options: valid-before "tomorrow": want YYYYMMDD`},
		"NUL":          {reason: "ssh-keygen would read half the line", text: "alice " + public + "\nbob " + public + " \x00x", names: "alice", problem: "f:2: the line holds a NUL byte"},
		"mark":         {reason: "some editors write one", text: "\ufeffbob " + public + "\nalice " + public, names: "alice", problem: "f:1: the list of principals holds U+FEFF"},
		"escape":       {reason: "a name that paints the terminal", text: "b\x1b[31mob " + public + "\nalice " + public, names: "alice", problem: "f:1: the list of principals holds U+001B"},
		"long list":    {reason: "matching takes its square", text: strings.Repeat("bob,", 3000) + "bob " + public + "\nalice " + public, names: "alice", problem: "f:1: the principals have more than 8192 bytes"},
		"nobody":       {reason: "a file that allows nobody is a mistake", text: "# nobody\n", err: "f: the file allows nobody"},
		"only bad":     {reason: "the first is named", text: "\nbob\n", err: "f: the file allows nobody: f:2: missing key"},
		"many lines":   {reason: "bounded", text: strings.Repeat("\n", 10_001), err: "f:10001: the file has more than 10000 lines"},
		"most lines":   {reason: "that many may be", text: strings.Repeat("\n", 9_999) + "alice " + public, names: "alice"},
		"many bytes":   {reason: "bounded", text: "alice " + public + strings.Repeat(" ", 1<<20), err: "f: the file has more than 1048576 bytes"},
		"private key":  {reason: "the wrong file, of which nothing is shown", text: "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n", err: "f: the file allows nobody"},
		"taken back":   {reason: "a name that the list takes back", text: "alice,bob,!b* " + public, names: "alice"},
		"empty option": {reason: "a date of no digits", text: "alice " + public + "\nbob valid-after=\"Z\" " + public, names: "alice", problem: "f:2: bad options: valid-after"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, err := sshsig.ParseAllowedSigners("f", []byte(tc.text))
			if tc.err != "" {
				if err == nil || !strings.HasPrefix(err.Error(), tc.err) || strings.Contains(err.Error(), "c2VjcmV0") {
					t.Fatalf("%s: got %v, want %q", tc.reason, err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatalf("%s: %v", tc.reason, err)
			}
			if got := strings.Join(a.Principals(), " "); got != tc.names {
				t.Errorf("%s: got %q, want %q", tc.reason, got, tc.names)
			}
			problems := errors.Join(a.Problems()...)
			if (problems == nil) != (tc.problem == "") || problems != nil && !strings.HasPrefix(problems.Error(), tc.problem) {
				t.Errorf("%s: got %v, want %q", tc.reason, problems, tc.problem)
			}
		})
	}
}
