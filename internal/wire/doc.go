// Package wire carries the step contract of package plugins from the engine to a plugin's process and back, over hashicorp/go-plugin and gRPC.
//
// The protocol is proto/step.proto. Packages toproto and fromproto translate, host2plugin and plugin2host are the two directions,
// and this package ties them to go-plugin. Package pluginhost starts the processes; package plugins/sdk is what a plugin calls. Nothing
// outside sees a message.
package wire
