// Package sdk is all that the author of a step calls: Serve runs a step as a plugin, Effect makes one act durable, Input and
// Output read and write the step's objects.
//
// A plugin's main is
//
//	func main() { sdk.Serve(mystep.New(sdk.Env{})) }
//
// The contract itself is package plugins; a test drives a step with package plugins/plugintest.
package sdk
