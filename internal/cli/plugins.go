package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/tkgfix/tkgfix/internal/plugindir"
	"github.com/tkgfix/tkgfix/internal/pluginhost"
	"github.com/tkgfix/tkgfix/internal/report"
	"github.com/tkgfix/tkgfix/internal/version"
	"github.com/tkgfix/tkgfix/plugins"
)

// lockfileFlag says where the lock file of plugins is, for every command that may start one.
func lockfileFlag() cli.Flag {
	return &cli.StringFlag{
		Name: "lockfile", Usage: "trust the third parties' plugins that `FILE` locks", EnvVars: []string{"TKGFIX_LOCKFILE"}, DefaultText: plugindir.LockFile,
	}
}

// pluginsCommand is tkgfix plugins.
func (a *app) pluginsCommand() *cli.Command {
	return &cli.Command{
		Name: "plugins", Usage: "look at the steps that there are, and trust those of third parties", OnUsageError: usage,
		Description: `A third party's plugin is an executable tkgfix-plugin-NAME in .tkgfix/plugins or $XDG_DATA_HOME/tkgfix/plugins, or in the folders
of $TKGFIX_PLUGIN_PATH. It is started only if its digest is in tkgfix.lock.yaml.

   tkgfix plugins list
   tkgfix plugins lock silence`,
		Subcommands: []*cli.Command{
			{
				Name: "list", Usage: "list the steps, the shipped ones first", OnUsageError: usage,
				Description: `Of third parties' plugins only those that are locked are started, to be asked what they are.

   tkgfix plugins list --output json

EXIT STATUS: 0 listed, 1 the lock file or a folder cannot be read.`,
				Flags:  []cli.Flag{outputFlag("text", "json")},
				Action: a.listPlugins,
			},
			{
				Name: "lock", Usage: "trust plugins as they are now", ArgsUsage: "[NAME...]", OnUsageError: usage,
				Description: `Starts each plugin that was found, or those that are named, asks its version, and writes that and its SHA-256 into the lock
file. What is locked for other platforms stays as long as the version is the same.

   tkgfix plugins lock
   tkgfix plugins lock silence --platform darwin/arm64=dist/darwin/tkgfix-plugin-silence

EXIT STATUS: 0 locked, 1 not: then the lock file is as it was.`,
				Flags: []cli.Flag{
					&cli.StringSliceFlag{Name: "platform", Usage: "lock a file for another platform too, without starting it: `OS/ARCH=FILE` (again for more)"},
				},
				Action: a.lockPlugins,
			},
			{
				Name: "verify", Usage: "hold all plugins against the lock file; start none", OnUsageError: usage,
				Description: "   tkgfix plugins verify\n\nEXIT STATUS: 0 every plugin is the one that is locked, 1 one is not.",
				Flags:       []cli.Flag{outputFlag("text", "json")},
				Action:      a.verifyPlugins,
			},
		},
	}
}

// listedPlugin is a line of tkgfix plugins list and verify.
type listedPlugin struct {
	Name    string         `json:"name"`
	Version string         `json:"version,omitempty"`
	Effect  plugins.Effect `json:"effect,omitempty"`
	Summary string         `json:"summary,omitempty"`
	// Where is the executable's path; shipped steps are in tkgfix itself.
	Where string `json:"where"`
	// State is shipped, or what the lock file says.
	State string `json:"state"`
	// Want and Found are the digests that are locked and found, in hex.
	Want  string `json:"want,omitempty"`
	Found string `json:"found,omitempty"`
	Error string `json:"error,omitempty"`
	Hint  string `json:"hint,omitempty"`
}

func (a *app) listPlugins(c *cli.Context) error {
	if _, err := arguments(c); err != nil {
		return err
	}
	shelf, err := openShelf(c)
	if err != nil {
		return err
	}
	var all []listedPlugin
	for _, s := range shipped() {
		d := s.Describe()
		all = append(all, listedPlugin{Name: d.Name, Version: d.Version, Effect: d.Effect, Summary: d.Summary, Where: "tkgfix " + version.Version(), State: "shipped"})
	}
	for _, s := range shelf.Status() {
		l := asListed(s)
		if s.State == plugindir.Locked {
			p, err := shelf.Plugin(c.Context, s.Name)
			if err != nil {
				l.State, l.Error, l.Hint = "broken", err.Error(), plugins.HintOf(err)
			}
			l.Effect, l.Summary = p.Description.Effect, p.Description.Summary
		}
		all = append(all, l)
	}
	return a.showPlugins(c, all)
}

func (a *app) verifyPlugins(c *cli.Context) error {
	if _, err := arguments(c); err != nil {
		return err
	}
	shelf, err := openShelf(c)
	if err != nil {
		return err
	}
	all, bad := []listedPlugin{}, 0
	for _, s := range shelf.Status() {
		if s.Err != nil {
			bad++
		}
		all = append(all, asListed(s))
	}
	if err := a.showPlugins(c, all); err != nil {
		return err
	}
	switch {
	case bad > 0:
		return fmt.Errorf("%d of %d plugins are not what %s locks", bad, len(all), shelf.LockFile())
	case len(all) == 0:
		a.ui.Say("there is no plugin of a third party, and none is locked")
	default:
		a.ui.Say("%d plugins are what %s locks", len(all), shelf.LockFile())
	}
	return nil
}

