// Package remedy holds what the gentle remedies share: the proof from the nodes, the waiting for a roll, and what stands in a roll's way.
package remedy
