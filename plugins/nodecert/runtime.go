package nodecert

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/internal/nodelook"
)

// tolerated is by how much a node's clock may differ. Below a minute nothing about certificates changes but in the first minute of their
// life, for which CAs make allowance by dating them back, and a slow connection cannot be mistaken for it.
const tolerated = time.Minute

// runtimeFindings are those that are not about one declared file.
func (v view) runtimeFindings(wanted []declaration, candidate []anchor) []finding {
	return slices.Concat(v.secrets(), v.gluedBundle(), v.older(wanted, candidate), v.removed(wanted), v.version(wanted),
		v.overrides(), v.config(), v.proxy(), v.clock())
}

// secrets is the alarm on private keys where only certificates belong.
func (v view) secrets() []finding {
	var out []finding
	for _, f := range v.files {
		if f.secret {
			out = append(out, finding{FilePrivateKey, f.Path, "there is a private key in it, which everybody on the node can read: it must be taken for leaked", RotateKey, true})
		}
	}
	return out
}

// gluedBundle tells of a bundle in which certificates were lost when it was joined from single files.
func (v view) gluedBundle() []finding {
	for _, f := range v.files {
		if f.Path == v.BundlePath() && f.has(certs.KindGlued) && len(f.lost) > 0 {
			return []finding{{FileGlued, f.Path, "in the joined bundle Go drops " + names(f.lost) + ", of which one file has no line end at its end", None, false}}
		}
	}
	return nil
}

// older tells of files that containerd does not know and that hold a CA which it has from no older file.
func (v view) older(wanted []declaration, candidate []anchor) []finding {
	need := newSet(candidate)
	for _, d := range wanted {
		for _, value := range d.values {
			maps.Copy(need, newSet(value.wanted))
		}
	}
	known, surely := set{}, set{} // by the time of the content, and by that of the file as well
	for _, f := range v.files {
		if !f.Go || v.NewerThanContainerd(f.File) {
			continue
		}
		maps.Copy(known, newSet(f.taken))
		if !v.placedLater(f) {
			maps.Copy(surely, newSet(f.taken))
		}
	}
	needs := func(f fileView, but set) bool {
		return f.Go && slices.ContainsFunc(f.taken, func(a anchor) bool { return need[a.key()] && !but[a.key()] })
	}
	var out []finding
	for _, f := range v.files {
		switch {
		case v.NewerThanContainerd(f.File) && needs(f, known):
			text := fmt.Sprintf("it was written on %s, after containerd was started on %s: containerd does not know it", stamp(f.Changed), stamp(v.Containerd.Started))
			out = append(out, finding{RuntimeOlder, f.Path, text, RestartRuntime, true})
		case !v.NewerThanContainerd(f.File) && v.placedLater(f) && needs(f, surely):
			text := fmt.Sprintf("its content is older than containerd, and on %s, after containerd was started on %s, the file was put there or its mode changed: "+
				"containerd may not know it", stamp(f.Placed), stamp(v.Containerd.Started))
			out = append(out, finding{RuntimeOlder, f.Path, text, None, false})
		}
	}
	return out
}

func (v view) placedLater(f fileView) bool {
	return !v.Containerd.Started.IsZero() && f.Placed.After(v.Containerd.Started)
}

// removed tells of folders from which something was taken after containerd was started: it still trusts it (tls-cases.md S03).
func (v view) removed(wanted []declaration) []finding {
	if v.Containerd.Started.IsZero() {
		return nil
	}
	lost := slices.ContainsFunc(wanted, func(d declaration) bool { return !d.fits(v.taken) })
	var out []finding
	for _, dir := range slices.Sorted(maps.Keys(v.Folders)) {
		newer := func(f fileView) bool {
			return path.Dir(f.Path) == dir && (v.NewerThanContainerd(f.File) || v.placedLater(f))
		}
		if !v.Folders[dir].After(v.Containerd.Started) || slices.ContainsFunc(v.files, newer) {
			continue
		}
		text := fmt.Sprintf("the folder was changed on %s, after containerd was started on %s, and no file in it is as new: something was taken away", stamp(v.Folders[dir]),
			stamp(v.Containerd.Started))
		if lost {
			out = append(out, finding{RuntimeRemoved, dir, text + ", and a declared CA is missing: pulls that work now fail when containerd is started the next time", RollNode, true})
		} else {
			out = append(out, finding{RuntimeRemoved, dir, text + ", or a link; all that is declared is there", None, false})
		}
	}
	return out
}

