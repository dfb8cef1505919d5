// Package kube reaches API servers: the Supervisor's and those of the workload clusters.
//
// It reads and writes objects without types, by what the server says that it serves, because VMware's kinds have several
// versions and no public Go types (tkg-facts.md §11). Steps call it; it knows nothing of TKG. A server's certificate is
// always verified, and every error says where it happened and what to do next.
package kube
