// Package host2plugin is the first direction: the engine calls a step. Client is the engine's side, which is a plugins.Step; Server is
// the plugin's side, which has one. When a step applies it calls back: that is package plugin2host.
//
// A context that ends crosses by a call of its own, Cancel, and the Client then waits for the step's real answer: a cancelled Apply that
// has not answered may still be acting.
package host2plugin