// version tells of declared CAs that turn on the Go of containerd.
func (v view) version(wanted []declaration) []finding {
	var out []finding
	for _, d := range wanted {
		for _, value := range d.values {
			for _, a := range value.wanted {
				since, why := a.turns()
				if since == "" {
					continue
				}
				f := finding{ID: RuntimeVersion, Subject: d.name, Remedy: None}
				f.Text = fmt.Sprintf("%s fails from Go %s on, for %s", a.name(), since, why)
				switch {
				case v.Containerd.Go == "":
					f.Text += "; it is not known with which Go this containerd was made"
				case v.Containerd.Before(since):
					f.Text += fmt.Sprintf("; containerd %s has the defaults of Go %s and takes it, and a newer node will not", v.Containerd.Release, v.Containerd.Go)
				default:
					f.Text += fmt.Sprintf("; containerd %s has the defaults of Go %s", v.Containerd.Release, v.Containerd.Go)
					f.Remedy, f.Bad = ReplaceCA, true
				}
				out = append(out, f)
			}
		}
	}
	return out
}

// overrides tells of registries for which containerd asks others, or trusts more.
func (v view) overrides() []finding {
	var out []finding
	for _, h := range v.Hosts {
		f := finding{ID: HostsOverride, Subject: h.Path, Remedy: None}
		switch problem := v.hostProblem(h); {
		case h.Unused:
			f.Text = fmt.Sprintf("it is for %s and does not count: config.toml does not lead to its folder", h.Registry)
		case problem != "":
			f.Text, f.Remedy, f.Bad = fmt.Sprintf("for %s %s", h.Registry, problem), FixMirror, true
		default:
			f.Text = fmt.Sprintf("for %s containerd asks %s", h.Registry, asked(h))
		}
		if last := len(h.Hosts) - 1; !h.Unused && h.Fault == "" && last >= 0 && len(h.Hosts[last].CA) > 0 && path.Base(h.Path) == "hosts.toml" && strings.HasPrefix(v.Containerd.Release, "1.6.") {
			f.Text += "; containerd 1.6 passes over a ca that stands above the first [host]"
		}
		out = append(out, f)
	}
	return out
}

func asked(h nodelook.HostsFile) string {
	var out []string
	for _, host := range h.Hosts {
		out = append(out, host.String())
	}
	return strings.Join(out, ", then ")
}

// hostProblem says because of what pulls fail by a file; empty if they do not because of it. containerd is strict here: a file of
// certificates that cannot be read, or from which Go takes nothing, ends the pull (containerd, core/remotes/docker/config/hosts.go).
func (v view) hostProblem(h nodelook.HostsFile) string {
	if h.Fault != "" {
		return "containerd does not take the file and passes over it: " + h.Fault
	}
	for _, host := range h.Hosts {
		read, other := v.CAFiles(host)
		for p, data := range read {
			if bundle, err := certs.ParseBundle(data); err != nil {
				reason := "Go finds no certificate in it"
				if len(bundle.Findings) > 0 {
					reason = bundle.Findings[0].Text
				}
				return fmt.Sprintf("containerd stops at the CA file %s: %s", p, reason)
			}
		}
		for _, p := range other {
			if v.Missing(p) {
				return fmt.Sprintf("containerd stops at the CA file %s, which is not there", p)
			}
		}
	}
	return ""
}

// config tells of a config.toml with which containerd does not start its CRI.
func (v view) config() []finding {
	const file = "/etc/containerd/config.toml"
	c := v.Config
	switch {
	case c.Fault != "":
		return []finding{{RuntimeConfig, file, "it could not be read: " + c.Fault, None, false}}
	case len(c.ConfigPath) > 0 && c.TLS:
		return []finding{{RuntimeConfig, file, "config_path stands beside registry.configs with tls: containerd does not start its CRI with both", FixMirror, true}}
	case len(c.ConfigPath) > 0 && c.Mirrors:
		return []finding{{RuntimeConfig, file, "config_path stands beside registry.mirrors: containerd does not start its CRI with both", FixMirror, true}}
	}
	return nil
}

// proxy tells of the proxy by which containerd goes.
func (v view) proxy() []finding {
	by, except, err := v.HTTPSProxy()
	switch {
	case err != nil:
		return []finding{{RuntimeProxy, "containerd", err.Error() + ", and containerd goes without it", FixProxy, true}}
	case by == nil:
		return nil
	}
	text := "pulls go through the proxy " + by.String()
	if except != "" {
		text += ", but not to " + except
	}
	return []finding{{RuntimeProxy, "containerd", text + "; if it ends TLS itself, its CA is the one that counts", None, false}}
}

func (v view) clock() []finding {
	if v.Skew.Abs() < tolerated {
		return nil
	}
	way := "ahead of"
	if v.Skew < 0 {
		way = "behind"
	}
	return []finding{{ClockSkew, "clock", fmt.Sprintf("the node's clock is %s %s this machine's: it judges the dates of certificates by it", v.Skew.Abs(), way), FixClock, true}}
}
