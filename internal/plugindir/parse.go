package plugindir

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// The bounds of a lock file beside its size.
const (
	maxTokens = 100_000
	maxWrong  = 20
)

// ParseLock reads a lock file's content. name is its path, for errors: each names its line, and all that is wrong is told at once.
// Keys that are not known are wrong, and so is all of YAML that the file does not need.
func ParseLock(name string, src []byte) (*Lock, error) {
	p := &lockParser{name: name}
	if len(src) > maxLock {
		return nil, fmt.Errorf("%s: larger than %d bytes", name, maxLock)
	}
	if !utf8.Valid(src) {
		return nil, fmt.Errorf("%s: not UTF-8", name)
	}
	lock := p.parse(string(src))
	if len(p.wrong) > 0 {
		return nil, errors.Join(p.wrong...)
	}
	return lock, nil
}

// lockParser gathers what is wrong with one lock file.
type lockParser struct {
	name  string
	wrong []error
}

func (p *lockParser) add(at *token.Token, format string, args ...any) {
	if len(p.wrong) >= maxWrong {
		return
	}
	where := p.name
	if at != nil && at.Position != nil {
		where = fmt.Sprintf("%s:%d:%d", p.name, at.Position.Line, at.Position.Column)
	}
	p.wrong = append(p.wrong, fmt.Errorf("%s: %s", where, fmt.Sprintf(format, args...)))
}

func (p *lockParser) parse(src string) *Lock {
	tokens := lexer.Tokenize(src)
	if !p.plain(tokens) {
		return nil
	}
	file, err := parser.Parse(tokens, 0)
	if err != nil {
		p.syntax(err)
		return nil
	}
	var body ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentType {
			continue
		}
		if body != nil {
			p.add(doc.Body.GetToken(), "a second document; the file has one")
			return nil
		}
		body = doc.Body
	}
	if body == nil {
		p.add(nil, "empty; tkgfix plugins lock writes it anew if it is removed")
		return nil
	}
	top := p.mapping(body, "the file", "apiVersion", "kind", "plugins")
	if len(p.wrong) > 0 {
		return nil
	}
	p.constant(top["apiVersion"], "apiVersion", lockVersion)
	p.constant(top["kind"], "kind", lockKind)
	return p.plugins(top["plugins"])
}

// plain refuses what the file does not need, before the parser, which would follow any depth of it.
func (p *lockParser) plain(tokens token.Tokens) bool {
	if len(tokens) > maxTokens {
		p.add(nil, "more than %d words", maxTokens)
		return false
	}
	dashes := 0
	for i, tk := range tokens {
		switch tk.Type {
		case token.AnchorType, token.AliasType, token.MergeKeyType, token.TagType, token.MappingKeyType, token.DirectiveType,
			token.LiteralType, token.FoldedType:
			p.add(tk, "%s cannot be used in a lock file", tk.Value)
			return false
		case token.SequenceStartType, token.MappingStartType:
			// An empty list is what a lock file of no plugin has.
			if i+1 < len(tokens) && tokens[i+1].Type == token.SequenceEndType && tk.Type == token.SequenceStartType {
				continue
			}
			p.add(tk, "%s cannot be used in a lock file", tk.Value)
			return false
		case token.SequenceEntryType:
			if dashes++; i > 0 && tokens[i-1].Type == token.SequenceEntryType {
				p.add(tk, "a list in a list cannot be used in a lock file")
				return false
			}
		case token.InvalidType:
			p.add(tk, "not YAML: %s", tk.Error)
			return false
		}
		if tk.Position != nil && tk.Position.Column > 1024 {
			p.add(tk, "too far to the right")
			return false
		}
	}
	return true
}

// syntax takes over the parser's error, with its place.
func (p *lockParser) syntax(err error) {
	var placed interface {
		GetToken() *token.Token
		GetMessage() string
	}
	if errors.As(err, &placed) {
		p.add(placed.GetToken(), "not YAML: %s", placed.GetMessage())
		return
	}
	first, _, _ := strings.Cut(err.Error(), "\n")
	p.add(nil, "not YAML: %s", first)
}

