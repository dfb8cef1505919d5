package kube_test

import (
	"testing"

	"github.com/tkgfix/tkgfix/internal/kube/faulty"
	"github.com/tkgfix/tkgfix/internal/state"
	"github.com/tkgfix/tkgfix/internal/state/kube"
	"github.com/tkgfix/tkgfix/internal/state/statetest"
)

// TestStoreOnBadDays holds the store to the same suite while one request in eight fails, in every way there is.
func TestStoreOnBadDays(t *testing.T) {
	t.Parallel()
	config, err := management.Config("tester")
	if err != nil {
		t.Fatal(err)
	}
	proxy, err := faulty.New(config, faulty.Seeded(20261123, 12))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		counts := proxy.Counts()
		for _, f := range faulty.All() {
			if counts[f] == 0 {
				t.Errorf("no request had the fault %q: %v", f, counts)
			}
		}
		proxy.Close()
	})
	c, good := clientFor(t, proxy.Config()), newClient(t)
	statetest.Run(t, func(t *testing.T) (state.Store, func() state.Store) {
		ns := newNamespace(t, good)
		open := func() state.Store { return kube.New(kube.Options{Client: c, Namespace: ns}) }
		return open(), open
	})
}
