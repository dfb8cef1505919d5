package workflow

import (
	"strings"
	"unicode"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// locate returns where each character of a scalar's value stands in the source, and one place more for its end. A YAML scalar may be
// quoted, escaped, folded or indented, so that the value alone does not tell.
func locate(src *source, node ast.Node, value string) []Pos {
	m := mapper{src: src}
	tk := node.GetToken()
	m.line, m.col = tk.Position.Line, tk.Position.Column
	if lit, ok := node.(*ast.LiteralNode); ok {
		m.line, m.col = lit.Start.Position.Line+1, 1
	}
	switch tk.Type {
	case token.DoubleQuoteType:
		m.quote = '"'
		m.col++
	case token.SingleQuoteType:
		m.quote = '\''
		m.col++
	}
	m.load()
	runes := []rune(value)
	places := make([]Pos, 0, len(runes)+1)
	for i := 0; i < len(runes); {
		i = m.step(runes, i, &places)
	}
	return append(places, m.pos())
}

// mapper walks the source and the value side by side.
type mapper struct {
	src       *source
	line, col int
	runes     []rune // of the line
	quote     rune
}

func (m *mapper) load() { m.runes = []rune(m.src.line(m.line)) }

// pos is asked for each character, so that it must not look at the line.
func (m *mapper) pos() Pos {
	return Pos{File: m.src.file, Line: min(m.line, len(m.src.lines)), Col: m.col}
}

// rune returns the character at the cursor, a line break at the end of a line, 0 at the end of the source.
func (m *mapper) rune() rune {
	switch {
	case m.col-1 < len(m.runes):
		return m.runes[max(0, m.col-1)]
	case m.line < len(m.src.lines):
		return '\n'
	default:
		return 0
	}
}

func (m *mapper) advance() {
	if m.col-1 < len(m.runes) {
		m.col++
		return
	}
	m.line, m.col = m.line+1, 1
	m.load()
}

// step places the character i of the value, or a whole run of white space, and returns the next index.
func (m *mapper) step(value []rune, i int, places *[]Pos) int {
	r := m.rune()
	if unicode.IsSpace(value[i]) && (unicode.IsSpace(r) || r == 0) {
		return m.space(value, i, places)
	}
	for unicode.IsSpace(r) { // indentation before the first line of a block
		m.advance()
		r = m.rune()
	}
	*places = append(*places, m.pos())
	switch {
	case r == '\\' && m.quote == '"':
		m.escape()
	case r == '\'' && m.quote == '\'':
		m.advance()
		m.advance()
	case r != 0:
		m.advance()
	}
	return i + 1
}

// space matches a run of white space with a run in the source, whatever folding did to it.
func (m *mapper) space(value []rune, i int, places *[]Pos) int {
	for ; i < len(value) && unicode.IsSpace(value[i]); i++ {
		*places = append(*places, m.pos())
		if unicode.IsSpace(m.rune()) && (value[i] != '\n' || m.rune() == '\n') {
			m.advance()
		}
	}
	for unicode.IsSpace(m.rune()) {
		m.advance()
	}
	return i
}

// escape passes one escape sequence of a double-quoted text.
func (m *mapper) escape() {
	m.advance()
	digits := map[rune]int{'x': 2, 'u': 4, 'U': 8}[m.rune()]
	for range digits + 1 {
		m.advance()
	}
}

// cutTemplate splits a text into its literal parts and its expressions. Offsets count characters. ok is false when an expression is not
// closed; then at is where it was opened.
func cutTemplate(text []rune) (pieces []piece, at int, ok bool) {
	start := 0
	for i := 0; i < len(text); i++ {
		if !hasPrefix(text[i:], exprOpen) {
			continue
		}
		end := closing(text, i+len(exprOpen))
		if end < 0 {
			return pieces, i, false
		}
		if i > start {
			pieces = append(pieces, piece{start: start, end: i})
		}
		pieces = append(pieces, piece{start: i + len(exprOpen), end: end, isExpr: true})
		start = end + len(exprClose)
		i = start - 1
	}
	if start < len(text) {
		pieces = append(pieces, piece{start: start, end: len(text)})
	}
	return pieces, 0, true
}

// piece is a part of a template by its offsets.
type piece struct {
	start, end int
	isExpr     bool
}

// closing returns where the }} stands that ends an expression begun before i, passing over strings and over braces of CEL's own.
func closing(text []rune, i int) int {
	depth := 0
	for ; i < len(text); i++ {
		switch text[i] {
		case '"', '\'':
			if i = endOfString(text, i); i < 0 {
				return -1
			}
		case '{':
			depth++
		case '}':
			if depth == 0 {
				if hasPrefix(text[i:], exprClose) {
					return i
				}
				return -1
			}
			depth--
		}
	}
	return -1
}

// endOfString returns the index of the quote that ends the CEL string begun at i, -1 if none does.
func endOfString(text []rune, i int) int {
	quote := string(text[i])
	raw := i > 0 && strings.ContainsRune("rR", text[i-1])
	if hasPrefix(text[i:], strings.Repeat(quote, 3)) {
		quote = strings.Repeat(quote, 3)
	}
	for i += len(quote); i < len(text); i++ {
		if text[i] == '\\' && !raw {
			i++
			continue
		}
		if hasPrefix(text[i:], quote) {
			return i + len(quote) - 1
		}
	}
	return -1
}

func hasPrefix(text []rune, prefix string) bool {
	for i, r := range prefix {
		if i >= len(text) || text[i] != r {
			return false
		}
	}
	return true
}
