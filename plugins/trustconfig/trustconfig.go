// Package trustconfig is the step patch-tkgserviceconfiguration: it puts one CA into the Supervisor's list of trusted CAs and keeps every
// other entry byte for byte.
//
// Plan and Apply both go through perform; Plan gives it a client that only dry-runs. What Apply does is read from the approved
// change alone.
package trustconfig

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tkgfix/tkgfix/internal/inputfile"
	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

// Name is the word for uses:.
const Name = "patch-tkgserviceconfiguration"

const (
	kind      = "TkgServiceConfiguration"
	effectKey = Name
)

const inputSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["cluster", "ca"],
  "properties": {
    "cluster": {"type": "string", "description": "namespace/name of the cluster that needs the CA"},
    "ca": {"type": "string", "description": "absolute path of the CA's PEM file"},
    "name": {"type": "string", "default": "", "description": "name of the entry; found or derived if empty"}
  }
}`

const outputSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["name", "changed", "trust"],
  "properties": {
    "name": {"type": "string", "description": "name of the entry that holds the CA; nodes get it as tkg-<name>.pem"},
    "changed": {"type": "boolean", "description": "whether the list is changed"},
    "trust": {
      "type": "array",
      "description": "the whole list as it will be",
      "items": {
        "type": "object",
        "additionalProperties": false,
        "required": ["name", "data"],
        "properties": {
          "name": {"type": "string", "description": "name of the entry"},
          "data": {"type": "string", "description": "base64 of the PEM, as stored"}
        }
      }
    }
  }
}`

type input struct {
	Cluster string `json:"cluster"`
	CA      string `json:"ca"`
	Name    string `json:"name"`
}

type output struct {
	Name    string           `json:"name"`
	Changed bool             `json:"changed"`
	Trust   []tkg.TrustEntry `json:"trust"`
}

type step struct{}

var _ plugins.Step = step{}

// New returns the step. It needs nothing of env.
func New(sdk.Env) plugins.Step { return step{} }

// Describe says what the step is.
func (step) Describe() plugins.Description {
	return plugins.Description{
		Name:        Name,
		Version:     "0.1.0",
		Summary:     "Puts the CA into TkgServiceConfiguration, one entry added or replaced, the others kept.",
		Effect:      plugins.Change,
		Input:       json.RawMessage(inputSchema),
		Output:      json.RawMessage(outputSchema),
		Connections: []string{plugins.ConnSupervisor},
	}
}

// Plan chooses the entry, lets the server dry-run the patch and shows it.
func (step) Plan(ctx context.Context, req plugins.PlanRequest) (plugins.PlanResponse, error) {
	var none plugins.PlanResponse
	in, ref, candidate, err := parse(req.Input)
	if err != nil {
		return none, err
	}
	c, err := connect(req.Connections)
	if err != nil {
		return none, err
	}
	live, err := read(ctx, c)
	if err != nil {
		return none, err
	}
	entries, err := tkg.ServiceTrust(live)
	if err != nil {
		return none, err
	}
	list, err := decode(entries)
	if err != nil {
		return none, err
	}
	ch := tkg.Choose(list, candidate, tkg.Naming{Name: in.Name})
	evidence := []plugins.Evidence{evidenceOf(list)}
	if ch.Act == tkg.Keep {
		return unchanged(ch, entries, evidence)
	}
	change, err := changeOf(ref, live, ch, candidate)
	if err != nil {
		return none, err
	}
	if change.Impact, err = impact(ctx, c); err != nil {
		return none, err
	}
	resp, err := dryRun(ctx, c, change)
	if err != nil {
		return none, err
	}
	resp.Evidence = append(evidence, resp.Evidence...)
	resp.Warnings = warnings(list, ch, candidate)
	resp.Summary = fmt.Sprintf("%s entry %q of %s: %s", ch.Act, ch.Name, kind, ch.Why)
	return resp, nil
}

// Apply makes the approved change once.
func (step) Apply(ctx context.Context, req plugins.ApplyRequest, host plugins.Host) (plugins.ApplyResponse, error) {
	var none plugins.ApplyResponse
	// The input is only checked: what is done is in the approved changes.
	if _, err := sdk.Input[input](req.Input); err != nil {
		return none, err
	}
	if len(req.Changes) != 1 {
		return none, fmt.Errorf("%s was approved with %d changes, not one", Name, len(req.Changes))
	}
	change := req.Changes[0]
	before, after, err := documents(change)
	if err != nil {
		return none, err
	}
	c, err := connect(req.Connections)
	if err != nil {
		return none, err
	}
	state, err := host.Effect(ctx, effectKey)
	if err != nil {
		return none, fmt.Errorf("read the journal of %s: %w", effectKey, err)
	}
	if state == plugins.EffectNone {
		if err := holds(ctx, c, change); err != nil {
			return none, err
		}
	}
	observe := func(ctx context.Context) (sdk.Observation, error) {
		live, err := read(ctx, c)
		if err != nil {
			return sdk.Observation{}, err
		}
		return seen(live, change.Target.UID, before, after)
	}
	act := func(ctx context.Context) error {
		_, err := perform(ctx, c, change)
		return err
	}
	if err := sdk.Effect(ctx, host, plugins.EffectSpec{Key: effectKey, Target: change.Target}, observe, act); err != nil {
		return none, err
	}
	return applied(before, after)
}

