package workflow

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
)

// The kinds of diagnostics; the package documentation says what each means.
const (
	kindSyntax      = "syntax"
	kindEncoding    = "encoding"
	kindLimit       = "limit"
	kindDocument    = "document"
	kindVersion     = "version"
	kindUnknownKey  = "unknown-key"
	kindDuplicate   = "duplicate-key"
	kindMissingKey  = "missing-key"
	kindType        = "type"
	kindValue       = "value"
	kindName        = "name"
	kindExpression  = "expression"
	kindReference   = "reference"
	kindStep        = "step"
	kindConnection  = "connection"
	kindApproval    = "approval"
	kindEffect      = "effect"
	kindNeeds       = "needs"
	kindCycle       = "cycle"
	kindUnreachable = "unreachable"
)

// The kinds of the diagnostics that may be dropped.
const (
	// KindUnapproved is about a changing step without an approval, which a run that approves by itself may have. Then the step's
	// Approval stays nil.
	KindUnapproved = "unapproved"
	// KindUnproven is about approvers whom no signature proves, which a run may have whose decisions are authenticated otherwise.
	KindUnproven = "unproven"
)

const (
	maxDiagnostics = 100 // beyond these nobody reads on
	maxShownLine   = 160 // characters of a source line that Format shows
	shownBefore    = 60  // characters of a long line that Format shows before the caret
)

// Diagnostic is one thing that is wrong with a workflow file.
type Diagnostic struct {
	// Pos is where it begins.
	Pos Pos
	// Kind sorts it; the package documentation lists the kinds.
	Kind string
	// Message says what is wrong and what would be right, lower case, without a full stop.
	Message string
	// Source is the whole line at Pos.
	Source string
	// Width is how many characters from Pos on are meant, at least 1.
	Width int
}

// String returns file:line:col: message [kind].
func (d Diagnostic) String() string {
	return fmt.Sprintf("%s: %s [%s]", d.Pos, d.Message, d.Kind)
}

// Diagnostics are all that is wrong with a workflow file, in the order of the file.
type Diagnostics []Diagnostic

// Format writes each diagnostic: its line, the source line, and a caret under the place.
func (ds Diagnostics) Format(w io.Writer) {
	for _, d := range ds {
		fmt.Fprintln(w, d.String())
		if strings.TrimSpace(d.Source) == "" {
			continue
		}
		text, caret := d.snippet()
		fmt.Fprintf(w, "  %s\n  %s\n", text, caret)
	}
}

// Without returns the diagnostics that are of none of the kinds.
func (ds Diagnostics) Without(kinds ...string) Diagnostics {
	return slices.DeleteFunc(slices.Clone(ds), func(d Diagnostic) bool { return slices.Contains(kinds, d.Kind) })
}

// Err returns nil when there are none, else an error whose text has one diagnostic a line.
func (ds Diagnostics) Err() error {
	errs := make([]error, 0, len(ds))
	for _, d := range ds {
		errs = append(errs, errors.New(d.String()))
	}
	return errors.Join(errs...)
}

// snippet returns the source line, cut when it is long, and the line with the caret under it.
func (d Diagnostic) snippet() (text, caret string) {
	line := []rune(printable(d.Source))
	col := min(d.Pos.Col-1, len(line))
	if len(line) > maxShownLine {
		start := max(0, col-shownBefore)
		end := min(len(line), start+maxShownLine)
		line, col = line[start:end], col-start
	}
	pad := make([]rune, 0, col)
	for _, r := range line[:col] {
		if r != '\t' { // a tab under a tab keeps the caret in place, whatever its width
			r = ' '
		}
		pad = append(pad, r)
	}
	width := max(1, min(d.Width, len(line)-col))
	return string(line), string(pad) + "^" + strings.Repeat("~", width-1)
}

// printable returns s without characters that steer a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\t' && !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// collector gathers diagnostics about one source.
type collector struct {
	src   *source
	diags Diagnostics
	seen  map[string]bool
}

func newCollector(src *source) *collector {
	return &collector{src: src, seen: map[string]bool{}}
}

// full is true when nothing more is recorded.
func (c *collector) full() bool { return len(c.diags) >= maxDiagnostics }

// add records a diagnostic; the same one twice at one place is recorded once.
func (c *collector) add(at span, kind, format string, args ...any) {
	if c.full() {
		return
	}
	d := Diagnostic{
		Pos: at.Pos, Kind: kind, Message: printable(fmt.Sprintf(format, args...)),
		Source: c.src.line(at.Line), Width: at.width,
	}
	if key := d.String(); !c.seen[key] {
		c.seen[key] = true
		c.diags = append(c.diags, d)
	}
}

// sorted returns what was gathered in the order of the file.
func (c *collector) sorted() Diagnostics { return inOrder(c.diags) }

func inOrder(ds Diagnostics) Diagnostics {
	slices.SortStableFunc(ds, func(a, b Diagnostic) int {
		return cmp.Or(cmp.Compare(a.Pos.Line, b.Pos.Line), cmp.Compare(a.Pos.Col, b.Pos.Col))
	})
	return ds
}
