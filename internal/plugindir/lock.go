package plugindir

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/google/renameio/v2"
)

// LockFile is the name of the lock file, in the current folder.
const LockFile = "tkgfix.lock.yaml"

// The format of the lock file.
const (
	lockVersion = "tkgfix.dev/v1alpha1"
	lockKind    = "PluginLock"
	maxLock     = 1 << 20
)

// lockHead is what a person who opens the file should know.
const lockHead = `# Which plugins of third parties tkgfix may start. Made by: tkgfix plugins lock. Keep it with your workflows, under version control.
`

var (
	platformName    = regexp.MustCompile(`^[a-z0-9]+/[a-z0-9]+$`)
	hexDigest       = regexp.MustCompile(`^[0-9a-f]{64}$`)
	semanticVersion = regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)` +
		`(-(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?` +
		`(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?$`) // as semver.org gives it, without groups
)

// Lock says which plugins are trusted. The zero value trusts none.
type Lock struct {
	// Entries are in the order of their names, each name once.
	Entries []Entry
}

// Entry is one plugin that is trusted.
type Entry struct {
	Name    string
	Version string
	// SHA256 has the digest of the executable, in hex, by platform (linux/amd64).
	SHA256 map[string]string
}

// Platform names the platform of this process, as the lock file does.
func Platform() string { return runtime.GOOS + "/" + runtime.GOARCH }

// ParsePlatform checks the name of a platform.
func ParsePlatform(s string) error {
	if !platformName.MatchString(s) {
		return fmt.Errorf("%q is no platform: expected one such as linux/amd64", s)
	}
	return nil
}

// ReadLock reads a lock file. One that is not there trusts nothing. It blocks on the disk.
func ReadLock(path string) (*Lock, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &Lock{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read lock file: %w", err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		return nil, fmt.Errorf("read lock file: %w", err)
	}
	src, err := io.ReadAll(io.LimitReader(f, maxLock+1))
	if err != nil {
		return nil, fmt.Errorf("read lock file: %w", err)
	}
	return ParseLock(path, src)
}

// Entry returns what is locked of a plugin.
func (l *Lock) Entry(name string) (Entry, bool) {
	i, ok := l.find(name)
	if !ok {
		return Entry{}, false
	}
	return l.Entries[i], true
}

// Set trusts one more file. The sums of other platforms stay if the version is the same, and go if it is another.
func (l *Lock) Set(name, version, platform, sha256 string) {
	i, ok := l.find(name)
	if !ok {
		l.Entries = slices.Insert(l.Entries, i, Entry{Name: name})
	}
	e := &l.Entries[i]
	if e.Version != version || e.SHA256 == nil {
		e.Version, e.SHA256 = version, map[string]string{}
	}
	e.SHA256[platform] = sha256
}

func (l *Lock) find(name string) (int, bool) {
	return slices.BinarySearchFunc(l.Entries, name, func(e Entry, name string) int { return strings.Compare(e.Name, name) })
}

// Write replaces the lock file, wholly or not at all.
func (l *Lock) Write(path string) error {
	src, err := l.encode()
	if err != nil {
		return fmt.Errorf("write lock file: %w", err)
	}
	if err := renameio.WriteFile(path, src, 0o644); err != nil {
		return fmt.Errorf("write lock file: %w", err)
	}
	return nil
}

func (l *Lock) encode() ([]byte, error) {
	list := []yaml.MapSlice{}
	for _, e := range l.Entries {
		sums := yaml.MapSlice{}
		for _, platform := range slices.Sorted(maps.Keys(e.SHA256)) {
			sums = append(sums, yaml.MapItem{Key: platform, Value: e.SHA256[platform]})
		}
		list = append(list, yaml.MapSlice{{Key: "name", Value: e.Name}, {Key: "version", Value: e.Version}, {Key: "sha256", Value: sums}})
	}
	body, err := yaml.Marshal(yaml.MapSlice{
		{Key: "apiVersion", Value: lockVersion}, {Key: "kind", Value: lockKind}, {Key: "plugins", Value: list},
	})
	if err != nil {
		return nil, err
	}
	return slices.Concat([]byte(lockHead), bytes.TrimLeft(body, "\n")), nil
}
