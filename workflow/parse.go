package workflow

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

const (
	maxSteps   = 100
	maxInputs  = 100
	maxPort    = 65535
	maxTimeout = 7 * 24 * time.Hour
	maxWait    = time.Hour // the longest pause between two attempts

	defaultUser = "vmware-system-user" // tkg-facts.md §3

	// The ways to nodes.
	viaSSH = "ssh"
	viaPod = "debug-pod"
)

var workflowName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// Parse reads a workflow file and fills in the defaults. name stands in the diagnostics. The Workflow may be used only when
// there are no diagnostics and Validate has none either; it is nil when the file could not be read at all.
func Parse(name string, src []byte) (*Workflow, Diagnostics) {
	text := src
	if len(text) > maxBytes {
		text = text[:0] // what is too large is not even split into lines
	}
	c := newCollector(newSource(name, string(text)))
	root := readYAML(c, src)
	if root == nil {
		return nil, c.sorted()
	}
	d := &decoder{collector: c, exprs: newCompiler(c), keys: keysOf(forms())}
	w := d.workflow(root)
	if w != nil {
		w.File, w.Source, w.src = name, src, c.src
	}
	return w, c.sorted()
}

// Check parses and validates in one go, so that all that is wrong is told at once. Diagnostics of the kinds in except do not count. The
// Workflow is nil unless all is well.
func Check(name string, src []byte, s Schemas, except ...string) (*Workflow, Diagnostics) {
	w, diags := Parse(name, src)
	if w != nil {
		diags = inOrder(append(diags, w.Validate(s)...)).Without(except...)
	}
	if len(diags) > 0 {
		return nil, diags
	}
	return w, nil
}

func (d *decoder) workflow(root ast.Node) *Workflow {
	top := d.object(root, "the workflow", d.keys["workflow"])
	if top == nil {
		return nil
	}
	d.require(top, "apiVersion", "kind", "metadata", "spec")
	d.version(top, "apiVersion", APIVersion)
	d.version(top, "kind", Kind)
	w := &Workflow{Defaults: builtinDefaults(), specs: top.at}
	if node := top.node("metadata"); node != nil {
		w.Name = d.metadata(node)
	}
	node := top.node("spec")
	if node == nil {
		return nil
	}
	w.specs = top.spans["spec"]
	spec := d.object(node, "spec", d.keys["spec"])
	if spec == nil {
		return nil
	}
	if node := spec.node("description"); node != nil {
		w.Description, _ = d.text(node, "description")
	}
	if node := spec.node("inputs"); node != nil {
		w.Inputs = d.inputs(node)
	}
	if node := spec.node("connections"); node != nil {
		w.Connections = d.connections(node)
	}
	if node := spec.node("defaults"); node != nil {
		w.Defaults = d.defaults(node, w.Defaults)
	}
	if node := spec.node("approvals"); node != nil {
		w.Approvals = d.approvals(node)
	}
	if node := spec.node("guards"); node != nil {
		w.Guards = d.guards(node)
	}
	taken := map[string]span{}
	if d.require(spec, "steps") {
		w.Steps = d.steps(spec.node("steps"), w.Defaults, taken)
	}
	if node := spec.node("onFailure"); node != nil {
		w.OnFailure = d.onFailure(node, w.Defaults, taken)
	}
	return w
}

// version holds apiVersion or kind against the one value that this version of tkgfix reads.
func (d *decoder) version(top *object, key, want string) {
	node := top.node(key)
	if node == nil {
		return
	}
	if got, ok := d.text(node, key); ok && got != want {
		d.add(nodeSpan(d.src, node), kindVersion, "%s %q is not known; accepted: %s", key, got, want)
	}
}

func (d *decoder) metadata(node ast.Node) string {
	o := d.object(node, "metadata", d.keys["metadata"])
	if o == nil || !d.require(o, "name") {
		return ""
	}
	if node := o.node("namespace"); node != nil {
		d.text(node, "metadata.namespace")
	}
	d.words(o.node("labels"), "metadata.labels")
	d.words(o.node("annotations"), "metadata.annotations")
	name, ok := d.text(o.node("name"), "metadata.name")
	if ok && !workflowName.MatchString(name) {
		d.add(nodeSpan(d.src, o.node("name")), kindName, "metadata.name %q is malformed; use a-z, 0-9 and -, 63 characters at most", name)
	}
	return name
}

// words reads a mapping whose values are text, and forgets it. The node may be nil.
func (d *decoder) words(node ast.Node, what string) {
	if node == nil {
		return
	}
	pairs, ok := mappingPairs(node)
	if !ok {
		d.add(nodeSpan(d.src, node), kindType, "%s must be a mapping, not %s", what, describe(node))
	}
	for _, pair := range pairs {
		d.text(pair.Value, "a value of "+what)
	}
}

