package state_test

import (
	"bytes"
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
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, chain, err := state.Decode("fuzz", state.Chain{}, data)
		if chain.Seq != uint64(len(entries)) || chain.Size > int64(len(data)) {
			t.Fatalf("%d entries, chain %+v of %d bytes", len(entries), chain, len(data))
		}
		if err == nil && chain.Size != int64(len(data)) {
			t.Fatalf("accepted %d of %d bytes without an error", chain.Size, len(data))
		}
		var drafts []state.Draft
		for _, e := range entries {
			drafts = append(drafts, state.Draft{Time: e.Time, Kind: e.Kind, Data: e.Data})
		}
		again, _, err := state.Chain{}.Extend(drafts)
		if err != nil || !bytes.Equal(again, data[:chain.Size]) {
			t.Fatalf("accepted bytes that are not written so: %v\n%q\n%q", err, data[:chain.Size], again)
		}
	})
}
