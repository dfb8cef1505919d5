// Command tkgfix makes a TKG cluster trust a private registry's CA: it plans, asks, applies and resumes.
package main

import (
	"context"
	"os"

	"golang.org/x/term"

	"github.com/tkgfix/tkgfix/internal/cli"
)

func main() {
	os.Exit(cli.Main(context.Background(), cli.IO{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		Interactive: term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stderr.Fd())),
	}, os.Args))
}
