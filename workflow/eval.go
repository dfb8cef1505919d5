package workflow

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// Scope is what expressions see.
type Scope struct {
	// Inputs are the values of BindInputs.
	Inputs map[string]any
	// Steps holds the outputs of steps by id: a map[string]any or the JSON of an object; of a step with ForEach a []any of these or the JSON
	// of a list. A step, an entry (nil) or a field that is not there is not known yet.
	Steps map[string]any
	// Item is the item of a step with ForEach, one of those that EvalForEach returned. Its condition and its input see it.
	Item any
	// Its holds, beside Item, the outputs of other steps for the same item, by step id, each a map[string]any or the JSON of an object. A
	// step or a field that is not there is not known yet.
	Its map[string]any
	// Now is the time that guards see.
	Now time.Time
	// Failure holds what the steps of OnFailure see: step, error, status and run. What is missing is empty.
	Failure map[string]string
	// Env is the environment. Only EvalConnections and EvalAllowedSigners use it.
	Env map[string]string
}

// UnknownError says that a value is not known yet, since it rests on what a step has not told.
type UnknownError struct {
	// Step is the step's id. Field is the output that is missing, empty when all outputs are wanted.
	Step, Field string
}

// Error names what is not known.
func (e *UnknownError) Error() string {
	if e.Field == "" {
		return fmt.Sprintf("steps.%s is not known yet", e.Step)
	}
	return fmt.Sprintf("steps.%s.%s is not known yet", e.Step, e.Field)
}

// ConnectionValues are the connections of a workflow with their expressions evaluated. Each is nil when the file lacks it.
type ConnectionValues struct {
	Supervisor *Supervisor
	Nodes      *Nodes
}

// Supervisor names an API server. Both are empty when left out.
type Supervisor struct {
	Kubeconfig, Context string
}

// Nodes says how nodes are reached.
type Nodes struct {
	// Via is ssh or debug-pod. HostKeys is accept-new or strict.
	Via, User, HostKeys string
	// KnownHosts, IdentityFile and PasswordFile are paths, Jump is in OpenSSH's syntax and Image a reference; each is empty when left out.
	KnownHosts, IdentityFile, PasswordFile, Jump, Image string
	// Agent tells whether the keys of the SSH agent are tried first.
	Agent bool
	Port  int
}

// EvalIf tells whether the step runs. Without an if it does. The error is an UnknownError when that is not known yet.
func (w *Workflow) EvalIf(step *Step, s Scope) (bool, error) {
	if step.If.IsZero() {
		return true, nil
	}
	s, err := w.withItem(step, s)
	if err != nil {
		return false, err
	}
	v, err := w.eval(&step.If, s)
	if err != nil {
		return false, err
	}
	yes, ok := v.(bool)
	if !ok {
		return false, fmt.Errorf("%s: if must be true or false, and this is %s", step.If.Pos, goWord(v))
	}
	return yes, nil
}

// EvalWith returns the step's input as a JSON object with sorted keys. The error is an UnknownError when a part of it is not known
// yet.
func (w *Workflow) EvalWith(step *Step, s Scope) (json.RawMessage, error) {
	if step.With == nil {
		return json.RawMessage("{}"), nil
	}
	s, err := w.withItem(step, s)
	if err != nil {
		return nil, err
	}
	v, err := w.evalValue(step.With, s)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("write the input of step %s as JSON: %w", step.ID, err)
	}
	return bytes.TrimSpace(out.Bytes()), nil
}

// EvalSupervisor returns which Supervisor the step is about, nil when that is the file's: the step says nothing, or only empty texts. The
// error is an UnknownError when that is not known yet.
func (w *Workflow) EvalSupervisor(step *Step, s Scope) (*Supervisor, error) {
	if step.Supervisor == nil {
		return nil, nil
	}
	s, err := w.withItem(step, s)
	if err != nil {
		return nil, err
	}
	var out Supervisor
	if out.Kubeconfig, err = w.evalText(step.Supervisor.Kubeconfig, s); err != nil {
		return nil, err
	}
	if out.Context, err = w.evalText(step.Supervisor.Context, s); err != nil {
		return nil, err
	}
	if out == (Supervisor{}) {
		return nil, nil
	}
	return &out, nil
}

// EvalMessage returns what the approver of the step is asked, empty without an approval.
func (w *Workflow) EvalMessage(step *Step, s Scope) (string, error) {
	if step.Approval == nil {
		return "", nil
	}
	return w.evalText(step.Approval.Message, s)
}

// EvalConnections returns the connections. An environment variable that is used and not set is an error.
func (w *Workflow) EvalConnections(s Scope) (ConnectionValues, error) {
	var out ConnectionValues
	var errs []error
	text := func(t *Template) string {
		v, err := w.evalText(t, s)
		errs = append(errs, err)
		return v
	}
	if c := w.Connections.Supervisor; c != nil {
		out.Supervisor = &Supervisor{Kubeconfig: text(c.Kubeconfig), Context: text(c.Context)}
	}
	if c := w.Connections.Nodes; c != nil {
		out.Nodes = &Nodes{
			Via: c.Via, User: text(c.User), HostKeys: c.HostKeys, Agent: c.Agent, Jump: text(c.Jump), Image: text(c.Image),
			KnownHosts: text(c.KnownHosts), IdentityFile: text(c.IdentityFile), PasswordFile: text(c.PasswordFile),
		}
		port, err := w.evalPort(c, s)
		errs = append(errs, err)
		out.Nodes.Port = port
	}
	if err := errors.Join(errs...); err != nil {
		return ConnectionValues{}, err
	}
	return out, nil
}

