package guest

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPoolGivesEachAddressOnce(t *testing.T) {
	t.Parallel()
	pool, err := NewPool(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pool.Close() })
	seen := map[string]bool{pool.Supervisor(): true, pool.Registry(): true}
	var all []string
	for {
		address, err := pool.Take()
		if err != nil {
			break
		}
		if seen[address] {
			t.Fatalf("%s was given twice", address)
		}
		seen[address] = true
		all = append(all, address)
	}
	if diff := cmp.Diff(lastFree-firstFree+1, len(all)); diff != "" {
		t.Errorf("addresses of a block (-want, +got):\n%s", diff)
	}
	pool.Release(all[5])
	pool.Release("not an address")
	got, err := pool.Take()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(all[5], got); diff != "" {
		t.Errorf("the address that was given back (-want, +got):\n%s", diff)
	}
}

func TestPoolsDiffer(t *testing.T) {
	t.Parallel()
	networks := map[string]bool{}
	for range 20 {
		pool, err := NewPool(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = pool.Close() })
		networks[pool.Network()] = true
	}
	if diff := cmp.Diff(20, len(networks)); diff != "" {
		t.Errorf("blocks of laboratories at one time (-want, +got):\n%s", diff)
	}
}

func TestRandomIsAName(t *testing.T) {
	t.Parallel()
	a, err := Random(passwordLength)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Random(passwordLength)
	if err != nil {
		t.Fatal(err)
	}
	if len(a) != passwordLength || a == b {
		t.Errorf("got %q and %q", a, b)
	}
}
