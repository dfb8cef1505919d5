package verifypull

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/tkgfix/tkgfix/internal/probe"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

// seen is what one worker answered.
type seen struct {
	node    tkg.Node
	carries bool
	// report is on the registry, as the node's containerd would judge it; the zero value when none was given.
	report probe.Report
}

// waitingFor lists what is not so yet. Nothing left means that the cluster pulls.
func waitingFor(r request, nodes []seen, pods tally) []string {
	var out []string
	lacking, refusing := 0, []string{}
	for _, n := range nodes {
		if len(r.candidate) > 0 && !n.carries {
			lacking++
		}
		if r.registry != "" && !n.report.Accepted {
			refusing = append(refusing, fmt.Sprintf("%s (%s)", n.node.Name, words(n.report)))
		}
	}
	if lacking > 0 {
		out = append(out, fmt.Sprintf("%d of %d workers do not carry the CA", lacking, len(nodes)))
	}
	if len(refusing) > 0 {
		out = append(out, fmt.Sprintf("%d of %d workers do not trust %s: %s", len(refusing), len(nodes), r.registry, refusing[0]))
	}
	return append(out, waitingForPods(r, pods)...)
}

func waitingForPods(r request, pods tally) []string {
	of := "from " + r.registry
	if r.registry == "" {
		of = "at all"
	}
	var out []string
	if pods.failing > 0 {
		out = append(out, fmt.Sprintf("%d of %d pods: %s", pods.failing, pods.total(), pods.why))
	}
	if pods.starting > 0 {
		out = append(out, fmt.Sprintf("%d of %d pods are starting", pods.starting, pods.total()))
	}
	switch {
	case pods.total() == 0:
		out = append(out, "there is no pod with an image "+of)
	case pods.pulled == 0 && pods.failing == 0 && pods.starting == 0:
		out = append(out, fmt.Sprintf("none of %d pods has found a node", pods.total()))
	case pods.pulled > 0 && pods.fresh == 0:
		out = append(out, fmt.Sprintf("%d pods run, but none of them has pulled its image on one of the workers", pods.pulled))
	}
	return out
}

// respond answers with what was proved, or with what is waited for.
func respond(r request, nodes []seen, pods tally) (plugins.PlanResponse, error) {
	if waiting := waitingFor(r, nodes, pods); len(waiting) > 0 {
		return plugins.PlanResponse{}, plugins.NotYet("%s", strings.Join(waiting, "; "))
	}
	out := output{OK: true, Nodes: []nodeOutput{}, Pods: podsOutput{
		Running: pods.pulled, Failing: pods.failing, Pending: pods.starting + pods.unplaced,
	}}
	for _, n := range nodes {
		o := nodeOutput{Name: n.node.Name, Address: n.node.Address, Candidate: n.carries}
		if r.registry != "" {
			o.Handshake = words(n.report)
		}
		out.Nodes = append(out.Nodes, o)
	}
	raw, err := sdk.Output(out)
	if err != nil {
		return plugins.PlanResponse{}, err
	}
	return plugins.PlanResponse{
		Outputs:  raw,
		Evidence: evidence(r, nodes, pods),
		Summary:  fmt.Sprintf("%s pulls: %d pods run, and each of its %d workers is as it must be", r.ref, pods.pulled, len(nodes)),
		Warnings: warnings(pods),
	}, nil
}

// words is the verdict in the form of the output.
func words(r probe.Report) string {
	if r.Accepted {
		return "ok"
	}
	return fmt.Sprintf("%s: %s", r.ID, r.GoError)
}

func evidence(r request, nodes []seen, pods tally) []plugins.Evidence {
	var out []plugins.Evidence
	for _, n := range nodes {
		subject := "node " + n.node.Name
		if r.registry != "" {
			data, _ := json.Marshal(struct { // plain fields: it cannot go wrong
				Verdict string       `json:"verdict"`
				Chain   []probe.Cert `json:"chain"`
			}{n.report.ID, n.report.Chain})
			out = append(out, plugins.Evidence{Subject: subject, Check: "handshake", Verdict: plugins.OK,
				Text: r.registry + " with the node's own roots: valid", Data: data})
		}
		if len(r.candidate) > 0 {
			out = append(out, plugins.Evidence{Subject: subject, Check: "carries-ca", Verdict: plugins.OK, Text: "each certificate of the CA file is among its trust files"})
		}
		for _, note := range n.report.Notes {
			out = append(out, plugins.Evidence{Subject: subject, Check: "node-note", Verdict: plugins.Info, Text: note})
		}
	}
	return append(out, plugins.Evidence{Subject: "cluster " + r.ref.String(), Check: "pods-pull", Verdict: plugins.OK,
		Text: fmt.Sprintf("%d pods have pulled, %d of them on a worker after it was made; none fails", pods.pulled, pods.fresh)})
}

func warnings(pods tally) []string {
	if pods.unplaced == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%d pods find no node; that is not about images: kubectl get events --field-selector reason=FailedScheduling -A", pods.unplaced)}
}
