// Package node reaches the nodes of a workload cluster, over SSH or another Transport (package debugpod).
//
// One connection carries all of what a step asks of a node: one script (Conn.Run) and connections that the node itself dials
// (Conn.DialTCP). Nothing is installed or left on the node. Steps get the credentials from package tkg and the way to the
// nodes from their plugins.Nodes connection. What a node answers is not trusted: it is bounded in size and time.
package node
