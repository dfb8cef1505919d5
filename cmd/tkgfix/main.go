// Command tkgfix makes a TKG cluster trust a private registry's CA: it plans, asks, applies and resumes.
package main

import (
	"context"
	"io"
	"log"
	"os"

	"golang.org/x/term"

	"github.com/tkgfix/tkgfix/internal/cli"
)

func main() {
	// go-plugin's broker logs through the standard logger, past the rules of the terminal.
	log.SetOutput(io.Discard)
	os.Exit(cli.Main(context.Background(), cli.IO{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		Interactive: term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stderr.Fd())),
	}, os.Args))
}
