// Package nodelook looks at the nodes of a workload cluster: what they hold, what they trust, and what a registry presents to them.
//
// One script over one connection gathers the facts (Take). A handshake goes over the same connection and is judged on this machine as
// that node's containerd would (Probe, by package probe). The steps verify-node-cert, probe, recreate-cluster and
// verify-pull use it. Nothing is written on a node, and what a node says is treated as hostile: bounded, framed and checked.
package nodelook
