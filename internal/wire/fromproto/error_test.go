package fromproto_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tkgfix/tkgfix/internal/wire/fromproto"
	"github.com/tkgfix/tkgfix/internal/wire/proto"
	"github.com/tkgfix/tkgfix/internal/wire/toproto"
	"github.com/tkgfix/tkgfix/plugins"
)

var errBoom = errors.New("boom")

func TestErrorRoundTrip(t *testing.T) {
	t.Parallel()
	type want struct {
		Kind          plugins.ErrorKind
		Message, Hint string
		Canceled      bool
		TimedOut      bool
		Transport     bool
	}
	cases := map[string]struct {
		reason string
		in     error
		want   want
	}{
		"Plain":      {reason: "a plain error is of kind failed", in: errBoom, want: want{Kind: plugins.KindFailed, Message: "boom"}},
		"Transient":  {reason: "kinds cross", in: plugins.WithKind(plugins.KindTransient, errBoom), want: want{Kind: plugins.KindTransient, Message: "boom"}},
		"NotYet":     {reason: "kinds cross", in: plugins.NotYet("pod %s", "web"), want: want{Kind: plugins.KindNotYet, Message: "pod web"}},
		"Unknowable": {reason: "kinds cross", in: plugins.WithKind(plugins.KindUnknowable, errBoom), want: want{Kind: plugins.KindUnknowable, Message: "boom"}},
		"Conflict":   {reason: "kinds cross", in: plugins.WithKind(plugins.KindConflict, errBoom), want: want{Kind: plugins.KindConflict, Message: "boom"}},
		"OtherKind":  {reason: "a kind without a word is failed, not lost", in: plugins.WithKind("odd", errBoom), want: want{Kind: plugins.KindFailed, Message: "boom"}},
		"Hint": {
			reason: "the hint crosses, percent signs and all", in: plugins.Hint(errBoom, "type %s", "100%d"),
			want: want{Kind: plugins.KindFailed, Message: "boom", Hint: "type 100%d"},
		},
		"Wrapped": {
			reason: "what wraps an error is in its message", in: fmt.Errorf("delete: %w", plugins.Hint(plugins.WithKind(plugins.KindConflict, errBoom), "h")),
			want: want{Kind: plugins.KindConflict, Message: "delete: boom", Hint: "h"},
		},
		"Canceled": {
			reason: "that it was cancelled is known on the far side", in: fmt.Errorf("wait: %w", context.Canceled),
			want: want{Kind: plugins.KindFailed, Message: "wait: context canceled", Canceled: true},
		},
		"TimedOut": {
			reason: "that time was over is known on the far side", in: plugins.Hint(context.DeadlineExceeded, "h"),
			want: want{Kind: plugins.KindFailed, Message: "context deadline exceeded", Hint: "h", TimedOut: true},
		},
		"NoUTF8": {reason: "any bytes are made fit", in: errors.New("a\xffb"), want: want{Kind: plugins.KindFailed, Message: "a\uFFFDb"}},
		"Lost": {
			reason: "no answer is told apart from an answer", in: status.Error(codes.Unavailable, "EOF"),
			want: want{Kind: plugins.KindFailed, Message: "EOF", Transport: true},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sent := tc.in
			if _, isStatus := status.FromError(tc.in); !isStatus || name != "Lost" {
				sent = toproto.Error(tc.in)
			}
			err := fromproto.Error(sent)
			var e *plugins.Error
			if !errors.As(err, &e) {
				t.Fatalf("%s: %T is no *plugins.Error", tc.reason, err)
			}
			got := want{
				Kind: e.Kind, Message: err.Error(), Hint: e.Hint, Canceled: errors.Is(err, context.Canceled),
				TimedOut: errors.Is(err, context.DeadlineExceeded), Transport: errors.Is(err, fromproto.ErrTransport),
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestErrorOfNothing(t *testing.T) {
	t.Parallel()
	if toproto.Error(nil) != nil || fromproto.Error(nil) != nil {
		t.Error("no error became one")
	}
	if got := fromproto.Error(errBoom); !errors.Is(got, errBoom) {
		t.Errorf("what is no status comes back as it is, got %v", got)
	}
}

func TestErrorIsBounded(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ä", 1<<20)
	err := fromproto.Error(toproto.Error(plugins.Hint(errors.New(long), "%s", long)))
	for what, text := range map[string]string{"message": err.Error(), "hint": plugins.HintOf(err)} {
		if len(text) > 16<<10 || len(text) < 15<<10 || !utf8.ValidString(text) || !strings.HasSuffix(text, "(cut)") {
			t.Errorf("%s has %d bytes and ends in %q", what, len(text), text[max(0, len(text)-20):])
		}
	}
}

func FuzzFromProtoError(f *testing.F) {
	f.Add(uint32(codes.Unavailable), "boom", int32(2), "message", "hint")
	f.Add(uint32(codes.OK), "", int32(-1), "", "\xff")
	f.Fuzz(func(t *testing.T, code uint32, text string, kind int32, message, hint string) {
		st := status.New(codes.Code(code), text)
		if with, err := st.WithDetails(&proto.Error{Kind: proto.ErrorKind(kind), Message: message, Hint: hint}); err == nil {
			st = with
		}
		if st.Code() == codes.OK {
			return
		}
		err := fromproto.Error(st.Err())
		if err == nil {
			t.Fatal("an error was lost")
		}
		_ = err.Error()
		_ = plugins.HintOf(err)
	})
}
