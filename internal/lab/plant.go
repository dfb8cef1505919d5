package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"

	"github.com/tkgfix/tkgfix/internal/lab/guest"
)

const (
	namespace = "team-a"
	sick      = "dev1"
	healthy   = "dev2"
	// rootEntry is the name under which the registry's root is configured where it is.
	rootEntry = "corp-root"
	// configurationName is that of the one TkgServiceConfiguration that counts (tkg-facts.md §1.1).
	configurationName = "tkg-service-configuration"
)

// plant goes to another scenario and returns when it shows. Whatever was there before, even half of it, is cleared first.
func (d *daemon) plant(ctx context.Context, to Scenario) error {
	d.setScenario(to, Planting)
	if err := d.clear(ctx); err != nil {
		return fmt.Errorf("clearing what was there: %w", err)
	}
	if err := d.makeNodes(ctx, to); err != nil {
		return fmt.Errorf("planting %s: %w", to.Name, err)
	}
	if err := d.show(ctx, to); err != nil {
		return fmt.Errorf("planting %s: %w", to.Name, err)
	}
	d.setScenario(to, Ready)
	return nil
}

// clear takes away what earlier scenarios left besides nodes and configuration.
func (d *daemon) clear(ctx context.Context) error {
	if err := d.clearFaults(ctx); err != nil {
		return err
	}
	if err := d.clearVSpherePods(ctx); err != nil {
		return err
	}
	config, err := d.guestConfig(sick)
	if err != nil {
		return nil //nolint:nilerr // there is no dev1 to clear
	}
	if err := clearPackages(ctx, config); err != nil {
		return err
	}
	return clearWorkload(ctx, config)
}

// makeNodes writes the configuration and makes dev1's nodes for the scenario: the cluster itself if there is none, else new nodes.
func (d *daemon) makeNodes(ctx context.Context, to Scenario) error {
	if err := d.configure(ctx, to.trust); err != nil {
		return err
	}
	d.planted++
	if err := d.makeCluster(ctx, sick, fmt.Sprintf("%s-%d", to.Name, d.planted), to); err != nil {
		return err
	}
	d.say("cluster %s/%s is ready", namespace, sick)
	return nil
}

// show lets the servers misbehave, does on the nodes what is done by hand, applies the workload and waits until it shows the fault.
func (d *daemon) show(ctx context.Context, to Scenario) error {
	if err := d.servers.serve(ctx, to.server); err != nil {
		return err
	}
	if to.hand != "" {
		cluster, ok := d.service.Cluster(types.NamespacedName{Namespace: namespace, Name: sick})
		if !ok {
			return fmt.Errorf("cluster %s is ready and unknown", sick)
		}
		if err := cluster.Run(ctx, d.handWords().Replace(to.hand)); err != nil {
			return err
		}
	}
	if err := d.declareLater(ctx, to); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(d.opts.Dir, "workload.yaml"), workloadYAML(to.imageOrOwn(), to.replicas()), 0o644); err != nil {
		return fmt.Errorf("writing the workload: %w", err)
	}
	config, err := d.guestConfig(sick)
	if err != nil {
		return err
	}
	if to.kapp {
		if err := d.addPackage(ctx, config); err != nil {
			return err
		}
	}
	if to.supervisor {
		if err := d.vspherePods(ctx); err != nil {
			return err
		}
	}
	return d.populate(ctx, sick, to)
}

// handWords replaces the words in braces of what is done by hand.
func (d *daemon) handWords() *strings.Replacer {
	return strings.NewReplacer("{root}", string(d.pki.Root.PEM()), "{registry}", registryName(), "{mirror}", mirrorName(), "{proxy}", "http://"+proxyHost+":"+proxyPort)
}

// configure writes the trust of TkgServiceConfiguration.
func (d *daemon) configure(ctx context.Context, entries []entry) error {
	list, err := trustList(d.pki, d.earlier, besides(entries))
	if err != nil {
		return err
	}
	_, err = d.put(ctx, d.blueprint().configurations(), d.blueprint().serviceConfiguration(list))
	return err
}

// put makes the object, or gives the one that is there what it wants: its spec, of a Cluster its topology, of a Secret its data, and its
// annotations. One that is being deleted is waited for.
func (d *daemon) put(ctx context.Context, r schema.GroupVersionResource, want *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	client, err := dynamic.NewForConfig(d.config)
	if err != nil {
		return nil, fmt.Errorf("making a client of the Supervisor: %w", err)
	}
	objects := client.Resource(r).Namespace(want.GetNamespace())
	var put *unstructured.Unstructured
	err = retry.OnError(retry.DefaultBackoff, apierrors.IsConflict, func() error {
		live, err := objects.Get(ctx, want.GetName(), metav1.GetOptions{})
		if err == nil && live.GetDeletionTimestamp() != nil {
			err = waitGone(ctx, objects, want.GetName())
			if err == nil {
				err = apierrors.NewNotFound(r.GroupResource(), want.GetName())
			}
		}
		if apierrors.IsNotFound(err) {
			put, err = objects.Create(ctx, want, metav1.CreateOptions{})
			return err
		}
		if err != nil {
			return err
		}
		give(live, want)
		put, err = objects.Update(ctx, live, metav1.UpdateOptions{})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("writing %s %s: %w", want.GetKind(), want.GetName(), err)
	}
	return put, nil
}

// give changes an object to what is wanted of it and leaves what others have written into it.
func give(live, want *unstructured.Unstructured) {
	topology, isCluster, _ := unstructured.NestedMap(want.Object, "spec", "topology")
	switch {
	case want.GetKind() == "Secret":
		delete(live.Object, "data")
		live.Object["stringData"] = want.Object["stringData"]
	case want.GetKind() == "Cluster" && isCluster:
		_ = unstructured.SetNestedMap(live.Object, topology, "spec", "topology")
	default:
		live.Object["spec"] = want.Object["spec"]
	}
	annotations := live.GetAnnotations()
	for key, value := range want.GetAnnotations() {
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[key] = value
	}
	live.SetAnnotations(annotations)
}

func waitGone(ctx context.Context, objects dynamic.ResourceInterface, name string) error {
	return wait.PollUntilContextTimeout(ctx, stateEvery, stateTimeout, true, func(ctx context.Context) (bool, error) {
		_, err := objects.Get(ctx, name, metav1.GetOptions{})
		return apierrors.IsNotFound(err), nil
	})
}

// guestConfig is a client configuration for a workload cluster. The error says that there is none.
func (d *daemon) guestConfig(name string) (*rest.Config, error) {
	cluster, ok := d.service.Cluster(types.NamespacedName{Namespace: namespace, Name: name})
	if !ok {
		return nil, fmt.Errorf("there is no cluster %s", name)
	}
	kubeconfig, err := cluster.Kubeconfig()
	if err != nil {
		return nil, err
	}
	return guestConfig(kubeconfig)
}

// profile is of what kind the nodes of a cluster are that are made now.
func (d *daemon) profile(ref types.NamespacedName) guest.Profile {
	d.mu.Lock()
	defer d.mu.Unlock()
	if ref.Name == sick {
		return d.current.nodes
	}
	return guest.Profile{}
}
