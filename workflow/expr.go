package workflow

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // a guard names a time zone, and a jump host may have none
	"unicode"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/ext"
)

// The bounds of an expression. The cost is CEL's own measure of the work of an evaluation.
const (
	maxExprs      = 1000 // in one file
	maxExprLength = 4096
	maxExprNodes  = 4000
	maxExprDepth  = 50
	maxExprCost   = 500_000
	maxRegexSize  = 500
)

// Expr is one CEL expression. The zero Expr is no expression.
type Expr struct {
	// Source is the text between ${{ and }}.
	Source string
	// Pos is where it begins.
	Pos Pos

	src     *source
	text    string // with the white space around it, as it is compiled
	places  []Pos  // of each character of Source, and of its end
	view    view
	refs    []reference
	envs    []string // names of environment variables
	selects []string // names of the fields that are taken of anything but inputs and steps
	program cel.Program
	isConst bool // rests on no input, step or variable
	ofItem  bool // rests on the item of a forEach
}

// IsZero is true for no expression.
func (e *Expr) IsZero() bool { return e.program == nil }

// references gathers the ids of the steps that the expression uses: those as a whole, and those for its own item alone.
func (e *Expr) references(s *Step) {
	for _, r := range e.refs {
		if r.its {
			s.Its[r.step] = true
			continue
		}
		s.References[r.step] = true
	}
}

// reference is a use of a step's outputs: of a field, or of all of them when field is empty.
type reference struct {
	step, field string
	tested      bool // only has() asks for it
	its         bool // of the outputs for the same item
}

// root is the name under which the outputs are seen.
func (r reference) root() string {
	if r.its {
		return itsName
	}
	return "steps"
}

// compiler turns the text of expressions into programs. What steps answer with is not known here, so all names are dynamic;
// Validate type-checks.
type compiler struct {
	*collector
	envs  map[view]*cel.Env
	count int
}

func newCompiler(c *collector) *compiler {
	return &compiler{collector: c, envs: map[view]*cel.Env{}}
}

// celOptions are what every expression has: the standard library, the string functions, slice and flatten of lists, and the bounds. Later
// versions of the lists' functions can make lists of any length out of nothing.
func celOptions() []cel.EnvOption {
	return []cel.EnvOption{
		ext.Strings(ext.StringsVersion(4)),
		ext.Lists(ext.ListsVersion(1)),
		cel.CrossTypeNumericComparisons(true),
		cel.ParserExpressionSizeLimit(maxExprLength),
		cel.ExpressionNodeLimit(maxExprNodes),
		cel.ParserRecursionLimit(maxExprDepth),
		cel.RegexProgramSizeLimit(maxRegexSize),
	}
}

// env returns the environment of a view. Those of the steps with forEach differ in one name only.
func (k *compiler) env(v view) (*cel.Env, error) {
	if env, ok := k.envs[v]; ok {
		return env, nil
	}
	var env *cel.Env
	var err error
	if v.kind == scopeItem {
		if env, err = k.env(view{kind: scopeSteps}); err == nil {
			env, err = env.Extend(cel.Variable(v.item, cel.DynType), cel.Variable(itsName, cel.MapType(cel.StringType, cel.DynType)))
		}
	} else {
		dynamic, text := cel.MapType(cel.StringType, cel.DynType), cel.MapType(cel.StringType, cel.StringType)
		types := map[string]*cel.Type{"inputs": dynamic, "steps": dynamic, "env": text, "failure": text, "now": cel.TimestampType}
		options := celOptions()
		for _, name := range v.names() {
			options = append(options, cel.Variable(name, types[name]))
		}
		env, err = cel.NewEnv(options...)
	}
	if err != nil {
		return nil, fmt.Errorf("prepare the expressions: %w", err)
	}
	k.envs[v] = env
	return env, nil
}

// compile returns the expression of a text whose characters stand at places, or nil after a diagnostic.
func (k *compiler) compile(text string, places []Pos, v view) *Expr {
	e := &Expr{Source: strings.TrimSpace(text), src: k.src, text: text, places: places, view: v}
	whole := e.whole()
	e.Pos = whole.Pos
	k.count++
	switch {
	case k.count > maxExprs:
		k.add(whole, kindLimit, "the file has more than %d expressions", maxExprs)
		return nil
	case e.Source == "":
		k.add(whole, kindExpression, "the expression is empty")
		return nil
	case len(places)-1 > maxExprLength:
		k.add(whole, kindLimit, "the expression has %d characters; at most %d are allowed", len(places)-1, maxExprLength)
		return nil
	}
	env, err := k.env(v)
	if err != nil {
		k.add(whole, kindExpression, "%v", err)
		return nil
	}
	// The text is compiled with its leading white space, so that offsets stay true.
	checked, issues := env.Compile(text)
	if issues.Err() != nil {
		e.report(k.collector, env, issues)
		return nil
	}
	e.program, err = env.Program(checked, cel.EvalOptions(cel.OptPartialEval), cel.CostLimit(maxExprCost))
	if err != nil {
		k.add(whole, kindExpression, "%s", celMessage(err.Error()))
		return nil
	}
	if !e.collect(k.collector, checked.NativeRep()) {
		return nil
	}
	e.ofItem = v.kind == scopeItem && k.needsItem(e)
	return e
}

