package state_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tkgfix/tkgfix/internal/state"
)

// FuzzDecode checks that no bytes crash the decoder, and that what it accepts is exactly what Extend would write.
func FuzzDecode(f *testing.F) {
	lines, _, err := state.Chain{}.Extend([]state.Draft{
		{Time: time.Unix(1, 0), Kind: "a", Data: []byte(`{"x":[1,2.5,"<"]}`)},
		{Time: time.Unix(2, 5), Kind: "b"},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(lines)
	f.Add(lines[:len(lines)-3])
	f.Add([]byte("{}\n"))
	f.Add([]byte("\n\n"))
	f.Fuzz(accepted)
}

// FuzzDecodeSealed is FuzzDecode for lines that bear the right checksum, which chance does not find. Of several lines each
// must also continue the one before, as far as the fuzzer gets there.
func FuzzDecodeSealed(f *testing.F) {
	f.Add([]byte(`{"seq":1,"prev":"","time":"2026-11-23T00:00:00Z","kind":"a","data":{"x":1}}`))
	f.Add([]byte(`{"seq":1,"prev":"","time":"2026-11-23T08:00:00+08:00","kind":"a"}`))
	f.Add([]byte(`{"seq":1,"prev":"","time":"2026-11-23T00:00:00.5Z","kind":"a","data":null}`))
	f.Add([]byte(`{"seq":1,"prev":"","time":"2026-11-23T00:00:00Z","kind":"<","data":"` + "\xff" + `"}`))
	f.Add([]byte(`{"seq":1,"seq":1,"prev":"","time":"2026-11-23T00:00:00Z","kind":"a"}`))
	f.Add(bytes.Repeat([]byte("["), 20000))
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) == 0 || bytes.Contains(body, []byte("\n")) {
			return
		}
		sum := sha256.Sum256(append(bytes.Clone(body[:len(body)-1]), '}'))
		line := append(bytes.Clone(body[:len(body)-1]), `,"sum":"`+hex.EncodeToString(sum[:])+"\"}\n"...)
		accepted(t, line)
	})
}

// accepted checks that what Decode accepts of data is what Extend writes, and that it accounts for the rest.
func accepted(t *testing.T, data []byte) {
	entries, chain, err := state.Decode("fuzz", state.Chain{}, data)
	if chain.Seq != uint64(len(entries)) || chain.Size > int64(len(data)) {
		t.Fatalf("%d entries, chain %+v of %d bytes", len(entries), chain, len(data))
	}
	if err == nil && chain.Size != int64(len(data)) {
		t.Fatalf("accepted %d of %d bytes without an error", chain.Size, len(data))
	}
	if corrupt, ok := errors.AsType[*state.CorruptError](err); err != nil && (!ok || corrupt.Offset != chain.Size || corrupt.Seq != chain.Seq+1) {
		t.Fatalf("got %v after %d entries and %d bytes", err, len(entries), chain.Size)
	}
	var drafts []state.Draft
	for _, e := range entries {
		drafts = append(drafts, state.Draft{Time: e.Time, Kind: e.Kind, Data: e.Data})
	}
	again, end, err := state.Chain{}.Extend(drafts)
	if err != nil || !bytes.Equal(again, data[:chain.Size]) || end != chain {
		t.Fatalf("accepted bytes that are not written so: %v\n%q\n%q", err, data[:chain.Size], again)
	}
}

// TestDecodeRefuses names the damage that a journal may have.
func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	seal := func(prev string, seq uint64, kind string) (string, string) {
		e, line, err := state.Seal(seq, prev, state.Draft{Time: time.Unix(1, 0), Kind: kind, Data: []byte(`{"a":1}`)})
		if err != nil {
			t.Fatal(err)
		}
		return string(line), e.Sum
	}
	one, sum := seal("", 1, "a")
	two, _ := seal(sum, 2, "b")
	other, _ := seal("", 1, "c")
	for name, tc := range map[string]struct {
		reason, data string
		seq          uint64
		torn         bool
		want         string
	}{
		"Torn":       {"a tail that was never acknowledged", one + "\n" + two[:20], 2, true, "cut off after 20 bytes"},
		"NoLineEnd":  {"all but the line end was written", one, 1, true, "cut off after"},
		"LineEnd":    {"an acknowledged entry's line end was altered", one + "\n" + two + "\v", 2, false, "its line end was altered"},
		"Altered":    {"the entry that was altered is named, not the one after it", strings.Replace(one, `"a":1`, `"a":2`, 1) + "\n" + two + "\n", 1, false, "checksum"},
		"Replaced":   {"an entry in another's place bears the right checksum", other + "\n" + two + "\n", 2, false, "does not continue"},
		"Missing":    {"an entry was taken out", two + "\n", 1, false, "has number 2"},
		"Twice":      {"an entry stands there twice", one + "\n" + one + "\n", 2, false, "has number 1"},
		"EmptyLine":  {"a line is empty", one + "\n\n", 2, false, "no checksum"},
		"TwoInALine": {"a line end was taken out", one + two + "\n", 1, false, "checksum"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			entries, _, err := state.Decode("j", state.Chain{}, []byte(tc.data))
			corrupt, ok := errors.AsType[*state.CorruptError](err)
			if !ok || corrupt.Seq != tc.seq || corrupt.Torn != tc.torn || !strings.Contains(corrupt.Reason, tc.want) || len(entries) != int(tc.seq)-1 {
				t.Errorf("%s: %d entries, %v (torn %t); want entry %d, torn %t, %q", tc.reason, len(entries), err, ok && corrupt.Torn, tc.seq, tc.torn, tc.want)
			}
		})
	}
}
