package wire

import (
	"os"
	"testing"
)

func TestLifeline(t *testing.T) {
	t.Parallel()
	for _, fd := range []string{"", "x", "-1", "0", "2"} {
		if lifeline(fd) != nil {
			t.Errorf("%q is taken for a lifeline", fd)
		}
	}
}

// TestHostGone cuts each of the ways by which a plugin notices that its host is gone.
func TestHostGone(t *testing.T) {
	t.Parallel()
	parent := os.Getppid()
	watch := func(line *os.File, parent int, stop <-chan struct{}) <-chan struct{} {
		gone := make(chan struct{})
		go func() { defer close(gone); waitHostGone(line, parent, stop) }()
		return gone
	}
	t.Run("lifeline", func(t *testing.T) {
		t.Parallel()
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		gone := watch(r, parent, nil)
		if _, err := w.WriteString("still here"); err != nil {
			t.Fatal(err)
		}
		select {
		case <-gone:
			t.Fatal("the host is there, and was given up")
		default:
		}
		_ = w.Close()
		<-gone
	})
	t.Run("parent", func(t *testing.T) {
		t.Parallel()
		<-watch(nil, parent+1, nil)
	})
	t.Run("stop", func(t *testing.T) {
		t.Parallel()
		stop := make(chan struct{})
		gone := watch(nil, parent, stop)
		close(stop)
		<-gone
	})
}
