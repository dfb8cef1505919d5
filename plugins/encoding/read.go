package encoding

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/internal/tkg"
)

const (
	serviceKind = "TkgServiceConfiguration"
	servicePath = "spec.trust.additionalTrustedCAs"
	clusterPath = "spec.settings.network.trust.additionalTrustedCAs"
)

// read returns the places that hold CAs for the cluster, those of the Supervisor first, and warnings about what could not be read.
func read(ctx context.Context, c *kube.Client, ref tkg.Ref) ([]slot, []string, error) {
	owner, err := tkg.FindOwner(ctx, c, ref)
	if err != nil {
		return nil, nil, err
	}
	if owner.Way != tkg.WayTKC {
		return readClass(ctx, c, owner)
	}
	own, err := tkg.ClusterTrust(owner.Object)
	if err != nil {
		return nil, nil, err
	}
	cluster := slotsOf(owner.Kind+" "+ref.String(), clusterPath, own)
	for i := range cluster {
		cluster[i].twoByOldPages = true
	}
	service, warning, err := readService(ctx, c)
	switch {
	case err != nil:
		return nil, nil, err
	case warning != "":
		return cluster, []string{warning}, nil
	}
	return append(service, cluster...), nil, nil
}

// slotsOf returns the places of a list that wants base64 once.
func slotsOf(where, path string, entries []tkg.TrustEntry) []slot {
	out := make([]slot, 0, len(entries))
	for i, e := range entries {
		out = append(out, slot{where: where, path: fmt.Sprintf("%s[%d].data", path, i), TrustEntry: e, layers: tkg.LayersService})
	}
	return out
}

func readService(ctx context.Context, c *kube.Client) ([]slot, string, error) {
	kind, err := c.Resource(ctx, tkg.RunGroup, serviceKind)
	if errors.Is(err, kube.ErrNotServed) {
		return nil, "the Supervisor serves no TkgServiceConfiguration: only the cluster's own trust is judged", nil
	}
	if err != nil {
		return nil, "", err
	}
	obj, err := c.Get(ctx, kind, "", tkg.ServiceConfigurationName)
	switch {
	case apierrors.IsForbidden(err):
		return nil, "you may not read TkgServiceConfiguration, which needs the rights of a vSphere administrator: only the cluster's own trust is judged", nil
	case apierrors.IsNotFound(err):
		return nil, "there is no TkgServiceConfiguration " + tkg.ServiceConfigurationName + ": only the cluster's own trust is judged", nil
	case err != nil:
		return nil, "", err
	}
	entries, err := tkg.ServiceTrust(obj)
	if err != nil {
		return nil, "", err
	}
	return slotsOf(serviceKind+" "+tkg.ServiceConfigurationName, servicePath, entries), "", nil
}

// readClass returns the places of a Cluster with a class. TkgServiceConfiguration is none of them: by the vendor's page it does not apply
// to such a Cluster (tkg-facts.md §1.3, where one field report says otherwise).
func readClass(ctx context.Context, c *kube.Client, owner tkg.Owner) ([]slot, []string, error) {
	ref := owner.Ref()
	declared, err := tkg.ClusterClassTrust(owner.Object)
	if err != nil {
		return nil, nil, fmt.Errorf("Cluster %s: %w", ref, err)
	}
	secrets, err := readSecrets(ctx, c, ref, declared)
	if err != nil {
		return nil, nil, err
	}
	notes := []string{"the Cluster has a class: TkgServiceConfiguration does not apply to it and is not judged"}
	return classSlots(ref, declared, secrets), notes, nil
}

// secretData is what a Secret holds, as kubectl shows it, or why it is not known.
type secretData struct {
	values map[string]any
	absent string
}

func readSecrets(ctx context.Context, c *kube.Client, ref tkg.Ref, declared []tkg.ClassTrust) (map[string]secretData, error) {
	kind, err := c.Resource(ctx, "", "Secret")
	if err != nil {
		return nil, err
	}
	out := map[string]secretData{}
	for _, d := range declared {
		if _, known := out[d.Secret]; known || d.Secret == "" {
			continue
		}
		if len(validation.NameIsDNSSubdomain(d.Secret, false)) > 0 { // such as ../x, which no Secret is called
			out[d.Secret] = secretData{absent: formNoSecret}
			continue
		}
		obj, err := c.Get(ctx, kind, ref.Namespace, d.Secret)
		switch {
		case apierrors.IsNotFound(err):
			out[d.Secret] = secretData{absent: formNoSecret}
		case apierrors.IsForbidden(err):
			out[d.Secret] = secretData{absent: formUnread}
		case err != nil:
			return nil, err
		default:
			values, _, _ := unstructured.NestedMap(obj.Object, "data")
			out[d.Secret] = secretData{values: values}
		}
	}
	return out, nil
}

func classSlots(ref tkg.Ref, declared []tkg.ClassTrust, secrets map[string]secretData) []slot {
	var out []slot
	for _, d := range declared {
		s := slot{where: "Cluster " + ref.String(), path: d.Path, layers: d.Layers}
		s.Name, s.Data = d.Key, d.Data
		if d.Secret != "" {
			s.where = "Secret " + ref.Namespace + "/" + d.Secret
			s.path = "data." + d.Key
			held := secrets[d.Secret]
			value, ok := held.values[d.Key].(string)
			s.Data, s.absent = value, held.absent
			if s.absent == "" && !ok {
				s.absent = formNoKey
			}
		}
		out = append(out, s)
	}
	return out
}
