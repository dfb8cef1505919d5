package sdk

import (
	"github.com/tkgfix/tkgfix/internal/wire"
	"github.com/tkgfix/tkgfix/plugins"
)

// Serve is the main of a plugin: it serves the step to the tkgfix that started this process, and blocks until that one goes away, however
// it goes. The caller then returns from main; what is still running must not go on. Started by hand it says so and exits with 1.
func Serve(step plugins.Step) { wire.Serve(step) }
