//go:build replicas

package replicas

import (
	"context"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
)

const (
	stormRuns     = 50
	stormReplicas = 3
)

// TestStorm has three replicas carry out fifty Runs while one of them is killed every few seconds.
func TestStorm(t *testing.T) {
	const ns = "storm"
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	dice := rand.New(rand.NewPCG(seed, 0))
	kubeconfig, err := management.Bearer("eraser", "eraser-token")
	must(t, err)
	team(t, ns, kubeconfig)
	bob := newApprover(t)
	letAllGo(t, ns, rand.New(rand.NewPCG(seed, 1)))
	alice, relics := as(t, "alice"), map[types.UID]bool{}
	for n := range stormRuns {
		name := fmt.Sprintf("relic-%02d", n)
		relics[newRelic(t, ns, name)] = true
		ask(t, alice, ns, name)
	}
	p := pod{namespace: ns, leaders: "tkgfix-system"}
	var living []*replica
	for range stormReplicas {
		living = append(living, p.start(t))
	}
	pause := func() time.Time {
		return time.Now().Add(2*time.Second + time.Duration(dice.IntN(1000))*time.Millisecond)
	}
	start, next, kills := time.Now(), pause(), map[string]time.Time{}
	var all []v1alpha1.Run
	err = poll(t, 3*time.Minute, func(ctx context.Context) (bool, error) {
		if time.Now().After(next) {
			i := dice.IntN(len(living))
			kills[living[i].name] = time.Now()
			living[i].kill(t)
			living[i] = p.start(t)
			next = pause()
		}
		var err error
		if all, err = bob.look(ctx, ns); err != nil {
			return false, err
		}
		return over(all)
	})
	if err != nil {
		t.Fatalf("wait for all Runs to be done: %v; not done are:\n%s", err, unfinished(all))
	}
	took := time.Since(start)
	if len(all) != stormRuns {
		t.Errorf("%d Runs are there, %d were asked for", len(all), stormRuns)
	}
	o := left(t, all, kills)
	if len(o.after) == 0 || o.acting == 0 {
		t.Fatalf("of %d kills, %d left an attempt and %d a deletion behind: this has shown nothing", len(kills), len(o.after), o.acting)
	}
	round := func(n int) time.Duration { return o.after[n].Round(10 * time.Millisecond) }
	t.Logf("%d Runs were done after %s; %d kills left %d attempts behind, %d of them while they deleted, which were taken up after %s to %s, half of them within %s",
		len(all), took.Round(100*time.Millisecond), len(kills), len(o.after), o.acting, round(0), round(len(o.after)-1), round(len(o.after)/2))
	if len(o.lost) > 0 {
		t.Logf("replicas that lived lost their locks: %q", o.lost)
	}
	log := audit(t, ns)
	deletedOnce(t, log, relics)
	heldByWriter(t, log)
	noLeases(t, ns, kills)
	nothingLeft(t, p, living)
}

// spare is how many goroutines more than a replica that has done nothing one may have that has: those of its connections.
const spare = 20

// nothingLeft waits until replicas that have nothing more to do are as one that has done nothing.
func nothingLeft(t *testing.T, p pod, worked []*replica) {
	t.Helper()
	fresh := p.start(t)
	fresh.ready(t)
	var all map[string]int
	var busy *replica
	err := poll(t, 20*time.Second, func(ctx context.Context) (bool, error) {
		want, _, err := fresh.goroutines(ctx)
		if err != nil {
			return false, err
		}
		now := map[string]int{fresh.name: want}
		busy = nil
		for _, r := range worked {
			n, leads, err := r.goroutines(ctx)
			if err != nil {
				return false, err
			}
			now[r.name] = n
			if n > want+spare && !leads || len(r.processes(t)) != 1 {
				busy = r
			}
		}
		all = now
		return busy == nil, nil
	})
	t.Logf("goroutines: %v; %s is new", all, fresh.name)
	if err != nil {
		t.Errorf("wait until nothing is left: %v", err)
		if busy != nil {
			_ = syscall.Kill(busy.PID(), syscall.SIGQUIT) // its log then says what is left
			<-busy.Done()
		}
	}
}
