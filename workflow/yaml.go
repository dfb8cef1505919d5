package workflow

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// The bounds of a workflow file.
const (
	maxBytes = 1 << 20
	maxNodes = 10_000
	maxDepth = 40
	maxLine  = 64 << 10 // bytes; pointing into a line takes time in its length
)

// readYAML returns the file's one document, or nil after telling c why there is none.
func readYAML(c *collector, src []byte) ast.Node {
	if !readable(c, src) {
		return nil
	}
	tokens := lexer.Tokenize(string(src))
	if !allowed(c, tokens) {
		return nil
	}
	file, err := parseTokens(tokens)
	if err != nil {
		explainSyntax(c, err)
		return nil
	}
	return onlyDocument(c, file)
}

// readable checks what can be told from the bytes alone.
func readable(c *collector, src []byte) bool {
	start := c.src.span(1, 1, 1)
	if len(src) > maxBytes {
		c.add(start, kindLimit, "the file has %d bytes; a workflow has at most %d", len(src), maxBytes)
		return false
	}
	if bytes.HasPrefix(src, []byte("\xff\xfe")) || bytes.HasPrefix(src, []byte("\xfe\xff")) {
		c.add(start, kindEncoding, "the file is UTF-16; save it as UTF-8")
		return false
	}
	for i, line := range c.src.lines {
		if len(line) > maxLine {
			c.add(c.src.span(i+1, 1, 1), kindLimit, "the line has %d bytes; a line has at most %d", len(line), maxLine)
			return false
		}
		if !utf8.ValidString(line) {
			col := 1 + utf8.RuneCountInString(line[:validPrefix(line)])
			c.add(c.src.span(i+1, col, 1), kindEncoding, "the file is not UTF-8 from here on; save it as UTF-8")
			return false
		}
	}
	if bytes.HasPrefix(src, []byte("\xef\xbb\xbf")) {
		c.add(start, kindEncoding, "the file begins with a byte-order mark; save it as UTF-8 without BOM")
		return false
	}
	if len(bytes.TrimSpace(src)) == 0 {
		c.add(start, kindDocument, "the file is empty; a workflow begins with apiVersion: %s and kind: %s", APIVersion, Kind)
		return false
	}
	return true
}

func validPrefix(s string) int {
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return len(s)
}

// allowed holds the tokens against the bounds and against the parts of YAML that a workflow may not use. It comes before the
// parser, which would follow any depth.
func allowed(c *collector, tokens token.Tokens) bool {
	before := len(c.diags)
	nodes := 0
	depth := depthMeter{}
	for _, tk := range tokens {
		if c.full() {
			return false
		}
		if what, ok := refused(tk.Type); ok {
			c.add(tokenSpan(c.src, tk), kindSyntax, "%s cannot be used in a workflow", what)
		}
		if isNode(tk.Type) {
			nodes++
		}
		if nodes > maxNodes {
			c.add(tokenSpan(c.src, tk), kindLimit, "the file has more than %d nodes", maxNodes)
			return false
		}
		if depth.next(tk) > maxDepth {
			c.add(tokenSpan(c.src, tk), kindLimit, "the file is nested more than %d levels deep", maxDepth)
			return false
		}
	}
	return len(c.diags) == before
}

func refused(t token.Type) (string, bool) {
	switch t {
	case token.AnchorType:
		return "an anchor (&name)", true
	case token.AliasType:
		return "an alias (*name)", true
	case token.MergeKeyType:
		return "a merge key (<<)", true
	case token.TagType:
		return "a tag (!name)", true
	case token.DirectiveType:
		return "a directive (%name)", true
	default:
		return "", false
	}
}

func isNode(t token.Type) bool {
	switch t {
	case token.CollectEntryType, token.CommentType, token.MappingValueType, token.SequenceEndType, token.MappingEndType,
		token.DocumentHeaderType, token.DocumentEndType, token.LiteralType, token.FoldedType:
		return false
	default:
		return true
	}
}

// depthMeter measures how deep the tokens nest: flow collections by their brackets, block collections by the columns
// of their keys and dashes.
type depthMeter struct {
	flow    int
	columns []int
}

