package fromproto_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/tkgfix/tkgfix/internal/wire/fromproto"
	"github.com/tkgfix/tkgfix/internal/wire/proto"
	"github.com/tkgfix/tkgfix/internal/wire/toproto"
	"github.com/tkgfix/tkgfix/plugins"
)

func TestRefuses(t *testing.T) {
	t.Parallel()
	plan := func(m *proto.PlanResponse) error { _, err := fromproto.PlanResponse(m); return err }
	request := func(m *proto.ApplyRequest) error { _, err := fromproto.ApplyRequest(m); return err }
	description := func(m *proto.Description) error { _, err := fromproto.Description(m); return err }
	created := &proto.PlannedChange{Action: proto.Action_ACTION_CREATE}
	seen := &proto.Evidence{Verdict: proto.Verdict_VERDICT_OK}
	cases := map[string]struct {
		reason string
		err    error
		want   string
	}{
		"Nothing": {reason: "no description is none that says unspecified", err: description(nil), want: "effect: unknown value EFFECT_UNSPECIFIED"},
		"Effect": {
			reason: "an effect of a later version", err: description(&proto.Description{Effect: 9}),
			want: "effect: unknown value 9: tkgfix and the plugin may be of different versions",
		},
		"Undeclared": {
			reason: "a request under an effect that the workflow was to declare",
			err:    request(&proto.ApplyRequest{Effect: proto.Effect_EFFECT_DECLARED}), want: "effect: the workflow's step does not declare its own",
		},
		"UndeclaredPlan": {
			reason: "the same of a plan",
			err: func() error {
				_, err := fromproto.PlanRequest(&proto.PlanRequest{Effect: proto.Effect_EFFECT_DECLARED})
				return err
			}(), want: "effect: the workflow's step does not declare its own",
		},
		"RequestEffect": {
			reason: "a request under an effect of a later version",
			err:    request(&proto.ApplyRequest{Effect: 9}), want: "effect: unknown value 9",
		},
		"Schema": {
			reason: "a schema that is too large",
			err:    description(&proto.Description{Effect: 1, Input: bytes.Repeat([]byte("1"), 1<<20+1)}), want: "input: 1048577 bytes, 1048576 at most",
		},
		"Action": {
			reason: "an action without a word names its place",
			err:    plan(&proto.PlanResponse{Changes: []*proto.PlannedChange{created, {Action: -1}}}), want: "change 1: action: unknown value -1",
		},
		"NilChange": {
			reason: "a change that is nil", err: plan(&proto.PlanResponse{Changes: []*proto.PlannedChange{nil}}),
			want: "change 0: action: unknown value ACTION_UNSPECIFIED",
		},
		"Verdict": {
			reason: "a verdict without a word",
			err:    plan(&proto.PlanResponse{Evidence: []*proto.Evidence{{}}}), want: "evidence 0: verdict: unknown value VERDICT_UNSPECIFIED",
		},
		"JSON": {
			reason: "what is said to be JSON and is not",
			err:    plan(&proto.PlanResponse{Outputs: []byte("{")}), want: "outputs: not a JSON document",
		},
		"Data": {
			reason: "details that are too large",
			err: plan(&proto.PlanResponse{Evidence: []*proto.Evidence{{
				Verdict: proto.Verdict_VERDICT_OK, Data: bytes.Repeat([]byte(" "), 64<<10+1),
			}}}), want: "evidence 0: data: 65537 bytes, 65536 at most",
		},
		"Many": {
			reason: "too many pieces",
			err: plan(&proto.PlanResponse{Evidence: func() []*proto.Evidence {
				out := make([]*proto.Evidence, 20_001)
				for i := range out {
					out[i] = seen
				}
				return out
			}()}), want: "evidence: 20001 of them, 20000 at most",
		},
		"ManyWithin": {
			reason: "few changes with many lines each",
			err: plan(&proto.PlanResponse{Changes: []*proto.PlannedChange{
				{Action: proto.Action_ACTION_CREATE, Preconditions: make([]*proto.Precondition, 7_000)},
				{Action: proto.Action_ACTION_CREATE, Lost: make([]string, 7_000)},
				{Action: proto.Action_ACTION_CREATE, Impact: make([]string, 6_001)},
			}}), want: "changes: 20001 preconditions and lines, 20000 at most",
		},
		"Port": {
			reason: "a port that is none",
			err:    request(&proto.ApplyRequest{Connections: &proto.Connections{Nodes: &proto.Nodes{Port: -1}}}),
			want:   "connections: nodes: port is not between 0 and 65535",
		},
		"Key": {
			reason: "an effect without a key",
			err:    func() error { _, err := fromproto.EffectSpec(nil); return err }(), want: "effect without a key",
		},
		"State": {
			reason: "a state of the journal without a word",
			err:    func() error { _, err := fromproto.EffectState(4); return err }(), want: "unknown value 4",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tc.err == nil || !strings.Contains(tc.err.Error(), tc.want) {
				t.Errorf("%s: want %q, got %v", tc.reason, tc.want, tc.err)
			}
		})
	}
	if _, err := fromproto.PlanResponse(nil); err != nil {
		t.Errorf("an empty plan is a plan: %v", err)
	}
}

// TestErrorsAreBounded has a message with very many faults.
func TestErrorsAreBounded(t *testing.T) {
	t.Parallel()
	_, err := fromproto.PlanResponse(&proto.PlanResponse{Changes: make([]*proto.PlannedChange, 20_000)})
	if err == nil || len(err.Error()) > 4096 {
		t.Errorf("want a short error, got %d bytes", len(err.Error()))
	}
}

func TestToProtoRefuses(t *testing.T) {
	t.Parallel()
	refused := func(what string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("want an error that says %q, got %v", what, err)
		}
	}
	_, err := toproto.Description(plugins.Description{})
	refused(`unknown effect ""`, err)
	_, err = toproto.PlanResponse(plugins.PlanResponse{Changes: []plugins.PlannedChange{{Action: "patch"}}})
	refused(`change 0: unknown action "patch"`, err)
	_, err = toproto.PlanResponse(plugins.PlanResponse{Evidence: []plugins.Evidence{{}}})
	refused(`evidence 0: unknown verdict ""`, err)
	_, err = toproto.ApplyResponse(plugins.ApplyResponse{Evidence: []plugins.Evidence{{Verdict: "meh"}}})
	refused(`evidence 0: unknown verdict "meh"`, err)
	_, err = toproto.EffectState("")
	refused(`unknown state of effect ""`, err)
	_, err = toproto.PlanRequest("", plugins.PlanRequest{Connections: plugins.Connections{Nodes: &plugins.Nodes{Port: 70000}}})
	refused("port 70000", err)
	_, err = toproto.PlanRequest("", plugins.PlanRequest{Effect: plugins.Declared})
	refused("effect: the workflow's step does not declare its own", err)
	_, err = toproto.ApplyRequest("", 0, plugins.ApplyRequest{Effect: plugins.Declared})
	refused("effect: the workflow's step does not declare its own", err)
	_, err = toproto.PlanRequest("", plugins.PlanRequest{Effect: "wreck"})
	refused(`unknown effect "wreck"`, err)
	_, err = toproto.ApplyRequest("", 0, plugins.ApplyRequest{Changes: []plugins.PlannedChange{{}}})
	refused(`change 0: unknown action ""`, err)
}
