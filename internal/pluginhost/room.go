package pluginhost

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// The names of a host's private folder: while it is made, and when it is locked. They are short, as the path of a socket is bounded.
const (
	roomMaking = "tkgfix-new-"
	roomPrefix = "tkgfix-run-"
)

const (
	// maxRoomBase is how long the path of the folder around a room may be: a socket's path has 103 bytes at most (macOS), and room,
	// go-plugin's folder and socket need up to 60.
	maxRoomBase = 43
	// makingTime is how long a room may be in the making before it counts as left behind.
	makingTime = time.Hour
	// maxSwept bounds how many folders one start looks at.
	maxSwept = 10_000
)

// room is the private folder of one host: sockets, copies of executables, working folders. It is locked for as long as the
// host lives, and the kernel gives the lock up when it dies, however it dies: so another host can tell a dead one's room from a living
// one's, in whatever PID namespace that is.
type room struct {
	path string
	lock *os.File
}

// newRoom makes a room in base, empty for the system's folder of temporary files, and removes those of dead hosts.
func newRoom(base string, now time.Time) (*room, error) {
	if base == "" {
		base = os.TempDir()
		if len(base) > maxRoomBase {
			base = "/tmp"
		}
	}
	base, err := filepath.Abs(base)
	if err != nil {
		return nil, err
	}
	sweep(base, now)
	name := strings.ToLower(rand.Text()[:8])
	making := filepath.Join(base, roomMaking+name)
	if err := os.Mkdir(making, 0o700); err != nil {
		return nil, err
	}
	r := &room{path: filepath.Join(base, roomPrefix+name)}
	// It gets its name only when it is locked, so that nobody takes it for one that was left behind.
	if r.lock, err = lockFolder(making); err == nil {
		err = os.Rename(making, r.path)
	}
	if err != nil {
		if r.lock != nil {
			_ = r.lock.Close()
		}
		_ = os.Remove(making)
		return nil, err
	}
	return r, nil
}

// remove removes the room with all that is in it. Removing it twice is fine.
func (r *room) remove() error {
	if r == nil || r.lock == nil {
		return nil
	}
	err := os.RemoveAll(r.path)
	_ = r.lock.Close()
	r.lock = nil
	return err
}

// sweep removes the rooms that dead hosts of this user left in base. What it cannot remove it leaves: it is housekeeping.
func sweep(base string, now time.Time) {
	dir, err := os.Open(base)
	if err != nil {
		return
	}
	defer func() { _ = dir.Close() }()
	for seen := 0; seen < maxSwept; {
		names, err := dir.Readdirnames(512)
		for _, name := range names {
			path := filepath.Join(base, name)
			switch {
			case strings.HasPrefix(name, roomPrefix):
				seen++
				sweepRoom(path)
			case strings.HasPrefix(name, roomMaking):
				seen++
				if info, err := os.Lstat(path); err == nil && now.Sub(info.ModTime()) > makingTime && mine(info) {
					_ = os.Remove(path) // nothing was ever put into it
				}
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				return
			}
			break
		}
	}
}

// sweepRoom removes one room if nobody holds its lock.
func sweepRoom(path string) {
	info, err := os.Lstat(path)
	if err != nil || !info.IsDir() || !mine(info) {
		return
	}
	lock, err := lockFolder(path)
	if err != nil {
		return // its host lives, or it has gone meanwhile
	}
	defer func() { _ = lock.Close() }()
	held, err := lock.Stat()
	if err != nil || !os.SameFile(info, held) {
		return
	}
	_ = os.RemoveAll(path)
}

func mine(info fs.FileInfo) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(s.Uid) == os.Geteuid()
}

// lockFolder opens a folder and locks it, or fails at once.
func lockFolder(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil { //nolint:gosec // a descriptor is small
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}

// keepDescriptors makes what this process inherited stay with it: Go closes only what it opened itself when it starts another program, and
// a shell's `3<file` would reach the plugins.
func keepDescriptors() error {
	dir, err := os.Open("/dev/fd")
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	names, err := dir.Readdirnames(-1)
	for _, name := range names {
		n := 0
		if _, err := fmt.Sscanf(name, "%d", &n); err == nil && n > 2 {
			syscall.CloseOnExec(n)
		}
	}
	return err
}
