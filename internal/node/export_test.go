package node

import (
	"context"
	"time"

	"github.com/tkgfix/tkgfix/plugins"
)

// Machine is a machine as a test makes it.
type Machine struct {
	User, Home, Agent string
	// KnownHosts are read besides those below Home.
	KnownHosts []string
	// Patience bounds a login, a dial and a silence; zero is the usual one.
	Patience time.Duration
}

// Dial is node.Dial from that machine.
func (m Machine) Dial(ctx context.Context, conf plugins.Nodes, target Target, creds Credentials) (*Conn, error) {
	from := machine{user: m.User, home: m.Home, agent: m.Agent, knownHosts: m.KnownHosts, patience: usualPatience()}
	if m.Home != "" {
		from.knownHosts = append([]string{m.Home + "/.ssh/known_hosts"}, from.knownHosts...)
	}
	if m.Patience > 0 {
		from.patience = patience{login: m.Patience, dial: m.Patience, silence: m.Patience}
	}
	return from.dial(ctx, conf, target, creds)
}
