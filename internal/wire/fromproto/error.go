package fromproto

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tkgfix/tkgfix/internal/wire/proto"
	"github.com/tkgfix/tkgfix/plugins"
)

// ErrTransport marks an error that is no answer of the far side: the connection was lost, and what became of the call is unknown.
var ErrTransport = errors.New("plugin connection")

// Error translates what an RPC returned into a *plugins.Error with the kind, message and hint of the far side, and without
// the prefix of RPC. errors.Is finds context.Canceled and context.DeadlineExceeded if that is what ended the far side, and
// ErrTransport if the far side did not answer. A nil err stays nil, and what is no status comes back as it is.
func Error(err error) error {
	if err == nil {
		return nil
	}
	st, ok := status.FromError(err)
	if !ok {
		return err
	}
	var cause error
	switch st.Code() {
	case codes.Canceled:
		cause = context.Canceled
	case codes.DeadlineExceeded:
		cause = context.DeadlineExceeded
	}
	for _, d := range st.Details() {
		if detail, ok := d.(*proto.Error); ok {
			return answered(detail, cause)
		}
	}
	switch st.Code() {
	case codes.Unavailable, codes.Internal, codes.Unknown:
		cause = ErrTransport
	}
	return plugins.WithKind(plugins.KindFailed, &remote{message: st.Message(), cause: cause})
}

func answered(detail *proto.Error, cause error) error {
	err := plugins.WithKind(errorKind(detail.GetKind()), &remote{message: detail.GetMessage(), cause: cause})
	if detail.GetHint() != "" {
		err = plugins.Hint(err, "%s", detail.GetHint())
	}
	return err
}

// remote is an error of the far side. cause is what is known of its own cause, or nil.
type remote struct {
	message string
	cause   error
}

func (r *remote) Error() string { return r.message }

func (r *remote) Unwrap() error { return r.cause }

// errorKind takes an unknown kind as failed: that it went wrong must not be lost.
func errorKind(m proto.ErrorKind) plugins.ErrorKind {
	switch m {
	case proto.ErrorKind_ERROR_KIND_TRANSIENT:
		return plugins.KindTransient
	case proto.ErrorKind_ERROR_KIND_NOT_YET:
		return plugins.KindNotYet
	case proto.ErrorKind_ERROR_KIND_UNKNOWABLE:
		return plugins.KindUnknowable
	case proto.ErrorKind_ERROR_KIND_CONFLICT:
		return plugins.KindConflict
	default:
		return plugins.KindFailed
	}
}
