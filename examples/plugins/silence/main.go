// Command tkgfix-plugin-silence is a step of tkgfix that keeps Alertmanager quiet about a cluster for the time of a maintenance.
//
// It is an example of a plugin by a third party: a module of its own that uses nothing of tkgfix but its public packages.
package main

import "github.com/tkgfix/tkgfix/plugins/sdk"

func main() { sdk.Serve(newStep(sdk.Env{})) }
