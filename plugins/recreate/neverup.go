package recreate

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tkgfix/tkgfix/internal/node"
	"github.com/tkgfix/tkgfix/internal/nodelook"
	"github.com/tkgfix/tkgfix/internal/probe"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/internal/remedy"
)

// viaDebugPod is the way to nodes that leads through the cluster's own API.
const viaDebugPod = "debug-pod"

// neverUp tells whether the cluster has never come up: nothing says that a control plane was ever initialized, and no machine has ever joined.
// Nobody can have put anything into such a cluster. It blocks on the network.
func (s supervisor) neverUp(ctx context.Context, w world) (bool, error) {
	if w.owner == nil {
		return false, nil // so that whoever asks goes on to what says so
	}
	up, err := tkg.Initialized(ctx, s.c, tkg.Owner{Kind: s.kind, Object: w.owner})
	if err != nil || up {
		return false, err
	}
	machines, err := tkg.Machines(ctx, s.c, s.ref)
	for _, m := range machines {
		if name, _, _ := unstructured.NestedString(m.Object, "status", "nodeRef", "name"); name != "" {
			return false, nil
		}
	}
	return err == nil, err
}

// proveByMachines lets the machines of a cluster that never came up dial the registry, those of its control plane too: a machine answers by
// SSH though it never joined. Those that do not answer prove nothing, and if none does the plan is blocked.
func (s supervisor) proveByMachines(
	ctx context.Context, conf plugins.Nodes, registry string, ask probe.Request, w world,
) (proof, error) {
	p := proof{never: true, warnings: []string{neverUpWarning(w.owner)}}
	if conf.Via == viaDebugPod {
		p.blocks = []plugins.Block{unproved("no pod can be made in it to look from", "look at its machines by SSH: connections.nodes.via: ssh")}
		return p, nil
	}
	machines, err := tkg.Machines(ctx, s.c, s.ref)
	if err != nil {
		return p, err
	}
	if len(machines) == 0 {
		hint := fmt.Sprintf("see what it waits for: kubectl describe %s %s -n %s", resourceOf(w.owner), s.ref.Name, s.ref.Namespace)
		p.blocks = []plugins.Block{unproved("it has no machine", hint)}
		return p, nil
	}
	all, err := nodelook.FindAll(ctx, s.c, conf, s.ref)
	if err != nil {
		return p, err
	}
	sights := make([]remedy.Sight, len(all.Nodes))
	errs := all.Ask(ctx, func(ctx context.Context, i int, conn *node.Conn) error {
		_, report, err := nodelook.Probe(ctx, conn, ask)
		sights[i] = sightOf(all.Nodes[i], report)
		return err
	})
	if err := ctx.Err(); err != nil {
		return p, err
	}
	return p.answered(registry, sights, errs, all.Join(errs)), nil
}

// answered judges by the machines that answered; errs has one entry for each, and joined is all of them in one.
func (p proof) answered(registry string, sights []remedy.Sight, errs []error, joined error) proof {
	for i, err := range errs {
		if err == nil {
			p.sights = append(p.sights, sights[i])
		}
	}
	if len(p.sights) == 0 {
		hint := plugins.HintOf(joined)
		if hint == "" {
			hint = "see that this machine reaches the addresses of its machines: kubectl get machines -o wide"
		}
		p.blocks = []plugins.Block{unproved(oneLine(joined.Error()), hint)}
		return p
	}
	if joined != nil {
		p.warnings = append(p.warnings, fmt.Sprintf("%d of %d machines answered, and what they see is what is proved: %s",
			len(p.sights), len(sights), oneLine(joined.Error())))
	}
	p.blocks = proofBlocks(registry, p.sights)
	return p
}

// unproved is the block of a cluster of which no machine answered.
func unproved(why, hint string) plugins.Block {
	return plugins.Block{
		Reason: "the cluster never came up and none of its machines answers, so that nothing proves that a new one would pull: " + why, Hint: hint,
	}
}

// neverUpWarning says on what the plan for a cluster that never came up rests. A cluster that is still starting looks the same.
func neverUpWarning(owner *unstructured.Unstructured) string {
	return fmt.Sprintf("the cluster never came up: it has no API, and what is lost was counted on the Supervisor alone. One that is still "+
		"starting looks the same, and needs %d to %d minutes: this one was made at %s", createAtBest, createAtWorst, owner.GetCreationTimestamp().UTC().Format(time.RFC3339))
}
