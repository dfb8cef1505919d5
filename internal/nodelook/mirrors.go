package nodelook

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/internal/node"
	"github.com/tkgfix/tkgfix/internal/probe"
)

// hosts is whom containerd asks for the images of a registry, with the certificates that it trusts there. notes are about files that
// were not seen. The error means that the node could not be asked.
func (l Look) hosts(ctx context.Context, conn *node.Conn, req probe.Request) (out probe.Hosts, notes []string, err error) {
	f, ok := l.HostsFor(registryName(req))
	if !ok || len(f.Hosts) == 0 { // one that containerd cannot read is none to it
		return out, nil, nil
	}
	out.File = f.Path
	for _, h := range f.Hosts {
		if len(h.Capabilities) > 0 && !slices.Contains(h.Capabilities, "pull") && !slices.Contains(h.Capabilities, "resolve") {
			continue
		}
		m := probe.Mirror{SkipVerify: h.SkipVerify, Client: len(h.Client) > 0}
		if m.URL, err = mirrorURL(h, req); err != nil {
			out.Fault = err.Error()
			return out, notes, nil
		}
		files, fault, err := l.caFiles(ctx, conn, h)
		if err != nil {
			return out, notes, err
		}
		for _, p := range h.CA {
			data, ok := files[p]
			if !ok && fault[p] == "" {
				notes = append(notes, fmt.Sprintf("the CA in %s, which %s names, was not seen", printable(p), f.Path))
				continue
			}
			bundle, err := certs.ParseBundle(data)
			if fault[p] != "" || err != nil || len(bundle.Certs) == 0 { // containerd, core/remotes/docker/config/hosts.go
				out.Fault = fmt.Sprintf("unable to load CA cert %q", printable(p))
			}
			m.CA = append(m.CA, bundle.Certs...)
		}
		out.List = append(out.List, m)
	}
	if len(out.List) == 0 {
		out.Fault = "none of its hosts is for pulls"
	}
	return out, notes, nil
}

// registryName is the registry as images name it.
func registryName(req probe.Request) string {
	if req.Host == "registry-1.docker.io" && req.Port == "443" {
		return "docker.io"
	}
	return net.JoinHostPort(req.Host, req.Port)
}

// mirrorURL is what containerd asks, with the path to which the repository is added.
func mirrorURL(h Host, req probe.Request) (*url.URL, error) {
	if h.URL == "" {
		return &url.URL{Scheme: "https", Host: net.JoinHostPort(req.Host, req.Port), Path: "/v2"}, nil
	}
	u, err := url.Parse(h.URL)
	if err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, fmt.Errorf("%s is no address of a host", printable(withoutUserinfo(h.URL)))
	}
	if !h.OverridePath && !strings.HasSuffix(u.Path, "/v2") {
		u.Path = path.Join("/", u.Path, "/v2")
	}
	return u, nil
}

// maxCAFile bounds a file of certificates of a host, and maxCAFiles how many of them are read.
const (
	maxCAFile  = 1 << 20
	maxCAFiles = 20
)

// caScript prints a file in base64. One with a private key stays where it is.
const caScript = `f=%s
if [ ! -e "$f" ]; then echo missing
elif [ -f "$f" ] && [ -r "$f" ] && command -v base64 >/dev/null && ! grep -q 'PRIVATE KEY' -- "$f"; then head -c %d "$f" | base64 | tr -d '\n'; echo
else echo unseen; fi
`

// caFiles returns the files of certificates of a host, by path, and why one cannot be had. Those that the look has not brought are read
// by a further script.
func (l Look) caFiles(ctx context.Context, conn *node.Conn, h Host) (files map[string][]byte, fault map[string]string, err error) {
	files, other := l.CAFiles(h)
	fault = map[string]string{}
	var paths []string
	for _, p := range other {
		i := slices.IndexFunc(l.Files, func(f File) bool { return f.Path == p })
		switch {
		case i >= 0:
			files[p] = l.Files[i].Data
		case l.Missing(p):
			fault[p] = "it is not there"
		case path.IsAbs(p) && plain(p) && len(paths) < maxCAFiles:
			paths = append(paths, p)
		}
	}
	if len(paths) == 0 {
		return files, fault, nil
	}
	var script strings.Builder
	for _, p := range paths {
		fmt.Fprintf(&script, caScript, quote(l.root+p), maxCAFile)
	}
	answer, err := conn.Run(ctx, asRoot(script.String()))
	if err != nil {
		return nil, nil, err
	}
	for i, line := range bytes.Split(bytes.TrimSuffix(answer, []byte("\n")), []byte("\n")) {
		if i >= len(paths) {
			break
		}
		switch text := string(line); text {
		case "missing":
			fault[paths[i]] = "it is not there"
		case "unseen":
		default:
			data, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				return nil, nil, fmt.Errorf("read %s on node %s: the node's answer is not base64", printable(paths[i]), conn.Name())
			}
			files[paths[i]] = data
		}
	}
	return files, fault, nil
}
