package workflows_test

import (
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/backup"
	"github.com/tkgfix/tkgfix/plugins/clustertrust"
	"github.com/tkgfix/tkgfix/plugins/detect"
	"github.com/tkgfix/tkgfix/plugins/diagnose"
	"github.com/tkgfix/tkgfix/plugins/encoding"
	"github.com/tkgfix/tkgfix/plugins/nodecert"
	"github.com/tkgfix/tkgfix/plugins/owner"
	"github.com/tkgfix/tkgfix/plugins/probe"
	"github.com/tkgfix/tkgfix/plugins/recreate"
	"github.com/tkgfix/tkgfix/plugins/restart"
	"github.com/tkgfix/tkgfix/plugins/rollnodes"
	"github.com/tkgfix/tkgfix/plugins/sdk"
	"github.com/tkgfix/tkgfix/plugins/trustconfig"
	"github.com/tkgfix/tkgfix/plugins/verifypull"
)

// shipped are the steps that the examples use, as they describe themselves.
func shipped() map[string]plugins.Step {
	env := sdk.Env{}
	out := map[string]plugins.Step{}
	for _, s := range []plugins.Step{
		detect.New(env), owner.New(env), nodecert.New(env), probe.New(env), encoding.New(env), diagnose.New(env), restart.New(env), rollnodes.New(env),
		clustertrust.New(env), trustconfig.New(env), recreate.New(env), backup.New(env), verifypull.New(env),
	} {
		out[s.Describe().Name] = s
	}
	return out
}
