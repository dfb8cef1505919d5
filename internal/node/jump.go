package node

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/tkgfix/tkgfix/plugins"
)

// maxHops bounds how many hosts a connection goes through.
const maxHops = 8

// The names that may be in a jump. None may look like an option or hold what a shell, a pattern or a second line of known_hosts is made of.
var (
	hostForm = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,253}[A-Za-z0-9_.])?$`)
	userForm = regexp.MustCompile(`^[A-Za-z0-9_.][A-Za-z0-9_.@\\+-]{0,127}$`)
)

// Hop is a host that a connection goes through.
type Hop struct {
	// User is the login name; empty means that of who runs this, as for ssh.
	User string
	// Host is a name, or an IP address without brackets.
	Host string
	// Port is 22 when it was left out.
	Port int
}

// Address is the host and the port, for the network and for known_hosts.
func (h Hop) Address() string { return net.JoinHostPort(h.Host, strconv.Itoa(h.Port)) }

// ParseJump reads hosts to jump through as OpenSSH's ProxyJump has them, nearest first: [user@]host[:port][,...], with IPv6 addresses in
// brackets, or ssh://[user@]host[:port]. Empty and none mean no hop.
func ParseJump(s string) ([]Hop, error) {
	if s == "" || strings.EqualFold(s, "none") {
		return nil, nil
	}
	words := strings.Split(s, ",")
	if len(words) > maxHops {
		return nil, badJump("it goes through %d hosts, %d at most", len(words), maxHops)
	}
	var out []Hop
	for n, word := range words {
		h, err := parseHop(strings.TrimSpace(word))
		if err != nil {
			return nil, badJump("host %d: %w", n+1, err)
		}
		out = append(out, h)
	}
	return out, nil
}

// badJump does not quote what was written: a password may be in it.
func badJump(format string, args ...any) error {
	return plugins.Hint(fmt.Errorf("connections.nodes.jump: "+format, args...),
		"write it as ssh -J takes it: [user@]host[:port][,...], such as ops@bastion.corp:2222 or ops@[fd00::1]")
}

func parseHop(word string) (Hop, error) {
	if rest, ok := strings.CutPrefix(word, "ssh://"); ok {
		return parseURI(rest)
	}
	var h Hop
	// A user may hold an @ (ann@corp@bastion): the last one counts, as it does for ssh.
	if at := strings.LastIndexByte(word, '@'); at >= 0 {
		h.User, word = word[:at], word[at+1:]
		if h.User == "" {
			return h, errors.New("nothing is before the @")
		}
	}
	host, port := word, ""
	switch rest, bracketed := strings.CutPrefix(word, "["); {
	case bracketed:
		inside, after, closed := strings.Cut(rest, "]")
		if !closed || after != "" && after[0] != ':' {
			return h, errors.New("a bracket is not closed before the port")
		}
		host, port = inside, after
	case strings.Count(word, ":") > 1:
		return h, errors.New("an IPv6 address stands in brackets")
	case strings.Contains(word, ":"):
		name, after, _ := strings.Cut(word, ":")
		host, port = name, ":"+after
	}
	h.Host = host
	return h.finish(port)
}

func parseURI(rest string) (Hop, error) {
	u, err := url.Parse("ssh://" + rest)
	if err != nil {
		return Hop{}, errors.New("it is no URI of the form ssh://[user@]host[:port]")
	}
	if _, ok := u.User.Password(); ok {
		return Hop{}, errors.New("a password cannot stand in it")
	}
	if u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return Hop{}, errors.New("nothing may follow the host and the port")
	}
	h, port := Hop{User: u.User.Username(), Host: u.Hostname()}, ""
	if p := u.Port(); p != "" {
		port = ":" + p
	}
	return h.finish(port)
}

// finish checks the host and the user and reads the port, which is empty or begins with a colon.
func (h Hop) finish(port string) (Hop, error) {
	addr, err := netip.ParseAddr(h.Host)
	isAddr := err == nil && !strings.ContainsAny(addr.Zone(), " \t\r\n,*?!@|[]%\"'")
	if !isAddr && !hostForm.MatchString(h.Host) {
		return Hop{}, errors.New("its name is not that of a host")
	}
	if h.User != "" && !userForm.MatchString(h.User) {
		return Hop{}, errors.New("its user is not a login name")
	}
	h.Port = 22
	if port != "" {
		n, err := strconv.ParseUint(port[1:], 10, 16)
		if err != nil || n == 0 {
			return Hop{}, errors.New("its port is not a number from 1 to 65535")
		}
		h.Port = int(n)
	}
	return h, nil
}
