// Package kube keeps journals in the API of a Kubernetes cluster: an append is one JournalEntry that is created and never changed, and the
// lock of a run is a Lease. docs/state-format.md says what holds.
//
// That the name of the next entry is taken already is what fences a writer who was not the first. A holder that cannot renew its Lease in
// time stops itself before another may take the lock, by its own clock: no clock is compared with another machine's.
package kube

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"k8s.io/utils/lru"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
	"github.com/tkgfix/tkgfix/internal/state"
)

// DefaultLeaseDuration is for how long a lock outlives its holder.
const DefaultLeaseDuration = 15 * time.Second

// maxKnown bounds the runs of which something is remembered. What is forgotten is read again.
const maxKnown = 1024

// Options say where journals lie and how locks are held.
type Options struct {
	// Client reads from the API server itself and not from a cache. Its scheme knows tkgfix.dev/v1alpha1 and coordination.k8s.io/v1.
	Client client.Client
	// Namespace is where the journals and the Leases are.
	Namespace string
	// Owner returns the object with which what belongs to a run is removed, nil if there is none. It must not block.
	Owner func(run string) *metav1.OwnerReference
	// LeaseDuration is for how long nobody else takes a lock that is not renewed; 0 means DefaultLeaseDuration. It is renewed after a
	// third of it, and given up by its holder after two thirds without success.
	LeaseDuration time.Duration
	// Patience is for how long a call is tried again that the API server does not answer, or not now; 0 means DefaultPatience.
	Patience time.Duration
	// Lost is told, once a lock, that it was lost before it was released: what was begun under it must end. It must not block.
	Lost func(run string)
	// TookOver is told, if it is set, of a lock that was taken from a holder who no longer renewed it. It must not block.
	TookOver func(run string)
	// Clock tells how much time has passed; nil means the machine's. Tests bring their own.
	Clock clock.Clock
}

// Store is a state.Store in a namespace. A process has one a namespace, so that it cannot take a lock from itself.
type Store struct {
	Options
	limits

	// ends holds the state.Chain at the end of journals that were written or read, so that an append is one call. The API server
	// decides whether it still is the end.
	ends *lru.Cache
	// seen holds the sighting of each Lease that another holds.
	seen *lru.Cache

	mu sync.Mutex
	// held holds the locks that were taken and not released, lost ones among them.
	held map[string]*held
}

var _ state.Store = (*Store)(nil)

// New returns the store that opts describe. It connects to nothing.
func New(opts Options) *Store {
	if opts.LeaseDuration <= 0 {
		opts.LeaseDuration = DefaultLeaseDuration
	}
	if opts.Patience <= 0 {
		opts.Patience = DefaultPatience
	}
	if opts.Clock == nil {
		opts.Clock = clock.RealClock{}
	}
	return &Store{
		Options: opts, limits: limits{maxPiece, maxLines, maxJournal},
		ends: lru.New(maxKnown), seen: lru.New(maxKnown), held: map[string]*held{},
	}
}

// List implements state.Store. It reads no journal.
func (s *Store) List(ctx context.Context) ([]string, error) {
	var runs []string
	empty := func() client.ObjectList {
		page := &metav1.PartialObjectMetadataList{}
		page.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("JournalEntryList"))
		return page
	}
	err := s.pages(ctx, empty, func(page client.ObjectList, first bool) error {
		if first {
			runs = nil
		}
		for _, o := range page.(*metav1.PartialObjectMetadataList).Items {
			// The label could be on anything: only a first entry's name counts.
			if run := o.Labels[v1alpha1.LabelRun]; check(run) == nil && o.Name == entryName(run, 1) {
				runs = append(runs, run)
			}
		}
		return nil
	}, client.HasLabels{v1alpha1.LabelFirst})
	if err != nil {
		return nil, fmt.Errorf("list runs in namespace %s: %w", s.Namespace, err)
	}
	slices.Sort(runs)
	return runs, nil
}

// check refuses run ids that can be no part of an object's name or no label.
func check(run string) error {
	if err := state.CheckRun(run); err != nil {
		return err
	}
	if strings.HasSuffix(run, "-") {
		return fmt.Errorf("run id %q: it must not end with -", run)
	}
	return nil
}

// entryName is the name of the object whose first entry has that number. That there is only one of a name is the fence.
func entryName(run string, seq uint64) string { return fmt.Sprintf("%s.%08d", run, seq) }

// entrySeq is the way back from a name.
func entrySeq(run, name string) (uint64, bool) {
	digits, ok := strings.CutPrefix(name, run+".")
	seq, err := strconv.ParseUint(digits, 10, 63)
	return seq, ok && err == nil && seq > 0 && name == entryName(run, seq)
}

// partName is the name of a further part of an append. No two writers have the same.
func partName(run string, seq uint64, writer string, n int) string {
	return fmt.Sprintf("%s.%s.%02d", entryName(run, seq), writer, n)
}

// LeaseName is the name of the Lease that is the lock of a run.
func LeaseName(run string) string { return "tkgfix-" + run }

// meta is what all objects of a run have.
func (s *Store) meta(run, name string) metav1.ObjectMeta {
	m := metav1.ObjectMeta{Namespace: s.Namespace, Name: name, Labels: map[string]string{v1alpha1.LabelRun: run}}
	if s.Owner != nil {
		if owner := s.Owner(run); owner != nil {
			m.OwnerReferences = []metav1.OwnerReference{*owner}
		}
	}
	return m
}

// token returns a word that nobody else has.
func token() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // it never fails
	return hex.EncodeToString(b)
}
