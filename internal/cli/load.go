package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/node"
	"github.com/tkgfix/tkgfix/internal/plan"
	"github.com/tkgfix/tkgfix/internal/source"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/workflow"
)

// maxFile bounds a workflow and an input file, in bytes.
const maxFile = 1 << 20

// inputFlag is the flag of the commands that take a workflow's inputs.
func inputFlag() cli.Flag {
	return &cli.StringSliceFlag{Name: "input", Aliases: []string{"i"}, Usage: "set the workflow's input: `NAME=VALUE` (again for more)"}
}

// outputFlag is the flag of the commands that print results.
func outputFlag(formats ...string) cli.Flag {
	return &cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "`FORMAT`: " + strings.Join(formats, " or "), Value: formats[0],
		Action: oneOf(formats...)}
}

// oneOf refuses a value of a flag that is none of the formats.
func oneOf(formats ...string) func(*cli.Context, string) error {
	return func(_ *cli.Context, v string) error {
		if slices.Contains(formats, v) {
			return nil
		}
		return fmt.Errorf("no such output format: %q: expected one of %q", v, formats)
	}
}

// openWorkflow is readWorkflow for a file, or for an address in a Git repository, whose commit becomes part of the workflow's name. It
// blocks on the network for an address.
func (a *app) openWorkflow(ctx context.Context, from string, known engine.Catalog, auto plugins.Effect) (*workflow.Workflow, error) {
	if !source.IsAddress(from) {
		return a.readWorkflow(from, known, auto)
	}
	address, err := source.ParseAddress(from)
	if err != nil {
		return nil, err
	}
	a.ui.Say("fetching %s from %s", address.Path, address.Repository)
	file, err := source.Git{Environ: os.Environ(), Interactive: a.ui.Interactive}.File(ctx, address)
	if err != nil {
		return nil, err
	}
	a.ui.Say("workflow %s", file.Name)
	return a.checkWorkflow(file.Name, file.Data, known, auto)
}

// readWorkflow reads and validates a workflow file. Its diagnostics go to standard error, all of them. auto is what is approved
// ahead: a step of that effect may lack an approval.
func (a *app) readWorkflow(path string, known engine.Catalog, auto plugins.Effect) (*workflow.Workflow, error) {
	if source.IsAddress(path) {
		return nil, plugins.Hint(errors.New("read workflow: an address in a Git repository is taken by validate, plan and run"), "clone the repository, and give the file's path")
	}
	src, err := readFile(path)
	if err != nil {
		return nil, plugins.Hint(fmt.Errorf("read workflow: %w", err), "tkgfix plan FILE")
	}
	return a.checkWorkflow(path, src, known, auto)
}

// checkWorkflow validates the bytes of a workflow that messages call path.
func (a *app) checkWorkflow(path string, src []byte, known engine.Catalog, auto plugins.Effect) (*workflow.Workflow, error) {
	var except []string
	if auto != "" {
		except = append(except, workflow.KindUnapproved)
	}
	w, diags := workflow.Check(path, src, known, except...)
	if len(diags) > 0 {
		diags.Format(a.ui.Err)
		return nil, fmt.Errorf("%s: %d problems", path, len(diags))
	}
	return w, unapproved(w, known, auto)
}

// unapproved refuses a step without an approval whose effect is stronger than what is approved ahead.
func unapproved(w *workflow.Workflow, known engine.Catalog, auto plugins.Effect) error {
	for i := range w.Steps {
		s := &w.Steps[i]
		info, ok := known.Step(s.Uses)
		if ok && s.Approval == nil && w.Effect(s, info.Effect) == string(plugins.Destroy) && auto != plugins.Destroy {
			return plugins.Hint(fmt.Errorf("%s: step %s destroys and has no approval, and --auto-approve covers changes only", s.Pos, s.ID),
				"add approval: {message: ...} to it, or give --auto-approve=destroy")
		}
	}
	return nil
}

