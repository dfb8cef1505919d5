package node

import (
	"errors"
	"fmt"

	"golang.org/x/crypto/ssh"

	"github.com/tkgfix/tkgfix/plugins"
)

// Credentials open a node. They print as a placeholder in every way.
type Credentials struct {
	// PrivateKey is in PEM, as ssh-keygen writes it; empty if there is none.
	PrivateKey []byte
	// Password is tried after the key; empty if there is none.
	Password string
}

const redacted = "[node credentials]"

// String returns a placeholder.
func (Credentials) String() string { return redacted }

// Format writes a placeholder for every verb.
func (Credentials) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// MarshalJSON returns a placeholder.
func (Credentials) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalText returns a placeholder, which YAML and log writers take.
func (Credentials) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// methods returns the ways to log in, the key first. A key that cannot be read is passed over when there is a password.
func (c Credentials) methods() ([]ssh.AuthMethod, error) {
	var out []ssh.AuthMethod
	if len(c.PrivateKey) > 0 {
		signer, err := ssh.ParsePrivateKey(c.PrivateKey)
		if err != nil && c.Password == "" {
			return nil, plugins.Hint(errors.New("the SSH private key cannot be read"),
				"look at the Secret CLUSTER-ssh, key ssh-privatekey: it must be a private key without a passphrase")
		}
		if err == nil {
			out = append(out, ssh.PublicKeys(signer))
		}
	}
	if c.Password != "" {
		out = append(out, ssh.Password(c.Password), ssh.KeyboardInteractive(c.answer))
	}
	if len(out) == 0 {
		return nil, plugins.Hint(errors.New("there is neither an SSH key nor a password for the nodes"),
			"look for the Secrets CLUSTER-ssh and CLUSTER-ssh-password in the vSphere Namespace")
	}
	return out, nil
}

// answer gives the password to the one hidden question that PAM asks. More questions mean a forced change of the password,
// which is not ours to make.
func (c Credentials) answer(_, _ string, questions []string, echos []bool) ([]string, error) {
	switch {
	case len(questions) == 0:
		return nil, nil
	case len(questions) == 1 && !echos[0]:
		return []string{c.Password}, nil
	}
	return nil, errors.New("the node asks for more than the password")
}
