package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/internal/node"
	"github.com/tkgfix/tkgfix/internal/nodelook"
	"github.com/tkgfix/tkgfix/internal/probe"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
)

// vantage is a node from which is probed.
type vantage struct {
	nodes plugins.Nodes
	// target is a machine that the command line names; its name is empty for a node of a cluster.
	target node.Target
	// supervisor knows the cluster ref, and name is its node; the first worker if it is empty.
	supervisor plugins.Kube
	ref        tkg.Ref
	name       string
}

// viaFlags are the flags that say from where is probed, and how that is reached. An error of one is a wrong use.
func (a *app) viaFlags() []cli.Flag {
	flags := append([]cli.Flag{
		&cli.StringFlag{Name: "via", Usage: "probe as a node would: `NODE` is NAMESPACE/CLUSTER[/NODE], or [USER@]HOST[:PORT] for any machine by SSH"},
		&cli.StringFlag{Name: "kubeconfig", Usage: "find the cluster of --via by the Supervisor in `FILE`", DefaultText: "$KUBECONFIG, then ~/.kube/config"},
		&cli.StringFlag{Name: "context", Usage: "use the kubeconfig's context `NAME`", DefaultText: "its current one"},
	}, nodeFlags()...)
	for _, f := range flags {
		if text, ok := f.(*cli.StringFlag); ok && text.Action != nil {
			check := text.Action
			text.Action = func(c *cli.Context, v string) error {
				if err := check(c, v); err != nil {
					return a.wrongUse(err)
				}
				return nil
			}
		}
	}
	return flags
}

// viaOf reads the flags; nil for a probe from this machine.
func (a *app) viaOf(c *cli.Context) (*vantage, error) {
	text := c.String("via")
	if text == "" {
		for _, f := range a.viaFlags() {
			if name := f.Names()[0]; c.IsSet(name) {
				return nil, plugins.Hint(fmt.Errorf("--%s is for probes from a node, and no --via is given", name), "add --via NAMESPACE/CLUSTER")
			}
		}
		return nil, nil
	}
	nodes, err := nodesOf(c)
	if err != nil {
		return nil, err
	}
	if strings.Contains(text, "/") && !strings.HasPrefix(text, "ssh://") {
		return clusterVantage(c, text, nodes)
	}
	return machineVantage(c, text, nodes)
}

// clusterVantage reads namespace/cluster[/node].
func clusterVantage(c *cli.Context, text string, nodes plugins.Nodes) (*vantage, error) {
	parts := strings.SplitN(text, "/", 3)
	ref, err := tkg.ParseRef(parts[0] + "/" + parts[1])
	if err != nil {
		return nil, fmt.Errorf("--via: %w", err)
	}
	v := &vantage{nodes: nodes, ref: ref}
	if len(parts) == 3 {
		if v.name = parts[2]; v.name == "" || strings.Contains(v.name, "/") {
			return nil, plugins.Hint(fmt.Errorf("--via %.80q names no node", text), "write it as NAMESPACE/CLUSTER/NODE, or NAMESPACE/CLUSTER for the first worker")
		}
	}
	path, err := kubeconfig(c.String("kubeconfig"))
	v.supervisor = plugins.Kube{Kubeconfig: path, Context: c.String("context")}
	return v, err
}

// notInAlias are the characters that cannot name a host key.
var notInAlias = regexp.MustCompile(`[^A-Za-z0-9.-]`)

