package nodelook

import (
	"cmp"
	_ "embed" // the script is a file of its own, so that a shell checker can read it
	"net"
	"net/netip"
	"strings"
)

//go:embed script.sh
var body string

// script returns what to feed to sh on the node: the look. hostport is what openssl is pointed at, by name; none if it is empty.
func script(req LookRequest, hostport string) string {
	look := "root=" + quote(req.root) + "\nhostport=" + quote(hostport) + "\nconnect=" + quote(cmp.Or(req.Connect, hostport)) +
		"\nsni=" + quote(sni(hostport, req.ServerName)) + "\n"
	if req.OpenSSL {
		look += "openssl=yes\n"
	} else {
		look += "openssl=no\n"
	}
	return asRoot(look + body)
}

// asRoot lets a script run as root where sudo needs no password, else as the user, who can read what everybody may.
func asRoot(script string) string {
	return "look=" + quote(script) + `
if [ "$(id -u)" != 0 ] && command -v sudo >/dev/null 2>&1 && sudo -n true </dev/null >/dev/null 2>&1; then
  exec sudo -n sh -c "$look" </dev/null
fi
exec sh -c "$look" </dev/null
`
}

// sni returns the option that old versions of openssl need to ask by name, empty for an address.
func sni(hostport, serverName string) string {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		return ""
	}
	host = cmp.Or(serverName, host)
	if _, err := netip.ParseAddr(host); err == nil {
		return ""
	}
	return "-servername " + host
}

// quote makes one word of s for sh.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
