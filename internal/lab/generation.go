package lab

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"

	"github.com/tkgfix/tkgfix/internal/lab/service"
)

// DefaultGeneration is the generation of TKG that a laboratory has if nobody says another.
const DefaultGeneration = string(service.V1alpha3)

// Generations returns the names of the generations of TKG, the oldest first.
func Generations() []string {
	var out []string
	for _, g := range service.Generations() {
		out = append(out, string(g))
	}
	return out
}

// CheckGeneration says what would have been right if there is no such generation.
func CheckGeneration(name string) error {
	if !service.Generation(name).Known() {
		return fmt.Errorf("no generation %q, there are: %s", name, strings.Join(Generations(), ", "))
	}
	return nil
}

// inGeneration says why the scenario makes no sense for clusters of the generation; nil if it does.
func (s Scenario) inGeneration(g service.Generation) error {
	if !g.Classes() {
		return nil
	}
	why := ""
	names := map[string]bool{}
	for _, e := range append(append([]entry(nil), s.trust...), s.own...) {
		switch {
		case e.as != once && e.as != wrong:
			why = "it is about the text of TkgServiceConfiguration, which does not reach Clusters"
		case names[e.name]:
			why = "a Secret has each key once"
		}
		names[e.name] = true
	}
	if why != "" {
		return fmt.Errorf("scenario %s cannot be planted with generation %s: %s", s.Name, g, why)
	}
	return nil
}

func (d *daemon) blueprint() blueprint { return blueprint{d.opts.Generation} }

// declared is what a Cluster of a class declares for the scenario: all goes into its own trust, since TkgServiceConfiguration does not reach
// it (tkg-facts.md §1.3). What is to be corrected later has a wrong CA first, so that the correction is one of the Secret's bytes.
func (s Scenario) declared() []entry {
	out := append(append([]entry(nil), s.trust...), s.own...)
	if len(out) == 0 && s.later != nil {
		out = of("old-root")
	}
	return out
}

// wedges says whether nodes that are made with the declared trust never join.
func (s Scenario) wedges() bool {
	for _, e := range s.declared() {
		if e.as != once {
			return true
		}
	}
	return false
}

// makeCluster makes the cluster, or its nodes anew, with the trust of the scenario and returns when that is carried out. made names the
// making. A trust with which no node can join is planted as it happens in the field: as an edit of a cluster that runs; then it returns
// when the first new node hangs.
func (d *daemon) makeCluster(ctx context.Context, name, made string, as Scenario) error {
	b := d.blueprint()
	if !b.generation.Classes() {
		own, err := trustList(d.pki, d.earlier, as.own)
		if err != nil {
			return err
		}
		return d.replaceNodes(ctx, b.tkc(name, made, own), made)
	}
	data, err := secretList(d.pki, d.earlier, as.declared())
	if err != nil {
		return err
	}
	if as.wedges() {
		if err := d.replaceNodes(ctx, b.cluster(name, nil), made); err != nil {
			return err
		}
	}
	if err := d.putTrustSecret(ctx, name, data); err != nil {
		return err
	}
	want := b.cluster(name, keysOf(data))
	if !as.wedges() {
		return d.replaceNodes(ctx, want, made)
	}
	live, err := d.put(ctx, b.owners(), want)
	if err != nil {
		return err
	}
	return d.wait(ctx, name, func() bool { return d.service.Hanging(live.GetUID()) })
}

// putTrustSecret writes the Secret that a cluster's trust names; there is none if there is nothing to trust.
func (d *daemon) putTrustSecret(ctx context.Context, cluster string, data map[string]string) error {
	secrets := schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	if len(data) > 0 {
		_, err := d.put(ctx, secrets, trustSecret(cluster, data))
		return err
	}
	client, err := dynamic.NewForConfig(d.config)
	if err != nil {
		return fmt.Errorf("making a client of the Supervisor: %w", err)
	}
	err = client.Resource(secrets).Namespace(namespace).Delete(ctx, cluster+trustSecretSuffix, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting the trust of cluster %s: %w", cluster, err)
	}
	return nil
}

// replaceNodes puts the owner and returns when all of its nodes are new. They are replaced at once: an annotation says so for the time of
// the planting.
func (d *daemon) replaceNodes(ctx context.Context, want *unstructured.Unstructured, made string) error {
	want.SetAnnotations(map[string]string{service.PlantingAnnotation: made})
	live, err := d.put(ctx, d.blueprint().owners(), want)
	if err != nil {
		return err
	}
	err = d.wait(ctx, want.GetName(), func() bool { return d.service.Settled(live.GetUID(), live.GetGeneration(), made) })
	if err != nil {
		return err
	}
	client, err := dynamic.NewForConfig(d.config)
	if err != nil {
		return fmt.Errorf("making a client of the Supervisor: %w", err)
	}
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:null}}}`, service.PlantingAnnotation)
	_, err = client.Resource(d.blueprint().owners()).Namespace(namespace).Patch(ctx, want.GetName(), types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("ending the planting of cluster %s: %w", want.GetName(), err)
	}
	return nil
}

// wait returns when the service has done something with a cluster.
func (d *daemon) wait(ctx context.Context, cluster string, done func() bool) error {
	err := wait.PollUntilContextTimeout(ctx, settledEvery, stateTimeout, true, func(context.Context) (bool, error) { return done(), nil })
	if err != nil {
		return fmt.Errorf("waiting for cluster %s: %w", cluster, err)
	}
	return nil
}

// declareLater corrects what is declared after the nodes were made, in a way that replaces none: TkgServiceConfiguration, and for Clusters
// the bytes of the Secret (tkg-facts.md §2).
func (d *daemon) declareLater(ctx context.Context, to Scenario) error {
	if to.later == nil {
		return nil
	}
	if !d.opts.Generation.Classes() {
		return d.configure(ctx, to.later)
	}
	data, err := secretList(d.pki, d.earlier, to.later)
	if err != nil {
		return err
	}
	return d.putTrustSecret(ctx, sick, data)
}
