package node

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
)

// pin adds a host's key to our own file, unless another process has pinned one meanwhile.
func (k *hostKeys) pin(ctx context.Context, h host, key ssh.PublicKey) error {
	if err := os.MkdirAll(filepath.Dir(k.path), 0o700); err != nil {
		return fmt.Errorf("pin the host key of %s: %w", h.what, err)
	}
	lock := flock.New(k.path+".lock", flock.SetPermissions(0o600))
	if _, err := lock.TryLockContext(ctx, 20*time.Millisecond); err != nil {
		return fmt.Errorf("lock %s: %w", k.path, err)
	}
	defer func() { _ = lock.Close() }()
	own, err := readBook(k.path)
	if err != nil {
		return err
	}
	switch err := own.look(h.pin, key); {
	case err == nil:
		return nil
	case !knownhosts.IsHostUnknown(err):
		return k.changed(h, err, own, key)
	}
	if err := appendLine(k.path, knownhosts.Line([]string{h.pin}, key)); err != nil {
		return fmt.Errorf("pin the host key of %s: %w", h.what, err)
	}
	return nil
}

// appendLine adds a line to a file and makes it durable.
func appendLine(path, line string) (err error) {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := file.Close(); err == nil {
			err = cerr
		}
	}()
	line += "\n"
	if torn(file) {
		line = "\n" + line
	}
	if _, err := file.WriteString(line); err != nil {
		return err
	}
	return file.Sync()
}

// torn reports whether the last line of the file has no end.
func torn(file *os.File) bool {
	info, err := file.Stat()
	if err != nil || info.Size() == 0 {
		return false
	}
	last := make([]byte, 1)
	_, err = file.ReadAt(last, info.Size()-1)
	return err == nil && last[0] != '\n'
}
