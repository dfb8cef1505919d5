// Package handshake records what a registry presents in a TLS handshake, over a connection that somebody has dialled.
//
// It only records. Whether the chain is good is the judgement of package certs, with the roots of that machine. Package probe
// puts both together.
package handshake

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	// refusalTime bounds the wait for the alert of a server that wanted a client certificate.
	refusalTime = 2 * time.Second
	// maxChain bounds the certificates that are kept. crypto/tls bounds their bytes to 256 KiB, so that it is never reached by
	// certificates that are of any use: a chain that is cut would be judged wrongly.
	maxChain = 1024
)

// Result is what a server presented.
type Result struct {
	// Chain holds the certificates as they came, the server's own first.
	Chain []*x509.Certificate
	// Version is the TLS version, as tls.VersionName prints it.
	Version string
	// WantsClientCert reports that the server asked for a client certificate.
	WantsClientCert bool
	// State is what was agreed on, as far as it was.
	State tls.ConnectionState
}

// Offer is what a client of another release of Go offers. The zero value is what today's offers.
type Offer struct {
	// CipherSuites are those up to TLS 1.2; today's if nil.
	CipherSuites []uint16
	// Curves are the key exchanges; today's if nil.
	Curves []tls.CurveID
}

// Over makes a TLS handshake over conn, which stays the caller's to close, and asks for serverName by SNI, for h2 or http/1.1, as
// containerd does. An error is the handshake's own, whole, for certs.ClassifyDial; the Result then holds the chain if it had come
// already. It blocks until ctx ends.
func Over(ctx context.Context, conn net.Conn, serverName string, offer Offer) (Result, error) {
	var out Result
	client := tls.Client(conn, &tls.Config{
		ServerName:       serverName,
		NextProtos:       []string{"h2", "http/1.1"},
		CipherSuites:     offer.CipherSuites,
		CurvePreferences: offer.Curves,
		// Not to trust, but to record also what is not trusted: package certs gives the verdict, with the roots of the node and
		// not of this machine. Nothing but the handshake ever goes over this connection.
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			out.Chain = state.PeerCertificates[:min(len(state.PeerCertificates), maxChain)]
			out.Version = tls.VersionName(state.Version)
			out.State = state
			return nil
		},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			out.WantsClientCert = true
			return &tls.Certificate{}, nil
		},
	})
	if err := client.HandshakeContext(ctx); err != nil {
		return out, err
	}
	if out.WantsClientCert {
		if err := refusal(ctx, client, conn); err != nil {
			return out, err
		}
	}
	return out, nil
}

// refusal waits for the alert of a server that demands a client certificate: in TLS 1.3 it comes after the handshake. A server
// that only asks for one says nothing.
func refusal(ctx context.Context, client *tls.Conn, conn net.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, refusalTime)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	_, err := client.Read(make([]byte, 1))
	var alert *net.OpError
	if errors.As(err, &alert) && alert.Op == "remote error" {
		return err
	}
	return nil
}

// hostForm is what a host name may look like. It ends up in a command on the node.
var hostForm = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?$`)

// HostPort returns the host and the host:port that containerd dials for a registry given as host[:port], with 443 where no port
// is given and docker.io under its real name. It refuses what is neither a name nor an address.
func HostPort(registry string) (host, hostport string, err error) {
	host, port := registry, "443"
	if _, perr := netip.ParseAddr(strings.Trim(registry, "[]")); perr == nil {
		host = strings.Trim(registry, "[]")
	} else if strings.Contains(registry, ":") {
		if host, port, err = net.SplitHostPort(registry); err != nil {
			return "", "", fmt.Errorf("registry %q is not host[:port]", registry)
		}
	}
	if n, perr := strconv.ParseUint(port, 10, 16); perr != nil || n == 0 {
		return "", "", fmt.Errorf("registry %q has no valid port", registry)
	}
	if addr, perr := netip.ParseAddr(host); perr != nil && !hostForm.MatchString(host) || perr == nil && addr.Zone() != "" {
		return "", "", fmt.Errorf("registry %q is not host[:port]", registry)
	}
	if host == "docker.io" {
		host = "registry-1.docker.io"
	}
	return host, net.JoinHostPort(host, port), nil
}