// mapping returns the values of a mapping that has exactly the keys.
func (p *lockParser) mapping(node ast.Node, what string, keys ...string) map[string]ast.Node {
	out := map[string]ast.Node{}
	for key, value := range p.pairs(node, what) {
		at := key.GetToken()
		known := false
		for _, k := range keys {
			known = known || k == at.Value
		}
		if !known {
			p.add(at, "unknown key %q in %s; expected %s", at.Value, what, strings.Join(keys, ", "))
			continue
		}
		out[at.Value] = value
	}
	for _, k := range keys {
		if out[k] == nil {
			p.add(node.GetToken(), "%s has no %s", what, k)
		}
	}
	return out
}

// pairs yields what a mapping holds. A key twice is wrong.
func (p *lockParser) pairs(node ast.Node, what string) func(yield func(ast.MapKeyNode, ast.Node) bool) {
	var values []*ast.MappingValueNode
	switch n := node.(type) {
	case *ast.MappingNode:
		values = n.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{n}
	default:
		p.add(node.GetToken(), "%s must be a mapping", what)
	}
	return func(yield func(ast.MapKeyNode, ast.Node) bool) {
		seen := map[string]bool{}
		for _, v := range values {
			name := v.Key.GetToken().Value
			if seen[name] {
				p.add(v.Key.GetToken(), "%q a second time in %s", name, what)
				continue
			}
			seen[name] = true
			if !yield(v.Key, v.Value) {
				return
			}
		}
	}
}

// text returns a scalar's text.
func (p *lockParser) text(node ast.Node, what string) (string, bool) {
	if _, ok := node.(ast.ScalarNode); !ok || node.Type() == ast.NullType {
		p.add(node.GetToken(), "%s must be a text", what)
		return "", false
	}
	return node.GetToken().Value, true
}

func (p *lockParser) constant(node ast.Node, what, want string) {
	if got, ok := p.text(node, what); ok && got != want {
		p.add(node.GetToken(), "%s is %q; this tkgfix reads %q", what, got, want)
	}
}

func (p *lockParser) plugins(node ast.Node) *Lock {
	lock := &Lock{}
	list, ok := node.(*ast.SequenceNode)
	if !ok {
		p.add(node.GetToken(), "plugins must be a list")
		return nil
	}
	for _, item := range list.Values {
		e := p.entry(item)
		if _, twice := lock.Entry(e.Name); twice {
			p.add(item.GetToken(), "plugin %s a second time", e.Name)
			continue
		}
		i, _ := lock.find(e.Name)
		lock.Entries = append(lock.Entries[:i:i], append([]Entry{e}, lock.Entries[i:]...)...)
	}
	return lock
}

func (p *lockParser) entry(node ast.Node) Entry {
	fields := p.mapping(node, "a plugin", "name", "version", "sha256")
	e := Entry{SHA256: map[string]string{}}
	if n := fields["name"]; n != nil {
		if e.Name, _ = p.text(n, "name"); len(e.Name) > maxName || !kebabCase.MatchString(e.Name) {
			p.add(n.GetToken(), "name %q is not in kebab-case", e.Name)
		}
	}
	if n := fields["version"]; n != nil {
		if e.Version, _ = p.text(n, "version"); !semanticVersion.MatchString(e.Version) {
			p.add(n.GetToken(), "version %q is not a semantic version without a leading v", e.Version)
		}
	}
	if n := fields["sha256"]; n != nil {
		for key, value := range p.pairs(n, "sha256") {
			platform := key.GetToken().Value
			if err := ParsePlatform(platform); err != nil {
				p.add(key.GetToken(), "%v", err)
			}
			sum, _ := p.text(value, platform)
			if !hexDigest.MatchString(sum) {
				p.add(value.GetToken(), "the digest of %s must have 64 characters of 0-9 and a-f", platform)
			}
			e.SHA256[platform] = sum
		}
	}
	return e
}
