// Package faulty stands between clients and a real API server, for tests, and lets requests fail in the ways that they do in the field: refused
// for now, answered by a server that is going down, cut off before they were carried out, or cut off after, so that only the answer
// is lost.
package faulty

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/http"
	"sync"
)

// Fault is what becomes of a request.
type Fault string

// The faults. Those whose name ends in Done carry the request out; only its answer is lost.
const (
	None        Fault = ""
	Busy        Fault = "busy"        // 429
	BusyLater   Fault = "busyLater"   // 429 with Retry-After, which client-go obeys and does not tell of
	Internal    Fault = "internal"    // 500
	Unavailable Fault = "unavailable" // 503, from a load balancer that has no server
	Timeout     Fault = "timeout"     // 504
	Conflict    Fault = "conflict"    // 409: a create that met a quota, an update that met another's
	Reset       Fault = "reset"       // its stream ends
	ResetAll    Fault = "resetAll"    // its connection ends, with all other requests on it, whether they were carried out or not
	ResetDone   Fault = "resetDone"   // its stream ends
	TimeoutDone Fault = "timeoutDone" // 504
	LaterDone   Fault = "laterDone"   // 503 with Retry-After
	DropWatch   Fault = "dropWatch"   // a watch ends after some events
)

// All returns the faults that Seeded deals to requests that are no watches.
func All() []Fault {
	return []Fault{Busy, BusyLater, Internal, Unavailable, Timeout, Conflict, Reset, ResetAll, ResetDone, TimeoutDone, LaterDone}
}

// Faults says what becomes of a request. Several goroutines call it.
type Faults func(*http.Request) Fault

// Seeded returns faults for that many of a hundred requests, and for every other watch. The n-th request of a method to a path has the same
// fate whenever the seed is the same, whatever else is under way.
func Seeded(seed uint64, percent int) Faults {
	var mu sync.Mutex
	count := map[string]int{}
	return func(r *http.Request) Fault {
		key := r.Method + " " + r.URL.Path
		mu.Lock()
		count[key]++
		n := count[key]
		mu.Unlock()
		h := fnv.New64a()
		_, _ = fmt.Fprintf(h, "%s %d", key, n) // it never fails
		dice := rand.New(rand.NewPCG(seed, h.Sum64()))
		if watches(r) && dice.IntN(2) == 0 {
			return DropWatch
		}
		if dice.IntN(100) >= percent {
			return None
		}
		return All()[dice.IntN(len(All()))]
	}
}

func watches(r *http.Request) bool {
	w := r.URL.Query().Get("watch")
	return w == "true" || w == "1"
}

// possible replaces a fault that a request cannot have.
func possible(f Fault, r *http.Request) Fault {
	switch {
	case f == Conflict && r.Method != http.MethodPost && r.Method != http.MethodPut && r.Method != http.MethodPatch:
		return Reset
	case watches(r) && (f == ResetDone || f == TimeoutDone || f == LaterDone):
		return DropWatch
	}
	return f
}
