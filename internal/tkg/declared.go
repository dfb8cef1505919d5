package tkg

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/plugins"
)

// ServiceKind is the kind of the object that declares trust for all clusters (tkg-facts.md §1.1).
const ServiceKind = "TkgServiceConfiguration"

const (
	servicePath = "spec.trust.additionalTrustedCAs"
	clusterPath = "spec.settings.network.trust.additionalTrustedCAs"
)

// The bounds of what a cluster declares: an object of the API holds 1.5 MiB, which is tens of thousands of names.
const (
	maxDeclared = 1000
	maxSecrets  = 100
)

// Absent says why there is no value to judge where a CA is declared.
type Absent string

// The reasons for which there is no value.
const (
	// AbsentSecret is a Secret that does not exist, AbsentKey a key that it does not have: nodes that need it do not come up.
	AbsentSecret Absent = "no-secret"
	AbsentKey    Absent = "no-key"
	// AbsentUnread is a Secret that this login may not read.
	AbsentUnread Absent = "unread"
)

// Declared is one CA that is declared for a cluster.
type Declared struct {
	// Where is the kind and name of the object that holds the value, for people.
	Where string
	// Path is the field of that object that holds it.
	Path string
	// NamedBy is the field of the Cluster that names the Secret's key; empty for a value that stands in the object itself.
	NamedBy string
	// Name is the name of the entry, or the Secret's key; empty for a value that stands in osConfiguration.
	Name string
	// Secret is the name of the Secret that holds it, in the cluster's namespace; empty if none does.
	Secret string
	// Data is the value as kubectl shows it. It may hold what should not be there, such as a private key.
	Data string
	// Layers is how many layers of base64 the value wants (tkg-facts.md §1.0).
	Layers int
	// Absent is why Data is not known, empty if it is.
	Absent Absent
	// Way is that by which the cluster names it; empty for an entry of TkgServiceConfiguration.
	Way Way
	// Conflicting says that the sources differ on whether it reaches this cluster at all: it is for information and no fault of the cluster's.
	Conflicting bool
	// Change is when it was last changed: the value or, if later, what names it.
	Change Change
	// Seen is whether this cluster can have got it, and Why the reason, for people.
	Seen Seen
	Why  string
}

// Service reports that it is declared for all clusters, in TkgServiceConfiguration.
func (d Declared) Service() bool { return d.Way == "" }

// FileName returns the name that stands in /etc/ssl/certs/tkg-NAME.pem on a node; ok is false where it is not established by what the file is
// called, which is so of osConfiguration (tkg-facts.md §10).
func (d Declared) FileName() (name string, ok bool) {
	return d.Name, d.Way != WayOSConfiguration && ValidTrustName(d.Name)
}

// ReadTrust returns the CAs that are declared for a cluster, in every place: TkgServiceConfiguration first, then the cluster's own, whose
// values may lie in Secrets. warnings say what could not be read; that this login may not read something is one of them and no error.
// More than a thousand CAs and what has not the shape of an entry are errors. It blocks on the network.
func ReadTrust(ctx context.Context, c *kube.Client, owner Owner) (declared []Declared, warnings []string, err error) {
	own, warnings, err := readOwn(ctx, c, owner)
	if err != nil {
		return nil, nil, plugins.Hint(fmt.Errorf("%s %s: %w", owner.Kind, owner.Ref(), err),
			"see what is declared: kubectl get %s %s -n %s -o yaml", owner.Resource(), owner.Ref().Name, owner.Ref().Namespace)
	}
	service, note, err := readService(ctx, c, owner)
	if err != nil {
		return nil, nil, err
	}
	if note != "" {
		warnings = append(warnings, note)
	}
	machines, note, err := readMachines(ctx, c, owner.Ref())
	if err != nil {
		return nil, nil, err
	}
	if note != "" {
		warnings = append(warnings, note)
	}
	fleet := fleet{owner: owner, machines: machines, ownList: len(own) > 0}
	declared = append(service, own...)
	for i := range declared {
		declared[i].Seen, declared[i].Why = fleet.seen(declared[i])
	}
	return declared, warnings, nil
}

// readService reads TkgServiceConfiguration, which not everybody may (tkg-facts.md §5).
func readService(ctx context.Context, c *kube.Client, owner Owner) (declared []Declared, note string, err error) {
	const only = ": only the cluster's own trust is known"
	kind, err := c.Resource(ctx, RunGroup, ServiceKind)
	if errors.Is(err, kube.ErrNotServed) {
		return nil, "the Supervisor serves no TkgServiceConfiguration" + only, nil
	}
	if err != nil {
		return nil, "", err
	}
	obj, err := c.Get(ctx, kind, "", ServiceConfigurationName)
	switch {
	case apierrors.IsForbidden(err):
		return nil, "you may not read TkgServiceConfiguration, which needs the rights of a vSphere administrator" + only, nil
	case apierrors.IsNotFound(err):
		return nil, "there is no TkgServiceConfiguration " + ServiceConfigurationName + only, nil
	case err != nil:
		return nil, "", err
	}
	entries, err := ServiceTrust(obj)
	if err == nil {
		err = bounded(len(entries))
	}
	conflicting := owner.Way != WayTKC
	if err != nil && conflicting { // it may not concern this cluster at all
		return nil, fmt.Sprintf("what TkgServiceConfiguration declares cannot be read: %v", err), nil
	}
	if err != nil {
		return nil, "", err
	}
	change := ofList(ServiceTrustChanged(obj), len(entries), obj)
	declared = listed(ServiceKind+" "+ServiceConfigurationName, servicePath, entries, change)
	for i := range declared {
		declared[i].Conflicting = conflicting
	}
	return declared, "", nil
}

