package cli

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/tkgfix/tkgfix/examples/workflows"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/workflow"
)

// starterFile is where the starter workflow goes if no file is named.
const starterFile = workflows.DocumentedFixFile

func (a *app) initCommand() *cli.Command {
	return &cli.Command{
		Name: "init", Usage: "write a workflow to start from", ArgsUsage: "[FILE]", OnUsageError: usage,
		Description: `The starter is the vendor's documented fix, step by step. A file named as one of the examples becomes that example:
registry-trust.yaml mends a cluster's trust the gentlest way that works, fleet.yaml that of many clusters, recreate.yaml deletes a
cluster and creates it again, suspend-gitops.yaml pauses a GitOps controller around a fix. An existing file is never overwritten.

   tkgfix init
   tkgfix init registry-trust.yaml
   tkgfix init fleet.yaml
   tkgfix init team-a.yaml

EXIT STATUS: 0 written, 1 not.`,
		Action: func(c *cli.Context) error {
			if c.NArg() > 1 {
				_, err := arguments(c, "FILE")
				return err
			}
			path := starterFile
			if c.NArg() == 1 {
				path = c.Args().First()
			}
			source, ok := workflows.Named(filepath.Base(path))
			if !ok {
				source = workflows.DocumentedFix()
			}
			err := createFile(path, 0o644, func(w io.Writer) error {
				_, err := w.Write(source)
				return err
			})
			if err != nil {
				return plugins.Hint(err, "%s", firstNonEmpty(plugins.HintOf(err), "tkgfix init FILE"))
			}
			a.ui.Say("wrote %s", path)
			a.ui.Say("next: %s", next(c, "validate %s", path))
			a.ui.Say("then: %s", next(c, "plan %s%s", path, wanted(source)))
			return nil
		},
	}
}

// wanted returns the flags for the inputs that a workflow cannot do without.
func wanted(source []byte) string {
	w, diags := workflow.Parse(starterFile, source)
	if diags.Err() != nil {
		return ""
	}
	out := ""
	for _, in := range w.Inputs {
		if !in.HasDefault {
			out += fmt.Sprintf(" --input %s=%s", in.Name, strings.ToUpper(in.Name))
		}
	}
	return out
}

func firstNonEmpty(a, b string) string {
	if a == "" {
		return b
	}
	return a
}
