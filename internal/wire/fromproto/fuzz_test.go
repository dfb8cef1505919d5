package fromproto_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	pb "google.golang.org/protobuf/proto"

	"github.com/tkgfix/tkgfix/internal/wire/fromproto"
	"github.com/tkgfix/tkgfix/internal/wire/proto"
	"github.com/tkgfix/tkgfix/internal/wire/toproto"
	"github.com/tkgfix/tkgfix/plugins"
)

// fuzz feeds any bytes as a message. Whatever they are, the translator answers; what is taken must be fit to be sent again, come back the
// same and not have grown: a list or a document that is not there must not be made up. The seeds are whole messages, so that the
// fuzzer begins behind the translator's door and not in front of it.
func fuzz[T any, M pb.Message](f *testing.F, seed T, newM func() M, from func(M) (T, error), to func(T) (M, error)) {
	f.Helper()
	m, err := to(seed)
	if err != nil {
		f.Fatal(err)
	}
	raw, err := pb.Marshal(m)
	if err != nil {
		f.Fatal(err)
	}
	if _, err := from(m); err != nil {
		f.Fatalf("the seed does not get through the translator: %v", err)
	}
	f.Add(raw)
	f.Add(append(slices.Clone(raw), raw...)) // lists twice as long, fields said twice
	f.Add(raw[:len(raw)/2])
	f.Add([]byte{})
	f.Add([]byte("\x0a\x00\x12\x02\x08\x7f"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m := newM()
		if pb.Unmarshal(raw, m) != nil {
			return
		}
		v, err := from(m)
		if err != nil {
			return
		}
		again, err := to(v)
		if err != nil {
			t.Fatalf("taken, but cannot be sent: %v", err)
		}
		// What is sent names its call and its host, and an empty target where there was none.
		if most := 2*len(raw) + 64; pb.Size(again) > most {
			t.Errorf("%d bytes became %d", len(raw), pb.Size(again))
		}
		w, err := from(again)
		if err != nil {
			t.Fatalf("taken, but not a second time: %v", err)
		}
		if diff := cmp.Diff(v, w); diff != "" {
			t.Errorf("changes on the way (-first, +second):\n%s", diff)
		}
	})
}

func FuzzFromProtoDescription(f *testing.F) {
	seed := plugins.Description{Name: "probe", Effect: plugins.Declared, Input: []byte(`{}`), Connections: []string{"nodes"}}
	fuzz(f, seed, func() *proto.Description { return new(proto.Description) }, fromproto.Description, toproto.Description)
}

func FuzzFromProtoPlanRequest(f *testing.F) {
	seed := plugins.PlanRequest{StepID: "s", Effect: plugins.Change, Input: []byte(`{}`), Connections: connections()}
	fuzz(f, seed, func() *proto.PlanRequest { return new(proto.PlanRequest) }, fromproto.PlanRequest,
		func(r plugins.PlanRequest) (*proto.PlanRequest, error) { return toproto.PlanRequest("1", r) })
}

func FuzzFromProtoPlanResponse(f *testing.F) {
	seed := plugins.PlanResponse{
		Outputs: []byte(`{}`), Changes: []plugins.PlannedChange{change(plugins.Delete)}, Blocks: []plugins.Block{{Reason: "r"}},
		Evidence: []plugins.Evidence{evidence(plugins.Bad)}, Summary: "s", Warnings: []string{"w"},
	}
	fuzz(f, seed, func() *proto.PlanResponse { return new(proto.PlanResponse) }, fromproto.PlanResponse, toproto.PlanResponse)
}

func FuzzFromProtoApplyRequest(f *testing.F) {
	seed := plugins.ApplyRequest{RunID: "r", Effect: plugins.Announce, Connections: connections(), Changes: []plugins.PlannedChange{change(plugins.Create)}}
	fuzz(f, seed, func() *proto.ApplyRequest { return new(proto.ApplyRequest) }, fromproto.ApplyRequest,
		func(r plugins.ApplyRequest) (*proto.ApplyRequest, error) { return toproto.ApplyRequest("1", 1, r) })
}

func FuzzFromProtoApplyResponse(f *testing.F) {
	seed := plugins.ApplyResponse{Outputs: []byte(`{}`), Evidence: []plugins.Evidence{evidence(plugins.OK)}}
	fuzz(f, seed, func() *proto.ApplyResponse { return new(proto.ApplyResponse) }, fromproto.ApplyResponse, toproto.ApplyResponse)
}

func FuzzFromProtoEffectSpec(f *testing.F) {
	to := func(s plugins.EffectSpec) (*proto.EffectSpec, error) { return toproto.EffectSpec(s), nil }
	fuzz(f, plugins.EffectSpec{Key: "k", Target: target("t")}, func() *proto.EffectSpec { return new(proto.EffectSpec) }, fromproto.EffectSpec, to)
}

// FuzzFromProtoErrorDetail feeds any bytes as the detail of a status. An error stays one, and what is understood of it comes back the same.
func FuzzFromProtoErrorDetail(f *testing.F) {
	raw, err := pb.Marshal(&proto.Error{Kind: proto.ErrorKind_ERROR_KIND_UNKNOWABLE, Message: "delete: %d", Hint: "kubectl get tkc"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint32(codes.DataLoss), raw)
	f.Add(uint32(codes.Canceled), []byte{})
	f.Add(uint32(99), []byte("\x08\x7f"))
	f.Fuzz(func(t *testing.T, code uint32, raw []byte) {
		detail := new(proto.Error)
		if codes.Code(code) == codes.OK || pb.Unmarshal(raw, detail) != nil {
			return
		}
		st, err := status.New(codes.Code(code), "outer").WithDetails(detail)
		if err != nil {
			t.Fatal(err)
		}
		first := fromproto.Error(st.Err())
		if first == nil {
			t.Fatal("the error is lost")
		}
		if errors.Is(first, fromproto.ErrTransport) {
			t.Fatalf("an answer passes for a lost connection: %v", first)
		}
		second := fromproto.Error(toproto.Error(first))
		if plugins.KindOf(first) != plugins.KindOf(second) {
			t.Errorf("kind %q became %q", plugins.KindOf(first), plugins.KindOf(second))
		}
		const most = 16 << 10
		if len(first.Error()) <= most && first.Error() != second.Error() {
			t.Errorf("message %q became %q", first, second)
		}
		if len(second.Error()) > most || len(plugins.HintOf(second)) > most {
			t.Errorf("a message of %d bytes is sent", len(second.Error()))
		}
	})
}

// FuzzFromProtoWords feeds any number as each word of the protocol: an unknown one is refused, a known one comes back as it was.
func FuzzFromProtoWords(f *testing.F) {
	f.Add(int32(-1))
	f.Add(int32(1 << 30))
	for n := range int32(8) {
		f.Add(n)
	}
	f.Fuzz(func(t *testing.T, n int32) {
		word(t, proto.Effect(n), fromproto.Effect, toproto.Effect)
		word(t, proto.Effect(n), fromproto.RequestEffect, toproto.RequestEffect)
		word(t, proto.Action(n), fromproto.Action, toproto.Action)
		word(t, proto.Verdict(n), fromproto.Verdict, toproto.Verdict)
		word(t, proto.EffectState(n), fromproto.EffectState, toproto.EffectState)
	})
}

func word[M comparable, T any](t *testing.T, m M, from func(M) (T, error), to func(T) (M, error)) {
	t.Helper()
	v, err := from(m)
	if err != nil {
		return
	}
	if back, err := to(v); err != nil || back != m {
		t.Errorf("%v became %v: %v", m, back, err)
	}
}
