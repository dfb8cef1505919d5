// Package debugpod reaches a node of a workload cluster by a privileged pod on it, for clusters whose nodes cannot be reached by SSH
// (tkg-facts.md §3, "Without SSH").
//
// It is the one way of looking at a node that writes: it makes a pod, and deletes it (docs/adr/0012-debug-pods.md). The pod runs an image
// that the node already has and never pulls, since nodes that cannot pull are what tkgfix is for. It mounts the node's root read-only,
// and commands run in there with the node's own shell, as root. It ends by itself when tkgfix is killed.
package debugpod