func (m *depthMeter) next(tk *token.Token) int {
	switch tk.Type {
	case token.SequenceStartType, token.MappingStartType:
		m.flow++
	case token.SequenceEndType, token.MappingEndType:
		m.flow = max(0, m.flow-1)
	case token.SequenceEntryType, token.MappingKeyType:
		m.push(tk.Position.Column)
	default:
		if tk.NextType() == token.MappingValueType {
			m.push(tk.Position.Column)
		}
	}
	return m.flow + len(m.columns)
}

func (m *depthMeter) push(column int) {
	if m.flow > 0 {
		return
	}
	for len(m.columns) > 0 && m.columns[len(m.columns)-1] >= column {
		m.columns = m.columns[:len(m.columns)-1]
	}
	m.columns = append(m.columns, column)
}

// parseTokens runs the YAML parser. The file is hostile and the parser is not ours: a panic in it is a syntax error to us.
func parseTokens(tokens token.Tokens) (file *ast.File, err error) {
	defer func() {
		if r := recover(); r != nil {
			file, err = nil, fmt.Errorf("the YAML parser gave up: %v", r)
		}
	}()
	return parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
}

func onlyDocument(c *collector, file *ast.File) ast.Node {
	var bodies []ast.Node
	for _, doc := range file.Docs {
		if doc.Body != nil && doc.Body.Type() != ast.CommentType {
			bodies = append(bodies, doc.Body)
		}
	}
	switch len(bodies) {
	case 0:
		c.add(c.src.span(1, 1, 1), kindDocument, "the file holds no document; a workflow begins with apiVersion: %s and kind: %s", APIVersion, Kind)
		return nil
	case 1:
		return bodies[0]
	default:
		c.add(nodeSpan(c.src, bodies[1]), kindDocument, "a second document begins here; a file holds one workflow")
		return nil
	}
}

// explainSyntax turns the parser's error into diagnostics with the likely mistake.
func explainSyntax(c *collector, err error) {
	at, message := c.src.span(1, 1, 1), err.Error()
	var syntax *yaml.SyntaxError
	if errors.As(err, &syntax) {
		message = syntax.Message
		if syntax.Token != nil && syntax.Token.Position != nil {
			at = tokenSpan(c.src, syntax.Token)
		}
	}
	if tabs := tabbedLines(c); tabs > 0 {
		return
	}
	message = strings.ReplaceAll(message, "\t", `\t`)
	if hint := syntaxHint(c.src.line(at.Line), message); hint != "" {
		message += "; " + hint
	}
	c.add(at, kindSyntax, "%s", message)
}

// tabbedLines reports each line that is indented with a tab. It is asked only when the file does not parse, since a tab may
// stand inside a text block.
func tabbedLines(c *collector) int {
	n := 0
	for i, line := range c.src.lines {
		indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
		if tab := strings.IndexByte(indent, '\t'); tab >= 0 && strings.TrimSpace(line) != "" {
			c.add(c.src.span(i+1, tab+1, 1), kindSyntax, "a tab in the indentation; YAML is indented with spaces")
			n++
		}
	}
	return n
}

func syntaxHint(line, message string) string {
	switch {
	case strings.Contains(line, "${{") && !strings.Contains(line, `"${{`):
		return `put quotes around the expression: "${{ ... }}"`
	case strings.Contains(message, "mapping value is not allowed"):
		return `check the indentation, and put quotes around a text that holds ": "`
	case strings.Contains(message, "reserved character"):
		return "put quotes around the text"
	default:
		return ""
	}
}

// tokenSpan returns where a token stands in the source.
func tokenSpan(src *source, tk *token.Token) span {
	if tk == nil || tk.Position == nil {
		return src.span(1, 1, 1)
	}
	text := strings.TrimSpace(tk.Origin)
	first, _, _ := strings.Cut(text, "\n")
	return src.span(tk.Position.Line, tk.Position.Column, utf8.RuneCountInString(strings.TrimSpace(first)))
}

// nodeSpan returns where a node begins in the source.
func nodeSpan(src *source, node ast.Node) span {
	switch n := node.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return nodeSpan(src, n.Values[0])
		}
		return tokenSpan(src, n.Start)
	case *ast.MappingValueNode:
		return tokenSpan(src, n.Key.GetToken())
	case *ast.LiteralNode:
		return tokenSpan(src, n.Start)
	case nil:
		return src.span(1, 1, 1)
	default:
		return tokenSpan(src, n.GetToken())
	}
}
