package source

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/tkgfix/tkgfix/internal/pull"
	"github.com/tkgfix/tkgfix/plugins"
)

const (
	// maxUnpacked bounds what an artifact may unpack to, in bytes, and maxEntries how many entries it may have: a small one can be made
	// to unpack to anything.
	maxUnpacked = 256 << 20
	maxEntries  = 100_000
)

var errUnpacked = fmt.Errorf("the artifact unpacks to more than %d bytes", maxUnpacked)

// extract returns the regular file of that very name out of a gzipped tar. It reads the archive to its end and writes nothing: other
// entries, whatever they are, are passed over. It refuses an archive in which two entries could be meant by the name.
func extract(r io.Reader, name string) ([]byte, error) {
	zipped, err := gzip.NewReader(r)
	if err != nil {
		return nil, fmt.Errorf("unpack the artifact: it is not gzip: %w", err)
	}
	defer func() { _ = zipped.Close() }()
	var (
		archive = tar.NewReader(&bounded{r: zipped, left: maxUnpacked})
		data    []byte
		found   bool
		near    string
	)
	for entries := 0; ; entries++ {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("unpack the artifact: %w", err)
		}
		if entries >= maxEntries {
			return nil, fmt.Errorf("unpack the artifact: it has more than %d entries", maxEntries)
		}
		switch called := strings.TrimSuffix(strings.TrimPrefix(h.Name, "./"), "/"); {
		case path.Clean("/"+h.Name) != "/"+name:
			if near == "" && path.Base(called) == path.Base(name) {
				near = pull.Printable(called, maxMessage)
			}
		case called != name:
			return nil, fmt.Errorf("unpack the artifact: its entry %q could be taken for %s", pull.Printable(h.Name, maxMessage), name)
		case found:
			return nil, fmt.Errorf("unpack the artifact: it has %s twice", name)
		default:
			if data, err = content(archive, h, name); err != nil {
				return nil, err
			}
			found = true
		}
	}
	if !found {
		return nil, missing(name, near)
	}
	return data, nil
}

// content reads the entry that is wanted.
func content(archive io.Reader, h *tar.Header, name string) ([]byte, error) {
	switch {
	case h.Typeflag == tar.TypeSymlink, h.Typeflag == tar.TypeLink:
		return nil, fmt.Errorf("%s is a link in the artifact, and links are not followed", name)
	case h.Typeflag != tar.TypeReg:
		return nil, fmt.Errorf("%s is not a regular file in the artifact", name)
	case h.Size > MaxFile:
		return nil, fmt.Errorf("%s is larger than %d bytes", name, MaxFile)
	}
	data, err := io.ReadAll(io.LimitReader(archive, MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("unpack the artifact: %s: %w", name, err)
	}
	if len(data) > MaxFile {
		return nil, fmt.Errorf("%s is larger than %d bytes", name, MaxFile)
	}
	return data, nil
}

// missing says that a file is not there, and where one of its name is.
func missing(name, near string) error {
	err := fmt.Errorf("the artifact has no file %s", name)
	if near != "" {
		return plugins.Hint(err, "it has %s: name that as the path", near)
	}
	return plugins.Hint(err, "see what the source leaves out: its spec.ignore and the repository's .sourceignore")
}

// bounded ends what unpacks to too much.
type bounded struct {
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errUnpacked
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}