func asListed(s plugindir.Status) listedPlugin {
	l := listedPlugin{Name: s.Name, Version: s.Version, Where: s.Path, State: string(s.State), Want: s.Want, Found: s.Found}
	if s.Err != nil {
		l.Error, l.Hint = s.Err.Error(), plugins.HintOf(s.Err)
	}
	return l
}

// showPlugins prints plugins, and says what is wrong with them.
func (a *app) showPlugins(c *cli.Context, all []listedPlugin) error {
	if c.String("output") == "json" {
		return report.JSON(a.ui.Out, all)
	}
	w := tabwriter.NewWriter(a.ui.Out, 0, 4, 2, ' ', 0)
	if len(all) > 0 {
		fmt.Fprintln(w, "NAME\tVERSION\tEFFECT\tSTATE\tWHERE")
	}
	for _, l := range all {
		where := strings.ToValidUTF8(l.Where, "?")
		if where != "" && l.State != "shipped" {
			where = printablePath(where)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", printablePath(l.Name), cmp.Or(l.Version, "-"), cmp.Or(string(l.Effect), "-"), l.State, cmp.Or(where, "-"))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, l := range all {
		if l.Error == "" {
			continue
		}
		a.ui.Say("%s: %s", l.State, l.Error)
		if l.Hint != "" {
			a.ui.Hint("%s", l.Hint)
		}
	}
	return nil
}

// printablePath makes a file's name, which may hold anything, safe for a table.
func printablePath(s string) string {
	if q := fmt.Sprintf("%q", s); q != `"`+s+`"` {
		return q
	}
	return s
}

func (a *app) lockPlugins(c *cli.Context) error {
	shelf, err := openShelf(c)
	if err != nil {
		return err
	}
	names := c.Args().Slice()
	others, err := platforms(c.StringSlice("platform"), names)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		for _, f := range shelf.Found() {
			names = append(names, f.Name)
		}
	}
	if len(names) == 0 {
		return plugins.Hint(fmt.Errorf("no plugin was found in %s", strings.Join(shelf.Folders(), ", ")),
			"put an executable %sNAME into one of these folders, or name its folder: export TKGFIX_PLUGIN_PATH=DIR", plugindir.Prefix)
	}
	lock := shelf.Lock()
	for _, name := range names {
		if err := a.lockOne(c.Context, shelf, name, len(others) > 0); err != nil {
			return err
		}
	}
	for _, platform := range slices.Sorted(maps.Keys(others)) {
		sum, err := pluginhost.Digest(others[platform])
		if err != nil {
			return fmt.Errorf("lock %s for %s: %w", names[0], platform, err)
		}
		e, _ := lock.Entry(names[0])
		lock.Set(e.Name, e.Version, platform, sum)
		a.ui.Say("locked %s %s for %s: sha256 %s", e.Name, e.Version, platform, sum)
	}
	return lock.Write(shelf.LockFile())
}

// lockOne puts this machine's file of a plugin into the lock. elsewhere allows that it is not found here, if it is locked already.
func (a *app) lockOne(ctx context.Context, shelf *plugindir.Shelf, name string, elsewhere bool) error {
	lock := shelf.Lock()
	i := slices.IndexFunc(shelf.Found(), func(f plugindir.Found) bool { return f.Name == name })
	if i < 0 {
		if _, locked := lock.Entry(name); locked && elsewhere {
			return nil
		}
		return plugins.Hint(fmt.Errorf("no plugin %s was found in %s", name, strings.Join(shelf.Folders(), ", ")), "tkgfix plugins list")
	}
	f := shelf.Found()[i]
	if f.Err != nil {
		return f.Err
	}
	sum, err := pluginhost.Digest(f.Path)
	if err != nil {
		return fmt.Errorf("lock %s: %w", name, err)
	}
	// The digest is taken before, and what is started is held against it: what is locked is what spoke.
	d, err := plugindir.Describe(ctx, name, f.Path, sum)
	if err != nil {
		return fmt.Errorf("lock %s: %w", name, err)
	}
	old, had := lock.Entry(name)
	lock.Set(name, d.Version, plugindir.Platform(), sum)
	a.ui.Say("locked %s %s for %s: sha256 %s", name, d.Version, plugindir.Platform(), sum)
	if others := len(old.SHA256); had && old.Version != d.Version && others > 0 {
		a.ui.Say("%s was locked as version %s: its files for other platforms are no longer locked", name, old.Version)
	}
	return nil
}

// platforms reads --platform, which is about one plugin.
func platforms(given, names []string) (map[string]string, error) {
	out := map[string]string{}
	for _, g := range given {
		platform, file, ok := strings.Cut(g, "=")
		if !ok || file == "" {
			return nil, plugins.Hint(fmt.Errorf("--platform %s has no file", g), "--platform OS/ARCH=FILE")
		}
		if err := plugindir.ParsePlatform(platform); err != nil {
			return nil, plugins.Hint(err, "--platform OS/ARCH=FILE")
		}
		if platform == plugindir.Platform() {
			return nil, plugins.Hint(fmt.Errorf("--platform %s is this machine's: its plugin is locked from the plugin folders, where it can be asked what it is", platform),
				"tkgfix plugins lock NAME")
		}
		out[platform] = file
	}
	if len(out) > 0 && len(names) != 1 {
		return nil, plugins.Hint(errors.New("--platform is about one plugin, and it is not named"), "tkgfix plugins lock NAME --platform OS/ARCH=FILE")
	}
	return out, nil
}