func (w *Workflow) evalPort(n *NodesSpec, s Scope) (int, error) {
	if n.PortExpr.IsZero() {
		return n.Port, nil
	}
	v, err := w.eval(&n.PortExpr, s)
	if err != nil {
		return 0, err
	}
	port, ok := v.(int64)
	if !ok || port < 1 || port > maxPort {
		return 0, fmt.Errorf("%s: port must be from 1 to %d, and this is %v", n.PortExpr.Pos, maxPort, v)
	}
	return int(port), nil
}

// evalValue returns a value with its expressions evaluated, ready for JSON.
func (w *Workflow) evalValue(v *Value, s Scope) (any, error) {
	switch v.kind {
	case isTemplate:
		if e, ok := v.template.single(); ok {
			return w.eval(e, s)
		}
		return w.evalText(v.template, s)
	case isList:
		out := make([]any, 0, len(v.items))
		for _, item := range v.items {
			x, err := w.evalValue(item, s)
			if err != nil {
				return nil, err
			}
			out = append(out, x)
		}
		return out, nil
	case isMapping:
		out := make(map[string]any, len(v.fields))
		for _, f := range v.fields {
			x, err := w.evalValue(f.value, s)
			if err != nil {
				return nil, err
			}
			out[f.key] = x
		}
		return out, nil
	default:
		return v.constant, nil
	}
}

// evalText returns a template as text; a nil one is empty.
func (w *Workflow) evalText(t *Template, s Scope) (string, error) {
	if t == nil {
		return "", nil
	}
	var out strings.Builder
	_, single := t.single()
	for _, p := range t.parts {
		if p.expr == nil {
			if !single { // white space around a lone expression is no text
				out.WriteString(p.text)
			}
			continue
		}
		v, err := w.eval(p.expr, s)
		if err != nil {
			return "", err
		}
		switch v := v.(type) {
		case string:
			out.WriteString(v)
		case int64, uint64, bool:
			fmt.Fprint(&out, v)
		case float64:
			out.WriteString(strconv.FormatFloat(v, 'g', -1, 64))
		default:
			return "", fmt.Errorf("%s: %s cannot be put into a text", p.expr.Pos, goWord(v))
		}
	}
	return out.String(), nil
}

// eval returns the value of an expression, of the types that JSON has with whole numbers as int64.
func (w *Workflow) eval(e *Expr, s Scope) (any, error) {
	out, err := w.evalRef(e, s)
	if err != nil {
		return nil, err
	}
	v, err := toGo(out)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.Pos, err)
	}
	return v, nil
}

// evalRef returns the value of an expression as CEL has it.
func (w *Workflow) evalRef(e *Expr, s Scope) (ref.Val, error) {
	vars := map[string]any{"inputs": w.inputValues(s.Inputs)}
	var unknown []*cel.AttributePatternType
	switch e.view.kind {
	case scopeConnections:
		vars["env"] = orEmpty(s.Env)
	case scopeFailure:
		vars["failure"] = failureValues(s.Failure)
	case scopeGuard:
		vars["now"] = s.Now
	case scopeItem:
		vars[e.view.item] = s.Item
	}
	if e.view.seesSteps() {
		o, err := w.stepValues(e, s)
		if err != nil {
			return nil, err
		}
		vars["steps"], vars[itsName], unknown = o.values["steps"], o.values[itsName], o.unknown
	}
	activation, err := cel.PartialVars(vars, unknown...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.Pos, err)
	}
	out, _, err := e.program.Eval(activation)
	if err != nil {
		if u := w.missingKey(e, err, s.Steps); u != nil {
			return nil, fmt.Errorf("%s: %w", e.Pos, u)
		}
		return nil, e.explain(err, s)
	}
	if u, ok := out.(*types.Unknown); ok {
		return nil, fmt.Errorf("%s: %w", e.Pos, unknownError(u))
	}
	return out, nil
}

// explain names the environment variable that is not set; else it says where the expression stands.
func (e *Expr) explain(err error, s Scope) error {
	for _, name := range e.envs {
		if _, set := s.Env[name]; !set && strings.HasSuffix(err.Error(), "no such key: "+name) {
			return fmt.Errorf("%s: environment variable %s is not set", e.Pos, name)
		}
	}
	if strings.Contains(err.Error(), "cost limit exceeded") {
		return fmt.Errorf("%s: the expression takes too much work to evaluate", e.Pos)
	}
	return fmt.Errorf("%s: evaluate %s: %w", e.Pos, e.Source, err)
}

func orEmpty(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
