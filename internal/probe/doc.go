// Package probe says why a TLS connection to a registry fails, and what mends it: one look, one verdict of one documented list.
//
// It dials as containerd does, judges by Go's rules with the roots that it is given (package certs), asks further where Go's own
// error says too little, and compares with what openssl says. The command tkgfix probe and the step probe stand on it; each verdict
// has its section in docs/checks.md.
package probe
