package nodelook

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
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
	a := &answer{groups: map[string]*group{"go": {}, "tkg": {}}, parts: map[string][]byte{}}
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
	for _, kind := range []string{"go", "tkg"} {
		files, err := a.groups[kind].files(root)
		if err != nil {
			return Look{}, err
		}
		for i := range files {
			files[i].Go = kind == "go"
		}
		a.look.Files = append(a.look.Files, files...)
	}
	a.interpret()
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
		return errors.New("the node has more than 4000 trust files")
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
	if sub == "" {
		if kind == "unreadable" {
			if len(a.look.Unreadable) < maxUnreadable {
				a.look.Unreadable = append(a.look.Unreadable, printable(strings.TrimPrefix(string(data), root)))
			}
			return nil
		}
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
		var size, changed int64
		first, second, _ := strings.Cut(stats[i], " ")
		size, err := strconv.ParseInt(first, 10, 64)
		if err != nil || size < 0 || size > int64(len(data)) {
			return nil, errTorn
		}
		if changed, err = strconv.ParseInt(second, 10, 64); err != nil {
			return nil, errTorn
		}
		link, err := strconv.ParseInt(links[i], 10, 64)
		if err != nil {
			return nil, errTorn
		}
		path, ok := trustPath(name, root)
		if !ok {
			return nil, fmt.Errorf("the node's answer has a path that the script does not print: %s", printable(name))
		}
		// After the year 2106 is a lie or a broken clock; JSON could not hold it.
		when := time.Unix(min(max(changed, link, 0), 1<<32), 0).UTC()
		out[i] = File{Path: path, Data: data[:size:size], Changed: when}
		data = data[size:]
	}
	if len(data) != 0 {
		return nil, errTorn
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

// trustPath returns the path on the node, which must be where the script looks.
func trustPath(name, root string) (string, bool) {
	path, ok := strings.CutPrefix(name, root)
	if !ok || !plain(path) {
		return "", false
	}
	for _, dir := range []string{"/etc/ssl/", "/etc/pki/", "/usr/local/share/ca-certificates/"} {
		if strings.HasPrefix(path, dir) && !strings.Contains(path, "/../") {
			return path, true
		}
	}
	return "", false
}

// plain reports that s has nothing that a terminal would act on.
func plain(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
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
