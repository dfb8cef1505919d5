package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
	"github.com/tkgfix/tkgfix/internal/state"
)

const (
	// annotationHolder is where a Lease says in full who holds it.
	annotationHolder = "tkgfix.dev/holder"
	// maxHolder bounds it, in bytes.
	maxHolder = 4 << 10
	// maxLease bounds for how long the word of a Lease about itself is taken.
	maxLease = time.Hour
)

// Lock implements state.Store. A Lease of another is only looked at: one that has not changed for LeaseDuration since this store first looked
// is taken over, so who gets a LockedError should look again. The lock is renewed in the background until it is released or lost; it is
// not bound to ctx. Until a lost lock is released, this store does not take the run again: what was begun under it may not have ended.
func (s *Store) Lock(ctx context.Context, run string, holder state.Holder) (func() error, error) {
	if err := check(run); err != nil {
		return nil, err
	}
	if l := s.lock(run); l != nil {
		return nil, &state.LockedError{Run: run, Holder: l.holder}
	}
	l := &held{store: s, run: run, holder: holder, token: token(), done: make(chan struct{})}
	l.ctx, l.end = context.WithCancel(context.WithoutCancel(ctx))
	if err := s.tries(ctx, func(ctx context.Context) error { return s.acquire(ctx, l) }); err != nil {
		l.end()
		if _, locked := errors.AsType[*state.LockedError](err); locked {
			return nil, err
		}
		return nil, fmt.Errorf("lock run %s: %w", run, err)
	}
	s.seen.Remove(run)
	if l.tookOver && s.TookOver != nil {
		s.TookOver(run)
	}
	if other := s.keep(l); other != nil {
		l.end()
		return nil, errors.Join(&state.LockedError{Run: run, Holder: other.holder}, l.giveUp())
	}
	go l.keepRenewing()
	return l.release, nil
}

// acquire takes the Lease of a run once. It finds out that it has taken it before, if the answer to that was lost.
func (s *Store) acquire(ctx context.Context, l *held) error {
	for range maxRounds {
		there, err := s.lease(ctx, l.run)
		switch {
		case err == nil && l.owns(there):
			l.lease = there
			return nil
		case err == nil && !s.expired(l.run, there):
			return &state.LockedError{Run: l.run, Holder: holderOf(there)}
		case err == nil:
			l.begin()
			l.sign(there)
			l.tookOver = true
			err = s.Client.Update(ctx, there)
		case apierrors.IsNotFound(err):
			if err := s.exists(ctx, l.run); err != nil {
				return err
			}
			l.begin()
			there = &coordinationv1.Lease{ObjectMeta: s.meta(l.run, LeaseName(l.run))}
			l.sign(there)
			l.tookOver = false
			err = s.Client.Create(ctx, there)
		}
		switch {
		case err == nil:
			l.lease = there
			return nil
		case !apierrors.IsAlreadyExists(err) && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err):
			return err
		}
		// Another was faster, or this was and the answer was lost: look again.
	}
	return &state.LockedError{Run: l.run}
}

// exists returns ErrNotFound for a run without a journal.
func (s *Store) exists(ctx context.Context, run string) error {
	first := &metav1.PartialObjectMetadata{}
	first.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("JournalEntry"))
	err := s.Client.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: entryName(run, 1)}, first)
	if apierrors.IsNotFound(err) {
		return state.ErrNotFound
	}
	return err
}

func (s *Store) lease(ctx context.Context, run string) (*coordinationv1.Lease, error) {
	l := &coordinationv1.Lease{}
	return l, s.Client.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: LeaseName(run)}, l)
}

// sighting is when a Lease was first seen as it is.
type sighting struct {
	uid     types.UID
	version string
	at      time.Time
}

// expired says whether a Lease of another has been the same for as long as it is valid, by this machine's clock.
func (s *Store) expired(run string, lease *coordinationv1.Lease) bool {
	now := s.Clock.Now()
	before, ok := s.seen.Get(run)
	if !ok || before.(sighting).uid != lease.UID || before.(sighting).version != lease.ResourceVersion {
		s.seen.Add(run, sighting{lease.UID, lease.ResourceVersion, now})
		return false
	}
	valid := s.LeaseDuration
	if d := lease.Spec.LeaseDurationSeconds; d != nil {
		// Its holder may have been started with another duration than this one.
		valid = max(valid, min(time.Duration(*d)*time.Second, maxLease))
	}
	return now.Sub(before.(sighting).at) >= valid
}

// Break implements state.Store. If the API server's answer is lost, it says that it broke what was held when it looked.
func (s *Store) Break(ctx context.Context, run string) (state.Holder, error) {
	if err := check(run); err != nil {
		return state.Holder{}, fmt.Errorf("%w: %w", state.ErrNotLocked, err)
	}
	was, err := s.removeLease(ctx, run, func(there, before *coordinationv1.Lease) bool { return before == nil || sameHolder(there, before) })
	if err != nil {
		return state.Holder{}, fmt.Errorf("break the lock of run %s: %w", run, err)
	}
	if l := s.lock(run); l != nil && l.owns(was) {
		l.lose()
	}
	return holderOf(was), nil
}

// removeLease deletes a run's Lease if it is the one that is meant, and returns it. It returns ErrNotLocked if there is none, or another, or if
// that was removed by another meanwhile. If it cannot tell whether it was itself, because an answer was lost, it was.
func (s *Store) removeLease(ctx context.Context, run string, meant func(there, before *coordinationv1.Lease) bool) (*coordinationv1.Lease, error) {
	var (
		before *coordinationv1.Lease
		unsure bool
	)
	err := s.tries(ctx, func(ctx context.Context) error {
		for range maxRounds {
			there, err := s.lease(ctx, run)
			switch {
			case apierrors.IsNotFound(err), err == nil && !meant(there, before):
				if unsure {
					return nil
				}
				return state.ErrNotLocked
			case err != nil:
				return err
			}
			before = there
			sent, counting := countSent(ctx)
			err = s.Client.Delete(counting, there, client.Preconditions{UID: &there.UID, ResourceVersion: &there.ResourceVersion})
			if err == nil {
				return nil
			}
			// What was sent more than once, or was not answered for good, may have been done.
			unsure = unsure || sent.Load() != 1 || transient(err)
			if !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
				return err
			}
			// It is gone, or was renewed meanwhile: look again.
		}
		return errAgain
	})
	return before, err
}

func identity(l *coordinationv1.Lease) string {
	if l.Spec.HolderIdentity == nil {
		return ""
	}
	return *l.Spec.HolderIdentity
}

func sameHolder(a, b *coordinationv1.Lease) bool { return a.UID == b.UID && identity(a) == identity(b) }

// holderOf returns who a Lease says that holds it, the zero Holder if it does not say so in a form to be shown.
func holderOf(l *coordinationv1.Lease) state.Holder {
	text := l.Annotations[annotationHolder]
	var h state.Holder
	if len(text) > maxHolder || json.Unmarshal([]byte(text), &h) != nil || !printable(h.User) || !printable(h.Host) {
		return state.Holder{}
	}
	return h
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}
