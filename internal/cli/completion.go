package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/tkgfix/tkgfix/plugins"
)

// The scripts ask tkgfix itself for the words, so that they fit every version. They hand over what is typed as arguments, never
// as a line for a shell to read: completing must run nothing that was only typed. urfave/cli's own scripts use eval.
const (
	bashCompletion = `# bash completion for tkgfix; put it into effect with: source <(tkgfix completion bash)
_tkgfix() {
	COMPREPLY=()
	local word
	while IFS= read -r word; do
		COMPREPLY+=("$word")
	done < <("$1" completion words -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _tkgfix tkgfix
`
	zshCompletion = `#compdef tkgfix
# zsh completion for tkgfix; put it into effect with: source <(tkgfix completion zsh)
_tkgfix() {
	local -a found
	found=("${(@f)$("${words[1]}" completion words -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
	if [[ -n "${found[1]}" ]]; then
		compadd -- "${found[@]}"
	else
		_files
	fi
}
if [[ "${funcstack[1]}" = "_tkgfix" ]]; then
	_tkgfix "$@"
else
	compdef _tkgfix tkgfix
fi
`
	fishCompletion = `# fish completion for tkgfix; put it into effect with: tkgfix completion fish | source
function __tkgfix_words
	set -l typed (commandline -opc) (commandline -ct)
	$typed[1] completion words -- $typed[2..-1] 2>/dev/null
end
complete -c tkgfix -a '(__tkgfix_words)'
`
)

func (a *app) completion() *cli.Command {
	return &cli.Command{
		Name: "completion", Usage: "print a script that completes commands, flags and runs", ArgsUsage: "bash|zsh|fish", OnUsageError: usage,
		Description: `   source <(tkgfix completion bash)
   source <(tkgfix completion zsh)
   tkgfix completion fish | source

EXIT STATUS: 0 printed, 1 there is no script for that shell.`,
		Subcommands: []*cli.Command{{
			Name: "words", Hidden: true, SkipFlagParsing: true, OnUsageError: usage,
			Action: func(c *cli.Context) error {
				typed := c.Args().Slice()
				if len(typed) > 0 && typed[0] == "--" {
					typed = typed[1:]
				}
				for _, w := range completions(c, typed) {
					if _, err := fmt.Fprintln(a.ui.Out, printable(w)); err != nil {
						return err
					}
				}
				return nil
			},
		}},
		Action: func(c *cli.Context) error {
			args, err := arguments(c, "bash|zsh|fish")
			if err != nil {
				return err
			}
			script, ok := map[string]string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}[args[0]]
			if !ok {
				return plugins.Hint(errors.New("there is no completion for "+args[0]), "tkgfix completion bash, zsh or fish")
			}
			_, err = fmt.Fprint(a.ui.Out, script)
			return err
		},
	}
}

// completions returns the words that may stand where the last of the typed ones stands, which may be empty. None means that
// a file may stand there.
func completions(c *cli.Context, typed []string) []string {
	if typed = rejoined(typed); len(typed) == 0 {
		typed = []string{""}
	}
	at := &position{flags: c.App.Flags, commands: c.App.Commands}
	for i := 0; i < len(typed)-1; i++ {
		if at.read(typed[i]) {
			i++
			at.value(typed[i-1], typed[i], i == len(typed)-1)
		}
	}
	return at.offer(typed[len(typed)-1], func() []string {
		if at.state == "" {
			at.state = c.String("state")
		}
		store, err := openStore(at.state)
		if err != nil {
			return nil
		}
		ctx, cancel := context.WithTimeout(c.Context, completionPatience)
		defer cancel()
		runs, _ := store.List(ctx) // what cannot be read is not offered
		return runs
	})
}

// completionPatience is for how long a cluster is asked for its runs while a person waits for a word.
const completionPatience = 2 * time.Second

// rejoined puts together what bash took apart: --flag = value.
func rejoined(typed []string) []string {
	var out []string
	for i := 0; i < len(typed); i++ {
		if n := len(out) - 1; typed[i] == "=" && n >= 0 && strings.HasPrefix(out[n], "--") && i+1 < len(typed) {
			i++
			out[n] += "=" + typed[i]
			continue
		}
		out = append(out, typed[i])
	}
	return out
}

// position is where in a command line the cursor is.
type position struct {
	flags    []cli.Flag
	commands []*cli.Command
	command  *cli.Command
	operands int
	// plain is set behind --, where nothing is a flag.
	plain bool
	// ofFlag is set where the value of a flag stands.
	ofFlag bool
	state  string
}

// read takes a word that stands before the cursor and says whether its value follows.
func (p *position) read(word string) bool {
	switch {
	case !p.plain && word == "--":
		p.plain = true
	case !p.plain && strings.HasPrefix(word, "-") && word != "-":
		if dir, ok := strings.CutPrefix(word, "--state="); ok {
			p.state = dir
		}
		return takesValue(p.flags, word)
	default:
		cmd := find(p.commands, word)
		if cmd == nil || p.operands > 0 || p.plain {
			p.operands++
			return false
		}
		p.command, p.commands, p.flags = cmd, cmd.Subcommands, slices.Concat(p.flags, cmd.Flags)
		if cmd.Hidden {
			p.commands = nil
		}
	}
	return false
}

// value takes the value of a flag.
func (p *position) value(flag, value string, last bool) {
	if strings.TrimLeft(flag, "-") == "state" && !last {
		p.state = value
	}
	p.ofFlag = last
}

// offer returns what may stand at the cursor and begins as what is typed there.
func (p *position) offer(cur string, runs func() []string) []string {
	var all []string
	switch {
	case p.ofFlag:
	case !p.plain && strings.HasPrefix(cur, "-"):
		all = flagNames(p.flags)
	case p.operands == 0 && !p.plain && len(p.commands) > 0:
		all = commandNames(p.commands)
	case p.command != nil && takesRun(p.command, p.operands):
		all = runs()
	}
	if p.command != nil && p.command.Name == "completion" && p.operands == 0 {
		all = append(all, "bash", "zsh", "fish")
	}
	return slices.DeleteFunc(all, func(w string) bool { return !strings.HasPrefix(w, cur) })
}

func flagNames(flags []cli.Flag) []string {
	out := []string{"--help"}
	for _, f := range flags {
		if name := "--" + f.Names()[0]; !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

func commandNames(commands []*cli.Command) []string {
	var out []string
	for _, c := range commands {
		if !c.Hidden {
			out = append(out, c.Name)
		}
	}
	return out
}

// takesRun says whether the argument of that number, from 0, is a run.
func takesRun(c *cli.Command, number int) bool {
	words := strings.Fields(c.ArgsUsage)
	switch {
	case c.ArgsUsage == "[RUN...]":
		return true
	case number >= len(words):
		return false
	}
	return words[number] == "RUN" || c.Name == "diff"
}
