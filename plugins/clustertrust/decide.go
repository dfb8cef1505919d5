package clustertrust

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
)

// world is what the Supervisor holds of a cluster's own trust. Nothing of it is shown as it is.
type world struct {
	owner   tkg.Owner
	cluster *unstructured.Unstructured // the Cluster, which may be the owner; nil if there is none
	entries []tkg.OwnEntry
	secrets map[string]*unstructured.Unstructured // those that the entries name, and the default one; nil is not there
	// others are the other Clusters of the namespace; othersErr is why they are not known.
	others    []*unstructured.Unstructured
	othersErr error
}

// decision is what is to become of a cluster's trust.
type decision struct {
	choice tkg.Choice
	// secret is the Secret that gets the key; empty for a TanzuKubernetesCluster. write says that it does not have the key yet.
	secret string
	write  bool
	// retire is the key that is replaced and that nobody else names; nil if none is. kept says why one that is replaced stays.
	retire *key
	kept   string
}

// key is a key of a Secret.
type key struct{ secret, name string }

// decide picks the entry and the Secret. again asks for another name for what is declared rightly already: the nodes do not have it, and
// only a change replaces them.
func (w world) decide(candidate []*x509.Certificate, name string, again bool) (decision, error) {
	list := make([]tkg.Held, len(w.entries))
	for i, e := range w.entries {
		list[i] = e.Held
		if e.PrivateKey && e.Secret == "" {
			err := fmt.Errorf("entry %d (%s) of the trust of %s holds a private key", i, e.Name, w.owner.Ref())
			return decision{}, plugins.Hint(err, "every node gets it: take it out by hand, and replace the key; kubectl edit %s %s -n %s",
				w.owner.Resource(), w.owner.Ref().Name, w.owner.Ref().Namespace)
		}
	}
	class := w.owner.Way != tkg.WayTKC
	value := tkg.SecretValue(candidate)
	naming := tkg.Naming{Name: name, Fresh: class}
	d := decision{choice: tkg.Choose(list, candidate, naming)}
	if class { // the names that are free depend on the Secret, and that on the entry
		d.secret = w.secretFor(d.choice)
		naming.Taken = w.taken(d.secret, value)
		d.choice = tkg.Choose(list, candidate, naming)
	}
	if d.choice.Act == tkg.Keep && again {
		d.choice.Act, d.choice.Name = tkg.Replace, tkg.FreeName(list, candidate, naming.Taken...)
		d.choice.Why = "it holds the candidate, and the nodes do not: another name has them replaced"
	}
	if !class || d.choice.Act == tkg.Keep {
		if class && d.choice.Index < len(w.entries) {
			d.secret = w.entries[d.choice.Index].Secret
		}
		return d, nil
	}
	now, there := tkg.SecretKey(w.secrets[d.secret], d.choice.Name)
	if there && now != value {
		err := fmt.Errorf("Secret %s/%s has a key %s already, with another content", w.owner.Ref().Namespace, d.secret, d.choice.Name)
		return d, plugins.Hint(err, "give a name that it does not have: the bytes of a key alone replace no node")
	}
	d.write = !there
	w.retirement(&d)
	return d, nil
}

// secretFor returns the Secret that gets the new key: that of the entry which is replaced, if a key may be added to it and it is not
// another cluster's, which would take it along when it goes; else the cluster's own.
func (w world) secretFor(choice tkg.Choice) string {
	own := tkg.TrustSecret(w.owner.Ref().Name)
	if choice.Index >= len(w.entries) || w.owner.Way == tkg.WayTrust {
		return own
	}
	name := w.entries[choice.Index].Secret
	secret := w.secrets[name]
	if secret == nil {
		return own
	}
	immutable, _, _ := unstructured.NestedBool(secret.Object, "immutable")
	for _, o := range secret.GetOwnerReferences() {
		if (o.Kind == tkg.ClusterKind || o.Kind == tkg.TKCKind) && o.Name != w.owner.Ref().Name {
			return own
		}
	}
	if immutable {
		return own
	}
	return name
}

// taken returns the keys that the Secret has with another content. One with the content that is to be written is what a run before this
// one has left.
func (w world) taken(secret, value string) []string {
	var out []string
	for _, name := range tkg.SecretKeys(w.secrets[secret]) {
		if now, _ := tkg.SecretKey(w.secrets[secret], name); now != value {
			out = append(out, name)
		}
	}
	return out
}

