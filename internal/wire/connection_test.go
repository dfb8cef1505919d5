package wire_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/wire/fromproto"
	"github.com/tkgfix/tkgfix/plugins"
	"github.com/tkgfix/tkgfix/plugins/plugintest"
)

var errBoom = errors.New("boom")

// stub is a step made of functions.
type stub struct {
	effect plugins.Effect
	plan   func(context.Context, plugins.PlanRequest) (plugins.PlanResponse, error)
	apply  func(context.Context, plugins.ApplyRequest, plugins.Host) (plugins.ApplyResponse, error)
}

func (s stub) Describe() plugins.Description {
	effect := s.effect
	if effect == "" {
		effect = plugins.Change
	}
	return plugins.Description{Name: "stub", Version: "1.0.0", Effect: effect, Input: json.RawMessage(`{}`), Output: json.RawMessage(`{}`)}
}

func (s stub) Plan(ctx context.Context, req plugins.PlanRequest) (plugins.PlanResponse, error) {
	return s.plan(ctx, req)
}

func (s stub) Apply(ctx context.Context, req plugins.ApplyRequest, host plugins.Host) (plugins.ApplyResponse, error) {
	return s.apply(ctx, req, host)
}

func same[T any](t *testing.T, reason string, want, got T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want, +got):\n%s", reason, diff)
	}
}

func change() plugins.PlannedChange {
	return plugins.PlannedChange{
		Action: plugins.Delete, Target: plugins.Target{Kind: "TanzuKubernetesCluster", Name: "dev1"},
		Before: json.RawMessage(`{"a":1}`), Lost: []string{"volumes"},
	}
}

func TestPlanCrosses(t *testing.T) {
	t.Parallel()
	request := plugins.PlanRequest{
		StepID: "s", Effect: plugins.Change, Input: json.RawMessage(`{"a": [1]}`),
		Connections: plugins.Connections{Supervisor: &plugins.Kube{Kubeconfig: "/k"}},
	}
	response := plugins.PlanResponse{
		Outputs: json.RawMessage(`{"b":2}`), Changes: []plugins.PlannedChange{change()}, Summary: "s",
		Evidence: []plugins.Evidence{{Subject: "n", Check: "c", Verdict: plugins.Bad, Text: "t"}},
	}
	var got plugins.PlanRequest
	step := stub{plan: func(_ context.Context, req plugins.PlanRequest) (plugins.PlanResponse, error) {
		got = req
		return response, nil
	}}
	remote := plugintest.Connect(t, step)
	same(t, "description", step.Describe(), remote.Describe())
	resp, err := remote.Plan(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "request", request, got)
	same(t, "response", response, resp)
}

func TestApplyCrossesBothWays(t *testing.T) {
	t.Parallel()
	request := plugins.ApplyRequest{RunID: "r", StepID: "s", Effect: plugins.Destroy, Input: json.RawMessage(`{}`), Changes: []plugins.PlannedChange{change()}}
	response := plugins.ApplyResponse{Outputs: json.RawMessage(`{}`), Summary: "s"}
	spec := plugins.EffectSpec{Key: "k", Target: plugins.Target{Kind: "TanzuKubernetesCluster", Name: "dev1", UID: "u"}}
	var got plugins.ApplyRequest
	var states []plugins.EffectState
	remote := plugintest.Connect(t, stub{apply: func(ctx context.Context, req plugins.ApplyRequest, host plugins.Host) (plugins.ApplyResponse, error) {
		got = req
		for _, call := range []func() error{
			func() error { return host.Intend(ctx, spec) },
			func() error { return host.Progress(ctx, "waiting \xff") },
			func() error { return host.Done(ctx, "k", "404") },
		} {
			state, err := host.Effect(ctx, "k")
			if err != nil {
				return plugins.ApplyResponse{}, err
			}
			states = append(states, state)
			if err := call(); err != nil {
				return plugins.ApplyResponse{}, err
			}
		}
		return response, nil
	}})
	journal := &plugintest.Host{}
	resp, err := remote.Apply(t.Context(), request, journal)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "request", request, got)
	same(t, "response", response, resp)
	same(t, "states", []plugins.EffectState{plugins.EffectNone, plugins.EffectIntended, plugins.EffectIntended}, states)
	same(t, "journal", plugins.EffectDone, journal.State("k"))
	same(t, "calls", []plugintest.Call{
		{Method: plugintest.MethodIntend, Key: "k", Target: spec.Target},
		{Method: plugintest.MethodProgress, Text: "waiting \uFFFD"},
		{Method: plugintest.MethodDone, Key: "k", Text: "404"},
	}, journal.Calls(plugintest.MethodIntend, plugintest.MethodProgress, plugintest.MethodDone))
}

