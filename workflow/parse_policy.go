package workflow

import (
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
)

const (
	maxGuards    = 100
	maxRequired  = 20
	maxApprovers = 100
	maxPrincipal = 255                 // characters of an approver's name
	maxExpiry    = 30 * 24 * time.Hour // the longest that a gate waits, if it does not wait for ever
)

var guardName = regexp.MustCompile(`^[a-z][-a-z0-9_]{0,62}$`)

// approvals reads how approvers are known.
func (d *decoder) approvals(node ast.Node) *ApprovalsSpec {
	a := &ApprovalsSpec{}
	o := d.object(node, "approvals", d.keys["approvals"])
	if o == nil || !d.require(o, "allowedSigners") {
		return a
	}
	a.AllowedSigners = d.template(o.node("allowedSigners"), "allowedSigners", view{kind: scopeConnections})
	if a.AllowedSigners != nil && a.AllowedSigners.blank() {
		d.add(nodeSpan(d.src, o.node("allowedSigners")), kindValue, "allowedSigners is empty; name the file of the approvers' SSH keys")
	}
	return a
}

func (d *decoder) guards(node ast.Node) []Guard {
	nodes := d.list(node, "guards")
	if len(nodes) > maxGuards {
		d.add(nodeSpan(d.src, nodes[maxGuards]), kindLimit, "there are %d guards; a workflow has at most %d", len(nodes), maxGuards)
		nodes = nodes[:maxGuards]
	}
	var guards []Guard
	taken := map[string]span{}
	for _, n := range nodes {
		o := d.object(n, "guard", d.keys["guard"])
		if o == nil {
			continue
		}
		d.require(o, "name", "expr", "message")
		g := Guard{Pos: o.at.Pos}
		if n := o.node("name"); n != nil {
			at := nodeSpan(d.src, n)
			g.Name, g.Pos = d.guardName(n), at.Pos
			if first, twice := taken[g.Name]; twice && g.Name != "" {
				d.add(at, kindName, "guard name %q is taken by the guard on line %d", g.Name, first.Line)
			} else {
				taken[g.Name] = at
			}
		}
		if n := o.node("expr"); n != nil {
			g.Expr = d.bareExpression(n, "expr", view{kind: scopeGuard})
		}
		if n := o.node("message"); n != nil {
			text, ok := d.text(n, "message")
			if ok && strings.TrimSpace(text) == "" {
				d.add(nodeSpan(d.src, n), kindValue, "message is empty; say what does not hold when the guard stops a run")
			}
			g.Message = text
		}
		guards = append(guards, g)
	}
	return guards
}

func (d *decoder) guardName(node ast.Node) string {
	name, ok := d.text(node, "name")
	if !ok {
		return ""
	}
	if !guardName.MatchString(name) {
		d.add(nodeSpan(d.src, node), kindName, "guard name %q is malformed; begin with a-z, then a-z, 0-9, - and _, 63 characters at most", name)
		return ""
	}
	return name
}

// bareExpression reads an expression that may stand with ${{ and }} around it, or without.
func (d *decoder) bareExpression(node ast.Node, what string, names view) Expr {
	text, ok := d.stringValue(node, what)
	if !ok {
		return Expr{}
	}
	if strings.Contains(text, exprOpen) {
		return d.single(node, what, names)
	}
	if e := d.exprs.compile(text, locate(d.src, node, text), names); e != nil {
		return *e
	}
	return Expr{}
}

// approval reads the gate before a step.
func (d *decoder) approval(node ast.Node, s *Step) *Approval {
	o := d.object(node, "approval", d.keys["approval"])
	if o == nil {
		return nil
	}
	a := &Approval{Required: 1}
	names := view{kind: scopeSteps}
	if s.each {
		names = view{kind: scopeGate, item: s.As}
	}
	if d.require(o, "message") {
		a.Message = d.template(o.node("message"), "message", names)
	}
	if n := o.node("required"); n != nil {
		a.Required = d.integer(n, "required", 1, maxRequired)
	}
	if n := o.node("expiresAfter"); n != nil {
		a.ExpiresAfter = d.duration(n, "expiresAfter", maxExpiry)
	}
	if n := o.node("approvers"); n != nil {
		a.Approvers, s.approversSpan = d.approvers(n), o.spans["approvers"]
	}
	a.Requester = a.Required == 1 && len(a.Approvers) == 0
	if n := o.node("requester"); n != nil {
		a.Requester = d.oneOf(n, "requester", "allowed", "excluded") == "allowed"
	}
	if len(a.Approvers) > 0 && a.Required > len(a.Approvers) {
		d.add(o.spans["required"], kindApproval, "%d must approve and %d may; lower required, or add approvers", a.Required, len(a.Approvers))
	}
	if a.Message == nil {
		return nil
	}
	if a.Message.blank() {
		d.add(nodeSpan(d.src, o.node("message")), kindValue, "message is empty; say what the approver is asked")
	}
	return a
}

// approvers reads the principals that may approve.
func (d *decoder) approvers(node ast.Node) []string {
	nodes := d.list(node, "approvers")
	if nodes != nil && len(nodes) == 0 {
		d.add(nodeSpan(d.src, node), kindValue, "approvers is empty, so that nobody could approve; leave it out to let anybody approve")
	}
	if len(nodes) > maxApprovers {
		d.add(nodeSpan(d.src, nodes[maxApprovers]), kindLimit, "there are %d approvers; a gate has at most %d", len(nodes), maxApprovers)
		nodes = nodes[:maxApprovers]
	}
	var names []string
	first := map[string]span{}
	for _, n := range nodes {
		name, ok := d.text(n, "an approver")
		at := nodeSpan(d.src, n)
		switch _, twice := first[name]; {
		case !ok:
		case strings.TrimSpace(name) != name || name == "" || utf8.RuneCountInString(name) > maxPrincipal:
			d.add(at, kindValue, "an approver must be the name of a signer, of 1 to %d characters and without white space around it, not %q", maxPrincipal, name)
		case twice:
			d.add(at, kindName, "approver %q stands twice", name)
		default:
			first[name] = at
			names = append(names, name)
		}
	}
	return names
}
