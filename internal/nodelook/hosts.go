package nodelook

import (
	"cmp"
	"net"
	"path"
	"slices"
	"strings"
)

// HostsFile says whom containerd asks for the images of one registry, and what it trusts there: a hosts.toml, a folder of certificates
// in Docker's layout, or what config.toml says in the old style.
type HostsFile struct {
	// Path is the file that says it; for Docker's layout the folder.
	Path string
	// Registry is the host[:port] of image references for which it counts; _default or * for all that have none of their own.
	Registry string
	// Server is the URL that is asked last, empty for the registry itself.
	Server string
	// Hosts are asked in this order. The last one is the server; there is none when containerd cannot read the file.
	Hosts []Host
	// Fault says why containerd does not take the file; empty if it does. It then goes by the certificates beside it, if there are any.
	Fault string
	// Unused reports that containerd's config.toml does not lead to it, so that pulls for pods go another way.
	Unused bool
}

// Host is one host that containerd asks.
type Host struct {
	// URL is where, without credentials; empty for the registry itself.
	URL string
	// CA are the paths of the files of certificates that are trusted beside the system's. containerd asks for nothing when it cannot read one of
	// them, or when one holds no certificate.
	CA []string
	// Client are the paths of the certificates that it shows, each with its key in the same or in another file.
	Client []string
	// SkipVerify is whether it takes any certificate.
	SkipVerify bool
	// Capabilities are for what it is asked, such as pull and resolve; empty for everything.
	Capabilities []string
	// OverridePath is whether the path of the URL stands for /v2.
	OverridePath bool
}

// RegistryConfig is what config.toml says of registries.
type RegistryConfig struct {
	// Found reports that there is a config.toml that could be read.
	Found bool
	// ConfigPath are the folders with one folder for each registry, as config_path has them.
	ConfigPath []string
	// Mirrors and TLS report that the old registry.mirrors and registry.configs with tls are there. containerd does not start its CRI when
	// they stand beside config_path (containerd, internal/cri/config/config.go).
	Mirrors, TLS bool
	// Imports reports that other files are read as well, which were not seen.
	Imports bool
	// Fault says why it could not be read; empty if it could.
	Fault string
}

const (
	hostsName   = "hosts.toml"
	configFile  = "/etc/containerd/config.toml"
	defaultRule = "_default"
)

// HostsFor returns what counts for images of a registry, given as host or host:port. An image may name the port 443 or not, and has
// another folder then: both are looked at. ok is false when containerd asks the registry itself with the system's roots.
func (l Look) HostsFor(registry string) (file HostsFile, ok bool) {
	names := []string{registry}
	if host, port, err := net.SplitHostPort(registry); err == nil {
		names = []string{host + "_" + port + "_", registry}
		if port == "443" {
			names = append(names, host)
		}
	} else {
		names = append(names, registry+":443", registry+"_443_")
	}
	for _, name := range append(names, defaultRule, "*") {
		for _, f := range l.Hosts {
			if !f.Unused && f.folder() == name {
				return f, true
			}
		}
	}
	return HostsFile{}, false
}

// folder returns the name under which containerd finds it.
func (f HostsFile) folder() string {
	if strings.HasSuffix(f.Path, "/"+hostsName) {
		return path.Base(path.Dir(f.Path))
	}
	return cmp.Or(f.Registry, path.Base(f.Path))
}

// CAFiles returns the content of the files of certificates of a host that were read, by path, and the paths of those that were not:
// they lie elsewhere, are too large, or are not there.
func (l Look) CAFiles(h Host) (read map[string][]byte, other []string) {
	read = map[string][]byte{}
	for _, p := range h.CA {
		if i := slices.IndexFunc(l.runtime, func(f File) bool { return f.Path == p }); i >= 0 {
			read[p] = l.runtime[i].Data
		} else {
			other = append(other, p)
		}
	}
	return read, other
}

// Missing reports that a path lies in a folder of which all files of certificates were read, and that it is not among them.
func (l Look) Missing(p string) bool {
	beside := func(f HostsFile) bool { return strings.HasPrefix(p, path.Dir(f.Path)+"/") }
	ending := slices.Contains([]string{".crt", ".pem", ".cer"}, path.Ext(p))
	known := slices.Contains(l.Unreadable, p) || slices.ContainsFunc(l.Large, func(f LargeFile) bool { return f.Path == p })
	return ending && !known && slices.ContainsFunc(l.Hosts, beside)
}

// readHosts makes Hosts and Config of the files of containerd.
func (l *Look) readHosts() {
	beside := map[string][]string{} // the .crt files of each folder
	tomls := map[string]bool{}
	for _, f := range l.runtime {
		dir := path.Dir(f.Path)
		switch {
		case f.Path == configFile:
			var old []HostsFile
			l.Config, old = readConfig(f.Data)
			l.Hosts = append(l.Hosts, old...)
		case path.Base(f.Path) == hostsName:
			tomls[dir] = len(f.Data) > 0 // containerd takes an empty one for none
		case path.Ext(f.Path) == ".crt":
			beside[dir] = append(beside[dir], f.Path)
		}
	}
	for _, f := range l.runtime {
		dir := path.Dir(f.Path)
		if path.Base(f.Path) != hostsName || !tomls[dir] {
			continue
		}
		out := readHostsFile(f.Path, f.Data)
		// Up to 1.7 (1.7.27, remotes/docker/config/hosts.go, getSortedHosts).
		if out.Fault == "" && len(out.Hosts) == 1 && strings.HasPrefix(l.Containerd.Release, "1.") {
			out.Hosts, out.Fault = nil, "containerd 1 takes no hosts.toml without a [host] table"
		}
		if out.Fault != "" && len(beside[dir]) > 0 {
			out.Hosts = []Host{{CA: beside[dir]}}
		}
		l.Hosts = append(l.Hosts, out)
	}
	for dir, files := range beside {
		if !tomls[dir] {
			l.Hosts = append(l.Hosts, HostsFile{Path: dir, Registry: registryOf(dir), Hosts: []Host{{CA: files}}})
		}
	}
	for i := range l.Hosts {
		l.Hosts[i].Unused = l.unused(l.Hosts[i])
	}
	slices.SortStableFunc(l.Hosts, func(a, b HostsFile) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Registry, b.Registry))
	})
}

// unused reports that config.toml does not lead to a file. Without config_path containerd's CRI passes over certs.d, up to 2.1; from 2.2
// on it goes there when nothing else is said (containerd 2.2.0, internal/cri/config/config_unix.go). In doubt a file counts.
func (l *Look) unused(f HostsFile) bool {
	c := l.Config
	if !c.Found || c.Fault != "" || c.Imports || f.Path == configFile {
		return false
	}
	folder := path.Dir(strings.TrimSuffix(f.Path, "/"+hostsName))
	if len(c.ConfigPath) > 0 {
		return !slices.Contains(c.ConfigPath, folder)
	}
	old := slices.ContainsFunc([]string{"1.", "2.0.", "2.1."}, func(s string) bool { return strings.HasPrefix(l.Containerd.Release, s) })
	return old || c.Mirrors || c.TLS
}

// registryOf returns the registry of a folder: host, host:port or, since some file systems refuse colons, host_port_.
func registryOf(dir string) string {
	name := path.Base(dir)
	trimmed, ok := strings.CutSuffix(name, "_")
	if i := strings.LastIndexByte(trimmed, '_'); ok && i > 0 {
		return trimmed[:i] + ":" + trimmed[i+1:]
	}
	return name
}
