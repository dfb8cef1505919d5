package restart

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tkgfix/tkgfix/internal/node"
	"github.com/tkgfix/tkgfix/internal/nodelook"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/internal/remedy"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

// effectRestart begins the key of an effect; the Machine's UID ends it.
const effectRestart = "restart:"

// command is what is done on a node.
const command = "sudo systemctl restart containerd"

// script restarts containerd as root, where sudo needs no password, as on TKG's nodes (tkg-facts.md §3).
const script = `if [ "$(id -u)" = 0 ]; then
  exec systemctl restart containerd </dev/null
fi
exec sudo -n systemctl restart containerd </dev/null
`

// Apply restarts containerd on one node after the other, and lets each prove itself before the next is touched.
func (s step) Apply(ctx context.Context, req plugins.ApplyRequest, host plugins.Host) (plugins.ApplyResponse, error) {
	var none plugins.ApplyResponse
	in, err := sdk.Input[input](req.Input)
	if err != nil {
		return none, err
	}
	restarts, err := read(req.Changes)
	if err != nil {
		return none, err
	}
	ref, err := tkg.ParseRef(restarts[0].change.Target.Cluster)
	if err != nil {
		return none, err
	}
	c, nodes, err := remedy.Connect(req.Connections)
	if err != nil {
		return none, err
	}
	workers, err := nodelook.FindWorkers(ctx, c, nodes, ref)
	if err != nil {
		return none, err
	}
	out := output{Cluster: ref.String(), Restarted: []string{}}
	resp := plugins.ApplyResponse{Summary: fmt.Sprintf("containerd is restarted on %d nodes of %s, and each trusts %s", len(restarts), ref, in.Registry)}
	for _, one := range restarts {
		sights, err := s.restart(ctx, workers, one, in.Registry, host)
		if err != nil {
			return none, err
		}
		out.Restarted = append(out.Restarted, one.change.Target.Name)
		resp.Evidence = append(resp.Evidence, remedy.ProofEvidence(in.Registry, sights)...)
	}
	resp.Outputs, err = sdk.Output(out)
	return resp, err
}

// restart is an approved restart; started is when containerd was started as it was planned.
type restart struct {
	change  plugins.PlannedChange
	started time.Time
}

// read takes the restarts out of the approved changes. Any other shape is refused before anything is done.
func read(changes []plugins.PlannedChange) ([]restart, error) {
	if len(changes) == 0 {
		return nil, fmt.Errorf("%s was approved without a change", Name)
	}
	var out []restart
	for _, c := range changes {
		t := c.Target
		if c.Action != plugins.Update || t.Kind != kind || t.UID == "" || t.Cluster != changes[0].Target.Cluster {
			return nil, fmt.Errorf("the approved change is %s %s, which this step never plans", c.Action, t)
		}
		if len(c.Preconditions) != 1 || c.Preconditions[0].Field != fieldStarted {
			return nil, fmt.Errorf("the approved change of %s does not stand on when it was started", t)
		}
		started, err := time.Parse(time.RFC3339, c.Preconditions[0].Value)
		if err != nil {
			return nil, fmt.Errorf("read the approved change of %s: %w", t, err)
		}
		out = append(out, restart{change: c, started: started})
	}
	return out, nil
}

// restart restarts containerd on one node and lets it prove itself.
func (s step) restart(ctx context.Context, workers nodelook.Workers, one restart, registry string, host plugins.Host) ([]remedy.Sight, error) {
	t := one.change.Target
	i := slices.IndexFunc(workers.Nodes, func(n tkg.Node) bool { return string(n.MachineUID) == t.UID })
	if i < 0 {
		err := plugins.WithKind(plugins.KindConflict, fmt.Errorf("the machine of node %s is gone since the plan", t.Name))
		return nil, plugins.Hint(err, "its replacement has a containerd that is younger than its trust; plan again")
	}
	workers.Nodes = workers.Nodes[i : i+1]
	observe := func(ctx context.Context) (sdk.Observation, error) {
		started, err := s.started(ctx, workers)
		return one.seen(started), err
	}
	act := func(ctx context.Context) error {
		return workers.Each(ctx, func(ctx context.Context, _ int, conn *node.Conn) error {
			_, err := conn.Run(ctx, script)
			return plugins.Hint(err, "restart it by hand on the node: %s; then resume this run", command)
		})
	}
	if err := sdk.Effect(ctx, host, plugins.EffectSpec{Key: effectRestart + t.UID, Target: t}, observe, act); err != nil {
		return nil, err
	}
	sights, err := s.see(ctx, workers, registry, nil)
	if err != nil {
		return nil, err
	}
	return sights, proved(sights[0], registry)
}

// started reads when a node's containerd was started.
func (s step) started(ctx context.Context, workers nodelook.Workers) (time.Time, error) {
	var started time.Time
	err := workers.Each(ctx, func(ctx context.Context, _ int, conn *node.Conn) error {
		look, err := nodelook.Take(ctx, conn, nodelook.LookRequest{Now: s.env.Now})
		started = look.Containerd.Started
		return err
	})
	return started, err
}

// seen decides by its start time whether containerd was restarted.
func (r restart) seen(started time.Time) sdk.Observation {
	switch {
	case started.IsZero():
		return sdk.Observation{State: sdk.Underway, Note: fmt.Sprintf("containerd on %s does not say when it was started", r.change.Target.Name)}
	case started.After(r.started):
		return sdk.Observation{State: sdk.Yes, Note: fmt.Sprintf("containerd on %s was started on %s", r.change.Target.Name, stamp(started))}
	case started.Equal(r.started):
		return sdk.Observation{State: sdk.No, Note: fmt.Sprintf("containerd on %s was started on %s, as before", r.change.Target.Name, stamp(started))}
	}
	return sdk.Observation{State: sdk.Unknowable, Note: fmt.Sprintf("containerd on %s says that it was started on %s, before it was planned: the node's clock was set back? "+
		"See on the node: systemctl status containerd", r.change.Target.Name, stamp(started))}
}

// proved says what is in the way of a node whose containerd was restarted.
func proved(s remedy.Sight, registry string) error {
	switch {
	case s.Err != nil:
		return s.Err
	case s.Report.Accepted && !s.Older():
		return nil
	}
	err := fmt.Errorf("containerd on %s is restarted, and the node does not trust %s: %s", s.Node.Name, registry, s.Report.Message)
	return plugins.Hint(err, "the other nodes were left as they are; see docs/checks.md#%s", s.Report.ID)
}
