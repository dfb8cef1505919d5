package cli

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/net/http/httpproxy"

	"github.com/tkgfix/tkgfix/internal/handshake"
	"github.com/tkgfix/tkgfix/internal/probe"
	"github.com/tkgfix/tkgfix/internal/report"
	"github.com/tkgfix/tkgfix/plugins"
)

// exitWrongUse is probe's code for a command line that cannot be carried out: 1 says that the registry is not accepted.
const exitWrongUse = 2

func (a *app) probe() *cli.Command {
	return &cli.Command{
		Name: "probe", Usage: "say why a TLS connection to a registry fails, and what mends it", ArgsUsage: "HOST[:PORT]",
		Description: `Dials as containerd does and judges by Go's rules. Each verdict is explained in docs/checks.md. Nothing is changed.

   tkgfix probe registry.corp.example
   tkgfix probe registry.corp.example:8443 --roots /etc/ssl/certs --ca corp-root.pem
   tkgfix probe registry.corp.example --connect 10.0.0.7 --image team/app:1.0 -o json

A proxy is taken from HTTPS_PROXY and NO_PROXY, as containerd takes it.

With --via a node dials, and its containerd's roots, proxy, hosts.toml, clock and Go take the place of this machine's. A node of a
cluster is found by the Supervisor of the kubeconfig, and opened as in a workflow; any other machine is opened by the SSH agent,
--ssh-key or --ssh-password-file.

   tkgfix probe registry.corp.example --via team-a/dev1
   tkgfix probe registry.corp.example --via team-a/dev1/dev1-np1-abc12 --ca corp-root.pem --jump ops@bastion.corp.example
   tkgfix probe registry.corp.example --via vmware-system-user@10.0.0.21 --ssh-key ~/.ssh/id_ed25519

EXIT STATUS: 0 accepted, 1 not accepted, or the node could not be asked, 2 wrong use.`,
		OnUsageError: func(c *cli.Context, err error, sub bool) error { return a.wrongUse(usage(c, err, sub)) },
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "roots", Usage: "trust what Go takes of `PATH`, a file or folder, in place of the roots there"},
			&cli.StringFlag{Name: "ca", Usage: "try the certificates in `FILE` beside the roots"},
			&cli.StringFlag{Name: "server-name", Usage: "ask for `NAME` and want it in the certificate", DefaultText: "HOST"},
			&cli.StringSliceFlag{Name: "connect", Usage: "dial `ADDR[:PORT]` in place of HOST; OTHER=ADDR[:PORT] for a host that HOST refers to"},
			&cli.StringFlag{Name: "image", Usage: "go on as a pull of `REPO[:TAG|@DIGEST]` does: token, manifest, blob, each at its host"},
			&cli.DurationFlag{Name: "timeout", Usage: "give up after `D`", Value: probe.DefaultTimeout},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "`FORMAT`: text or json", Value: "text"},
		}, a.viaFlags()...),
		Action: a.runProbe,
	}
}

// wrongUse says an error of the command line and returns probe's exit code for it.
func (a *app) wrongUse(err error) error {
	a.ui.Error(err)
	return exit(exitWrongUse)
}

func (a *app) runProbe(c *cli.Context) error {
	req, err := a.probeRequest(c)
	if err != nil {
		return a.wrongUse(err)
	}
	via, err := a.viaOf(c)
	if err != nil {
		return a.wrongUse(err)
	}
	r, err := probed(c.Context, via, req)
	switch {
	case errors.Is(err, probe.ErrNoImage):
		return a.wrongUse(err)
	case err != nil:
		return err
	}
	if c.String("output") == "json" {
		if err := report.JSON(a.ui.Out, r); err != nil {
			return err
		}
	} else if _, err := fmt.Fprint(a.ui.Out, r.Text()); err != nil {
		return err
	}
	if !r.Accepted {
		return exit(ExitFailed)
	}
	return nil
}

// probeRequest reads the command line.
func (a *app) probeRequest(c *cli.Context) (probe.Request, error) {
	var req probe.Request
	args, err := arguments(c, "HOST[:PORT]")
	if err != nil {
		return req, err
	}
	if err := oneOf("text", "json")(c, c.String("output")); err != nil {
		return req, err
	}
	host, hostport, err := handshake.HostPort(args[0])
	if err != nil {
		return req, plugins.Hint(err, "tkgfix probe --help")
	}
	_, port, _ := net.SplitHostPort(hostport)
	req = probe.Request{
		Host: host, Port: port, ServerName: c.String("server-name"), Image: c.String("image"), Timeout: c.Duration("timeout"),
		Now: a.now, OpenSSL: probe.FindOpenSSL(), Proxy: httpproxy.FromEnvironment().ProxyFunc(),
	}
	if req.Timeout <= 0 {
		return req, fmt.Errorf("--timeout %s: it must be above zero", req.Timeout)
	}
	if name := req.ServerName; name != "" {
		if _, _, err := handshake.HostPort(name); err != nil || strings.Contains(name, ":") && !isAddress(name) {
			return req, fmt.Errorf("--server-name %q is not a name", name)
		}
	}
	if req.Connect, err = connects(host, c.StringSlice("connect")); err != nil {
		return req, err
	}
	return req, trustOf(c, &req)
}

// trustOf reads the files that the command line names.
func trustOf(c *cli.Context, req *probe.Request) (err error) {
	switch path := c.String("roots"); {
	case path != "":
		req.Trust, err = probe.LoadTrust(path)
	case c.String("via") == "": // a node has its own
		req.Trust, err = probe.SystemTrust(os.Getenv)
	}
	if err != nil {
		return err
	}
	if path := c.String("ca"); path != "" {
		req.Candidate, err = probe.LoadCandidate(path)
	}
	return err
}

// connects reads what is dialled in the place of which host.
func connects(host string, list []string) (map[string]string, error) {
	out := map[string]string{}
	for _, text := range list {
		at, to, found := strings.Cut(text, "=")
		if !found {
			at, to = host, text
		}
		if _, _, err := handshake.HostPort(to); err != nil || at == "" {
			return nil, plugins.Hint(fmt.Errorf("--connect %q is not ADDR[:PORT]", text), "give --connect 10.0.0.7, 10.0.0.7:8443 or [fd00::7]:8443")
		}
		out[at] = to
	}
	return out, nil
}

func isAddress(text string) bool {
	_, err := netip.ParseAddr(text)
	return err == nil
}
