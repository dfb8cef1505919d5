package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/tkgfix/tkgfix/internal/bundle"
	"github.com/tkgfix/tkgfix/internal/report"
	"github.com/tkgfix/tkgfix/internal/state"
	"github.com/tkgfix/tkgfix/internal/version"
	"github.com/tkgfix/tkgfix/plugins"
)

func (a *app) bundle() *cli.Command {
	return &cli.Command{
		Name: "bundle", Usage: "hand a run's evidence to auditors or support, and verify such a bundle", OnUsageError: usage,
		Subcommands: []*cli.Command{a.bundleCreate(), a.bundleVerify()},
	}
}

func (a *app) bundleCreate() *cli.Command {
	return &cli.Command{
		Name: "create", Usage: "write a run's journal, plan and report into one file", ArgsUsage: "RUN", OnUsageError: usage,
		Description: `The bundle holds what the run's journal holds, and nothing else of this machine: no credential, but the names of hosts,
people and objects. The same journal gives the same bytes. An existing file is never overwritten; - is standard output.

   tkgfix bundle create 01jd5x2v9k3q4m8r7t6w5y1z0a -o evidence.tar.gz

EXIT STATUS: 0 written, 1 failed.`,
		Flags: []cli.Flag{&cli.StringFlag{Name: "file", Aliases: []string{"o"}, Usage: "write to `FILE`", DefaultText: "RUN.tar.gz"}},
		Action: func(c *cli.Context) error {
			args, err := arguments(c, "RUN")
			if err != nil {
				return err
			}
			entries, err := a.entries(c, args[0])
			if err != nil {
				return err
			}
			path := c.String("file")
			switch path {
			case "-":
				_, err := bundle.Write(a.ui.Out, args[0], version.Version(), entries)
				return err
			case "":
				path = args[0] + ".tar.gz"
			}
			var m *bundle.Manifest
			err = createFile(path, 0o600, func(w io.Writer) (err error) {
				m, err = bundle.Write(w, args[0], version.Version(), entries)
				return err
			})
			if err != nil {
				return err
			}
			a.ui.Say("wrote %s; its journal's head is %s", path, head(m.Head))
			a.ui.Say("to verify it: tkgfix bundle verify %s --head %s", path, head(m.Head))
			return nil
		},
	}
}

func (a *app) bundleVerify() *cli.Command {
	return &cli.Command{
		Name: "verify", Usage: "check a bundle, without its run and without any cluster", ArgsUsage: "FILE", OnUsageError: usage,
		Description: `The journal's chain is verified, the plan and the report are made again from it, and every byte is compared. That the
journal is the one of the run, whole, is shown by its head: give the one that was noted elsewhere with --head.

   tkgfix bundle verify evidence.tar.gz

EXIT STATUS: 0 it is what its journal gives, 1 it is not.`,
		Flags: []cli.Flag{
			outputFlag("text", "json"),
			&cli.StringFlag{Name: "head", Usage: "its journal must end with `SEQ:HASH`"},
		},
		Action: func(c *cli.Context) error {
			args, err := arguments(c, "FILE")
			if err != nil {
				return err
			}
			want, err := parseHead(c.String("head"))
			if err != nil {
				return err
			}
			m, err := verifyFile(args[0])
			if err != nil {
				return fmt.Errorf("verify %s: %w", args[0], corruptBundle(err))
			}
			if want != nil && *want != head(m.Head) {
				return fmt.Errorf("verify %s: its journal ends with %s, not with %s", args[0], head(m.Head), want)
			}
			if c.String("output") == "json" {
				return report.JSON(a.ui.Out, m)
			}
			_, err = fmt.Fprintf(a.ui.Out, "%s  ok  run %s  entries %d  head %s\n", args[0], m.Run, m.Head.Seq, head(m.Head))
			return err
		},
	}
}

func verifyFile(path string) (*bundle.Manifest, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return bundle.Verify(f, version.Version())
}

// corruptBundle says of a damaged journal that it is the bundle's, and what to do about that.
func corruptBundle(err error) error {
	if _, ok := errors.AsType[*state.CorruptError](err); ok {
		return plugins.Hint(err, "the bundle was altered after it was made: ask for it again")
	}
	if plugins.HintOf(err) == "" {
		return plugins.Hint(err, "a bundle is made with: tkgfix bundle create RUN -o FILE; if this is one, it was altered: ask for it again")
	}
	return err
}

// createFile writes a new file, and leaves none behind if that fails. It never overwrites.
func createFile(path string, mode fs.FileMode, write func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return plugins.Hint(fmt.Errorf("%s exists already and is not overwritten", path), "name another file, or look at it: ls -l %s", path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return plugins.Hint(fmt.Errorf("create %s: there is no such folder", path), "mkdir -p %s", filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("create file: %w", err)
	}
	err = errors.Join(write(f), f.Close())
	if err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}
