package nodelook

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// maxUnreadable bounds the list of files that the login may not read.
const maxUnreadable = 100

// group is a set of files as the script prints it.
type group struct {
	names, stat, lstat, data []byte
	read                     []File
}

// answer collects the lines of the script.
type answer struct {
	look   Look
	groups map[string]*group
	parts  map[string][]byte
	ended  bool
}

// parse reads what the script printed. It takes nothing for granted: a node may say anything.
func parse(out []byte, root string) (Look, error) {
	a := &answer{groups: map[string]*group{"go": {}, "tkg": {}, "runtime": {}}, parts: map[string][]byte{}}
	for line := range bytes.Lines(out) {
		if a.ended {
			return Look{}, errors.New("the node's answer goes on after its end")
		}
		if err := a.line(strings.TrimRight(string(line), "\n"), root); err != nil {
			return Look{}, err
		}
	}
	if !a.ended {
		return Look{}, errors.New("the node's answer has no end")
	}
	if a.look.Time.IsZero() {
		return Look{}, errors.New("the node did not tell its time")
	}
	a.interpret()
	for kind, g := range a.groups {
		files, err := g.files(root)
		if err != nil {
			return Look{}, err
		}
		for i, f := range files {
			if kind != "runtime" && !a.inPlace(f.Path) {
				return Look{}, fmt.Errorf("the node's answer has a path that the script does not print: %s", printable(f.Path))
			}
			files[i].Go = kind == "go"
		}
		g.read = files
	}
	a.look.Files = slices.Concat(a.groups["go"].read, a.groups["tkg"].read)
	a.look.runtime = a.groups["runtime"].read
	a.look.readHosts()
	return a.look, nil
}

func (a *answer) line(line, root string) error {
	kind, rest, _ := strings.Cut(line, " ")
	switch kind {
	case "end":
		a.ended = true
		return nil
	case "date":
		seconds, err := strconv.ParseInt(rest, 10, 64)
		if err != nil || seconds < 0 || seconds > 1<<37 {
			return fmt.Errorf("the node's clock says %s", printable(rest))
		}
		a.look.Time = time.Unix(seconds, 0).UTC()
		return nil
	case "uid":
		a.look.Root = rest == "0"
		return nil
	case "over":
		return fmt.Errorf("the node has more than 2000 files to look at (%s)", printable(rest))
	}
	sub, text, ok := strings.Cut(rest, ":")
	if !ok {
		return fmt.Errorf("the node's answer has a line that the script does not print: %s", printable(line))
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return fmt.Errorf("the node's answer has a line that is not base64: %s", printable(kind))
	}
	return a.field(kind, strings.TrimSpace(sub), data, root)
}

func (a *answer) field(kind, sub string, data []byte, root string) error {
	if a.path(kind, sub, strings.TrimPrefix(string(data), root)) {
		return nil
	}
	if sub == "" {
		a.parts[kind] = data
		return nil
	}
	g := a.groups[sub]
	if g == nil {
		return fmt.Errorf("the node's answer has a group that the script does not print: %s", printable(sub))
	}
	switch kind {
	case "names":
		g.names = data
	case "stat":
		g.stat = data
	case "lstat":
		g.lstat = data
	case "data":
		g.data = data
	}
	return nil
}

// path takes a line that tells of a path, and reports whether it was one.
func (a *answer) path(kind, sub, name string) bool {
	switch kind {
	case "unreadable":
		if len(a.look.Unreadable) < maxUnreadable {
			a.look.Unreadable = append(a.look.Unreadable, shown(name))
		}
	case "large":
		if len(a.look.Large) < maxUnreadable {
			a.look.Large = append(a.look.Large, LargeFile{Path: shown(name), Go: sub == "go"})
		}
	case "dir":
		if n, err := strconv.ParseInt(sub, 10, 64); err == nil && len(a.look.Folders) < maxUnreadable {
			set(&a.look.Folders, shown(name), moment(n))
		}
	case "link":
		if from, to, ok := strings.Cut(name, "\x00"); ok && len(a.look.Links) < maxUnreadable {
			set(&a.look.Links, shown(from), shown(to))
		}
	default:
		return false
	}
	return true
}

func set[V any](m *map[string]V, key string, value V) {
	if *m == nil {
		*m = map[string]V{}
	}
	(*m)[key] = value
}

// moment is a time in seconds, within what JSON can hold: after the year 2106 is a lie or a broken clock.
func moment(seconds int64) time.Time { return time.Unix(min(max(seconds, 0), 1<<32), 0).UTC() }

var errTorn = errors.New("the trust files of the node changed while they were read, or are larger than 5 MiB")

// files cuts the data of a group into its files. What does not fit together is an error: a file of which a part is missing
// would be judged wrongly.
func (g *group) files(root string) ([]File, error) {
	if len(g.names) == 0 {
		return nil, nil
	}
	names := strings.Split(strings.TrimSuffix(string(g.names), "\x00"), "\x00")
	stats, links := lines(g.stat), lines(g.lstat)
	if len(stats) != len(names) || len(links) != len(names) {
		return nil, errTorn
	}
	out := make([]File, len(names))
	data := g.data
	for i, name := range names {
		of, err := numbers(stats[i], 3)
		if err != nil || of[0] < 0 || of[0] > int64(len(data)) {
			return nil, errTorn
		}
		link, err := numbers(links[i], 2)
		if err != nil {
			return nil, errTorn
		}
		at := strings.TrimPrefix(name, root)
		if !strings.HasPrefix(name, root+"/") || slices.Contains(strings.Split(at, "/"), "..") {
			return nil, fmt.Errorf("the node's answer has a path that the script does not print: %s", printable(name))
		}
		size := of[0]
		out[i] = File{Path: shown(at), Data: data[:size:size], Changed: moment(max(of[1], link[0])), Placed: moment(max(of[2], link[1]))}
		data = data[size:]
	}
	if len(data) != 0 {
		return nil, errTorn
	}
	return out, nil
}

// numbers reads a line of n numbers.
func numbers(line string, n int) ([]int64, error) {
	fields := strings.Fields(line)
	if len(fields) != n {
		return nil, errTorn
	}
	out := make([]int64, n)
	for i, f := range fields {
		var err error
		if out[i], err = strconv.ParseInt(f, 10, 64); err != nil {
			return nil, errTorn
		}
	}
	return out, nil
}

func lines(data []byte) []string {
	text := strings.TrimSuffix(string(data), "\n")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// inPlace reports that a path is where the script looks for trust.
func (a *answer) inPlace(file string) bool {
	places := []string{"/etc/ssl/", "/etc/pki/", "/usr/local/share/ca-certificates/"}
	for _, dir := range strings.Split(a.look.environ["SSL_CERT_DIR"], ":") {
		if strings.HasPrefix(dir, "/") {
			places = append(places, strings.TrimRight(dir, "/")+"/")
		}
	}
	file = strings.TrimPrefix(file, `"`) // of a name that is shown in quotes
	return file == a.look.environ["SSL_CERT_FILE"] || slices.ContainsFunc(places, func(place string) bool { return strings.HasPrefix(file, place) })
}

// plain reports that s has nothing that a terminal would act on.
func plain(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

// shown returns a path for people: as it is, or quoted if it has something that a terminal would act on. It is never cut.
func shown(file string) string {
	if plain(file) {
		return file
	}
	return strconv.QuoteToASCII(file)
}

// printable returns s for people, bounded and without what a terminal would act on.
func printable(s string) string {
	const most = 200
	if len(s) > most {
		s = s[:most] + "..."
	}
	if plain(s) {
		return s
	}
	return strconv.QuoteToASCII(s)
}
