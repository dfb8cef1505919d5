// Package plugindir knows the plugins of third parties that this machine has: it finds them in the plugin folders, holds them
// against the lock file, and asks those that are locked what they are.
//
// A plugin is an executable named tkgfix-plugin-NAME that serves the step NAME. The lock file, tkgfix.lock.yaml, says which version
// and which bytes of it are trusted; nothing else is ever started, but by the command that writes the lock. Package pluginhost
// starts the processes, and package cli joins what is here with the steps that tkgfix ships.
package plugindir
