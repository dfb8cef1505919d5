package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tkgfix/tkgfix/internal/state"
)

// held is a lock that this process took and has not released.
type held struct {
	store  *Store
	run    string
	holder state.Holder
	// token tells this lock from a later one by the same holder.
	token string
	// tookOver says that another's Lease was written over, or tried to be; it counts once the lock is taken.
	tookOver bool
	// lease is as it was last written or seen. It belongs to who renews, and after that to who releases.
	lease *coordinationv1.Lease

	// ctx ends when the lock is lost or released, by end; done is closed when nobody renews any more.
	ctx  context.Context
	end  context.CancelFunc
	done chan struct{}

	mu sync.Mutex
	// renewed is when the last renewal that succeeded was begun: others saw it later.
	renewed        time.Time
	lost, released bool
}

// errTaken is returned by a renewal that found the Lease gone or another's.
var errTaken = errors.New("the lease was broken, or taken over")

// lock returns the lock of a run that this store took and has not released, nil if there is none.
func (s *Store) lock(run string) *held {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held[run]
}

// keep remembers a lock until it is released, or returns the one that there is already.
func (s *Store) keep(l *held) *held {
	s.mu.Lock()
	defer s.mu.Unlock()
	if other := s.held[l.run]; other != nil {
		return other
	}
	s.held[l.run] = l
	return nil
}

// fresh says whether nobody else can have taken a lock, as far as time tells. One that is not fresh is lost. No lock at all is fresh: what
// is appended without one has only the journal's fence.
func (s *Store) fresh(l *held) bool {
	if l == nil {
		return true
	}
	left := l.left()
	if left <= 0 {
		l.lose()
	}
	return left > 0 && !l.isLost()
}

func (l *held) isLost() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost
}

// left returns for how long the lock may still be relied on: two thirds of its Lease, so that the last act can end before others come.
func (l *held) left() time.Duration {
	now := l.store.Clock.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	// The clock of a machine that was suspended may have stood still, so the longer of two counts: that of now, and that of the calendar.
	gone := max(now.Sub(l.renewed), now.Round(0).Sub(l.renewed.Round(0)))
	return 2*l.third() - gone
}

func (l *held) third() time.Duration { return l.store.LeaseDuration / 3 }

// begin notes that a request is sent now that, if it succeeds, renews the lock.
func (l *held) begin() {
	now := l.store.Clock.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.renewed = now
}

// bound returns a context that also ends when the lock does.
func (l *held) bound(ctx context.Context) (context.Context, func()) {
	if l == nil {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(l.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

// lose ends what goes on under the lock, once, and says so.
func (l *held) lose() {
	l.mu.Lock()
	first := !l.lost && !l.released
	l.lost = l.lost || first
	l.mu.Unlock()
	if !first {
		return
	}
	l.end()
	if l.store.Lost != nil {
		l.store.Lost(l.run)
	}
}

// sign writes into a Lease that this is its holder.
func (l *held) sign(lease *coordinationv1.Lease) {
	text, err := json.Marshal(l.holder)
	if err != nil {
		text = nil // strings and a time: it cannot be; the name would then be unknown
	}
	now := metav1.NewMicroTime(l.store.Clock.Now())
	seconds := int32((l.store.LeaseDuration + time.Second - 1) / time.Second)
	if lease.Annotations == nil {
		lease.Annotations = map[string]string{}
	}
	lease.Annotations[annotationHolder] = string(text)
	taken := int32(0)
	if lease.Spec.LeaseTransitions != nil {
		taken = *lease.Spec.LeaseTransitions
	}
	if lease.ResourceVersion != "" {
		taken++
	}
	lease.Spec = coordinationv1.LeaseSpec{
		HolderIdentity: &l.token, LeaseDurationSeconds: &seconds, AcquireTime: &now, RenewTime: &now, LeaseTransitions: &taken,
	}
}

func (l *held) owns(lease *coordinationv1.Lease) bool { return identity(lease) == l.token }

// keepRenewing renews the lock until it is released or lost.
func (l *held) keepRenewing() {
	defer close(l.done)
	timer := l.store.Clock.NewTimer(l.third())
	defer timer.Stop()
	for {
		select {
		case <-l.ctx.Done():
			return
		case <-timer.C():
		}
		err := l.renew()
		switch {
		case err == nil:
			timer.Reset(l.third())
		case errors.Is(err, errTaken) || l.left() <= 0:
			l.lose()
			return
		default:
			timer.Reset(l.third() / 8)
		}
	}
}

// renew renews the Lease once, unless it is too late: another may then be about to take it.
func (l *held) renew() error {
	left := l.left()
	if left <= 0 {
		return errTaken
	}
	// What this machine's clock says that is left; one that tests brought may be slower.
	ctx, cancel := context.WithTimeout(l.ctx, left)
	defer cancel()
	for range maxRounds {
		lease, begun := l.lease.DeepCopy(), l.store.Clock.Now()
		now := metav1.NewMicroTime(begun)
		lease.Spec.RenewTime = &now
		err := l.store.Client.Update(ctx, lease)
		switch {
		case err == nil:
			l.lease = lease
			l.mu.Lock()
			l.renewed = begun
			l.mu.Unlock()
			return nil
		case apierrors.IsNotFound(err):
			return errTaken
		case !apierrors.IsConflict(err):
			return err
		}
		// Another wrote to it, or this did and the answer was lost.
		there, err := l.store.lease(ctx, l.run)
		switch {
		case apierrors.IsNotFound(err), err == nil && !l.owns(there):
			return errTaken
		case err != nil:
			return err
		}
		l.lease = there
	}
	return errAgain
}

// release implements what state.Store's Lock returns. It gives up when the API server does not answer; the Lease then runs out.
func (l *held) release() error {
	l.mu.Lock()
	again := l.released
	l.released = true
	l.mu.Unlock()
	l.end()
	<-l.done
	if again {
		return fmt.Errorf("release run %s: %w", l.run, state.ErrNotLocked)
	}
	err := l.giveUp()
	s := l.store
	s.mu.Lock()
	delete(s.held, l.run)
	s.mu.Unlock()
	s.ends.Remove(l.run)
	if err == nil && l.isLost() {
		err = state.ErrNotLocked
	}
	if err != nil {
		return fmt.Errorf("release run %s: %w", l.run, err)
	}
	return nil
}

// giveUp deletes the Lease if it is this lock's.
func (l *held) giveUp() error {
	ctx, cancel := context.WithTimeout(context.Background(), l.store.LeaseDuration)
	defer cancel()
	_, err := l.store.removeLease(ctx, l.run, func(there, _ *coordinationv1.Lease) bool { return l.owns(there) })
	return err
}
