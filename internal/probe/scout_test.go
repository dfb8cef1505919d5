package probe

import (
	"bytes"
	"testing"
)

// FuzzReadFlight: no answer of a server ends the scout, nor makes it keep more than a flight.
func FuzzReadFlight(f *testing.F) {
	f.Add([]byte{21, 3, 3, 0, 2, 2, 40})
	f.Add([]byte{22, 3, 3, 0, 4, 14, 0, 0, 0})
	f.Add(append([]byte{22, 3, 3, 0, 46, 2, 0, 0, 42, 3, 2}, bytes.Repeat([]byte{0}, 40)...))
	f.Add([]byte{22, 3, 3, 0, 10, 11, 0, 0, 6, 0, 0, 3, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := readFlight(bytes.NewReader(data))
		total := 0
		for _, der := range got.certs {
			total += len(der)
			_, _ = keyKind(der)
		}
		if total > len(data) {
			t.Errorf("%d bytes of certificates out of %d, %v", total, len(data), err)
		}
	})
}
