// Package verifypull is the step verify-pull: it proves that the symptom is gone, on every worker and in the pods, and says what it waits
// for until then. It changes nothing.
package verifypull

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/internal/handshake"
	"github.com/tkgfix/tkgfix/internal/inputfile"
	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/internal/node"
	"github.com/tkgfix/tkgfix/internal/nodelook"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

// Name is the word for uses:.
const Name = "verify-pull"

const inputSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["cluster"],
  "properties": {
    "cluster": {"type": "string", "description": "namespace/name of the cluster"},
    "registry": {"type": "string", "default": "", "description": "host[:port] of the registry; every pod counts and no handshake is made if empty"},
    "ca": {"type": "string", "default": "", "description": "absolute path of the PEM file whose certificates each worker must carry; not checked if empty"}
  }
}`

const outputSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["ok", "nodes", "pods"],
  "properties": {
    "ok": {"type": "boolean", "description": "whether each worker trusts the registry and its pods run; what is not so yet is waited for"},
    "nodes": {
      "type": "array",
      "description": "the workers, by name",
      "items": {
        "type": "object",
        "additionalProperties": false,
        "required": ["name", "address", "candidate", "handshake"],
        "properties": {
          "name": {"type": "string", "description": "name of the node"},
          "address": {"type": "string", "description": "IP address of the node"},
          "candidate": {"type": "boolean", "description": "whether the node carries every certificate of ca; false without ca"},
          "handshake": {"type": "string", "description": "ok, or the class of failure and Go's words; empty without registry"}
        }
      }
    },
    "pods": {
      "type": "object",
      "description": "the pods with images of the registry; of any registry if none was given",
      "additionalProperties": false,
      "required": ["running", "failing", "pending"],
      "properties": {
        "running": {"type": "integer", "description": "pods all of whose images were pulled"},
        "failing": {"type": "integer", "description": "pods with an image that cannot be pulled"},
        "pending": {"type": "integer", "description": "pods that have not come so far"}
      }
    }
  }
}`

type input struct {
	Cluster  string `json:"cluster"`
	Registry string `json:"registry"`
	CA       string `json:"ca"`
}

type output struct {
	OK    bool         `json:"ok"`
	Nodes []nodeOutput `json:"nodes"`
	Pods  podsOutput   `json:"pods"`
}

type nodeOutput struct {
	Name      string `json:"name"`
	Address   string `json:"address"`
	Candidate bool   `json:"candidate"`
	Handshake string `json:"handshake"`
}

type podsOutput struct {
	Running int `json:"running"`
	Failing int `json:"failing"`
	Pending int `json:"pending"`
}

type step struct{ env sdk.Env }

var _ plugins.Step = step{}

// New returns the step.
func New(env sdk.Env) plugins.Step { return step{env: env.Complete()} }

// Describe says what the step is.
func (step) Describe() plugins.Description {
	return plugins.Description{
		Name:        Name,
		Version:     "0.1.0",
		Summary:     "Proves that each worker trusts the registry and that pods pull from it.",
		Effect:      plugins.Read,
		Input:       json.RawMessage(inputSchema),
		Output:      json.RawMessage(outputSchema),
		Connections: []string{plugins.ConnSupervisor, plugins.ConnNodes},
	}
}

// request is the input with its file read.
type request struct {
	ref       tkg.Ref
	registry  string
	candidate []*x509.Certificate
}

func parse(raw json.RawMessage) (request, error) {
	in, err := sdk.Input[input](raw)
	if err != nil {
		return request{}, err
	}
	r := request{registry: in.Registry}
	if r.ref, err = tkg.ParseRef(in.Cluster); err != nil {
		return r, err
	}
	if in.Registry != "" {
		if _, _, err = handshake.HostPort(in.Registry); err != nil {
			return r, err
		}
	}
	if in.CA != "" {
		r.candidate, err = inputfile.Candidate(in.CA)
	}
	return r, err
}

