package nodelook

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

const (
	// maxTOML bounds what is parsed; a parser goes as deep as its input is nested.
	maxTOML = 64 << 10
	// maxHosts bounds the hosts of a file, and the registries of config.toml.
	maxHosts = 64
)

// hostTable is a host's part of a hosts.toml. The keys and their types are those of containerd (core/remotes/docker/config/hosts.go).
type hostTable struct {
	Capabilities []string       `toml:"capabilities"`
	CA           any            `toml:"ca"`
	Client       any            `toml:"client"`
	SkipVerify   *bool          `toml:"skip_verify"`
	Header       map[string]any `toml:"header"`
	OverridePath bool           `toml:"override_path"`
	DialTimeout  string         `toml:"dial_timeout"`
}

// readHostsFile reads a hosts.toml as containerd does. Headers, which may hold credentials, are checked and not kept.
func readHostsFile(file string, data []byte) HostsFile {
	out := HostsFile{Path: file, Registry: registryOf(path.Dir(file))}
	var content struct {
		hostTable
		Server string               `toml:"server"`
		Hosts  map[string]hostTable `toml:"host"`
	}
	if err := decodeTOML(data, &content); err != nil {
		out.Fault = err.Error()
		return out
	}
	dir := path.Dir(file)
	var hosts []Host
	for _, name := range hostOrder(data) {
		host, err := content.Hosts[name].read(name, dir)
		if err != nil {
			out.Fault = err.Error()
			return out
		}
		hosts = append(hosts, host)
	}
	last, err := content.read(content.Server, dir)
	if err != nil {
		out.Fault = err.Error()
		return out
	}
	out.Server, out.Hosts = last.URL, append(hosts, last)
	return out
}

// decodeTOML decodes with errors that say where and never what: the files may hold credentials.
func decodeTOML(data []byte, into any) error {
	if len(data) > maxTOML {
		return fmt.Errorf("it is larger than %d bytes", maxTOML)
	}
	err := toml.Unmarshal(data, into)
	if bad, ok := errors.AsType[*toml.DecodeError](err); ok {
		row, column := bad.Position()
		return fmt.Errorf("line %d, column %d is not what containerd takes", row, column)
	}
	if err != nil {
		return errors.New("it is not what containerd takes")
	}
	return nil
}

// hostOrder returns the hosts in the order of the file, which is the order in which they are asked.
func hostOrder(data []byte) []string {
	var out []string
	var p unstable.Parser
	p.Reset(data)
	for p.NextExpression() && len(out) < maxHosts {
		e := p.Expression()
		if e.Kind != unstable.Table {
			continue
		}
		var parts []string
		for key := e.Key(); key.Next(); {
			parts = append(parts, string(key.Node().Data))
		}
		if len(parts) >= 2 && parts[0] == "host" && !slices.Contains(out, parts[1]) {
			out = append(out, parts[1])
		}
	}
	return out
}

func (t hostTable) read(server, dir string) (Host, error) {
	out := Host{Capabilities: t.Capabilities, SkipVerify: t.SkipVerify != nil && *t.SkipVerify, OverridePath: t.OverridePath}
	var err error
	if out.URL, err = hostURL(server); err != nil {
		return out, err
	}
	for _, c := range t.Capabilities {
		if !slices.Contains([]string{"pull", "resolve", "push", "referrers"}, strings.ToLower(c)) {
			return out, fmt.Errorf("it has the capability %s, which containerd does not know", printable(c))
		}
	}
	if out.CA, err = paths("ca", t.CA, dir); err != nil {
		return out, err
	}
	if out.Client, err = paths("client", t.Client, dir); err != nil {
		return out, err
	}
	for _, v := range t.Header {
		if !isText(v) {
			return out, errors.New("one of its headers is neither a string nor a list of strings")
		}
	}
	return out, nil
}

