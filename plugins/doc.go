// Package plugins is the contract between tkgfix and its steps.
//
// A step says what it is (Describe), what it would do (Plan) and does it (Apply). The engine calls a step
// only through this contract; package plugins/sdk serves a step from its own process and gives it Effect, the one durable
// primitive; internal/wire carries the contract over gRPC. This package imports nothing of ours.
package plugins
