package real

import (
	"context"
	"errors"
	"fmt"
	"net"

	"golang.org/x/net/dns/dnsmessage"
)

// maxQuery is what a question by UDP may have (RFC 1035, 4.2.1).
const maxQuery = 512

// serveNames answers every question with: no such name. What nodes are to resolve stands in their hosts files; a name that is not
// there has to fail as it does where there is a name server, which is another error than that of a node which has none.
func serveNames(ctx context.Context, address string) (net.PacketConn, error) {
	return listenNames(ctx, net.JoinHostPort(address, "53"))
}

func listenNames(ctx context.Context, hostport string) (net.PacketConn, error) {
	conn, err := new(net.ListenConfig).ListenPacket(ctx, "udp", hostport)
	if err != nil {
		return nil, fmt.Errorf("opening the name server of the nodes: %w", err)
	}
	go func() {
		buffer := make([]byte, maxQuery)
		for {
			n, from, err := conn.ReadFrom(buffer)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				continue
			}
			if answer, err := noSuchName(buffer[:n]); err == nil {
				_, _ = conn.WriteTo(answer, from) // who asked asks again
			}
		}
	}()
	return conn, nil
}

// noSuchName is the answer to a query.
func noSuchName(query []byte) ([]byte, error) {
	var parser dnsmessage.Parser
	header, err := parser.Start(query)
	if err != nil {
		return nil, fmt.Errorf("reading a query: %w", err)
	}
	if header.Response {
		return nil, errors.New("reading a query: it is an answer")
	}
	question, err := parser.Question()
	if err != nil {
		return nil, fmt.Errorf("reading a query: %w", err)
	}
	answer := dnsmessage.Message{
		Header: dnsmessage.Header{
			ID: header.ID, Response: true, Authoritative: true, RecursionDesired: header.RecursionDesired, RecursionAvailable: true, RCode: dnsmessage.RCodeNameError,
		},
		Questions: []dnsmessage.Question{question},
	}
	return answer.Pack()
}