// Plan looks at each worker and at the pods. What is not so yet is an error of KindNotYet with all that is waited for.
func (s step) Plan(ctx context.Context, req plugins.PlanRequest) (plugins.PlanResponse, error) {
	var none plugins.PlanResponse
	r, err := parse(req.Input)
	if err != nil {
		return none, err
	}
	if req.Connections.Supervisor == nil || req.Connections.Nodes == nil {
		return none, errors.New("no connection to the Supervisor or to the nodes was given")
	}
	c, err := kube.New(*req.Connections.Supervisor)
	if err != nil {
		return none, err
	}
	workers, err := nodelook.FindWorkers(ctx, c, *req.Connections.Nodes, r.ref)
	if err != nil {
		return none, err
	}
	if n := len(workers.Unjoined); n > 0 {
		return none, plugins.NotYet("%d of %d workers have not joined the cluster yet: %s", n, n+len(workers.Nodes), workers.Unjoined[0].Name)
	}
	if waiting := addressless(workers.Nodes); waiting != "" {
		return none, plugins.NotYet("%s", waiting)
	}
	nodes, err := s.look(ctx, workers, r)
	if err != nil {
		return none, notYet(ctx, "ask the workers", err)
	}
	pods, err := count(ctx, c, r, workers.Nodes)
	if err != nil {
		return none, notYet(ctx, "look at the pods", err)
	}
	return respond(r, nodes, pods)
}

// notYet makes a waiting of what may pass: right after a cluster was created its servers and nodes are still starting.
func notYet(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil || plugins.KindOf(err) != plugins.KindTransient {
		return err
	}
	return plugins.Hint(plugins.NotYet("%s: %v", what, err), "%s", plugins.HintOf(err))
}

// look asks each worker.
func (s step) look(ctx context.Context, workers nodelook.Workers, r request) ([]seen, error) {
	out := make([]seen, len(workers.Nodes))
	err := workers.Each(ctx, func(ctx context.Context, i int, conn *node.Conn) error {
		n := seen{node: workers.Nodes[i]}
		if r.registry == "" {
			look, err := nodelook.Take(ctx, conn, nodelook.LookRequest{Now: s.env.Now})
			if err != nil {
				return err
			}
			n.carries = carries(look.Roots(), r.candidate)
		} else {
			ask, err := nodelook.Request(r.registry)
			if err != nil {
				return err
			}
			ask.Now = s.env.Now
			look, report, err := nodelook.Probe(ctx, conn, ask)
			if err != nil {
				return err
			}
			n.carries, n.report = carries(look.Roots(), r.candidate), report
		}
		out[i] = n
		return nil
	})
	return out, err
}

// carries reports whether a node trusts exactly these certificates, among others.
func carries(roots *certs.Roots, candidate []*x509.Certificate) bool {
	for _, c := range candidate {
		if !roots.Has(c) {
			return false
		}
	}
	return len(candidate) > 0
}

// count reads the pods of the cluster, page by page, and keeps only counts.
func count(ctx context.Context, c *kube.Client, r request, workers []tkg.Node) (tally, error) {
	t := newTally(r.registry, workers)
	cluster, err := tkg.WorkloadClient(ctx, c, r.ref)
	if apierrors.IsNotFound(err) {
		return t, plugins.WithKind(plugins.KindTransient, err)
	}
	if err != nil {
		return t, err
	}
	pods, err := cluster.Resource(ctx, "", "Pod")
	if err != nil {
		return t, err
	}
	err = cluster.Each(ctx, pods, "", metav1.ListOptions{}, func(u *unstructured.Unstructured) error {
		pod, err := kube.As[corev1.Pod](u)
		if err != nil {
			return err
		}
		t.add(pod)
		return nil
	})
	return t, err
}

func addressless(nodes []tkg.Node) string {
	n := 0
	for _, node := range nodes {
		if node.Address == "" {
			n++
		}
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d workers have no address yet", n, len(nodes))
}

// Apply is never called, as the step only reads.
func (step) Apply(context.Context, plugins.ApplyRequest, plugins.Host) (plugins.ApplyResponse, error) {
	return plugins.ApplyResponse{}, errors.New("verify-pull only reads: there is nothing to apply")
}
