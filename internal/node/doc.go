// Package node reaches the nodes of a workload cluster: over SSH, through jump hosts if need be, or over another Transport (package
// debugpod).
//
// One connection carries all of what a step asks of a node: one script (Conn.Run) and connections that the node itself dials
// (Conn.DialTCP), by forwarding or, where that is forbidden, by a program of the node that carries the bytes. Nothing is installed or
// left on the node. Steps get the credentials from package tkg and the way to the nodes from their plugins.Nodes connection. Whose keys
// and whose known_hosts count is in docs/adr/0011-reaching-nodes.md. What a node answers is not trusted: it is bounded in size and time.
package node
