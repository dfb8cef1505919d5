package cli

import (
	"bytes"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/tkgfix/tkgfix/workflow"
)

func (a *app) schema() *cli.Command {
	return &cli.Command{
		Name: "schema", Usage: "print the JSON Schema of a workflow file, from which editors complete",
		Description: `The schema is of draft 2020-12 and knows the steps of this tkgfix. It knows no expressions: tkgfix validate does.

   tkgfix schema > workflow.schema.json

then, as the first line of a workflow file, for editors with the YAML language server:

   # yaml-language-server: $schema=workflow.schema.json

EXIT STATUS: 0 printed, 1 not.`,
		OnUsageError: usage,
		Flags:        []cli.Flag{outputFlag("json")},
		Action: func(c *cli.Context) error {
			if _, err := arguments(c); err != nil {
				return err
			}
			schema, err := workflow.Schema(a.newCatalog(c))
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.ui.Out, "%s\n", bytes.TrimSpace(schema))
			return err
		},
	}
}
