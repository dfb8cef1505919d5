package owner

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/internal/pull"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
)

const (
	// maxEvidence bounds the CAs that are evidence one by one.
	maxEvidence = 50
	// maxName bounds a name that another gave, maxText a sentence in which such names stand, in bytes.
	maxName = 300
	maxText = 2000
)

// judge says whether nodes can use a stored value, and what is in it. The value itself goes no further.
func judge(d tkg.Declared) declared {
	out := declared{
		Where: shown(d.Where), Name: shown(d.Name), Path: shown(d.Path), Seen: string(d.Seen), Why: pull.Printable(d.Why, maxText), Fingerprints: []string{},
	}
	if d.Absent != "" {
		return out
	}
	decoded := tkg.Decode(d.Data, d.Layers)
	content := decoded.PEM
	if content == nil {
		content = decoded.DER
	}
	bundle, err := certs.ParseBundle(content)
	for _, c := range append(slices.Clone(bundle.Certs), bundle.Recoverable...) {
		out.Fingerprints = append(out.Fingerprints, certs.Fingerprint(c))
	}
	fatal := slices.ContainsFunc(bundle.Findings, func(f certs.Finding) bool { return f.Fatal })
	named := d.Layers == tkg.LayersInline || tkg.ValidTrustName(d.Name)
	out.OK = decoded.Problem == "" && err == nil && !fatal && named && len(bundle.Certs) > 0
	return out
}

// shown bounds a name that another gave, and keeps it on its line.
func shown(s string) string { return pull.Printable(s, maxName) }

func evidence(out output) []plugins.Evidence {
	subject := "cluster " + out.Cluster
	all := []plugins.Evidence{{Subject: subject, Check: "owner", Verdict: plugins.Info, Text: describe(out)}}
	if !out.Initialized {
		all = append(all, plugins.Evidence{Subject: subject, Check: "control-plane", Verdict: plugins.Bad, Text: "its control plane has never been up"})
	}
	if out.Managed.By != "" {
		all = append(all, plugins.Evidence{Subject: subject, Check: "managed", Verdict: plugins.Info, Text: out.Managed.Text})
	}
	if out.Roll.State != string(tkg.RollSettled) {
		verdict := plugins.Info
		if out.Roll.State == string(tkg.RollStuck) {
			verdict = plugins.Bad
		}
		all = append(all, plugins.Evidence{Subject: subject, Check: "roll", Verdict: verdict, Text: strings.TrimSuffix(out.Roll.State+": "+out.Roll.Note, ": ")})
	}
	all = append(all, plugins.Evidence{Subject: subject, Check: "rights", Verdict: plugins.Info, Text: out.May.String()})
	for _, d := range out.Declared[:min(len(out.Declared), maxEvidence)] {
		e := plugins.Evidence{Subject: d.Where + ", entry " + d.Name, Check: "declared", Verdict: plugins.Info}
		e.Text = fmt.Sprintf("%s; seen by this cluster: %s\n%s", map[bool]string{true: "nodes can use it", false: "nodes cannot use it as it is, or it is not known"}[d.OK], d.Seen, d.Why)
		for _, f := range d.Fingerprints[:min(len(d.Fingerprints), 20)] {
			e.Text += "\nsha256 " + f
		}
		all = append(all, e)
	}
	return all
}

// describe says in words what the cluster is.
func describe(out output) string {
	text := fmt.Sprintf("it is a %s (%s)", out.Kind, out.APIVersion)
	if out.Class != "" {
		text += " of the class " + out.Class
	}
	text += ", which declares trust by " + map[string]string{
		string(tkg.WayTKC): "spec.settings.network.trust", string(tkg.WayTrust): "the variable trust", string(tkg.WayOSConfiguration): "the variable osConfiguration",
		string(tkg.WayNone): "nothing that is known",
	}[out.Way]
	if out.Retiring {
		text += "; it is being retired, after which its Cluster is the owner"
	}
	if out.Paused {
		text += "; it is paused: its controllers do nothing"
	}
	return text
}

// String says in words what may be done.
func (r rights) String() string {
	var may, not []string
	for _, one := range []struct {
		allowed bool
		what    string
	}{
		{r.ClusterTrust, "change the cluster's own trust"}, {r.ServiceTrust, "change TkgServiceConfiguration"},
		{r.DeleteMachines, "delete Machines"}, {r.DeleteCluster, "delete and create the cluster"},
	} {
		if one.allowed {
			may = append(may, one.what)
		} else {
			not = append(not, one.what)
		}
	}
	switch {
	case len(not) == 0:
		return "this login may " + strings.Join(may, ", ")
	case len(may) == 0:
		return "this login may not " + strings.Join(not, ", ")
	}
	return "this login may " + strings.Join(may, ", ") + "; it may not " + strings.Join(not, ", ")
}

func summary(out output) string {
	text := fmt.Sprintf("%s is a %s", out.Cluster, out.Kind)
	if out.Class != "" {
		text += " of the class " + out.Class
	}
	seen := 0
	for _, d := range out.Declared {
		if d.Seen == string(tkg.SeenYes) {
			seen++
		}
	}
	text += fmt.Sprintf("; %d CAs are declared for it, of which it has surely seen %d", len(out.Declared), seen)
	if !out.Initialized {
		text += "; its control plane has never been up"
	}
	if out.Paused {
		text += "; it is paused"
	}
	switch out.Roll.State {
	case string(tkg.Rolling):
		text += "; its machines are being replaced"
	case string(tkg.RollStuck):
		text += "; the replacement of its machines is stuck"
	}
	return text
}
