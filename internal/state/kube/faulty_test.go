package kube_test

import (
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

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

// TestEachFault has the one request that counts fail, in each way: what is done is done once, and said to be.
func TestEachFault(t *testing.T) {
	t.Parallel()
	config, err := management.Config("tester")
	if err != nil {
		t.Fatal(err)
	}
	good := newClient(t)
	for _, fault := range faulty.All() {
		t.Run(string(fault), func(t *testing.T) {
			t.Parallel()
			var want atomic.Pointer[string] // the method of the request that fails
			var failed atomic.Int64
			proxy, err := faulty.New(config, func(r *http.Request) faulty.Fault {
				if m := want.Load(); m == nil || *m != r.Method || !want.CompareAndSwap(m, nil) {
					return faulty.None
				}
				failed.Add(1)
				return fault
			})
			if err != nil {
				t.Fatal(err)
			}
			defer proxy.Close()
			ns := newNamespace(t, good)
			s := kube.New(kube.Options{Client: clientFor(t, proxy.Config()), Namespace: ns})
			other := kube.New(kube.Options{Client: good, Namespace: ns})
			failing := func(method, what string, f func() error) {
				t.Helper()
				before := failed.Load()
				want.Store(&method)
				if err := f(); err != nil {
					t.Errorf("%s: %v", what, err)
				}
				if failed.Load() != before+1 {
					t.Errorf("%s: no request failed", what)
				}
			}

			failing(http.MethodPost, "append", func() error { _, err := s.Append(t.Context(), "a", 1, draft(1, 100)); return err })
			failing(http.MethodGet, "read", func() error { _, err := s.Read(t.Context(), "a", 1); return err })
			failing(http.MethodGet, "list", func() error { _, err := s.List(t.Context()); return err })
			if _, err := other.Append(t.Context(), "a", 2, draft(2, 100)); err != nil {
				t.Fatal(err)
			}
			failing(http.MethodPost, "append to what has moved on", func() error {
				_, err := s.Append(t.Context(), "a", 2, draft(9, 100))
				if !errors.Is(err, state.ErrConflict) {
					return fmt.Errorf("got %w, want ErrConflict", err)
				}
				return nil
			})

			var release func() error
			lock := func() (err error) { release, err = s.Lock(t.Context(), "a", state.Holder{User: "ann"}); return err }
			failing(http.MethodPost, "lock", lock)
			failing(http.MethodDelete, "release", func() error { return release() })
			failing(http.MethodGet, "lock again", lock)
			if _, err := other.Break(t.Context(), "a"); err != nil {
				t.Error(err)
			}
			failing(http.MethodGet, "release of what was broken", func() error {
				if err := release(); !errors.Is(err, state.ErrNotLocked) {
					return fmt.Errorf("got %w, want ErrNotLocked", err)
				}
				return nil
			})
			bob, err := other.Lock(t.Context(), "a", state.Holder{User: "bob"})
			if err != nil {
				t.Fatal(err)
			}
			defer bob()
			failing(http.MethodDelete, "break", func() error {
				h, err := s.Break(t.Context(), "a")
				if h.User != "bob" {
					t.Errorf("it was broken for %v, want bob", h)
				}
				return err
			})
			if _, err := other.Break(t.Context(), "a"); !errors.Is(err, state.ErrNotLocked) {
				t.Errorf("second break: got %v, want ErrNotLocked", err)
			}
		})
	}
}

// TestPatience has an API server that never answers well: the store tries again, and gives up.
func TestPatience(t *testing.T) {
	t.Parallel()
	config, err := management.Config("tester")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		reason string
		fault  faulty.Fault
	}{
		{"a server that is busy may not be tomorrow", faulty.Busy},
		{"one that is gone may come back", faulty.Unavailable},
		{"a connection that ends may be made again", faulty.ResetAll},
	} {
		t.Run(string(tc.fault), func(t *testing.T) {
			t.Parallel()
			proxy, err := faulty.New(config, func(*http.Request) faulty.Fault { return tc.fault })
			if err != nil {
				t.Fatal(err)
			}
			defer proxy.Close()
			c := clientFor(t, proxy.Config())
			s := kube.New(kube.Options{Client: c, Namespace: "default", Patience: 200 * time.Millisecond})
			if _, err := s.Read(t.Context(), "a", 1); err == nil {
				t.Errorf("%s: the store read what nobody told it", tc.reason)
			}
			if n := proxy.Counts()[tc.fault]; n < 3 {
				t.Errorf("%s: it was tried %d times", tc.reason, n)
			}
		})
	}
}
