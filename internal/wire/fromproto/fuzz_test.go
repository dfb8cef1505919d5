package fromproto_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	pb "google.golang.org/protobuf/proto"

	"github.com/tkgfix/tkgfix/internal/wire/fromproto"
	"github.com/tkgfix/tkgfix/internal/wire/proto"
	"github.com/tkgfix/tkgfix/internal/wire/toproto"
	"github.com/tkgfix/tkgfix/plugins"
)

// fuzz feeds any bytes as a message. What is taken must be fit to be sent again, and come back the same.
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
	f.Add(raw)
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
	seed := plugins.Description{Name: "probe", Effect: plugins.Read, Input: []byte(`{}`), Connections: []string{"nodes"}}
	fuzz(f, seed, func() *proto.Description { return new(proto.Description) }, fromproto.Description, toproto.Description)
}

func FuzzFromProtoPlanRequest(f *testing.F) {
	seed := plugins.PlanRequest{StepID: "s", Input: []byte(`{}`), Connections: connections()}
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
	seed := plugins.ApplyRequest{RunID: "r", Connections: connections(), Changes: []plugins.PlannedChange{change(plugins.Create)}}
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
