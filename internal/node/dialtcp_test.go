package node

import (
	"errors"
	"net"
	"syscall"
	"testing"
)

func TestDialCause(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason  string
		message string
		is      error
		dns     bool
	}{
		"OpenSSHRefused":  {reason: "strerror of OpenSSH", message: "Connection refused", is: syscall.ECONNREFUSED},
		"GoRefused":       {reason: "a server in Go", message: "dial tcp 10.0.0.1:443: connect: connection refused", is: syscall.ECONNREFUSED},
		"NoRoute":         {reason: "a firewall", message: "No route to host", is: syscall.EHOSTUNREACH},
		"Unreachable":     {reason: "no default route", message: "Network is unreachable", is: syscall.ENETUNREACH},
		"TimedOut":        {reason: "a silent drop", message: "Connection timed out", is: syscall.ETIMEDOUT},
		"Reset":           {reason: "a reset", message: "Connection reset by peer", is: syscall.ECONNRESET},
		"OpenSSHUnknown":  {reason: "gai_strerror of glibc", message: "Name or service not known", dns: true},
		"GoUnknown":       {reason: "a server in Go", message: "lookup reg.lab on 10.0.0.53:53: no such host", dns: true},
		"ResolverBroken":  {reason: "gai_strerror of glibc", message: "Temporary failure in name resolution", dns: true},
		"OpenSSHNoReason": {reason: "an old OpenSSH says no more", message: "open failed"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := dialCause(c.message, "reg.lab:443")
			if c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("%s: want %v, got %v", c.reason, c.is, err)
			}
			found, dns := errors.AsType[*net.DNSError](err)
			if dns != c.dns || dns && found.Name != "reg.lab" {
				t.Errorf("%s: want a DNS error: %v, got %v", c.reason, c.dns, err)
			}
		})
	}
}