func TestErrorsCrossBothWays(t *testing.T) {
	t.Parallel()
	want := plugins.Hint(plugins.WithKind(plugins.KindConflict, errBoom), "look at it")
	check := func(where string, err error) {
		t.Helper()
		var e *plugins.Error
		if !errors.As(err, &e) || e.Kind != plugins.KindConflict || err.Error() != "boom" || e.Hint != "look at it" {
			t.Errorf("%s: want %#v, got %#v", where, want, err)
		}
	}
	remote := plugintest.Connect(t, stub{
		plan: func(context.Context, plugins.PlanRequest) (plugins.PlanResponse, error) {
			return plugins.PlanResponse{}, want
		},
		apply: func(ctx context.Context, _ plugins.ApplyRequest, host plugins.Host) (plugins.ApplyResponse, error) {
			_, err := host.Effect(ctx, "k")
			check("effect", err)
			check("intend", host.Intend(ctx, plugins.EffectSpec{Key: "k"}))
			check("done", host.Done(ctx, "k", ""))
			check("progress", host.Progress(ctx, ""))
			return plugins.ApplyResponse{}, err
		},
	})
	_, err := remote.Plan(t.Context(), plugins.PlanRequest{})
	check("plan", err)
	_, err = remote.Apply(t.Context(), plugins.ApplyRequest{}, &plugintest.Host{Before: func(plugintest.Call) error { return want }})
	check("apply", err)
}

func TestCancelCrosses(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		// answer is what the step answers once its context has ended.
		answer error
		want   string
		isCtx  bool
	}{
		"Error":   {reason: "the step's own words come back", answer: errBoom, want: "boom", isCtx: true},
		"Context": {reason: "the error of the context comes back", answer: context.Canceled, want: "context canceled", isCtx: true},
		"Success": {reason: "what was done all the same is not thrown away"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			answered := false
			remote := plugintest.Connect(t, stub{plan: func(ctx context.Context, _ plugins.PlanRequest) (plugins.PlanResponse, error) {
				cancel()
				<-ctx.Done()
				answered = true
				return plugins.PlanResponse{Summary: "done"}, tc.answer
			}})
			resp, err := remote.Plan(ctx, plugins.PlanRequest{})
			text := ""
			if err != nil {
				text = err.Error()
			} else if resp.Summary != "done" {
				t.Errorf("%s: the answer is lost", tc.reason)
			}
			if !answered || text != tc.want || errors.Is(err, context.Canceled) != tc.isCtx {
				t.Errorf("%s: answered %v, error %v", tc.reason, answered, err)
			}
		})
	}
}

func TestDeadlineCrosses(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	remote := plugintest.Connect(t, stub{plan: func(ctx context.Context, _ plugins.PlanRequest) (plugins.PlanResponse, error) {
		<-ctx.Done()
		return plugins.PlanResponse{}, fmt.Errorf("wait for pods: %w", ctx.Err())
	}})
	_, err := remote.Plan(ctx, plugins.PlanRequest{})
	if !errors.Is(err, context.DeadlineExceeded) || !strings.HasPrefix(err.Error(), "wait for pods: ") {
		t.Errorf("want a deadline that says what was waited for, got %v", err)
	}
}

// TestCancelDuringHostCall has the engine cancel while its own journal is being written.
func TestCancelDuringHostCall(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	remote := plugintest.Connect(t, stub{apply: func(ctx context.Context, _ plugins.ApplyRequest, host plugins.Host) (plugins.ApplyResponse, error) {
		return plugins.ApplyResponse{}, host.Intend(ctx, plugins.EffectSpec{Key: "k"})
	}})
	host := &slowHost{begun: cancel, ended: make(chan struct{})}
	_, err := remote.Apply(ctx, plugins.ApplyRequest{}, host)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("want context.Canceled, got %v", err)
	}
	select {
	case <-host.ended:
	default:
		t.Error("Apply has returned while a call of its host was under way")
	}
}

// slowHost is a host whose Intend lasts until its context ends.
type slowHost struct {
	plugintest.Host
	begun func()
	ended chan struct{}
}

func (h *slowHost) Intend(ctx context.Context, _ plugins.EffectSpec) error {
	h.begun()
	<-ctx.Done()
	close(h.ended)
	return ctx.Err()
}

