// Package trigger opens plan-only Runs when pods of a workload cluster cannot pull because a node does not trust the registry.
//
// It watches the Events that kubelets write, and keeps nothing of its own: whether another Run may be opened is derived from the Runs that
// there are, so that a restart, and another replica, come to the same. Who deletes a Run takes its cool-down back and its share of the
// brake, which is a way to ask for another.
//
// The name of a Run follows from the one before it for the same cluster and registry, so that the API server lets one of two replicas open
// it that are both the leader for a moment. The brake has no such name: each of the two may let one Run more through.
//
// Whoever can write Events into a workload cluster can have Runs opened. They are plan-only, one at a time for a cluster and registry, and
// the brake bounds them.
package trigger
