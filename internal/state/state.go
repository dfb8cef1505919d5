// Package state keeps journals: append-only, hash-chained sequences of entries, one a run.
//
// The engine writes what a run did and replays it after a crash; state knows no run and looks into no entry. The
// media are mem and file; statetest is the suite that each must pass. What must hold is in docs/state-format.md.
package state

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// MaxEntry bounds an entry's encoded size, in bytes.
const MaxEntry = 32 << 20

// Draft is an entry that has no place in a journal yet.
type Draft struct {
	Time time.Time
	Kind string
	// Data is opaque to the store. It must be valid JSON and hold no secret.
	Data json.RawMessage
}

// Entry is one line of a journal.
type Entry struct {
	// Seq counts from 1 without a gap.
	Seq uint64 `json:"seq"`
	// Prev is the Sum of the entry before, empty for the first.
	Prev string          `json:"prev"`
	Time time.Time       `json:"time"`
	Kind string          `json:"kind"`
	Data json.RawMessage `json:"data,omitempty"`
	// Sum is the SHA-256, in hex, of the entry's encoding without it. The last entry's Sum stands for the whole journal.
	Sum string `json:"sum,omitempty"`
}

// Holder says who holds a lock.
type Holder struct {
	User  string    `json:"user"`
	Host  string    `json:"host"`
	PID   int       `json:"pid"`
	Since time.Time `json:"since"`
}

// Held returns for how long the lock has been held at now, in whole seconds; 0 if that is not known.
func (h Holder) Held(now time.Time) time.Duration {
	if h.Since.IsZero() {
		return 0
	}
	return max(now.Sub(h.Since).Truncate(time.Second), 0)
}

// String returns user@host, pid and since when, for messages.
func (h Holder) String() string {
	if h == (Holder{}) {
		return "someone who has not written a name"
	}
	return fmt.Sprintf("%s@%s (pid %d) since %s", h.User, h.Host, h.PID, h.Since.UTC().Format(time.RFC3339))
}

// Store keeps journals. Its methods are safe for concurrent use and block on the medium.
type Store interface {
	// Append makes drafts durable as the entries at, at+1 and so on, all or none, and returns the last entry's number.
	// It returns ErrConflict, and writes nothing, unless the journal's last entry is number at-1: this is the fence that
	// keeps a writer who lost its lock from acting. A journal begins with at = 1.
	Append(ctx context.Context, run string, at uint64, drafts ...Draft) (uint64, error)
	// Read returns the entries from number from on, the chain verified. It returns ErrNotFound for a run that has no
	// journal, and a CorruptError beside the entries before the damage.
	Read(ctx context.Context, run string, from uint64) ([]Entry, error)
	// Lock takes the run for one holder and returns what releases it. It does not wait for a holder to end: it returns a
	// LockedError with the present one, whose name is unknown if it died, or was broken, before it could write it. It returns
	// ErrNotFound for a run that has no journal. Keep release: a lock that nobody can release any more may
	// become free. It returns ErrNotLocked if the lock was broken meanwhile, and leaves the lock of another alone.
	Lock(ctx context.Context, run string, holder Holder) (release func() error, err error)
	// Break takes the lock away from whoever holds it, so that it is free, and returns who held it. It returns ErrNotLocked
	// if nobody does. It stops nobody: who breaks a lock must first append to the journal, which fences the old holder.
	Break(ctx context.Context, run string) (Holder, error)
	// List returns the runs that have a journal, in the order of their ids.
	List(ctx context.Context) ([]string, error)
}

// ErrNotFound is returned for a run that has no journal.
var ErrNotFound = errors.New("no such run")

// ErrConflict is returned by Append when another writer was there first.
var ErrConflict = errors.New("the journal has moved on: another writer appended to this run")

// ErrNotLocked is returned by Break when nobody holds the lock, and by a release when the lock was broken.
var ErrNotLocked = errors.New("the lock is not held")

// LockedError says that a run is held by another.
type LockedError struct {
	Run    string
	Holder Holder
}

// Error names the run and the holder.
func (e *LockedError) Error() string { return fmt.Sprintf("run %s is locked by %s", e.Run, e.Holder) }

// CorruptError says where a journal is damaged.
type CorruptError struct {
	// Where is the medium's name of the journal.
	Where string
	// Offset is the position in bytes of the first damaged entry.
	Offset int64
	// Seq is the number that the damaged entry should have had.
	Seq uint64
	// Torn is true if the last entry is merely cut off: it was never acknowledged, so nothing was done on its account.
	Torn   bool
	Reason string
}

// Error names the place and the reason.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("journal %s: entry %d at offset %d: %s", e.Where, e.Seq, e.Offset, e.Reason)
}

// Seal gives a draft its place in the chain and returns the entry and its encoded line without a line end.
func Seal(seq uint64, prev string, d Draft) (Entry, []byte, error) {
	e := Entry{Seq: seq, Prev: prev, Time: d.Time.UTC(), Kind: d.Kind, Data: d.Data}
	body, err := json.Marshal(e)
	if err != nil {
		return Entry{}, nil, fmt.Errorf("encode entry %d: %w", seq, err)
	}
	e.Sum = hash(body)
	line := slices.Concat(body[:len(body)-1], []byte(sumKey+e.Sum+sumEnd))
	if len(line) > MaxEntry {
		return Entry{}, nil, fmt.Errorf("encode entry %d: %d bytes, more than %d", seq, len(line), MaxEntry)
	}
	return e, line, nil
}

// What stands around the sum at the end of an encoded entry.
const (
	sumKey = `,"sum":"`
	sumEnd = `"}`
	sumLen = len(sumKey) + 2*sha256.Size + len(sumEnd)
)

// unseal returns the encoding that the sum at the end of a line is of, and the sum. It does not compare them.
func unseal(line []byte) (body []byte, sum string, ok bool) {
	at := len(line) - sumLen
	if at < 1 || !bytes.HasPrefix(line[at:], []byte(sumKey)) || !bytes.HasSuffix(line, []byte(sumEnd)) {
		return nil, "", false
	}
	sum = string(line[at+len(sumKey) : len(line)-len(sumEnd)])
	return append(bytes.Clone(line[:at]), '}'), sum, true
}

func hash(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}