// perform makes the change, or has the server check it when the client only dry-runs. It is the one way to the server for both.
func perform(ctx context.Context, c *kube.Client, change plugins.PlannedChange) (*unstructured.Unstructured, error) {
	before, after, err := documents(change)
	if err != nil {
		return nil, err
	}
	patch, err := jsonPatch(change.Target.UID, before, after)
	if err != nil {
		return nil, err
	}
	r, err := c.Resource(ctx, tkg.RunGroup, kind)
	if err != nil {
		return nil, err
	}
	obj, err := c.JSONPatch(ctx, r, types.NamespacedName{Name: change.Target.Name}, patch)
	if err != nil && apierrors.IsInvalid(err) {
		// The server's words for a failed test do not say which one: look, and say it.
		if conflict := holds(ctx, c, change); conflict != nil {
			return nil, conflict
		}
	}
	return obj, err
}

func dryRun(ctx context.Context, c *kube.Client, change plugins.PlannedChange) (plugins.PlanResponse, error) {
	var none plugins.PlanResponse
	_, after, err := documents(change)
	if err != nil {
		return none, err
	}
	wanted, err := after.entries()
	if err != nil {
		return none, err
	}
	stored, err := perform(ctx, c.DryRun(), change)
	if err != nil {
		return none, fmt.Errorf("dry-run the patch: %w", err)
	}
	got, err := tkg.ServiceTrust(stored)
	if err != nil {
		return none, err
	}
	resp := plugins.PlanResponse{Changes: []plugins.PlannedChange{change}}
	verdict, text := plugins.OK, "the API server takes the patch (dry-run)"
	if tkg.TrustHash(got) != tkg.TrustHash(wanted) {
		verdict, text = plugins.Bad, "the API server would store another list than the one sent (dry-run)"
		resp.Blocks = append(resp.Blocks, plugins.Block{
			Reason: text,
			Hint:   "a webhook changes it; find it with: kubectl get mutatingwebhookconfigurations",
		})
	}
	resp.Evidence = []plugins.Evidence{{Subject: change.Target.String(), Check: "dry-run", Verdict: verdict, Text: text}}
	name, err := changedName(change)
	if err != nil {
		return none, err
	}
	resp.Outputs, err = sdk.Output(output{Name: name, Changed: true, Trust: got})
	return resp, err
}

func applied(before, after document) (plugins.ApplyResponse, error) {
	var none plugins.ApplyResponse
	i, err := changedEntry(before, after)
	if err != nil {
		return none, err
	}
	entries, err := after.entries()
	if err != nil {
		return none, err
	}
	raw, err := sdk.Output(output{Name: entries[i].Name, Changed: true, Trust: entries})
	if err != nil {
		return none, err
	}
	return plugins.ApplyResponse{
		Outputs: raw,
		Summary: fmt.Sprintf("entry %q of %s holds the CA; the other %d are as before", entries[i].Name, kind, len(entries)-1),
	}, nil
}

func unchanged(ch tkg.Choice, entries []tkg.TrustEntry, evidence []plugins.Evidence) (plugins.PlanResponse, error) {
	raw, err := sdk.Output(output{Name: ch.Name, Trust: entries})
	return plugins.PlanResponse{
		Outputs:  raw,
		Evidence: evidence,
		Summary:  fmt.Sprintf("entry %q of %s: %s", ch.Name, kind, ch.Why),
	}, err
}

func parse(raw json.RawMessage) (input, tkg.Ref, []*x509.Certificate, error) {
	in, err := sdk.Input[input](raw)
	if err != nil {
		return in, tkg.Ref{}, nil, err
	}
	ref, err := tkg.ParseRef(in.Cluster)
	if err != nil {
		return in, ref, nil, err
	}
	if in.Name != "" && !tkg.ValidTrustName(in.Name) {
		err := fmt.Errorf("%q cannot be the name of a trusted CA", in.Name)
		return in, ref, nil, plugins.Hint(err, "use letters, digits, dashes, underscores and dots only, such as corp-root-2026")
	}
	candidate, err := inputfile.Candidate(in.CA)
	return in, ref, candidate, err
}

func connect(conn plugins.Connections) (*kube.Client, error) {
	if conn.Supervisor == nil {
		return nil, errors.New("no connection to the Supervisor was given")
	}
	return kube.New(*conn.Supervisor)
}

// read gets the one object that counts (tkg-facts.md §1.1).
func read(ctx context.Context, c *kube.Client) (*unstructured.Unstructured, error) {
	r, err := c.Resource(ctx, tkg.RunGroup, kind)
	if err != nil {
		if errors.Is(err, kube.ErrNotServed) {
			return nil, plugins.Hint(err, "this API server is no Supervisor; give the Supervisor's kubeconfig and context")
		}
		return nil, err
	}
	obj, err := c.Get(ctx, r, "", tkg.ServiceConfigurationName)
	if apierrors.IsNotFound(err) {
		return nil, plugins.Hint(err, "only %s counts, whatever names the documentation's examples carry; see: kubectl get tkgserviceconfigurations",
			tkg.ServiceConfigurationName)
	}
	return obj, err
}

// decode judges each stored entry. One that holds a private key is refused: plans and reports must not carry it.
func decode(entries []tkg.TrustEntry) ([]tkg.Held, error) {
	list := make([]tkg.Held, len(entries))
	for i, e := range entries {
		if list[i] = tkg.Hold(e.Name, e.Data, tkg.LayersService); list[i].PrivateKey {
			err := fmt.Errorf("entry %q of %s holds a private key", e.Name, kind)
			return nil, plugins.Hint(err, "every node gets it: take it out by hand, and replace the key; kubectl edit tkgserviceconfiguration %s",
				tkg.ServiceConfigurationName)
		}
	}
	return list, nil
}
