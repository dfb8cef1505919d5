package detect

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/tkgfix/tkgfix/internal/handshake"
	"github.com/tkgfix/tkgfix/internal/pull"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
)

const (
	// maxFailing bounds the list of the output.
	maxFailing = 200
	// maxEvidence bounds the pods that are evidence one by one.
	maxEvidence = 20
)

// found collects what fails, over both scopes.
type found struct {
	given    string // the input's registry
	registry string // the same as it is dialled; empty if all count
	records  []*record
	notes    []string // what could not be looked at
	others   int      // failing containers of other registries
	dropped  int
	scanned  int
}

func newFound(registry string) *found {
	return &found{given: registry, registry: dialled(registry)}
}

// dialled returns a registry as host:port, empty if it is none.
func dialled(registry string) string {
	if registry == "" {
		return ""
	}
	_, hostport, err := handshake.HostPort(registry)
	if err != nil {
		return ""
	}
	return hostport
}

// close takes over what is known for sure of a scope.
func (f *found) close(o *open) {
	for _, r := range o.failing {
		f.take(r)
	}
	taken := map[*record]bool{} // a static pod is there under two UIDs
	for _, r := range o.creating {
		if !taken[r] {
			taken[r] = true
			f.take(r)
		}
	}
	f.dropped += o.dropped
}

// take keeps a record that concerns the registry: it was dialled, or the image is from there.
func (f *found) take(r *record) {
	switch {
	case !r.real:
	case f.registry == "" || dialled(r.Registry) == f.registry || dialled(r.ImageRegistry) == f.registry:
		f.records = append(f.records, r)
	default:
		f.others++
	}
}

// gravity orders the classes: what this tool is for comes first, so that one wrong tag does not hide it.
func gravity(class string) int {
	return slices.Index(pull.Classes(), class)
}

func (f *found) conclude() output {
	slices.SortFunc(f.records, func(a, b *record) int {
		return cmp.Or(
			cmp.Compare(gravity(a.Class), gravity(b.Class)), cmp.Compare(a.Scope, b.Scope), cmp.Compare(a.Namespace, b.Namespace),
			cmp.Compare(a.Pod, b.Pod), cmp.Compare(a.Container, b.Container),
		)
	})
	out := output{Failing: []failing{}, Scanned: f.scanned, FailingCount: len(f.records)}
	if f.registry == "" {
		out.FailingCount += f.dropped
	}
	for _, r := range f.records[:min(len(f.records), maxFailing)] {
		out.Failing = append(out.Failing, r.failing)
	}
	if out.Affected = len(f.records) > 0; out.Affected {
		out.Class = f.records[0].Class
		out.Registry = f.commonestRegistry(out.Class)
	}
	if f.given != "" {
		out.Registry = f.given
	}
	return out
}

// commonestRegistry returns the host that most failures of a class dialled, the first by name if several are as frequent.
func (f *found) commonestRegistry(class string) string {
	count := map[string]int{}
	for _, r := range f.records {
		if r.Class == class && r.Registry != "" {
			count[r.Registry]++
		}
	}
	best := ""
	for host, n := range count {
		if best == "" || n > count[best] || n == count[best] && host < best {
			best = host
		}
	}
	return best
}

// warnings speaks of what the output does not show.
func (f *found) warnings() []string {
	out := slices.Clone(f.notes)
	if f.dropped > 0 {
		out = append(out, fmt.Sprintf("%d more failing containers were not looked at one by one", f.dropped))
	}
	others := map[string]bool{}
	for _, r := range f.records {
		if r.Registry != "" && r.ImageRegistry != "" && dialled(r.Registry) != dialled(r.ImageRegistry) {
			others[fmt.Sprintf("pulls from %s fail at %s, which was dialled in its place (a mirror, a token server or a redirect): probe that one", r.ImageRegistry, r.Registry)] = true
		}
	}
	lines := make([]string, 0, len(others))
	for line := range others {
		lines = append(lines, line)
	}
	slices.Sort(lines)
	out = append(out, lines[:min(len(lines), 5)]...)
	if hosts := f.distrustedPublic(); len(hosts) > 0 {
		out = append(out, fmt.Sprintf("the public registry %s is not trusted either: a proxy seems to open TLS on the way, and then it is the proxy's CA that is missing", hosts[0]))
	}
	if f.others > 0 {
		out = append(out, fmt.Sprintf("%d failing containers pull from other registries than %s and do not count", f.others, f.given))
	}
	return out
}

// distrustedPublic returns the public registries that are not trusted, which any node's system roots would be enough for.
func (f *found) distrustedPublic() []string {
	var out []string
	for _, r := range f.records {
		if r.Class == pull.Trust && isPublic(r.Registry) && !slices.Contains(out, r.Registry) {
			out = append(out, r.Registry)
		}
	}
	slices.Sort(out)
	return out
}

func isPublic(host string) bool {
	host = strings.TrimSuffix(host, ":443")
	return slices.ContainsFunc([]string{
		"docker.io", "gcr.io", "pkg.dev", "ghcr.io", "quay.io", "registry.k8s.io", "public.ecr.aws", "mcr.microsoft.com", "registry.access.redhat.com",
		"projects.registry.vmware.com",
	}, func(public string) bool { return host == public || strings.HasSuffix(host, "."+public) })
}

func evidence(out output, ref tkg.Ref) []plugins.Evidence {
	all := []plugins.Evidence{{
		Subject: "cluster " + ref.String(), Check: "pods", Verdict: plugins.OK, Text: fmt.Sprintf("%d pods looked at, none waits for an image", out.Scanned),
	}}
	if !out.Affected {
		return all
	}
	all[0].Verdict = plugins.Bad
	all[0].Text = fmt.Sprintf("%d pods looked at, %d containers wait for an image: %s", out.Scanned, out.FailingCount, counts(out.Failing))
	for _, f := range out.Failing[:min(len(out.Failing), maxEvidence)] {
		subject := "pod " + f.Namespace + "/" + f.Pod
		switch f.Scope {
		case scopeSupervisor:
			subject = "vSphere Pod " + f.Namespace + "/" + f.Pod
		case scopePackage:
			subject = "package " + f.Namespace + "/" + f.Pod
		}
		all = append(all, plugins.Evidence{
			Subject: subject, Check: "image-pull", Verdict: plugins.Bad,
			Text: fmt.Sprintf("%s on %s: %s (%s): %s", cmp.Or(f.Image, f.Registry), cmp.Or(f.Node, "no node"), f.Reason, f.Class, cmp.Or(f.Message, "no message")),
		})
	}
	return all
}

// counts says how many failures there are of each class.
func counts(list []failing) string {
	var classes []string
	count := map[string]int{}
	for _, f := range list {
		if count[f.Class]++; count[f.Class] == 1 {
			classes = append(classes, f.Class)
		}
	}
	for i, class := range classes {
		classes[i] = fmt.Sprintf("%d %s", count[class], class)
	}
	return strings.Join(classes, ", ")
}

func summary(out output, ref tkg.Ref) string {
	if !out.Affected {
		return fmt.Sprintf("no pod of %s waits for an image (%d pods)", ref, out.Scanned)
	}
	return fmt.Sprintf("%d containers cannot pull: %s, from %s", out.FailingCount, out.Class, cmp.Or(out.Registry, "an unknown registry"))
}
