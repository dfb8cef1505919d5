package vm

import "path/filepath"

// File returns the name of the node's file for an entry and what cloud-init writes into it; ok is false if it writes none.
func (t Trust) File() (name string, data []byte, ok bool) {
	name = t.fileName()
	data, ok = t.decode()
	// A name with a slash would leave the folder. The CRD refuses such names; this is the second lock.
	return name, data, ok && filepath.Base(name) == name
}

// Release is the family's os-release(5).
func (f Family) Release() string { return f.release() }
