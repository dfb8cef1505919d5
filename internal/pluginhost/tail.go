package pluginhost

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"unicode"
)

// What is kept of what a plugin prints. The process's own stderr, where a crash speaks, has the most room.
const (
	tailPrinted = 5
	tailCrash   = 20
	tailLineMax = 512
)

// tail passes on one stream of what a plugin prints, each line after the plugin's name, and keeps the last lines for the error of a crash.
type tail struct {
	name string
	out  io.Writer
	keep int

	mu    sync.Mutex
	line  []byte
	lines []string
}

func newTail(name string, out io.Writer, keep int) *tail {
	return &tail{name: name, out: out, keep: keep}
}

// Write takes any part of a line. It never fails: a plugin must not stand still because its log cannot be written.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for rest := p; len(rest) > 0; {
		part, after, ended := bytes.Cut(rest, []byte("\n"))
		room := max(0, tailLineMax-len(t.line))
		t.line = append(t.line, part[:min(room, len(part))]...)
		if ended {
			t.flush()
		}
		rest = after
	}
	return len(p), nil
}

// Last returns the last lines, the unfinished one too, oldest first.
func (t *tail) Last() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.flush()
	return append([]string(nil), t.lines...)
}

func (t *tail) flush() {
	line := strings.TrimSpace(printable(t.line))
	t.line = t.line[:0]
	if line == "" {
		return
	}
	if t.lines = append(t.lines, line); len(t.lines) > t.keep {
		t.lines = t.lines[len(t.lines)-t.keep:]
	}
	if t.out != nil {
		_, _ = io.WriteString(t.out, t.name+": "+line+"\n")
	}
}

// printable drops what could steer a terminal.
func printable(line []byte) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return -1
		default:
			return r
		}
	}, strings.ToValidUTF8(string(line), "?"))
}
