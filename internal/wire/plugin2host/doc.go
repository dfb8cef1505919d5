// Package plugin2host is the second direction: a step that applies calls the host back. Server is the engine's side, which serves a
// plugins.Host; Client is the plugin's side, which is one. The first direction is package host2plugin: read that before.
package plugin2host
