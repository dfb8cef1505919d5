// Package pluginhost starts the processes of plugins, hands their steps to the engine, and sees to it that none outlives its host.
//
// A plugin is a process of the executable that Options name, one for each step's name, started when it is first needed and again after it
// has crashed. On Linux it dies with its host, even a host that is killed; elsewhere it notices within a second. Alive and End serve
// the resumption of a run: they prove that the processes which an earlier host journalled are gone, or make it so.
// The protocol is package wire.
package pluginhost
