// Command raze is a third party's plugin for tests. It is built twice, as one file is one step: as look, which sees whether a relic is there,
// and as raze, which deletes it. It uses nothing of tkgfix but its public packages.
package main

import "github.com/tkgfix/tkgfix/plugins/sdk"

// name is the step's, set when it is built.
var name string

func main() { sdk.Serve(&step{name: name}) }
