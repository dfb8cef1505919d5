//go:build replicas

package replicas

import (
	"context"
	"syscall"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
)

// TestStopped ends a replica in order while its deletion is on the way: it waits until that is known to have happened, and another goes on from
// there.
func TestStopped(t *testing.T) {
	t.Parallel()
	a := newApart(t, "stopped", true)
	a.begin(t)
	if err := syscall.Kill(a.away.PID(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	a.openGate()
	err := poll(t, 20*time.Second, func(ctx context.Context) (bool, error) {
		if !a.away.alive() {
			return true, nil
		}
		deleting, err := a.deleting(ctx)
		if err != nil || !deleting {
			return false, client.IgnoreNotFound(err)
		}
		return false, letGo(ctx, a.namespace, firstRelic)
	})
	if err != nil {
		t.Fatalf("wait for %s to end: %v", a.away.name, err)
	}
	if err := a.away.Wait(); err != nil {
		t.Errorf("%s ended with: %v", a.away.name, err)
	}
	var all []v1alpha1.Run
	err = poll(t, 45*time.Second, func(ctx context.Context) (bool, error) {
		var err error
		if all, err = a.bob.look(ctx, a.namespace); err != nil {
			return false, err
		}
		return over(all)
	})
	if err != nil {
		t.Fatalf("wait for %s to go on: %v: %s", a.stay.name, err, unfinished(all))
	}
	as := attempts(t, &all[0])
	for _, at := range as {
		if at.acting || !at.ended {
			t.Errorf("an attempt was left, by %s: %+v", at.host, as)
		}
	}
	if last := as[len(as)-1].host; last != a.stay.name {
		t.Errorf("the last attempt is by %s, want %s: %+v", last, a.stay.name, as)
	}
	deletedOnce(t, audit(t, a.namespace), a.relics)
	noLeases(t, a.namespace, nil)
}
