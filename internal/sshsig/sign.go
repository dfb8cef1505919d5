package sshsig

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"

	hiddeco "github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/tkgfix/tkgfix/internal/inputfile"
	"github.com/tkgfix/tkgfix/plugins"
)

// KeySource says where the key is that signs.
type KeySource struct {
	// File is a private key, a public key or a certificate (-cert.pub).
	File string
	// AgentSocket is the unix socket of an ssh-agent, as in SSH_AUTH_SOCK. Empty is none.
	AgentSocket string
	// Passphrase asks for the passphrase of an encrypted private key that the agent does not hold. It may be nil.
	Passphrase func() ([]byte, error)
}

// Sign returns the armored signature of message by the key, made for Namespace. A private key that is not encrypted signs itself; for an
// encrypted one, one that cannot be read and a public key the agent is asked, and then the passphrase or the private key beside the
// public one. It blocks on the disk, the agent, the passphrase and a security key that waits to be touched; when ctx is done, the
// connection to the agent is closed.
func Sign(ctx context.Context, key KeySource, message []byte) ([]byte, error) {
	k, err := key.open(ctx)
	if err != nil {
		return nil, fmt.Errorf("sign with %s: %w", key.File, err)
	}
	defer k.close()
	sig, err := hiddeco.Sign(bytes.NewReader(message), bareSigner{k.signer, bareKey(k.public)}, hiddeco.HashSHA512, Namespace)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, fmt.Errorf("sign with %s: %w", key.File, err)
	}
	sig.PublicKey = k.public
	// An agent is another program: what it answers is proven before it is called an approval.
	if err := check(sig, message); err != nil {
		return nil, fmt.Errorf("sign with %s: %w", key.File, err)
	}
	return hiddeco.Armor(sig), nil
}

// bareSigner signs as the key alone, also where the agent holds only a certificate: an RSA key then signs with SHA-512, where a
// certificate would take SHA-1.
type bareSigner struct {
	ssh.AlgorithmSigner
	key ssh.PublicKey
}

// PublicKey returns the key without its certificate.
func (s bareSigner) PublicKey() ssh.PublicKey { return s.key }

// opened is a key that can sign.
type opened struct {
	signer ssh.AlgorithmSigner
	public ssh.PublicKey // the signer's, or a certificate for it
	close  func()
}

// open finds what signs for the file.
func (k KeySource) open(ctx context.Context) (*opened, error) {
	data, err := read(k.File)
	if err == nil {
		if public, ok := parsePublic(data); ok {
			return k.openPublic(ctx, public)
		}
		var o *opened
		if o, err = openPrivate(ssh.ParsePrivateKey(data)); err == nil || errors.Is(err, ErrWeak) {
			return o, err
		}
	}
	missing, encrypted := errors.AsType[*ssh.PassphraseMissingError](err)
	public, known := readPublic(k.File + ".pub")
	if encrypted && missing.PublicKey != nil {
		public, known = missing.PublicKey, true
	}
	var refused error
	if known {
		o, agentErr := k.openAgent(ctx, public)
		if agentErr == nil || ctx.Err() != nil {
			return o, agentErr
		}
		refused = agentErr
	}
	switch {
	case !encrypted:
		return nil, because(err, refused)
	case k.Passphrase == nil:
		return nil, plugins.Hint(because(errors.New("the key is encrypted"), refused), "give it to an ssh-agent: ssh-add %s", k.File)
	}
	return k.decrypt(data)
}

// openPublic finds what signs for a public key: the agent, else the private key beside its file.
func (k KeySource) openPublic(ctx context.Context, public ssh.PublicKey) (*opened, error) {
	o, agentErr := k.openAgent(ctx, public)
	if agentErr == nil || ctx.Err() != nil {
		return o, agentErr
	}
	private, ok := strings.CutSuffix(k.File, ".pub")
	if _, certified := public.(*ssh.Certificate); ok && certified {
		private = strings.TrimSuffix(private, "-cert")
	}
	if !ok {
		return nil, agentErr
	}
	data, err := read(private)
	if err != nil {
		return nil, agentErr
	}
	beside := KeySource{File: private, Passphrase: k.Passphrase}
	o, err = openPrivate(ssh.ParsePrivateKey(data))
	if _, encrypted := errors.AsType[*ssh.PassphraseMissingError](err); encrypted {
		if k.Passphrase == nil {
			return nil, agentErr
		}
		o, err = beside.decrypt(data)
	}
	if err != nil {
		return nil, because(agentErr, fmt.Errorf("%s: %w", private, err))
	}
	if !sameKey(o.public, bareKey(public)) {
		return nil, fmt.Errorf("%s is not the private half of %s", private, k.File)
	}
	o.public = public
	return o, nil
}

