package plugindir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/tkgfix/tkgfix/plugins"
)

// Prefix begins the file name of every plugin; the name of its step follows.
const Prefix = "tkgfix-plugin-"

// The bounds of a plugin folder.
const (
	maxEntries = 10_000
	maxName    = 64
)

var kebabCase = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)

// Folders returns where plugins are looked for, first match first: the folders of TKGFIX_PLUGIN_PATH if it is set, else .tkgfix/plugins here
// and the user's own. getenv is os.Getenv.
func Folders(getenv func(string) string) []string {
	if list := getenv("TKGFIX_PLUGIN_PATH"); list != "" {
		return slices.DeleteFunc(filepath.SplitList(list), func(dir string) bool { return dir == "" })
	}
	out := []string{filepath.Join(".tkgfix", "plugins")}
	data := getenv("XDG_DATA_HOME")
	if !filepath.IsAbs(data) { // the XDG specification has a relative one ignored
		data = ""
		if home := getenv("HOME"); filepath.IsAbs(home) {
			data = filepath.Join(home, ".local", "share")
		}
	}
	if data != "" {
		out = append(out, filepath.Join(data, "tkgfix", "plugins"))
	}
	return out
}

// Found is one executable that wants to be a plugin.
type Found struct {
	// Name is the name of its step.
	Name string
	// Path is absolute, with all symbolic links followed; if one leads nowhere, it is the link's.
	Path string
	// Err says why it must not be used. It is nil for one that may be.
	Err error
}

// Find returns the plugins in the folders, the first of each name, in the order of their names. reserved are the names that no third
// party's plugin may have. A folder that is not there is passed over. One that cannot be used is found with its Err.
func Find(folders, reserved []string) ([]Found, error) {
	all := map[string]Found{}
	for _, dir := range folders {
		here, err := findIn(dir)
		if err != nil {
			return nil, fmt.Errorf("look for plugins in %s: %w", dir, err)
		}
		for _, f := range here {
			if _, hidden := all[f.Name]; hidden {
				continue
			}
			if slices.Contains(reserved, f.Name) {
				f.Err = plugins.Hint(fmt.Errorf("plugin %s: %s takes the name of a step that tkgfix ships", f.Name, f.Path), "rm %s", quote(f.Path))
			}
			all[f.Name] = f
		}
	}
	out := make([]Found, 0, len(all))
	for _, f := range all {
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b Found) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// findIn returns what lies in one folder.
func findIn(dir string) ([]Found, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	folder, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = folder.Close() }()
	names, err := folder.Readdirnames(maxEntries)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(names) == maxEntries {
		return nil, fmt.Errorf("it has %d entries or more: is this a folder of plugins?", maxEntries)
	}
	var out []Found
	for _, file := range names {
		name, ok := strings.CutPrefix(file, Prefix)
		if !ok {
			continue
		}
		f := Found{Name: name, Path: filepath.Join(dir, file)}
		if len(name) > maxName || !kebabCase.MatchString(name) {
			f.Err = plugins.Hint(fmt.Errorf("%q is no name of a plugin: a step's name is in kebab-case, %d characters at most", file, maxName), "rename it")
		} else {
			f.Path, f.Err = usable(name, dir, f.Path)
		}
		out = append(out, f)
	}
	return out, nil
}

// usable follows the links to a plugin and says why it must not be used.
func usable(name, dir, path string) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return path, fmt.Errorf("plugin %s: %w", name, err)
	}
	realDir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return path, fmt.Errorf("plugin %s: %w", name, err)
	}
	// Whoever may write to a folder may put another file into it: the one that was looked into, and the one where a link led.
	for _, p := range slices.Compact([]string{realDir, filepath.Dir(real), real}) {
		info, err := os.Stat(p)
		if err == nil {
			err = private(p, info)
		}
		if err != nil {
			return real, refuse(name, err)
		}
	}
	info, err := os.Stat(real)
	switch {
	case err != nil:
		return real, fmt.Errorf("plugin %s: %w", name, err)
	case !info.Mode().IsRegular():
		return real, fmt.Errorf("plugin %s: %s is not a regular file", name, real)
	case info.Mode()&0o111 == 0:
		return real, plugins.Hint(fmt.Errorf("plugin %s: %s is not executable", name, real), "chmod u+x %s", quote(real))
	}
	return real, nil
}

func refuse(name string, err error) error {
	return plugins.Hint(fmt.Errorf("plugin %s: %w", name, err), "%s", plugins.HintOf(err))
}

// private says why others than this user and root may write to a file or folder.
func private(path string, info fs.FileInfo) error {
	if s, ok := info.Sys().(*syscall.Stat_t); ok && s.Uid != 0 && int(s.Uid) != os.Geteuid() {
		return plugins.Hint(fmt.Errorf("%s belongs to another user (uid %d)", path, s.Uid),
			"if you trust what is in it: sudo chown %d %s", os.Geteuid(), quote(path))
	}
	switch perm := info.Mode().Perm(); {
	case perm&0o022 == 0o022:
		return plugins.Hint(fmt.Errorf("its group and others may write to %s", path), "chmod go-w %s", quote(path))
	case perm&0o002 != 0:
		return plugins.Hint(fmt.Errorf("others may write to %s", path), "chmod o-w %s", quote(path))
	case perm&0o020 != 0:
		return plugins.Hint(fmt.Errorf("its group may write to %s", path), "chmod g-w %s", quote(path))
	}
	return nil
}

// quote makes a path one word of a shell's line.
func quote(path string) string {
	if regexp.MustCompile(`^[A-Za-z0-9_./@%+=:,-]+$`).MatchString(path) {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
