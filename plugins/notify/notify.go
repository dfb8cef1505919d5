// Package notify is the step notify: it tells a webhook, as a CloudEvent or in the form that chats take.
//
// It changes nothing that a run is about, so it needs no gate, and it sends nothing while planning. Delivery is at least once: a step that
// was interrupted between sending and noting it sends again. The CloudEvent's source and id are then the same, so that a receiver can
// drop the second.
//
// A webhook's URL is often a secret. Of a URL only scheme and host are ever shown; path, query, user and password, the further
// headers and the proxy's password are kept out of errors, evidence and plans.
package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/sdk"
)

// Name is the word for uses:.
const Name = "notify"

// effectKey is the key of the step's only effect.
const effectKey = Name

// kind is the kind of a change's target.
const kind = "Notification"

type step struct {
	env sdk.Env
	// proxy is http.ProxyFromEnvironment but in tests.
	proxy func(*http.Request) (*url.URL, error)
	// pause is the first pause between two attempts.
	pause time.Duration
	// patience bounds all attempts together.
	patience time.Duration
	// lookup reads this process's environment.
	lookup func(string) string
}

var _ plugins.Step = step{}

// New returns the step.
func New(env sdk.Env) plugins.Step {
	return step{env: env.Complete(), proxy: http.ProxyFromEnvironment, pause: time.Second, patience: 2 * time.Minute, lookup: os.Getenv}
}

// Describe says what the step is.
func (step) Describe() plugins.Description {
	return plugins.Description{
		Name:    Name,
		Version: "0.1.0",
		Summary: "Tells a webhook, as a CloudEvent or in the form that Slack takes.",
		Effect:  plugins.Announce,
		Input:   json.RawMessage(inputSchema),
		Output:  json.RawMessage(outputSchema),
	}
}

// Plan says what would be told and to whom. It looks at files only, and sends nothing.
func (s step) Plan(ctx context.Context, req plugins.PlanRequest) (plugins.PlanResponse, error) {
	var none plugins.PlanResponse
	in, to, err := parse(req.Input)
	if err != nil {
		return none, err
	}
	if err := ctx.Err(); err != nil {
		return none, err
	}
	if _, err := s.sender(in, to); err != nil {
		return none, err
	}
	after, err := json.Marshal(messageOf(in, to))
	if err != nil {
		return none, fmt.Errorf("encode the message: %w", err)
	}
	return plugins.PlanResponse{
		Outputs: json.RawMessage(`{}`),
		Changes: []plugins.PlannedChange{{
			Action: plugins.Create, Target: targetOf(to), After: after,
			Reason: "the workflow tells it when this step is reached",
			Undo:   "what was told cannot be taken back",
		}},
		Summary: "would tell " + to.shown,
	}, nil
}

// Apply sends the message. It answers well when nothing could be delivered, unless the input says that it is required.
func (s step) Apply(ctx context.Context, req plugins.ApplyRequest, host plugins.Host) (plugins.ApplyResponse, error) {
	var none plugins.ApplyResponse
	in, to, err := parse(req.Input)
	if err != nil {
		return none, err
	}
	change, msg, err := plannedOf(req.Changes, to)
	if err != nil {
		return none, err
	}
	snd, err := s.sender(in, to)
	if err != nil {
		return none, err
	}
	id := req.RunID + "/" + req.StepID
	if snd.body, snd.contentType, err = encode(msg, id, req.RunID, s.env.Now()); err != nil {
		return none, err
	}
	var sent *outcome
	act := func(ctx context.Context) error {
		result, err := s.deliver(ctx, snd)
		if err != nil {
			return err
		}
		if !result.delivered && in.Required {
			return plugins.Hint(fmt.Errorf("tell %s: %s", to.shown, result.text),
				"see whether %s can be reached from here and takes the message, then resume the run; the event keeps its id, so nobody is told twice", to.shown)
		}
		sent = &result
		return nil
	}
	observe := func(context.Context) (sdk.Observation, error) {
		if sent == nil { // whether an earlier process sent it nobody knows: it is sent again, under the same id
			return sdk.Observation{State: sdk.No}, nil
		}
		return sdk.Observation{State: sdk.Yes, Note: sent.text}, nil
	}
	if err := sdk.Effect(ctx, host, plugins.EffectSpec{Key: effectKey, Target: change.Target}, observe, act); err != nil {
		return none, err
	}
	return applied(to, id, sent)
}

// applied is the answer of an Apply; sent is nil when the journal said that it was over already.
func applied(to endpoint, id string, sent *outcome) (plugins.ApplyResponse, error) {
	out := output{ID: id, To: to.shown}
	resp := plugins.ApplyResponse{Summary: fmt.Sprintf("%s: over before the interruption", to.shown)}
	if sent != nil {
		out.Delivered = &sent.delivered
		resp.Summary = fmt.Sprintf("%s: %s", to.shown, sent.text)
		verdict := plugins.OK
		if !sent.delivered {
			verdict = plugins.Bad
		}
		resp.Evidence = []plugins.Evidence{{Subject: to.shown, Check: "delivery", Verdict: verdict, Text: sent.text}}
	}
	var err error
	resp.Outputs, err = sdk.Output(out)
	return resp, err
}
