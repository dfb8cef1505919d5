package state

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
)

// Chain is the end of a journal: what the next entry must continue.
type Chain struct {
	Seq  uint64
	Prev string
	// Size is the length in bytes of the journal up to here.
	Size int64
}

// Extend encodes drafts as lines that continue the chain and returns them with the chain after them.
func (c Chain) Extend(drafts []Draft) ([]byte, Chain, error) {
	var out bytes.Buffer
	for _, d := range drafts {
		_, line, err := Seal(c.Seq+1, c.Prev, d)
		if err != nil {
			return nil, c, err
		}
		out.Write(line)
		out.WriteByte('\n')
		c.Seq, c.Prev = c.Seq+1, Hash(line)
	}
	c.Size += int64(out.Len())
	return out.Bytes(), c, nil
}

// Decode reads the journal lines in data, which continue the chain c, and verifies them. where names the journal in
// errors. With a CorruptError it returns the entries and the chain before the damage.
func Decode(where string, c Chain, data []byte) ([]Entry, Chain, error) {
	var entries []Entry
	for len(data) > 0 {
		line, rest, whole := bytes.Cut(data, []byte("\n"))
		bad := &CorruptError{Where: where, Offset: c.Size, Seq: c.Seq + 1}
		if !whole {
			bad.Torn = true
			bad.Reason = fmt.Sprintf("cut off after %d bytes", len(line))
			return entries, c, bad
		}
		var e Entry
		dec := json.NewDecoder(bytes.NewReader(line))
		if err := dec.Decode(&e); err != nil || dec.More() {
			bad.Reason = "not one JSON object"
			return entries, c, bad
		}
		if reason := c.refuse(e); reason != "" {
			bad.Reason = reason
			return entries, c, bad
		}
		// Only the encoding that Seal writes is accepted, so that no byte can be changed without being noticed.
		if again, err := json.Marshal(e); err != nil || !bytes.Equal(again, line) {
			bad.Reason = "not in the form that tkgfix writes"
			return entries, c, bad
		}
		entries = append(entries, e)
		c = Chain{Seq: e.Seq, Prev: Hash(line), Size: c.Size + int64(len(line)) + 1}
		data = rest
	}
	return entries, c, nil
}

func (c Chain) refuse(e Entry) string {
	switch {
	case e.Seq != c.Seq+1:
		return fmt.Sprintf("has number %d", e.Seq)
	case e.Prev != c.Prev:
		return "does not continue the entry before: one of the two was altered"
	case e.Kind == "":
		return "has no kind"
	}
	return ""
}

var runID = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// CheckRun refuses a run id that could name anything but a folder of its own.
func CheckRun(id string) error {
	if !runID.MatchString(id) {
		return fmt.Errorf("run id %q: only a-z, 0-9 and -, 63 at most", id)
	}
	return nil
}