// request binds the inputs and the connections of a workflow.
func request(c *cli.Context, w *workflow.Workflow) (engine.Request, error) {
	given := map[string]string{}
	for _, kv := range c.StringSlice("input") {
		name, value, ok := strings.Cut(kv, "=")
		if !ok {
			return engine.Request{}, plugins.Hint(fmt.Errorf("input %q has no value", kv), "--input NAME=VALUE")
		}
		given[name] = value
	}
	values, err := w.BindInputs(given)
	if err != nil {
		return engine.Request{}, plugins.Hint(err, "%s", usageOf(c, w))
	}
	dir, err := os.Getwd()
	if err != nil {
		return engine.Request{}, fmt.Errorf("find the folder in which paths begin: %w", err)
	}
	req := engine.Request{Workflow: w, Dir: dir}
	for _, in := range w.Inputs {
		v := plan.Input{Name: in.Name, Value: values[in.Name]}
		if path, ok := v.Value.(string); ok && in.Type == "file" && path != "" {
			if path, err = filepath.Abs(path); err != nil {
				return engine.Request{}, fmt.Errorf("input %s: %w", in.Name, err)
			}
			if v.SHA256, err = fileDigest(path); err != nil {
				return engine.Request{}, fmt.Errorf("input %s: %w", in.Name, err)
			}
			v.Value = path
			values[in.Name] = path
		}
		req.Inputs = append(req.Inputs, v)
	}
	env := environment()
	signers, err := w.EvalAllowedSigners(workflow.Scope{Inputs: values, Env: env})
	if err != nil {
		return engine.Request{}, fmt.Errorf("evaluate approvals: %w", err)
	}
	if signers != "" {
		if req.AllowedSigners, err = filepath.Abs(signers); err != nil {
			return engine.Request{}, fmt.Errorf("find the allowed signers: %w", err)
		}
		if _, err := fileDigest(req.AllowedSigners); err != nil {
			return engine.Request{}, fmt.Errorf("read the allowed signers: %w", err)
		}
	}
	req.Connections, err = connections(c, w, workflow.Scope{Inputs: values, Env: env})
	return req, err
}

// environment returns the environment of this process by name.
func environment() map[string]string {
	env := map[string]string{}
	for _, kv := range os.Environ() {
		name, value, _ := strings.Cut(kv, "=")
		env[name] = value
	}
	return env
}

// usageOf returns the command line that this workflow wants.
func usageOf(c *cli.Context, w *workflow.Workflow) string {
	line := c.Command.HelpName + " " + w.File
	for _, in := range w.Inputs {
		if !in.HasDefault {
			line += fmt.Sprintf(" --input %s=%s", in.Name, strings.ToUpper(in.Name))
		}
	}
	return line
}

func connections(c *cli.Context, w *workflow.Workflow, scope workflow.Scope) (plugins.Connections, error) {
	got, err := w.EvalConnections(scope)
	if err != nil {
		return plugins.Connections{}, fmt.Errorf("evaluate connections: %w", err)
	}
	var out plugins.Connections
	if s := got.Supervisor; s != nil {
		path, err := kubeconfig(s.Kubeconfig)
		if err != nil {
			return out, err
		}
		out.Supervisor = &plugins.Kube{Kubeconfig: path, Context: s.Context}
	}
	if n := got.Nodes; n != nil {
		dir, err := stateDir(c)
		if err != nil {
			return out, err
		}
		out.Nodes = &plugins.Nodes{
			Via: n.Via, User: n.User, Port: n.Port, KnownHosts: n.KnownHosts, HostKeys: n.HostKeys, Jump: n.Jump,
			IdentityFile: n.IdentityFile, PasswordFile: n.PasswordFile, Agent: n.Agent, Image: n.Image,
		}
		if out.Nodes.KnownHosts == "" {
			out.Nodes.KnownHosts = filepath.Join(dir, "known_hosts")
		}
		if err := settle(out.Nodes); err != nil {
			return out, err
		}
	}
	return out, nil
}

// settle makes the paths of the way to the nodes absolute and refuses hosts to jump through that cannot be read.
func settle(n *plugins.Nodes) error {
	for what, path := range map[string]*string{"knownHosts": &n.KnownHosts, "identityFile": &n.IdentityFile, "passwordFile": &n.PasswordFile} {
		if *path == "" {
			continue
		}
		abs, err := filepath.Abs(*path)
		if err != nil {
			return fmt.Errorf("find connections.nodes.%s: %w", what, err)
		}
		*path = abs
	}
	_, err := node.ParseJump(n.Jump)
	return err
}

// kubeconfig returns the absolute path of a kubeconfig; for an empty one kubectl's rule holds: $KUBECONFIG, then
// ~/.kube/config.
func kubeconfig(path string) (string, error) {
	if path == "" {
		path = os.Getenv("KUBECONFIG")
	}
	if path == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", plugins.Hint(fmt.Errorf("find the kubeconfig: %w", err), "export KUBECONFIG=FILE")
		}
		path = filepath.Join(home, ".kube", "config")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("find the kubeconfig: %w", err)
	}
	return path, nil
}

// fileDigest returns the digest of a regular file of 1 MiB at most, in hex.
func fileDigest(path string) (string, error) {
	data, err := readFile(path)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, plugins.Hint(fmt.Errorf("%s: no such file", path), "ls -l %s", filepath.Dir(path))
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s: larger than %d bytes", path, maxFile)
	}
	return data, nil
}
