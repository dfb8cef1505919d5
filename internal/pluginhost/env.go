package pluginhost

import (
	"slices"
	"strings"
)

// scrubbed returns what a plugin may see of the environment. KUBECONFIG and every credential stay behind: a step is given the connections
// that it asks for, and no others. Proxies are passed, for the registry may lie behind one.
func scrubbed(environ []string) []string {
	allowed := []string{
		"PATH", "HOME", "TMPDIR", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR",
		"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
	}
	var out []string
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if slices.Contains(allowed, name) {
			out = append(out, entry)
		}
	}
	return out
}

// only returns one name's part of the environment.
func only(environ []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(entry string) bool { return !strings.HasPrefix(entry, name+"=") })
}

// without returns the environment without one name.
func without(environ []string, name string) []string {
	return slices.DeleteFunc(environ, func(entry string) bool { return strings.HasPrefix(entry, name+"=") })
}
