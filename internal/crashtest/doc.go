// Package crashtest kills a run wherever it can be killed, and holds what is left against what must hold.
//
// A World makes places to run a workflow in: a laboratory, or a small server in a test. In each place the engine runs in a process of its
// own, on a leash: at each boundary, which is the instant before or after an append to the journal, it tells this process where it is and waits.
// Here a director says what happens: the engine is killed or stopped, a plugin's process is killed, or nothing. The engine is the product's own;
// only its store and its steps are wrapped, by Serve, in the child.
//
// A trial carries one run to its end like that, resuming after each kill and approving at gates as a person would. After each child the
// assertions are checked, on the journal and on what the API servers say that was written. What fails is shrunk to the shortest schedule
// that still fails.
package crashtest