// machineVantage reads [user@]host[:port].
func machineVantage(c *cli.Context, text string, nodes plugins.Nodes) (*vantage, error) {
	hops, err := node.ParseJump(text)
	if err != nil || len(hops) != 1 {
		return nil, plugins.Hint(fmt.Errorf("--via %.80q is neither a node of a cluster nor a machine", text),
			"write it as NAMESPACE/CLUSTER[/NODE], or as [USER@]HOST[:PORT] for any machine by SSH")
	}
	hop := hops[0]
	switch {
	case nodes.Via != "ssh":
		return nil, plugins.Hint(fmt.Errorf("--nodes-via %s reaches nodes of a cluster, and --via %s is a machine", nodes.Via, hop.Host), "give --via NAMESPACE/CLUSTER/NODE")
	case c.IsSet("kubeconfig"), c.IsSet("context"):
		return nil, plugins.Hint(fmt.Errorf("a kubeconfig is given, and --via %s is a machine", hop.Host), "give --via NAMESPACE/CLUSTER/NODE, or no kubeconfig")
	case nodes.IdentityFile == "" && nodes.PasswordFile == "" && !nodes.Agent && os.Getenv("SSH_AUTH_SOCK") == "":
		return nil, plugins.Hint(fmt.Errorf("there is nothing to log in to %s with", hop.Host), "give --ssh-key FILE or --ssh-password-file FILE, or start an agent: eval \"$(ssh-agent)\" && ssh-add")
	}
	nodes.Agent = nodes.Agent || nodes.IdentityFile == "" && nodes.PasswordFile == ""
	if hop.User != "" {
		nodes.User = hop.User
	}
	if hop.Port != 22 {
		nodes.Port = hop.Port
	}
	alias := notInAlias.ReplaceAllString(strings.ToLower(hop.Host), "-")
	if nodes.Port != 22 {
		alias = fmt.Sprintf("%s-%d", alias, nodes.Port)
	}
	return &vantage{nodes: nodes, target: node.Target{Name: hop.Host, Address: hop.Host, HostKeyAlias: strings.TrimLeft(alias, "-.")}}, nil
}

// probe asks from there. An error means that the node could not be asked, or not be found.
func (v *vantage) probe(ctx context.Context, req probe.Request) (r probe.Report, err error) {
	if v.target.Name == "" {
		return v.probeWorker(ctx, req)
	}
	conn, err := node.Dial(ctx, v.nodes, v.target, node.Credentials{})
	if err != nil {
		return r, err
	}
	defer func() { _ = conn.Close() }()
	_, r, err = nodelook.Probe(ctx, conn, req)
	return r, err
}

// probeWorker finds the node by the Supervisor, with what opens it.
func (v *vantage) probeWorker(ctx context.Context, req probe.Request) (r probe.Report, err error) {
	client, err := kube.New(v.supervisor)
	if err != nil {
		return r, err
	}
	find := nodelook.FindWorkers
	if v.name != "" { // it may be one that never joined
		find = nodelook.FindAll
	}
	workers, err := find(ctx, client, v.nodes, v.ref)
	if err != nil {
		return r, err
	}
	i := 0
	if v.name != "" {
		i = slices.IndexFunc(workers.Nodes, func(n tkg.Node) bool { return n.Name == v.name })
	}
	if i < 0 {
		return r, plugins.Hint(fmt.Errorf("cluster %s has no worker %.80q", v.ref, v.name), "its workers are %s", workerNames(workers.Nodes))
	}
	workers.Nodes = workers.Nodes[i : i+1]
	err = workers.Each(ctx, func(ctx context.Context, _ int, conn *node.Conn) (err error) {
		_, r, err = nodelook.Probe(ctx, conn, req)
		return err
	})
	return r, err
}

// workerNames lists nodes, ten at most.
func workerNames(nodes []tkg.Node) string {
	var names []string
	for _, n := range nodes[:min(len(nodes), 10)] {
		names = append(names, n.Name)
	}
	text := strings.Join(names, ", ")
	if len(nodes) > 10 {
		text += fmt.Sprintf(" and %d more", len(nodes)-10)
	}
	return text
}

// probed runs the probe from where the command line says.
func probed(ctx context.Context, via *vantage, req probe.Request) (probe.Report, error) {
	if via == nil {
		return probe.Run(ctx, req)
	}
	r, err := via.probe(ctx, req)
	if err != nil && !errors.Is(err, probe.ErrNoImage) {
		return r, fmt.Errorf("probe via %s: %w", via, err)
	}
	return r, err
}

// String names it as the command line does.
func (v *vantage) String() string {
	switch {
	case v.target.Name != "":
		return v.target.Name
	case v.name != "":
		return v.ref.String() + "/" + v.name
	}
	return v.ref.String()
}
