// Package tkg knows what the TKG Service is: how a cluster is named and owned, where trust is stored and how it is encoded, what of a
// cluster may be created anew, and what its nodes are.
//
// The facts are those of tkg-facts.md. The files ref, trust, encoding and clean are pure; owner, nodes and credentials read the Supervisor.
package tkg