func (d *decoder) defaults(node ast.Node, base Defaults) Defaults {
	o := d.object(node, "defaults", d.keys["defaults"])
	if node := o.node("timeout"); node != nil {
		base.Timeout = d.duration(node, "timeout", maxTimeout)
	}
	if node := o.node("retry"); node != nil {
		base.Retry = d.retry(node, base.Retry)
	}
	return base
}

// retry reads a retry mapping over the values that hold without it.
func (d *decoder) retry(node ast.Node, r Retry) Retry {
	o := d.object(node, "retry", d.keys["retry"])
	if node := o.node("attempts"); node != nil {
		r.Attempts = d.integer(node, "attempts", 1, 100)
	}
	if node := o.node("backoff"); node != nil {
		r.Backoff = d.oneOf(node, "backoff", "constant", "exponential")
	}
	if node := o.node("initial"); node != nil {
		r.Initial = d.duration(node, "initial", maxWait)
	}
	if node := o.node("max"); node != nil {
		r.Max = d.duration(node, "max", maxWait)
	}
	if node := o.node("jitter"); node != nil {
		r.Jitter = d.percent(node, "jitter")
	}
	if o != nil && r.Initial > r.Max && r.Max > 0 {
		d.add(o.at, kindValue, "initial (%s) is longer than max (%s)", r.Initial, r.Max)
	}
	return r
}

// percentage matches 0% to 100%.
var percentage = regexp.MustCompile(`^(\d{1,2}|100)%$`)

func (d *decoder) percent(node ast.Node, what string) int {
	text, ok := node.(*ast.StringNode)
	if !ok || !percentage.MatchString(text.Value) {
		d.add(nodeSpan(d.src, node), kindValue, "%s must be a percentage from 0%% to 100%%, such as 10%%", what)
		return 0
	}
	n, _ := strconv.Atoi(strings.TrimSuffix(text.Value, "%"))
	return n
}

// connections reads where things are.
func (d *decoder) connections(node ast.Node) Connections {
	var c Connections
	o := d.object(node, "connections", d.keys["connections"])
	if node := o.node("supervisor"); node != nil {
		c.Supervisor = d.supervisor(node)
	}
	if node := o.node("nodes"); node != nil {
		c.Nodes = d.nodes(node)
	}
	return c
}

func (d *decoder) supervisor(node ast.Node) *SupervisorSpec {
	o := d.object(node, "supervisor", d.keys["supervisor"])
	return &SupervisorSpec{
		Kubeconfig: d.optional(o.node("kubeconfig"), "kubeconfig", view{kind: scopeConnections}),
		Context:    d.optional(o.node("context"), "context", view{kind: scopeConnections}),
	}
}

func (d *decoder) nodes(node ast.Node) *NodesSpec {
	o := d.object(node, "nodes", d.keys["nodes"])
	text := func(key string) *Template { return d.optional(o.node(key), key, view{kind: scopeConnections}) }
	n := &NodesSpec{
		Via: viaSSH, Port: 22, HostKeys: "accept-new",
		User: text("user"), KnownHosts: text("knownHosts"), Jump: text("jump"),
		IdentityFile: text("identityFile"), PasswordFile: text("passwordFile"), Image: text("image"),
	}
	if n.User == nil {
		n.User = &Template{Text: defaultUser, parts: []part{{text: defaultUser}}}
	}
	if node := o.node("via"); node != nil {
		n.Via = d.oneOf(node, "via", viaSSH, viaPod)
	}
	if node := o.node("port"); node != nil {
		d.port(node, n)
	}
	if node := o.node("hostKeys"); node != nil {
		n.HostKeys = d.oneOf(node, "hostKeys", "accept-new", "strict")
	}
	if node := o.node("agent"); node != nil {
		n.Agent = d.boolean(node, "agent")
	}
	return n
}

// port reads a port: a number, or one expression that gives it.
func (d *decoder) port(node ast.Node, n *NodesSpec) {
	text, ok := constantOf(node)
	if s, isText := text.(string); !ok || !isText || !strings.Contains(s, exprOpen) {
		n.Port = d.integer(node, "port", 1, maxPort)
		return
	}
	t := d.template(node, "port", view{kind: scopeConnections})
	if t == nil {
		return
	}
	e, single := t.single()
	if !single {
		d.add(nodeSpan(d.src, node), kindType, "port must be a whole number, or one expression that is")
		return
	}
	n.PortExpr = *e
}

// optional reads a template that may be left out.
func (d *decoder) optional(node ast.Node, what string, v view) *Template {
	if node == nil {
		return nil
	}
	return d.template(node, what, v)
}
