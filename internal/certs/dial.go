package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
)

// ClassifyDial returns the class of a handshake that ended before there was a chain to judge. It knows Go's own errors, and
// by their text those of an SSH server that dialled for us. A nil err is ClassOK. An error of verification is ClassOther:
// such a chain is for Judge.
func ClassifyDial(err error) Class {
	if err == nil {
		return ClassOK
	}
	if class, ok := classByType(err); ok {
		return class
	}
	return classByText(err.Error())
}

func classByType(err error) (Class, bool) {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return ClassOther, true
	}
	if rec, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		if bytes.HasPrefix(rec.RecordHeader[:], []byte("HTTP/")) {
			return ClassPlainHTTP, true
		}
		return ClassNotTLS, true
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return ClassDNS, true
	}
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return ClassRefused, true
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return ClassReset, true
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return ClassUnreachable, true
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return ClassTimeout, true
	case errors.As(err, &timeout) && timeout.Timeout():
		return ClassTimeout, true
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return ClassClosed, true
	}
	return ClassOther, false
}

func classByText(text string) Class {
	lower := strings.ToLower(text)
	for _, row := range []struct {
		part  string
		class Class
	}{
		{"server gave http response to https client", ClassPlainHTTP},
		{"first record does not look like a tls handshake", ClassNotTLS},
		{"failed to parse certificate from server", ClassUnparsable},
		{"bit keys are insecure", ClassWeakKey},
		{"invalid signature by the server certificate", ClassKeyMismatch},
		{"remote error: tls:", ClassAlert},
		{"server selected unsupported protocol", ClassAlert},
		{"no such host", ClassDNS},
		{"name or service not known", ClassDNS},
		{"temporary failure in name resolution", ClassDNS},
		{"administratively prohibited", ClassForwarding},
		{"connection refused", ClassRefused},
		{"connection reset", ClassReset},
		{"no route to host", ClassUnreachable},
		{"network is unreachable", ClassUnreachable},
		{"timed out", ClassTimeout},
		{"timeout", ClassTimeout},
		{"deadline exceeded", ClassTimeout},
	} {
		if strings.Contains(lower, row.part) {
			return row.class
		}
	}
	return ClassOther
}
