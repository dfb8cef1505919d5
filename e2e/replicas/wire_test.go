//go:build replicas

package replicas

import (
	"net"
	"strings"
	"sync"
	"testing"
)

// wire carries bytes between a replica and the API server. While it is cut they go no further, and what was on the way arrives when it is
// mended, as on a real network.
type wire struct {
	listener net.Listener
	to       string

	mu    sync.Mutex
	whole *sync.Cond
	cut   bool
	conns []net.Conn
	over  bool
}

// newWire returns a wire to the server of a URL. It ends with the test.
func newWire(t *testing.T, url string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	w := &wire{listener: l, to: strings.TrimPrefix(url, "https://")}
	w.whole = sync.NewCond(&w.mu)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { w.carry(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		w.close()
		all.Wait()
	})
	return w
}

func (w *wire) address() string { return w.listener.Addr().String() }

// carry joins a connection to the server until either end closes.
func (w *wire) carry(c net.Conn) {
	defer c.Close()
	if !w.pass(c) {
		return
	}
	s, err := net.Dial("tcp", w.to)
	if err != nil {
		return
	}
	defer s.Close()
	if !w.pass(s) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { w.copy(s, c) })
	both.Go(func() { w.copy(c, s) })
	both.Wait()
}

// copy passes bytes on until either end closes.
func (w *wire) copy(to, from net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if !w.pass(nil) {
			return
		}
		if _, werr := to.Write(buf[:n]); werr == nil && err == nil {
			continue
		}
		_, _ = to.Close(), from.Close()
		return
	}
}

// pass waits until the wire is whole, and returns false when it is over. It remembers c to close it then.
func (w *wire) pass(c net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c != nil {
		w.conns = append(w.conns, c)
	}
	for w.cut && !w.over {
		w.whole.Wait()
	}
	return !w.over
}

// set cuts the wire or mends it.
func (w *wire) set(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
	w.whole.Broadcast()
}

func (w *wire) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	w.whole.Broadcast()
	for _, c := range w.conns {
		_ = c.Close()
	}
}
