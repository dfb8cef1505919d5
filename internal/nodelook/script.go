package nodelook

import (
	_ "embed" // the script is a file of its own, so that a shell checker can read it
	"net"
	"net/netip"
	"strings"
)

//go:embed script.sh
var body string

// script returns what to feed to sh on the node. It runs the look as root where sudo needs no password, else as the user,
// who can read what everybody may. root goes before each path; it is empty but in tests.
func script(root, hostport string, openssl bool) string {
	look := "root=" + quote(root) + "\nhostport=" + quote(hostport) + "\nsni=" + quote(sni(hostport)) + "\n"
	if openssl {
		look += "openssl=yes\n"
	} else {
		look += "openssl=no\n"
	}
	return "look=" + quote(look+body) + `
if [ "$(id -u)" != 0 ] && command -v sudo >/dev/null 2>&1 && sudo -n true </dev/null >/dev/null 2>&1; then
  exec sudo -n sh -c "$look" </dev/null
fi
exec sh -c "$look" </dev/null
`
}

// sni returns the option that old versions of openssl need to ask by name, empty for an address.
func sni(hostport string) string {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		return ""
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return ""
	}
	return "-servername " + host
}

// quote makes one word of s for sh.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
