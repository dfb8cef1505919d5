package real

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/util/wait"
)

const (
	cgroupRoot = "/sys/fs/cgroup"
	// A control group whose last process has ended a moment ago may still be busy.
	cgroupTimeout = 10 * time.Second
	cgroupEvery   = 50 * time.Millisecond
)

// hierarchies returns where the host has control groups mounted: one folder for each controller, or one for all.
func hierarchies() ([]string, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("reading the mounts: %w", err)
	}
	return parseHierarchies(data), nil
}

// parseHierarchies reads proc_pid_mountinfo(5).
func parseHierarchies(mountinfo []byte) []string {
	var out []string
	lines := bufio.NewScanner(bytes.NewReader(mountinfo))
	for lines.Scan() {
		before, after, found := strings.Cut(lines.Text(), " - ")
		fields := strings.Fields(before)
		if !found || len(fields) < 5 || !strings.HasPrefix(after, "cgroup") {
			continue
		}
		if at := fields[4]; at == cgroupRoot || filepath.Dir(at) == cgroupRoot {
			out = append(out, at)
		}
	}
	return out
}

// makeCgroups makes the control group in each hierarchy.
func makeCgroups(path string) error {
	mounted, err := hierarchies()
	if err != nil {
		return err
	}
	for _, at := range mounted {
		if err := os.MkdirAll(filepath.Join(at, path), 0o755); err != nil {
			return fmt.Errorf("making control group %s: %w", path, err)
		}
	}
	return nil
}

// removeCgroups removes the control group and all below it from each hierarchy, once their processes have ended.
func removeCgroups(ctx context.Context, path string) error {
	mounted, err := hierarchies()
	if err != nil {
		return err
	}
	var last error
	err = wait.PollUntilContextTimeout(ctx, cgroupEvery, cgroupTimeout, true, func(context.Context) (bool, error) {
		var errs []error
		for _, at := range mounted {
			errs = append(errs, removeTree(filepath.Join(at, path)))
		}
		last = errors.Join(errs...)
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("removing control group %s: %w", path, errors.Join(err, last))
	}
	return nil
}

// removeTree removes the folder and those below it, the deepest first. The files of a control group cannot and need not be removed.
func removeTree(top string) error {
	var dirs []string
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, dir := range slices.Backward(dirs) {
		if err := unix.Rmdir(dir); err != nil && !errors.Is(err, unix.ENOENT) {
			return &fs.PathError{Op: "rmdir", Path: dir, Err: err}
		}
	}
	return nil
}