// TestHostEndsWithApply has a step call its host after it has answered.
func TestHostEndsWithApply(t *testing.T) {
	t.Parallel()
	kept := make(chan plugins.Host, 1)
	remote := plugintest.Connect(t, stub{apply: func(_ context.Context, _ plugins.ApplyRequest, host plugins.Host) (plugins.ApplyResponse, error) {
		kept <- host
		return plugins.ApplyResponse{}, nil
	}})
	journal := &plugintest.Host{}
	if _, err := remote.Apply(t.Context(), plugins.ApplyRequest{}, journal); err != nil {
		t.Fatal(err)
	}
	if err := (<-kept).Intend(t.Context(), plugins.EffectSpec{Key: "k"}); err == nil || len(journal.Calls()) > 0 {
		t.Errorf("a step wrote into the journal after its Apply: err %v, calls %v", err, journal.Calls())
	}
}

func TestPanicNamesPlugin(t *testing.T) {
	t.Parallel()
	remote := plugintest.Connect(t, stub{
		plan: func(context.Context, plugins.PlanRequest) (plugins.PlanResponse, error) { panic("oh no") },
		apply: func(context.Context, plugins.ApplyRequest, plugins.Host) (plugins.ApplyResponse, error) {
			panic(errBoom)
		},
	})
	_, err := remote.Plan(t.Context(), plugins.PlanRequest{})
	if err == nil || err.Error() != "plugin stub panicked: oh no" {
		t.Errorf("plan: %v", err)
	}
	_, err = remote.Apply(t.Context(), plugins.ApplyRequest{}, &plugintest.Host{})
	if err == nil || err.Error() != "plugin stub panicked: boom" {
		t.Errorf("apply: %v", err)
	}
}

func TestReadStepIsNotApplied(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason    string
		described plugins.Effect
		requested plugins.Effect
	}{
		"Described": {reason: "it says of itself that it only reads", described: plugins.Read},
		"Declared":  {reason: "the workflow says so", described: plugins.Declared, requested: plugins.Read},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			remote := plugintest.Connect(t, stub{
				effect: tc.described,
				apply: func(context.Context, plugins.ApplyRequest, plugins.Host) (plugins.ApplyResponse, error) {
					t.Errorf("applied: %s", tc.reason)
					return plugins.ApplyResponse{}, nil
				},
			})
			if _, err := remote.Apply(t.Context(), plugins.ApplyRequest{Effect: tc.requested}, &plugintest.Host{}); err == nil {
				t.Errorf("no error: %s", tc.reason)
			}
		})
	}
}

func TestMessagesAreBounded(t *testing.T) {
	t.Parallel()
	doc := func(n int) json.RawMessage { return json.RawMessage(`"` + strings.Repeat("x", n) + `"`) }
	const mib = 1 << 20
	remote := plugintest.Connect(t, stub{plan: func(_ context.Context, req plugins.PlanRequest) (plugins.PlanResponse, error) {
		if req.StepID == "ask" {
			return plugins.PlanResponse{Outputs: doc(17 * mib)}, nil
		}
		return plugins.PlanResponse{Outputs: req.Input}, nil
	}})
	if resp, err := remote.Plan(t.Context(), plugins.PlanRequest{Input: doc(15 * mib)}); err != nil || len(resp.Outputs) < 15*mib {
		t.Errorf("15 MiB do not cross: %v", err)
	}
	for what, req := range map[string]plugins.PlanRequest{"request": {Input: doc(17 * mib)}, "answer": {StepID: "ask"}} {
		_, err := remote.Plan(t.Context(), req)
		if err == nil || !strings.Contains(err.Error(), "larger than max") || errors.Is(err, fromproto.ErrTransport) {
			t.Errorf("a %s of 17 MiB: %v", what, err)
		}
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	remote := plugintest.Connect(t, stub{apply: func(ctx context.Context, req plugins.ApplyRequest, host plugins.Host) (plugins.ApplyResponse, error) {
		return plugins.ApplyResponse{Summary: req.StepID}, host.Intend(ctx, plugins.EffectSpec{Key: req.StepID})
	}})
	var group sync.WaitGroup
	for n := range 20 {
		group.Go(func() {
			id, journal := fmt.Sprintf("s%d", n), &plugintest.Host{}
			resp, err := remote.Apply(t.Context(), plugins.ApplyRequest{StepID: id}, journal)
			if err != nil || resp.Summary != id || journal.State(id) != plugins.EffectIntended || len(journal.Calls()) != 1 {
				t.Errorf("%s: summary %q, calls %v, err %v", id, resp.Summary, journal.Calls(), err)
			}
		})
	}
	group.Wait()
}
