package workflow

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Pos is a place in a file.
type Pos struct {
	// File is the name that Parse was given.
	File string
	// Line and Col are 1-based. Col counts characters, not bytes.
	Line, Col int
}

// String returns file:line:col.
func (p Pos) String() string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col) }

// span is a place with its width in characters on that line.
type span struct {
	Pos
	width int
}

// source is the text of a file by lines, to point into.
type source struct {
	file  string
	lines []string
}

func newSource(file, text string) *source {
	return &source{file: file, lines: strings.Split(text, "\n")}
}

// line returns line n (1-based) without its line break, empty if there is none.
func (s *source) line(n int) string {
	if n < 1 || n > len(s.lines) {
		return ""
	}
	return strings.TrimSuffix(s.lines[n-1], "\r")
}

// span returns a place that lies inside the text, however wrong the numbers are.
func (s *source) span(line, col, width int) span {
	line = max(1, min(line, len(s.lines)))
	length := utf8.RuneCountInString(s.line(line))
	col = max(1, min(col, length+1))
	width = max(1, min(width, length+1-col))
	return span{Pos: Pos{File: s.file, Line: line, Col: col}, width: width}
}