// hostURL returns a URL as containerd reads it, without credentials, which it does not use; empty for none.
func hostURL(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	if !strings.HasPrefix(s, "http") {
		s = "https://" + s
	}
	u, err := url.Parse(s)
	if err != nil {
		return "", errors.New("one of its hosts is no URL")
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return printable(u.String()), nil
}

// paths reads a path, a list of paths or, for client, a list of pairs of paths, of which the first is kept. Relative ones begin at dir.
func paths(key string, value any, dir string) ([]string, error) {
	bad := fmt.Errorf("%s is neither a path nor a list of paths", key)
	list, ok := value.([]any)
	if !ok {
		list = []any{value}
	}
	if value == nil {
		return nil, nil
	}
	var out []string
	for _, item := range list {
		if pair, ok := item.([]any); ok && key == "client" && len(pair) == 2 && isText(pair) {
			item = pair[0]
		}
		p, ok := item.(string)
		if !ok {
			return nil, bad
		}
		if !path.IsAbs(p) {
			p = path.Join(dir, p)
		}
		out = append(out, shown(path.Clean(p)))
	}
	return out[:min(len(out), maxHosts)], nil
}

func isText(v any) bool {
	if list, ok := v.([]any); ok {
		return !slices.ContainsFunc(list, func(item any) bool { _, ok := item.(string); return !ok })
	}
	_, ok := v.(string)
	return ok
}

// criTable is what the CRI plugin's part of config.toml says of registries.
type criTable struct {
	Registry struct {
		ConfigPath string `toml:"config_path"`
		Mirrors    map[string]struct {
			Endpoint []string `toml:"endpoint"`
		} `toml:"mirrors"`
		Configs map[string]struct {
			TLS *tlsTable `toml:"tls"`
		} `toml:"configs"`
	} `toml:"registry"`
}

type tlsTable struct {
	InsecureSkipVerify bool   `toml:"insecure_skip_verify"`
	CAFile             string `toml:"ca_file"`
	CertFile           string `toml:"cert_file"`
}

// readConfig reads the registries of config.toml in its versions 1 to 3, and those of them that are in the old style: mirrors, and tls by
// host. Logins, which may be there as well, are not kept.
func readConfig(data []byte) (RegistryConfig, []HostsFile) {
	var content struct {
		Imports []string `toml:"imports"`
		Plugins struct {
			V1 criTable `toml:"cri"`
			V2 criTable `toml:"io.containerd.grpc.v1.cri"`
			V3 criTable `toml:"io.containerd.cri.v1.images"`
		} `toml:"plugins"`
	}
	out := RegistryConfig{Found: true}
	if err := decodeTOML(data, &content); err != nil {
		out.Fault = err.Error()
		return out, nil
	}
	out.Imports = len(content.Imports) > 0
	var old []HostsFile
	for _, t := range []criTable{content.Plugins.V1, content.Plugins.V2, content.Plugins.V3} {
		for _, dir := range strings.Split(t.Registry.ConfigPath, ":") {
			if path.IsAbs(dir) {
				out.ConfigPath = append(out.ConfigPath, shown(path.Clean(dir)))
			}
		}
		out.Mirrors = out.Mirrors || len(t.Registry.Mirrors) > 0
		files, withTLS := t.hosts()
		out.TLS = out.TLS || withTLS
		old = append(old, files...)
	}
	return out, old
}

// hosts returns one file for each registry that has mirrors or tls, and whether any has tls.
func (t criTable) hosts() (out []HostsFile, withTLS bool) {
	names := slices.Collect(maps.Keys(t.Registry.Mirrors))
	for name, c := range t.Registry.Configs {
		if c.TLS != nil {
			names, withTLS = append(names, name), true
		}
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if len(out) == maxHosts {
			break
		}
		f := HostsFile{Path: configFile, Registry: printable(name)}
		for _, endpoint := range t.Registry.Mirrors[name].Endpoint[:min(len(t.Registry.Mirrors[name].Endpoint), maxHosts)] {
			u, err := hostURL(endpoint)
			if err != nil {
				f.Fault = err.Error()
				continue
			}
			f.Hosts = append(f.Hosts, t.withTLS(Host{URL: u}, hostPort(u)))
		}
		f.Hosts = append(f.Hosts, t.withTLS(Host{}, name))
		out = append(out, f)
	}
	return out, withTLS
}

func (t criTable) withTLS(h Host, name string) Host {
	c := cmp.Or(t.Registry.Configs[name].TLS, &tlsTable{})
	h.SkipVerify = c.InsecureSkipVerify
	if c.CAFile != "" {
		h.CA = []string{shown(path.Clean(c.CAFile))}
	}
	if c.CertFile != "" {
		h.Client = []string{shown(path.Clean(c.CertFile))}
	}
	return h
}

func hostPort(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return ""
	}
	return u.Host
}
