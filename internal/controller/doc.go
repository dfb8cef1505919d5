// Package controller carries out Runs that Kubernetes keeps, on the same path as the command line: its API is the queue, the lock and
// the store.
//
// Every replica works. A Run is claimed by the Lease of its journal, and the journal's expected sequence number keeps one that lost the
// Lease from acting. docs/controller.md says what a user sees of it.
package controller
