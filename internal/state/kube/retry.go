package kube

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/http/httptrace"
	"slices"
	"sync/atomic"
	"time"

	"github.com/sethvargo/go-retry"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tkgfix/tkgfix/internal/state"
)

// DefaultPatience is for how long a call is tried again: as long as a lock is held that is not renewed.
const DefaultPatience = 10 * time.Second

const (
	firstPause = 20 * time.Millisecond
	maxPause   = 2 * time.Second
	tryTimeout = 15 * time.Second
	// maxRounds bounds how often one looks again at once, because another was faster.
	maxRounds = 10
)

// errAgain is returned by what must be tried again although the API server has answered.
var errAgain = errors.New("another writer was faster, again and again")

// tries calls f until it succeeds, its error is final, or patience is at its end. A call whose answer was lost may have been carried out:
// f must know its own work again.
func (s *Store) tries(ctx context.Context, f func(context.Context) error) error {
	backoff := retry.WithMaxDuration(s.Patience, retry.WithCappedDuration(maxPause, retry.WithJitterPercent(20, retry.NewExponential(firstPause))))
	return retry.Do(ctx, backoff, func(ctx context.Context) error {
		one, cancel := context.WithTimeout(ctx, tryTimeout)
		defer cancel()
		err := f(one)
		if err != nil && ctx.Err() == nil && transient(err) {
			return retry.RetryableError(err)
		}
		return err
	})
}

// transient says whether another try may bring another answer: the API server says so, or it was not the one that answered.
func transient(err error) bool {
	var (
		status apierrors.APIStatus
		locked *state.LockedError
		cert   *tls.CertificateVerificationError
	)
	switch {
	case errors.Is(err, errAgain):
		return true
	case errors.As(err, &status):
		code := status.Status().Code
		return code == http.StatusTooManyRequests || code >= http.StatusInternalServerError
	case errors.As(err, &locked), errors.As(err, &cert), meta.IsNoMatchError(err):
		return false
	}
	return !errors.Is(err, state.ErrConflict) && !errors.Is(err, state.ErrNotFound) && !errors.Is(err, state.ErrNotLocked)
}

// countSent returns a context that counts how often a request is sent: the client may try again by itself, and not tell.
func countSent(ctx context.Context) (*atomic.Int32, context.Context) {
	sent := &atomic.Int32{}
	return sent, httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { sent.Add(1) }})
}

// pageSize bounds the objects in one answer. Each may have a megabyte.
const pageSize = 100

// pages lists objects as they are at one moment, which is now, and hands them over page by page. first says that the list begins: one of
// which the API server does not keep the rest any more begins again.
func (s *Store) pages(
	ctx context.Context, empty func() client.ObjectList, take func(page client.ObjectList, first bool) error, opts ...client.ListOption,
) error {
	opts = append(opts, client.InNamespace(s.Namespace), client.Limit(pageSize))
	for at, restarts := "", 0; ; {
		var page client.ObjectList
		err := s.tries(ctx, func(ctx context.Context) error {
			page = empty()
			return s.Client.List(ctx, page, append(slices.Clone(opts), client.Continue(at))...)
		})
		if apierrors.IsResourceExpired(err) && restarts < maxRounds {
			at, restarts = "", restarts+1
			continue
		}
		if err != nil {
			return err
		}
		if err := take(page, at == ""); err != nil {
			return err
		}
		if at = page.GetContinue(); at == "" {
			return nil
		}
	}
}
