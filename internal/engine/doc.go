// Package engine carries out what is approved, and survives being killed at any instant.
//
// A run is its journal. Create begins one; Run plans it, stops at gates and applies; Resume is Run again, from what the
// journal says; Decide writes a person's word. Replay folds a journal into a Run, from which status and reports are made. The
// engine knows no medium, no gRPC, no Kubernetes and no terminal: the store, the steps, the clock and the tracer are handed in.
package engine