// decrypt asks for the passphrase.
func (k KeySource) decrypt(data []byte) (*opened, error) {
	passphrase, err := k.Passphrase()
	if err != nil {
		return nil, fmt.Errorf("read the passphrase: %w", err)
	}
	defer clear(passphrase)
	o, err := openPrivate(ssh.ParsePrivateKeyWithPassphrase(data, passphrase))
	if errors.Is(err, x509.IncorrectPasswordError) {
		return nil, errors.New("the passphrase is wrong")
	}
	return o, err
}

// openPrivate takes the result of golang.org/x/crypto/ssh's parsers.
func openPrivate(signer ssh.Signer, err error) (*opened, error) {
	if err != nil {
		return nil, fmt.Errorf("read the private key: %w", err)
	}
	o := &opened{public: signer.PublicKey(), close: func() {}}
	return o, o.use(signer)
}

// use takes the signer if its key is strong and it lets the algorithm be chosen.
func (o *opened) use(signer ssh.Signer) error {
	if err := strongKey(o.public); err != nil {
		return err
	}
	able, ok := signer.(ssh.AlgorithmSigner)
	if !ok {
		return fmt.Errorf("%w: it cannot choose how to sign", ErrWeak)
	}
	o.signer = able
	return nil
}

// openAgent finds the public key, a certificate or its key, in the agent.
func (k KeySource) openAgent(ctx context.Context, public ssh.PublicKey) (*opened, error) {
	if k.AgentSocket == "" {
		return nil, plugins.Hint(errors.New("there is no ssh-agent to sign"), "start one: eval \"$(ssh-agent)\" && ssh-add %s", privateOf(k.File))
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", k.AgentSocket)
	if err != nil {
		return nil, fmt.Errorf("reach the ssh-agent: %w", err)
	}
	// The agent's client knows no context: a closed connection is what ends its wait.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	o := &opened{public: public, close: func() {
		stop()
		_ = conn.Close()
	}}
	if err := o.find(conn, public); err != nil {
		o.close()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, plugins.Hint(err, "ssh-add -l lists what the agent holds; give it the key: ssh-add %s", privateOf(k.File))
	}
	return o, nil
}

func (o *opened) find(conn net.Conn, public ssh.PublicKey) error {
	held, err := agent.NewClient(conn).Signers()
	if err != nil {
		return fmt.Errorf("list the ssh-agent's keys: %w", err)
	}
	for _, want := range []ssh.PublicKey{public, bareKey(public)} {
		for _, signer := range held {
			if sameKey(signer.PublicKey(), want) {
				return o.use(signer)
			}
		}
	}
	return fmt.Errorf("the ssh-agent does not hold the key %s", ssh.FingerprintSHA256(bareKey(public)))
}

// read returns a key file, bounded as inputfile.Read does.
func read(path string) ([]byte, error) {
	whole, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("find the file: %w", err)
	}
	return inputfile.Read(whole)
}

// readPublic returns the public key in a file, if there is one.
func readPublic(path string) (ssh.PublicKey, bool) {
	data, err := read(path)
	if err != nil {
		return nil, false
	}
	return parsePublic(data)
}

func parsePublic(data []byte) (ssh.PublicKey, bool) {
	if bytes.Contains(data, []byte("PRIVATE KEY-----")) {
		return nil, false
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(data)
	return key, err == nil
}

// privateOf returns the name that a private key has beside the public one.
func privateOf(file string) string {
	return strings.TrimSuffix(strings.TrimSuffix(file, ".pub"), "-cert")
}

// because joins what was found with why the other way failed too, if it did.
func because(found, other error) error {
	if other == nil {
		return found
	}
	return fmt.Errorf("%w, and: %w", found, other)
}
