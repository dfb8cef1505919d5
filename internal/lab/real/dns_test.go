package real

import (
	"context"
	"errors"
	"net"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/dns/dnsmessage"
)

func TestServeNames(t *testing.T) {
	t.Parallel()
	// Another port than 53, which needs no rights.
	conn, err := listenNames(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
	_, err = resolver.LookupHost(t.Context(), "registry.example.")
	failed, ok := errors.AsType[*net.DNSError](err)
	if !ok || !failed.IsNotFound {
		t.Errorf("a name that nobody has: %v", err)
	}
}

func FuzzNoSuchName(f *testing.F) {
	query := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 7, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName("registry.example."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
	}
	packed, err := query.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packed)
	f.Add(packed[:13])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		answer, err := noSuchName(data)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if err := m.Unpack(answer); err != nil {
			t.Fatalf("the answer is none: %v", err)
		}
		if diff := cmp.Diff(dnsmessage.RCodeNameError, m.RCode); diff != "" {
			t.Errorf("answer (-want, +got):\n%s", diff)
		}
		if again, err := noSuchName(answer); err == nil {
			t.Errorf("an answer is answered: %v", again)
		}
	})
}
