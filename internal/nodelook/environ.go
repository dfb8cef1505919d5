package nodelook

import (
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpproxy"
)

// environment are the variables of containerd that change its pulls. Others, which may hold secrets, are never kept.
type environment map[string]string

// kept are the variables that change a pull, each by the first of its names that is set, as Go reads them.
var kept = []string{
	"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR", "GODEBUG",
}

// readEnvironment reads the environment of the process where it could be read, else that of its unit as systemctl shows it.
func readEnvironment(process []byte, unit string) environment {
	vars := strings.Split(string(process), "\x00")
	if len(process) == 0 {
		vars = unitWords(unit)
	}
	env := environment{}
	for _, v := range vars {
		if key, value, ok := strings.Cut(v, "="); ok && value != "" && slices.Contains(kept, key) {
			env[key] = value
		}
	}
	return env
}

func (e environment) get(names ...string) string {
	for _, name := range names {
		if v := e[name]; v != "" {
			return v
		}
	}
	return ""
}

// proxies returns what the variables say of proxies, and whether they say anything.
func (e environment) proxies() (httpproxy.Config, bool) {
	c := httpproxy.Config{
		HTTPProxy: e.get("HTTP_PROXY", "http_proxy"), HTTPSProxy: e.get("HTTPS_PROXY", "https_proxy"), NoProxy: e.get("NO_PROXY", "no_proxy"),
	}
	return c, c.HTTPProxy != "" || c.HTTPSProxy != ""
}

// Proxy returns the proxy by which containerd goes for an address, by the rules of Go's net/http, nil if it has none at all. What the
// function returns may hold credentials: print it with url.Redacted or not at all.
func (l Look) Proxy() func(*url.URL) (*url.URL, error) {
	c, ok := l.environ.proxies()
	if !ok {
		return nil
	}
	return c.ProxyFunc()
}

// ErrProxy is an HTTPS_PROXY that is no URL. Go goes without a proxy then.
var ErrProxy = errors.New("HTTPS_PROXY is no URL")

// HTTPSProxy returns the proxy by which pulls go, without credentials, and what is excepted from it; nil if there is none, with ErrProxy if
// there should be one.
func (l Look) HTTPSProxy() (proxy *url.URL, except string, err error) {
	c, _ := l.environ.proxies()
	if c.HTTPSProxy == "" {
		return nil, "", nil
	}
	all := httpproxy.Config{HTTPSProxy: c.HTTPSProxy}
	by, err := all.ProxyFunc()(&url.URL{Scheme: "https", Host: "registry.invalid"})
	if err != nil || by == nil {
		return nil, "", ErrProxy
	}
	shown := *by
	shown.User, shown.RawQuery, shown.Fragment = nil, "", ""
	return &shown, printable(withoutUserinfo(c.NoProxy)), nil
}

// notes says what in the environment makes pulls differ from a plain handshake.
func (e environment) notes() []string {
	var out []string
	if v := e.get("HTTPS_PROXY", "https_proxy"); v != "" {
		out = append(out, "containerd pulls through the proxy "+printable(withoutUserinfo(v))+" unless NO_PROXY says otherwise")
	}
	if v := e.get("NO_PROXY", "no_proxy"); v != "" {
		out = append(out, "containerd's NO_PROXY is "+printable(withoutUserinfo(v)))
	}
	for _, key := range []string{"SSL_CERT_DIR", "SSL_CERT_FILE"} {
		if v := e[key]; v != "" {
			out = append(out, "containerd's roots are elsewhere: "+key+"="+printable(v))
		}
	}
	if v := e["GODEBUG"]; v != "" {
		out = append(out, "containerd runs with GODEBUG="+printable(v))
	}
	return out
}

// unitWords cuts the Environment of a unit into its words. systemctl puts a word that needs it in double quotes, in which a backslash
// keeps the next character, or in $'...'; systemctl before 240 writes white space as \x20 (systemd, shell_maybe_quote and xescape).
func unitWords(s string) []string {
	var out []string
	var word strings.Builder
	inside, quote := false, byte(0)
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\' && i+1 < len(s):
			r, size := unescape(s[i+1:])
			word.WriteString(r)
			i += size
			inside = true
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote, inside = c, true
		case quote == 0 && c == '$' && strings.HasPrefix(s[i+1:], "'"):
		case quote == 0 && (c == ' ' || c == '\t'):
			if inside {
				out = append(out, word.String())
			}
			word.Reset()
			inside = false
		default:
			word.WriteByte(c)
			inside = true
		}
	}
	if inside {
		out = append(out, word.String())
	}
	return out
}

// unescape reads what follows a backslash and returns how much it took.
func unescape(s string) (string, int) {
	switch s[0] {
	case 'n':
		return "\n", 1
	case 't':
		return "\t", 1
	case 'x':
		if len(s) >= 3 {
			if n, err := strconv.ParseUint(s[1:3], 16, 8); err == nil {
				return string([]byte{byte(n)}), 3
			}
		}
	}
	return s[:1], 1
}
