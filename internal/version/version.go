// Package version tells which tkgfix this is.
package version

import (
	"runtime/debug"
)

// Version returns the module's version, or dev for a build from a working tree.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "dev"
	}
	return info.Main.Version
}
