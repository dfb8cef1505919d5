package guest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"sync"
)

const (
	// Blocks are /24 networks of 127.64.0.0/10, which is loopback and used by nobody else.
	firstBlock = 64
	blocks     = 64 * 256
	// The last address of a block, with this port, is held open as long as the block is used.
	lockHost = 254
	lockPort = 6443
	// The first addresses of a block are given by name, the others by Take.
	firstFree = 10
	lastFree  = 250
)

// Pool is a block of addresses that one laboratory has for itself: of loopback, or of a network of its own.
type Pool struct {
	prefix      string // three numbers and a dot
	first, last int
	lock        io.Closer

	mu    sync.Mutex
	next  int
	taken map[int]bool
}

// PoolOf returns the addresses from first to last of a /24 network that somebody else holds. The prefix is three numbers and a dot.
func PoolOf(prefix string, first, last int) *Pool {
	return &Pool{prefix: prefix, first: first, last: last, lock: io.NopCloser(nil), next: first, taken: map[int]bool{}}
}

// NewPool takes a free block. It is held until Close, or until the process ends.
func NewPool(ctx context.Context) (*Pool, error) {
	offset, err := rand.Int(rand.Reader, big.NewInt(blocks))
	if err != nil {
		return nil, fmt.Errorf("choosing a block of addresses: %w", err)
	}
	var listen net.ListenConfig
	var last error
	const attempts = 64
	for i := range attempts {
		n := (int(offset.Int64()) + i) % blocks
		prefix := fmt.Sprintf("127.%d.%d.", firstBlock+n/256, n%256)
		lock, err := listen.Listen(ctx, "tcp", fmt.Sprintf("%s%d:%d", prefix, lockHost, lockPort))
		if err == nil {
			pool := PoolOf(prefix, firstFree, lastFree)
			pool.lock = lock
			return pool, nil
		}
		last = err
	}
	return nil, fmt.Errorf("no free block in 127.64.0.0/10: %w", last)
}

// Network returns the block, as in 127.64.3.0/24.
func (p *Pool) Network() string { return p.prefix + "0/24" }

// Supervisor returns the address of the Supervisor's API.
func (p *Pool) Supervisor() string { return p.prefix + "1" }

// Registry returns the address of the registry.
func (p *Pool) Registry() string { return p.prefix + "2" }

// Server returns the address of another server, from the first to the seventh.
func (p *Pool) Server(n int) string { return fmt.Sprintf("%s%d", p.prefix, 2+n) }

// Take returns an address that nobody has. The one given back last comes last.
func (p *Pool) Take() (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for range p.last {
		n := p.next
		if p.next++; p.next > p.last {
			p.next = p.first
		}
		if !p.taken[n] {
			p.taken[n] = true
			return fmt.Sprintf("%s%d", p.prefix, n), nil
		}
	}
	return "", errors.New("no address is left in the laboratory's block")
}

// Release gives an address back.
func (p *Pool) Release(address string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var n int
	if _, err := fmt.Sscanf(address, p.prefix+"%d", &n); err == nil {
		delete(p.taken, n)
	}
}

// Close gives the block back.
func (p *Pool) Close() error { return p.lock.Close() }
