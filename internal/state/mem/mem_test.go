package mem_test

import (
	"testing"

	"github.com/tkgfix/tkgfix/internal/state"
	"github.com/tkgfix/tkgfix/internal/state/mem"
	"github.com/tkgfix/tkgfix/internal/state/statetest"
)

func TestStore(t *testing.T) {
	t.Parallel()
	statetest.Run(t, func(*testing.T) (state.Store, func() state.Store) {
		s := mem.New()
		return s, func() state.Store { return s }
	})
}
