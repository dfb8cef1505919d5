package state

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
)

// Chain is the end of a journal: what the next entry must continue.
type Chain struct {
	Seq uint64
	// Prev is the last entry's Sum.
	Prev string
	// Size is the length in bytes of the journal up to here.
	Size int64
}

// Extend encodes drafts as lines that continue the chain and returns them with the chain after them.
func (c Chain) Extend(drafts []Draft) ([]byte, Chain, error) {
	var out bytes.Buffer
	for _, d := range drafts {
		e, line, err := Seal(c.Seq+1, c.Prev, d)
		if err != nil {
			return nil, c, err
		}
		out.Write(line)
		out.WriteByte('\n')
		c.Seq, c.Prev = e.Seq, e.Sum
	}
	c.Size += int64(out.Len())
	return out.Bytes(), c, nil
}

// Decode reads the journal lines in data, which continue the chain c, and verifies them. where names the journal in
// errors. With a CorruptError it returns the entries and the chain before the damage. It accepts exactly the bytes that
// Extend writes.
func Decode(where string, c Chain, data []byte) ([]Entry, Chain, error) {
	var entries []Entry
	for len(data) > 0 {
		line, rest, whole := bytes.Cut(data, []byte("\n"))
		bad := &CorruptError{Where: where, Offset: c.Size, Seq: c.Seq + 1}
		if !whole {
			bad.Torn, bad.Reason = torn(line)
			return entries, c, bad
		}
		e, reason := c.read(line)
		if reason != "" {
			bad.Reason = reason
			return entries, c, bad
		}
		entries = append(entries, e)
		c = Chain{Seq: e.Seq, Prev: e.Sum, Size: c.Size + int64(len(line)) + 1}
		data = rest
	}
	return entries, c, nil
}

// torn says whether a tail without a line end is merely cut off. One that goes on behind a whole entry is not: the entry was
// written with its line end, and that was altered.
func torn(tail []byte) (bool, string) {
	if len(tail) > 0 {
		if body, sum, ok := unseal(tail[:len(tail)-1]); ok && hash(body) == sum {
			return false, "its line end was altered"
		}
	}
	return true, fmt.Sprintf("cut off after %d bytes", len(tail))
}

// read decodes a line that continues the chain, or says why it does not.
func (c Chain) read(line []byte) (Entry, string) {
	if len(line) > MaxEntry {
		return Entry{}, fmt.Sprintf("is longer than %d bytes", MaxEntry)
	}
	body, sum, ok := unseal(line)
	if !ok {
		return Entry{}, "has no checksum at its end: it was altered"
	}
	if hash(body) != sum {
		return Entry{}, "does not match its checksum: it was altered"
	}
	var e Entry
	if json.Unmarshal(body, &e) != nil {
		return Entry{}, "not one JSON object"
	}
	switch {
	case e.Seq != c.Seq+1:
		return Entry{}, fmt.Sprintf("has number %d", e.Seq)
	case e.Prev != c.Prev:
		return Entry{}, "does not continue the entry before: one of the two was replaced"
	case e.Kind == "":
		return Entry{}, "has no kind"
	}
	// Only the encoding that Seal writes is accepted, so that one journal has one form.
	e, again, err := Seal(e.Seq, e.Prev, Draft{Time: e.Time, Kind: e.Kind, Data: e.Data})
	if err != nil || !bytes.Equal(again, line) {
		return Entry{}, "not in the form that tkgfix writes"
	}
	return e, ""
}

var runID = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// CheckRun refuses a run id that could name anything but a folder of its own.
func CheckRun(id string) error {
	if !runID.MatchString(id) {
		return fmt.Errorf("run id %q: only a-z, 0-9 and -, 63 at most", id)
	}
	return nil
}
