package toproto

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tkgfix/tkgfix/internal/wire/proto"
	"github.com/tkgfix/tkgfix/plugins"
)

// maxErrorText bounds each text of an error, in bytes: it travels in a header.
const maxErrorText = 16 << 10

// Error translates an error into a status whose detail carries kind, message and hint. A nil err stays nil.
// That ctx ended is told apart by the status's code, so that errors.Is works on the far side.
func Error(err error) error {
	if err == nil {
		return nil
	}
	kind, code := errorKind(plugins.KindOf(err))
	switch {
	case errors.Is(err, context.Canceled):
		code = codes.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		code = codes.DeadlineExceeded
	}
	detail := &proto.Error{Kind: kind, Message: bounded(err.Error()), Hint: bounded(plugins.HintOf(err))}
	st, detailErr := status.New(code, detail.GetMessage()).WithDetails(detail)
	if detailErr != nil {
		return status.Error(code, detail.GetMessage())
	}
	return st.Err()
}

// errorKind sends a kind that the protocol has no word for as failed: that it went wrong must not be lost.
func errorKind(k plugins.ErrorKind) (proto.ErrorKind, codes.Code) {
	switch k {
	case plugins.KindTransient:
		return proto.ErrorKind_ERROR_KIND_TRANSIENT, codes.Unavailable
	case plugins.KindNotYet:
		return proto.ErrorKind_ERROR_KIND_NOT_YET, codes.FailedPrecondition
	case plugins.KindUnknowable:
		return proto.ErrorKind_ERROR_KIND_UNKNOWABLE, codes.DataLoss
	case plugins.KindConflict:
		return proto.ErrorKind_ERROR_KIND_CONFLICT, codes.Aborted
	default:
		return proto.ErrorKind_ERROR_KIND_FAILED, codes.Unknown
	}
}

func bounded(s string) string {
	s = Text(s)
	if len(s) <= maxErrorText {
		return s
	}
	const cut = "… (cut)"
	return strings.ToValidUTF8(s[:maxErrorText-len(cut)], "") + cut
}