// ofList returns the span for an entry of a list of n: when a list of several was changed is not when each of them was.
func ofList(c Change, n int, obj *unstructured.Unstructured) Change {
	if n > 1 {
		c.After = obj.GetCreationTimestamp().UTC()
	}
	return c
}

// listed returns the entries of a list that wants base64 once.
func listed(where, path string, entries []TrustEntry, change Change) []Declared {
	out := make([]Declared, 0, len(entries))
	for i, e := range entries {
		out = append(out, Declared{
			Where: where, Path: fmt.Sprintf("%s[%d].data", path, i), Name: e.Name, Data: e.Data, Layers: LayersService, Change: change,
		})
	}
	return out
}

func bounded(n int) error {
	if n > maxDeclared {
		return fmt.Errorf("%d CAs are declared: %d are the most that are read", n, maxDeclared)
	}
	return nil
}

// readOwn reads the cluster's own trust.
func readOwn(ctx context.Context, c *kube.Client, owner Owner) ([]Declared, []string, error) {
	if owner.Way != WayTKC {
		return readClass(ctx, c, owner)
	}
	entries, err := ClusterTrust(owner.Object)
	if err == nil {
		err = bounded(len(entries))
	}
	if err != nil {
		return nil, nil, err
	}
	change := ofList(ClusterTrustChanged(owner.Object), len(entries), owner.Object)
	out := listed(owner.Kind+" "+owner.Ref().String(), clusterPath, entries, change)
	for i := range out {
		out[i].Way = WayTKC
	}
	return out, nil, nil
}

// readClass reads what the variables of a Cluster name.
func readClass(ctx context.Context, c *kube.Client, owner Owner) ([]Declared, []string, error) {
	entries, err := ClusterClassTrust(owner.Object)
	if err == nil {
		err = bounded(len(entries))
	}
	if err != nil {
		return nil, nil, err
	}
	secrets := secretReader{c: c, namespace: owner.Ref().Namespace, held: map[string]held{}}
	var out []Declared
	for _, e := range entries {
		d := Declared{
			Where: ClusterKind + " " + owner.Ref().String(), Path: e.Path, Name: e.Key, Secret: e.Secret, Data: e.Data, Layers: e.Layers, Way: e.Way,
			Change: ofList(variableChange(owner.Object, e.Way), len(entries), owner.Object),
		}
		if d.Secret != "" {
			if err := secrets.fill(ctx, &d); err != nil {
				return nil, nil, err
			}
		}
		out = append(out, d)
	}
	return out, secrets.warnings, nil
}

// variableChange returns when the variable by which a Cluster declares trust was changed; osConfiguration holds other things too.
func variableChange(cluster *unstructured.Unstructured, way Way) Change {
	if way == WayOSConfiguration {
		return VariableChanged(cluster, osVariable, trustVariable)
	}
	return VariableChanged(cluster, trustVariable)
}

// secretReader reads each Secret once and keeps it while a cluster's trust is read.
type secretReader struct {
	c         *kube.Client
	namespace string
	held      map[string]held
	warnings  []string
}

// held is a Secret, or why it is not known.
type held struct {
	object *unstructured.Unstructured
	absent Absent
}

// fill puts the value of a Secret's key into d.
func (r *secretReader) fill(ctx context.Context, d *Declared) error {
	d.Where, d.NamedBy, d.Path = "Secret "+r.namespace+"/"+d.Secret, d.Path, "data."+d.Name
	h, known := r.held[d.Secret]
	if !known {
		var err error
		if h, err = r.read(ctx, d.Secret); err != nil {
			return err
		}
		r.held[d.Secret] = h
	}
	if d.Absent = h.absent; h.object == nil {
		return nil
	}
	value, ok, _ := unstructured.NestedString(h.object.Object, "data", d.Name)
	if !ok {
		d.Absent = AbsentKey
		return nil
	}
	d.Data = value
	d.Change = d.Change.and(SecretKeyChanged(h.object, d.Name))
	return nil
}

func (r *secretReader) read(ctx context.Context, name string) (held, error) {
	if len(validation.NameIsDNSSubdomain(name, false)) > 0 { // such as ../x, which no Secret is called
		return held{absent: AbsentSecret}, nil
	}
	if len(r.held) == maxSecrets {
		r.warnings = append(r.warnings, fmt.Sprintf("the cluster names more than %d Secrets: the rest was not read", maxSecrets))
	}
	if len(r.held) >= maxSecrets {
		return held{absent: AbsentUnread}, nil
	}
	obj, err := get(ctx, r.c, "", "Secret", Ref{Namespace: r.namespace, Name: name})
	switch {
	case apierrors.IsNotFound(err):
		return held{absent: AbsentSecret}, nil
	case apierrors.IsForbidden(err):
		return held{absent: AbsentUnread}, nil
	case err != nil:
		return held{}, err
	}
	return held{object: obj}, nil
}
