package cli

import (
	"fmt"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/tkgfix/tkgfix/plugins"
)

// nodeFlags are the flags of the commands that reach nodes without a workflow: the keys of its connections.nodes.
func nodeFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "nodes-via", Usage: "reach nodes by `WAY`: ssh or debug-pod, with an image that is already there", Value: "ssh", Action: oneOf("ssh", "debug-pod")},
		&cli.StringFlag{Name: "ssh-user", Usage: "log in to nodes as `USER`", Value: "vmware-system-user"},
		&cli.IntFlag{Name: "ssh-port", Usage: "`PORT` of the nodes' SSH server", Value: 22},
		&cli.StringFlag{Name: "ssh-key", Usage: "log in with the private key in `FILE`, in place of the one in the cluster's Secret"},
		&cli.StringFlag{Name: "ssh-password-file", Usage: "log in with the password in `FILE`, of mode 0600, in place of the one in the cluster's Secret"},
		&cli.BoolFlag{Name: "ssh-agent", Usage: "log in with the keys of the agent at SSH_AUTH_SOCK"},
		&cli.StringFlag{Name: "jump", Aliases: []string{"J"}, Usage: "go through `[USER@]HOST[:PORT][,...]`, as ssh -J does"},
		&cli.StringFlag{Name: "host-keys", Usage: "`MODE` for a host key never seen: accept-new pins it, strict refuses it", Value: "accept-new", Action: oneOf("accept-new", "strict")},
		&cli.StringFlag{Name: "known-hosts", Usage: "`FILE` of pinned host keys", DefaultText: "known_hosts in the state folder"},
	}
}

// nodesOf reads nodeFlags.
func nodesOf(c *cli.Context) (plugins.Nodes, error) {
	n := plugins.Nodes{
		Via: c.String("nodes-via"), User: c.String("ssh-user"), Port: c.Int("ssh-port"), HostKeys: c.String("host-keys"), Jump: c.String("jump"),
		Agent: c.Bool("ssh-agent"), KnownHosts: c.String("known-hosts"), IdentityFile: c.String("ssh-key"), PasswordFile: c.String("ssh-password-file"),
	}
	if n.Port < 1 || n.Port > 65535 {
		return n, fmt.Errorf("--ssh-port %d: it must be from 1 to 65535", n.Port)
	}
	if n.KnownHosts == "" {
		dir, err := stateDir(c)
		if err != nil {
			return n, err
		}
		n.KnownHosts = filepath.Join(dir, "known_hosts")
	}
	return n, settle(&n)
}
