package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/tkgfix/tkgfix/plugins"
)

const (
	maxKeyFile      = 64 << 10
	maxPasswordFile = 4 << 10
	maxAgentKeys    = 32
	// keysARound leaves room for the password below sshd's MaxAuthTries, which is 6 unless it is changed, and 4 on hardened nodes.
	keysARound = 2
)

// login is what opens one host.
type login struct {
	// keys are tried in their order, then the password.
	keys []ssh.Signer
	// password is empty if there is none.
	password string
	// passedOver says which keys could not be used, for who is refused.
	passedOver []string
}

// rounds returns the ways to log in, for one connection each: a server ends a connection after a few refusals, and an agent may hold many
// keys.
func (l login) rounds() [][]ssh.AuthMethod {
	var out [][]ssh.AuthMethod
	for some := range slices.Chunk(l.keys, keysARound) {
		out = append(out, []ssh.AuthMethod{ssh.PublicKeys(some...)})
	}
	if l.password == "" {
		return out
	}
	if out == nil {
		out = [][]ssh.AuthMethod{nil}
	}
	last := len(out) - 1
	out[last] = append(out[last], ssh.Password(l.password), ssh.KeyboardInteractive(l.answer))
	return out
}

// answer gives the password to the one hidden question that PAM asks. More questions mean a forced change of the password,
// which is not ours to make.
func (l login) answer(_, _ string, questions []string, echos []bool) ([]string, error) {
	switch {
	case len(questions) == 0:
		return nil, nil
	case len(questions) == 1 && !echos[0]:
		return []string{l.password}, nil
	}
	return nil, errors.New("the node asks for more than the password")
}

// keyring holds the keys that are the user's and not the cluster's.
type keyring struct {
	// held are those of the agent, identity the one that the connection names.
	held       []ssh.Signer
	identity   ssh.Signer
	passedOver []string
	close      func()
}

// open reads the keys that the connection asks for. close ends the connection to the agent, which signs until then.
func (m machine) open(ctx context.Context, conf plugins.Nodes) (*keyring, error) {
	k := &keyring{close: func() {}}
	if conf.Agent {
		if err := k.ask(ctx, m); err != nil {
			return nil, err
		}
	}
	if conf.IdentityFile == "" {
		return k, nil
	}
	signer, err := readKey("identityFile", conf.IdentityFile)
	if missing := (*ssh.PassphraseMissingError)(nil); errors.As(err, &missing) {
		if !conf.Agent {
			k.close()
			return nil, plugins.Hint(fmt.Errorf("connections.nodes.identityFile: %s needs a passphrase", conf.IdentityFile),
				"give it to the agent, and say agent: true (--ssh-agent): ssh-add %s", conf.IdentityFile)
		}
		k.passedOver = append(k.passedOver, conf.IdentityFile+" needs a passphrase")
		return k, nil
	}
	if err != nil {
		k.close()
		return nil, err
	}
	k.identity = signer
	return k, nil
}