// retirement decides whether the key that is replaced goes.
func (w world) retirement(d *decision) {
	if d.choice.Act != tkg.Replace {
		return
	}
	old := w.entries[d.choice.Index]
	if old.Secret == "" || old.Absent {
		return
	}
	switch users := w.users(old.Secret, old.Name, d.choice.Index); {
	case w.othersErr != nil:
		d.kept = fmt.Sprintf("key %s of Secret %s stays: whether another cluster names it is not known (%s)", old.Name, old.Secret, w.othersErr)
	case len(users) > 0:
		d.kept = fmt.Sprintf("key %s of Secret %s stays: %s names it too", old.Name, old.Secret, strings.Join(users, ", "))
	default:
		d.retire = &key{secret: old.Secret, name: old.Name}
	}
}

// users returns who names a key of a Secret beside the entry of an index in this cluster's list.
func (w world) users(secret, name string, index int) []string {
	var out []string
	for i, e := range w.entries {
		if i != index && e.Secret == secret && e.Name == name {
			out = append(out, fmt.Sprintf("entry %d of this cluster", i))
		}
	}
	return append(out, w.elsewhere(secret, name)...)
}

// elsewhere returns what names a key of a Secret beside this cluster's own list: its pools, and the other clusters of the namespace.
func (w world) elsewhere(secret, name string) []string {
	var out []string
	if w.cluster != nil {
		for _, where := range tkg.UsesOfKey(w.cluster, secret, name) {
			if strings.Contains(where, ".overrides") {
				out = append(out, where)
			}
		}
	}
	for _, other := range w.others {
		if len(tkg.UsesOfKey(other, secret, name)) > 0 {
			out = append(out, "cluster "+other.GetNamespace()+"/"+other.GetName())
		}
	}
	slices.Sort(out)
	return out
}

// overrideBlocks says which pools a change of the cluster's variable does not reach.
func (w world) overrideBlocks() []plugins.Block {
	if w.owner.Way == tkg.WayTKC {
		return nil
	}
	pools := tkg.Overrides(w.owner.Object, w.owner.Way)
	if len(pools) == 0 {
		return nil
	}
	return []plugins.Block{{
		Reason: fmt.Sprintf("%s: the variable of the whole cluster is overridden there, and a change of it does not reach those nodes", strings.Join(pools, ", ")),
		Hint: fmt.Sprintf("take the override of its trust away, or set the CA in it by hand: kubectl edit cluster %s -n %s",
			w.owner.Ref().Name, w.owner.Ref().Namespace),
	}}
}

// evidence lists what the cluster's own trust holds.
func (w world) evidence() plugins.Evidence {
	lines := []string{fmt.Sprintf("%d entries by the way %s", len(w.entries), w.owner.Way)}
	for i, e := range w.entries {
		name := e.Name
		if name == "" {
			name = fmt.Sprintf("entry %d", i)
		}
		if e.Secret != "" {
			name += " of Secret " + e.Secret
		}
		switch {
		case e.Absent:
			lines = append(lines, name+": not there")
		case len(e.Certs) == 0:
			lines = append(lines, name+": holds no certificate")
		case !e.Right:
			lines = append(lines, fmt.Sprintf("%s: %s, in an encoding that nodes cannot use", name, subjects(e.Certs)))
		default:
			lines = append(lines, fmt.Sprintf("%s: %s", name, subjects(e.Certs)))
		}
	}
	return plugins.Evidence{Subject: w.owner.Target().String(), Check: "trust-list", Verdict: plugins.Info, Text: strings.Join(lines, "\n")}
}

func subjects(list []*x509.Certificate) string {
	words := make([]string, len(list))
	for i, c := range list {
		words[i] = fmt.Sprintf("%s (sha256 %.16s...)", certs.Subject(c), certs.Fingerprint(c))
	}
	return strings.Join(words, ", ")
}

// lostWarnings say which CAs new nodes no longer trust.
func (w world) lostWarnings(d decision, candidate []*x509.Certificate) []string {
	if d.choice.Act != tkg.Replace {
		return nil
	}
	var lines []string
	for _, old := range w.entries[d.choice.Index].Certs {
		if !slices.ContainsFunc(candidate, old.Equal) {
			lines = append(lines, fmt.Sprintf("new nodes will no longer trust %s (sha256 %s): registries that it signed must have moved to the new CA",
				certs.Subject(old), certs.Fingerprint(old)))
		}
	}
	return lines
}
