package trustconfig_test

import (
	"testing"

	"github.com/tkgfix/tkgfix/plugins/plugintest"
	"github.com/tkgfix/tkgfix/plugins/sdk"
	"github.com/tkgfix/tkgfix/plugins/trustconfig"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	plugintest.Conformance(t, trustconfig.New(sdk.Env{}), plugintest.Cases{})
}