// ask asks the agent for its keys.
func (k *keyring) ask(ctx context.Context, m machine) error {
	if m.agent == "" {
		return plugins.Hint(errors.New("connections.nodes.agent: SSH_AUTH_SOCK names no agent"), `eval "$(ssh-agent)" && ssh-add`)
	}
	ctx, cancel := context.WithTimeout(ctx, m.patience.login)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", m.agent)
	if err != nil {
		return plugins.Hint(fmt.Errorf("connections.nodes.agent: reach the SSH agent: %w", err), "ssh-add -l")
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	held, err := agent.NewClient(conn).Signers()
	if err != nil {
		_ = conn.Close()
		if ctx.Err() != nil {
			err = fmt.Errorf("it does not answer within %s", m.patience.login)
		}
		return plugins.Hint(fmt.Errorf("connections.nodes.agent: ask the SSH agent for its keys: %w", err), "ssh-add -l")
	}
	if len(held) > maxAgentKeys {
		k.passedOver = append(k.passedOver, fmt.Sprintf("the agent holds %d keys, of which the first %d are tried", len(held), maxAgentKeys))
		held = held[:maxAgentKeys]
	}
	if len(held) == 0 {
		k.passedOver = append(k.passedOver, "the agent holds no key")
	}
	k.held, k.close = held, func() { _ = conn.Close() }
	// It may have to ask the user before it signs; a login that takes too long is ended with its connection.
	_ = conn.SetDeadline(time.Time{})
	return nil
}

// node returns what opens the nodes: the agent, then the key and the password that the connection names or, in their place, those of
// the cluster.
func (k *keyring) node(conf plugins.Nodes, creds Credentials) (login, error) {
	l := login{keys: slices.Clone(k.held), password: creds.Password, passedOver: k.passedOver}
	if conf.PasswordFile != "" {
		password, err := readPassword(conf.PasswordFile)
		if err != nil {
			return l, err
		}
		l.password = password
	}
	switch {
	case k.identity != nil:
		l.keys = append(l.keys, k.identity)
	case conf.IdentityFile == "" && len(creds.PrivateKey) > 0:
		signer, err := ssh.ParsePrivateKey(creds.PrivateKey)
		if err != nil && l.password == "" && len(l.keys) == 0 {
			return l, plugins.Hint(errors.New("the SSH private key cannot be read"),
				"look at the Secret CLUSTER-ssh, key ssh-privatekey: it must be a private key without a passphrase")
		}
		if err != nil {
			l.passedOver = append(l.passedOver, "the key of the Secret CLUSTER-ssh cannot be read")
			break
		}
		l.keys = append(l.keys, signer)
	}
	if len(l.keys) == 0 && l.password == "" {
		return l, plugins.Hint(errors.New("there is neither an SSH key nor a password for the nodes"),
			"look for the Secrets CLUSTER-ssh and CLUSTER-ssh-password in the vSphere Namespace")
	}
	return l, nil
}

// hop returns what opens the jump hosts: the agent, the key that the connection names, then the user's usual keys. Nothing of the
// cluster's: who runs a jump host need not be who may log in to nodes.
func (k *keyring) hop(m machine) (login, error) {
	l := login{keys: slices.Clone(k.held), passedOver: k.passedOver}
	if k.identity != nil {
		l.keys = append(l.keys, k.identity)
	}
	for _, name := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
		if m.home == "" {
			break
		}
		path := filepath.Join(m.home, ".ssh", name)
		if _, err := os.Stat(path); err != nil {
			continue
		}
		signer, err := readKey(name, path)
		if missing := (*ssh.PassphraseMissingError)(nil); errors.As(err, &missing) {
			l.passedOver = append(l.passedOver, path+" needs a passphrase: ssh-add it and say agent: true")
			continue
		}
		if err != nil {
			l.passedOver = append(l.passedOver, path+" cannot be used (is its mode 0600?)")
			continue
		}
		if !slices.ContainsFunc(l.keys, func(have ssh.Signer) bool {
			return bytes.Equal(have.PublicKey().Marshal(), signer.PublicKey().Marshal())
		}) {
			l.keys = append(l.keys, signer)
		}
	}
	if len(l.keys) == 0 {
		return l, plugins.Hint(errors.New("there is no SSH key for the jump hosts"+reasons(l.passedOver)),
			"name one with identityFile (--ssh-key), or say agent: true (--ssh-agent) and ssh-add it")
	}
	return l, nil
}

// readKey reads a private key. No error of it holds any of the file.
func readKey(what, path string) (ssh.Signer, error) {
	data, err := readSecret(what, path, maxKeyFile)
	if err != nil {
		return nil, err
	}
	signer, err := ssh.ParsePrivateKey(data)
	if missing := (*ssh.PassphraseMissingError)(nil); errors.As(err, &missing) {
		return nil, missing
	}
	if err != nil {
		return nil, plugins.Hint(fmt.Errorf("connections.nodes.%s: %s is not a private key that can be read", what, path), "ssh-keygen -y -f %s", path)
	}
	return signer, nil
}

// readPassword reads a password, which is the file's only line.
func readPassword(path string) (string, error) {
	data, err := readSecret("passwordFile", path, maxPasswordFile)
	if err != nil {
		return "", err
	}
	line := bytes.TrimSuffix(bytes.TrimSuffix(data, []byte("\n")), []byte("\r"))
	if len(line) == 0 || bytes.ContainsAny(line, "\r\n\x00") {
		return "", fmt.Errorf("connections.nodes.passwordFile: %s must hold the password as its only line", path)
	}
	return string(line), nil
}

func reasons(passedOver []string) string {
	out := ""
	for _, s := range passedOver {
		out += "; " + s
	}
	return out
}
