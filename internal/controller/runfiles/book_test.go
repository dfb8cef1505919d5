package runfiles

import "testing"

// TestMerge adds what a replica has seen to what is known, and loses nothing of either.
func TestMerge(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ reason, book, more, want string }{
		"First":   {"the first sight", "", "a k1\n", "a k1\n"},
		"Known":   {"what is known is not written twice", "a k1\n", "a k1\n", "a k1\n"},
		"More":    {"another replica's stay", "a k1\n", "b k2\n", "a k1\nb k2\n"},
		"NoEnd":   {"a line end that is missing, or another system's", "a k1", "b k2\r\nc k3", "a k1\nb k2\nc k3\n"},
		"Nothing": {"nothing was seen", "a k1\n", "", "a k1\n"},
		"Empty":   {"nothing is known", "", "\n\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := merge(tc.book, tc.more); got != tc.want {
				t.Errorf("%s: %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
}