// needsItem tells whether an expression rests on the item, or on what was found for it: then it does not compile without. Its name alone
// tells little, since a macro may use the same one.
func (k *compiler) needsItem(e *Expr) bool {
	if !strings.Contains(e.text, e.view.item) && !strings.Contains(e.text, itsName) {
		return false
	}
	env, err := k.env(view{kind: scopeSteps})
	if err != nil {
		return true
	}
	_, issues := env.Compile(e.text)
	return issues.Err() != nil
}

// report maps CEL's complaints to the file. Of several syntax errors only the first tells something.
func (e *Expr) report(c *collector, env *cel.Env, issues *cel.Issues) {
	for _, issue := range issues.Errors() {
		at := e.span(offsetOf(e.text, issue.Location.Line(), issue.Location.Column()))
		name, undeclared := undeclaredName(issue.Message)
		switch {
		case undeclared:
			c.add(at, kindReference, "%s", e.undeclared(name, env))
		case strings.HasPrefix(issue.Message, "Syntax error"):
			c.add(at, kindExpression, "%s", celMessage(issue.Message))
			return
		default:
			c.add(at, kindExpression, "%s", celMessage(issue.Message))
		}
	}
}

// undeclared says which names an expression may use.
func (e *Expr) undeclared(name string, env *cel.Env) string {
	switch {
	case strings.Contains(e.text, name+"("):
		text := fmt.Sprintf("there is no function %q", name)
		if guess := nearest(name, sortedKeys(env.Functions())); guess != "" {
			text += fmt.Sprintf("; did you mean %q?", guess)
		}
		return text
	default:
		return e.view.undeclared(name)
	}
}

// whole returns where the expression stands, as far as its first line goes.
func (e *Expr) whole() span {
	pad := len([]rune(e.text)) - len([]rune(strings.TrimLeftFunc(e.text, unicode.IsSpace)))
	at := e.places[min(pad, len(e.places)-1)]
	first, _, _ := strings.Cut(e.Source, "\n")
	return e.src.span(at.Line, at.Col, len([]rune(first)))
}

// span returns the place of the character at an offset of the text, as wide as the word there. CEL points at the dot before a
// field and at the bracket after a function: the names are meant.
func (e *Expr) span(offset int) span {
	last := len(e.places) - 1
	offset = max(0, min(offset, last))
	at := e.places[offset]
	line := []rune(e.src.line(at.Line))
	i := at.Col - 1
	if i >= 0 && i+1 < len(line) && line[i] == '.' {
		i++
	}
	if i >= 0 && i < len(line) && line[i] == '(' {
		for i > 0 && isWord(line[i-1]) {
			i--
		}
	}
	end := i
	for end < len(line) && isWord(line[end]) {
		end++
	}
	return e.src.span(at.Line, i+1, end-i)
}

func isWord(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) }

// offsetOf turns CEL's line and column (0-based) into an offset in characters.
func offsetOf(text string, line, col int) int {
	offset := 0
	for i, l := range strings.Split(text, "\n") {
		if i+1 >= line {
			break
		}
		offset += len([]rune(l)) + 1
	}
	return offset + max(0, col)
}

// collect finds the steps and the environment variables that the expression uses. It is false after a diagnostic.
func (e *Expr) collect(c *collector, a *ast.AST) bool {
	w := refWalker{view: e.view, covered: map[int64]bool{}, whole: map[int64]reference{}, bare: map[int64]string{}, zones: map[int64]string{}}
	ast.PostOrderVisit(a.Expr(), ast.NewExprVisitor(w.visit))
	for id, ref := range w.whole {
		if !w.covered[id] {
			w.refs = append(w.refs, ref)
		}
	}
	ok := true
	for bare, name := range w.bare {
		if w.covered[bare] {
			continue
		}
		loc := a.SourceInfo().GetStartLocation(bare)
		c.add(e.span(offsetOf(e.text, loc.Line(), loc.Column())), kindExpression, "%s must be followed by a step: %s.ID.FIELD", name, name)
		ok = false
	}
	for id, name := range w.zones {
		if _, err := time.LoadLocation(name); err != nil {
			loc := a.SourceInfo().GetStartLocation(id)
			c.add(e.span(offsetOf(e.text, loc.Line(), loc.Column())), kindExpression, "there is no time zone %q; name one as in Asia/Shanghai, or an offset as in +08:00", name)
			ok = false
		}
	}
	e.refs, e.envs, e.selects, e.isConst = w.refs, w.envs, w.selects, !w.variable
	slices.SortFunc(e.refs, func(a, b reference) int { return strings.Compare(a.step+"."+a.field, b.step+"."+b.field) })
	return ok
}

