package node

import "fmt"

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
