package cli

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// interleave puts the words of a command line into the order that urfave/cli reads: the program's own flags, the command,
// its flags, its arguments. People write tkgfix run FILE --input a=b --state DIR, and urfave/cli stops reading flags at the
// first argument.
func interleave(root *cli.App, args []string) []string {
	var global, words, operands []string
	flags, commands := root.Flags, root.Commands
	for i := 1; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			operands = append(operands, args[i:]...)
			break
		}
		if !strings.HasPrefix(arg, "-") || arg == "-" {
			if cmd := find(commands, arg); cmd != nil {
				words = append(words, arg)
				flags, commands = slices.Concat(flags, cmd.Flags), cmd.Subcommands
				continue
			}
			operands, commands = append(operands, arg), nil
			continue
		}
		into := &words
		if defines(root.Flags, arg) {
			into = &global
		}
		*into = append(*into, arg)
		if i+1 < len(args) && takesValue(flags, arg) {
			i++
			*into = append(*into, args[i])
		}
	}
	return slices.Concat(args[:min(1, len(args))], global, words, operands)
}

func find(commands []*cli.Command, name string) *cli.Command {
	i := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(name) })
	if i < 0 {
		return nil
	}
	return commands[i]
}

// takesValue says whether the flag that arg names takes the argument after it.
func takesValue(flags []cli.Flag, arg string) bool {
	if strings.Contains(arg, "=") {
		return false
	}
	flags = slices.DeleteFunc(slices.Clone(flags), func(f cli.Flag) bool {
		switch f := f.(type) {
		case *cli.BoolFlag:
			return true
		case *cli.GenericFlag:
			b, ok := f.Value.(interface{ IsBoolFlag() bool })
			return ok && b.IsBoolFlag()
		}
		return false
	})
	return defines(flags, arg)
}

// defines says whether one of the flags is the one that arg names.
func defines(flags []cli.Flag, arg string) bool {
	name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	return slices.ContainsFunc(flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), name) })
}