// refWalker gathers references from an expression tree.
type refWalker struct {
	refs     []reference
	envs     []string
	covered  map[int64]bool      // ids of nodes that a larger reference takes in
	whole    map[int64]reference // steps.ID and its.ID by node id
	selects  []string            // names of the fields of all else
	zones    map[int64]string    // names of time zones by node id
	view     view                // what the expression sees
	variable bool                // one of the names that an expression sees is used
	bare     map[int64]string    // nodes that are the name steps, or its, alone
}

// outputs returns the name under which the outputs of steps are seen, if that is what a node is.
func (w *refWalker) outputs(e ast.Expr) (string, bool) {
	if e.Kind() != ast.IdentKind {
		return "", false
	}
	name := e.AsIdent()
	return name, name == "steps" || name == itsName && w.view.kind == scopeItem
}

func (w *refWalker) visit(e ast.Expr) {
	w.variable = w.variable || e.Kind() == ast.IdentKind && slices.Contains(w.view.names(), e.AsIdent())
	if name, ok := w.outputs(e); ok {
		w.bare[e.ID()] = name
	}
	if name, ok := zone(e); ok {
		w.zones[e.AsCall().Args()[0].ID()] = name
	}
	if e.Kind() != ast.SelectKind {
		return
	}
	sel := e.AsSelect()
	operand := sel.Operand()
	switch {
	case isIdent(operand, "env"):
		w.envs = append(w.envs, sel.FieldName())
	case w.bare[operand.ID()] != "":
		w.covered[operand.ID()] = true
		w.whole[e.ID()] = reference{step: sel.FieldName(), its: w.bare[operand.ID()] == itsName}
	case w.whole[operand.ID()].step != "":
		w.covered[operand.ID()] = true
		of := w.whole[operand.ID()]
		w.refs = append(w.refs, reference{step: of.step, field: sel.FieldName(), tested: sel.IsTestOnly(), its: of.its})
	case !isIdent(operand, "inputs"):
		w.selects = append(w.selects, sel.FieldName())
	}
}

// zone returns the time zone that a call names, as in now.getHours('Asia/Shanghai').
func zone(e ast.Expr) (string, bool) {
	if e.Kind() != ast.CallKind {
		return "", false
	}
	call := e.AsCall()
	if !call.IsMemberFunction() || !strings.HasPrefix(call.FunctionName(), "get") || len(call.Args()) != 1 || call.Args()[0].Kind() != ast.LiteralKind {
		return "", false
	}
	name, ok := call.Args()[0].AsLiteral().Value().(string)
	return name, ok && !strings.Contains(name, ":") // else it is an offset
}

func isIdent(e ast.Expr, name string) bool { return e.Kind() == ast.IdentKind && e.AsIdent() == name }

var (
	undeclaredRE = regexp.MustCompile(`^undeclared reference to '([^']*)'`)
	overloadRE   = regexp.MustCompile(`^found no matching overload for '([^']*)' applied to '(.*)'$`)
	noFieldsRE   = regexp.MustCompile(`^type '(.*)' does not support field selection$`)
	fieldRE      = regexp.MustCompile(`^undefined field '([^']*)'`)
)

func undeclaredName(message string) (string, bool) {
	m := undeclaredRE.FindStringSubmatch(message)
	if m == nil {
		return "", false
	}
	return m[1], true
}

// celMessage puts CEL's message into the words of this package.
func celMessage(message string) string {
	message, _, _ = strings.Cut(message, "\n")
	message = strings.TrimPrefix(message, "Syntax error: ")
	if m := overloadRE.FindStringSubmatch(message); m != nil {
		name := m[1]
		if op, ok := operators.FindReverse(name); ok && op != "" {
			name = op
		}
		return fmt.Sprintf("%s cannot be applied to %s", name, m[2])
	}
	if m := noFieldsRE.FindStringSubmatch(message); m != nil && strings.HasPrefix(m[1], "list(") {
		return "a list has no fields; take one entry of it, LIST[0], or ask all of them: LIST.all(x, ...), LIST.map(x, ...)"
	} else if m != nil {
		return fmt.Sprintf("a value of type %s has no fields", m[1])
	}
	if before, _, long := strings.Cut(message, " expecting {"); long {
		message = before
	}
	return strings.NewReplacer("'<EOF>'", "end of the expression", "mismatched input", "unexpected", "extraneous input", "unexpected").Replace(message)
}
