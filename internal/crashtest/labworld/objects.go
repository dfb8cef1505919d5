package labworld

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/tkgfix/tkgfix/internal/crashtest"
	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/plugins"
)

// clientOf returns a client that says in the audit log that it is not tkgfix.
func clientOf(kubeconfig string) (dynamic.Interface, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read a kubeconfig of the laboratory: %w", err)
	}
	config.UserAgent = "crashtest"
	c, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("set up a connection to the laboratory: %w", err)
	}
	return c, nil
}

// End implements crashtest.Place: what the run's effects were on, and the pods and Machines of every cluster, these by their number.
func (p *Place) End(ctx context.Context, r *engine.Run) ([]string, error) {
	f, err := p.facts()
	if err != nil {
		return nil, err
	}
	clients := map[string]dynamic.Interface{}
	if clients[""], err = clientOf(p.kubeconfig("admin")); err != nil {
		return nil, err
	}
	var out []string
	for _, c := range f.Clusters {
		name := c.Namespace + "/" + c.Name
		if clients[name], err = clientOf(c.Kubeconfig); err != nil {
			return nil, err
		}
		lines, err := pods(ctx, clients[name], name)
		if err != nil {
			return nil, err
		}
		out = append(out, lines...)
		if lines, err = machines(ctx, clients[""], c.Namespace, c.Name); err != nil {
			return nil, err
		}
		out = append(out, lines...)
	}
	for _, e := range r.Effects {
		line, err := p.object(ctx, clients[e.Target.Cluster], e.Target)
		if err != nil {
			return nil, err
		}
		// A Machine's name is another in each place: how many there are is said above, and how many effects there were by the run.
		out = append(out, crashtest.Normal(line))
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// machines counts the Machines of a cluster by role and phase.
func machines(ctx context.Context, c dynamic.Interface, namespace, cluster string) ([]string, error) {
	// v1beta1 is served by the Supervisor of every generation.
	of := schema.GroupVersionResource{Group: "cluster.x-k8s.io", Version: "v1beta1", Resource: "machines"}
	list, err := c.Resource(of).Namespace(namespace).List(ctx, metav1.ListOptions{LabelSelector: "cluster.x-k8s.io/cluster-name=" + cluster})
	if err != nil {
		return nil, fmt.Errorf("list the Machines of %s: %w", cluster, err)
	}
	count := map[string]int{}
	for _, m := range list.Items {
		role := "workers"
		if _, ok := m.GetLabels()["cluster.x-k8s.io/control-plane"]; ok {
			role = "control plane"
		}
		phase, _, _ := unstructured.NestedString(m.Object, "status", "phase")
		count[fmt.Sprintf("machines of %s/%s, %s: %s", namespace, cluster, role, phase)]++
	}
	var out []string
	for what, n := range count {
		out = append(out, fmt.Sprintf("%s: %d", what, n))
	}
	return out, nil
}

// contents says what the keys of a Secret hold: the laboratory's certificates by name, of all else only that there is something.
func (p *Place) contents(u *unstructured.Unstructured) map[string]string {
	data, _, err := unstructured.NestedStringMap(u.Object, "data")
	if err != nil || len(data) == 0 {
		return nil
	}
	out := map[string]string{}
	for key, value := range data {
		out[key] = "something"
		if named := p.Rename(value); strings.HasPrefix(named, "<") {
			out[key] = named
		}
	}
	return out
}

// pods counts the pods of a cluster by namespace and phase.
func pods(ctx context.Context, c dynamic.Interface, cluster string) ([]string, error) {
	list, err := c.Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"}).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list the pods of %s: %w", cluster, err)
	}
	count := map[string]int{}
	for _, pod := range list.Items {
		phase, _, _ := unstructured.NestedString(pod.Object, "status", "phase")
		count[fmt.Sprintf("pods of %s in %s: %s", cluster, pod.GetNamespace(), phase)]++
	}
	var out []string
	for what, n := range count {
		out = append(out, fmt.Sprintf("%s: %d", what, n))
	}
	return out, nil
}

// object says how the target of an effect is now: all but what the API server keeps by itself.
func (p *Place) object(ctx context.Context, c dynamic.Interface, t plugins.Target) (string, error) {
	old := t.UID
	t.UID = ""
	if c == nil {
		return fmt.Sprintf("%s: its cluster is gone", t), nil
	}
	plural, _ := meta.UnsafeGuessKindToResource(schema.GroupVersionKind{Group: t.Group, Version: t.Version, Kind: t.Kind})
	u, err := c.Resource(plural).Namespace(t.Namespace).Get(ctx, t.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return fmt.Sprintf("%s: none", t), nil
	}
	if err != nil {
		return "", fmt.Errorf("look at %s: %w", t, err)
	}
	incarnation := "another than before"
	if old == "" {
		incarnation = "one"
	} else if old == string(u.GetUID()) {
		incarnation = "the same as before"
	}
	kept := map[string]any{"labels": u.GetLabels(), "finalizers": u.GetFinalizers(), "spec": u.Object["spec"]}
	if t.Group == "" && t.Kind == "Secret" {
		kept["data"] = p.contents(u)
	}
	raw, err := json.Marshal(kept)
	if err != nil {
		return "", fmt.Errorf("encode %s: %w", t, err)
	}
	return fmt.Sprintf("%s: %s, %s", t, incarnation, crashtest.NormalJSON([]byte(p.Rename(string(raw))))), nil
}

// certificates returns the laboratory's certificates as documents hold them, each with a name that is the same in each laboratory.
func (p *Place) certificates() ([]string, error) {
	files, err := filepath.Glob(filepath.Join(p.Dir, "ca", "*.pem"))
	if err != nil {
		return nil, err
	}
	var out []string
	for _, path := range files {
		raw, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read a certificate of the laboratory: %w", err)
		}
		name := "<" + filepath.Base(path) + ">"
		for _, text := range []string{string(raw), strings.TrimSpace(string(raw))} {
			once := base64.StdEncoding.EncodeToString([]byte(text))
			quoted, err := json.Marshal(text)
			if err != nil {
				return nil, fmt.Errorf("encode a certificate: %w", err)
			}
			out = append(out, base64.StdEncoding.EncodeToString([]byte(once)), name, once, name, strings.Trim(string(quoted), `"`), name, text, name)
		}
	}
	return out, nil
}

// Rename implements crashtest.Renamer.
func (p *Place) Rename(text string) string {
	text = strings.ReplaceAll(text, p.Dir, "<lab>")
	return p.known.Replace(text)
}

const (
	configuration = "tkg-service-configuration"
	meddled       = "crashtest"
)

// configurations returns the client of TkgServiceConfiguration in the newest version that the Supervisor serves.
func configurations(ctx context.Context, c dynamic.Interface) (dynamic.NamespaceableResourceInterface, error) {
	var client dynamic.NamespaceableResourceInterface
	for _, version := range []string{"v1alpha3", "v1alpha2", "v1alpha1"} {
		client = c.Resource(schema.GroupVersionResource{Group: "run.tanzu.vmware.com", Version: version, Resource: "tkgserviceconfigurations"})
		if _, err := client.Get(ctx, configuration, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			return client, err
		}
	}
	return nil, errors.New("the Supervisor serves no TkgServiceConfiguration")
}

// Meddle gives TkgServiceConfiguration one more CA, a copy of the first under another name.
func (p *Place) Meddle(ctx context.Context) (func(context.Context) error, error) {
	c, err := clientOf(p.kubeconfig("admin"))
	if err != nil {
		return nil, err
	}
	err = changeCAs(ctx, c, func(entries []any) ([]any, error) {
		if len(entries) == 0 {
			return nil, errors.New("the scenario leaves no CA in it to copy")
		}
		first, ok := entries[0].(map[string]any)
		if !ok {
			return nil, errors.New("its first CA has another shape")
		}
		return append(entries, map[string]any{"name": meddled, "data": first["data"]}), nil
	})
	return func(ctx context.Context) error {
		return changeCAs(ctx, c, func(entries []any) ([]any, error) {
			return slices.DeleteFunc(entries, func(e any) bool {
				m, ok := e.(map[string]any)
				return ok && m["name"] == meddled
			}), nil
		})
	}, err
}

func changeCAs(ctx context.Context, c dynamic.Interface, change func([]any) ([]any, error)) error {
	client, err := configurations(ctx, c)
	if err != nil {
		return fmt.Errorf("find TkgServiceConfiguration: %w", err)
	}
	u, err := client.Get(ctx, configuration, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("look at TkgServiceConfiguration: %w", err)
	}
	entries, _, err := unstructured.NestedSlice(u.Object, "spec", "trust", "additionalTrustedCAs")
	if err != nil {
		return fmt.Errorf("read TkgServiceConfiguration: %w", err)
	}
	if entries, err = change(entries); err != nil {
		return fmt.Errorf("change TkgServiceConfiguration: %w", err)
	}
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"trust": map[string]any{"additionalTrustedCAs": entries}}})
	if err != nil {
		return fmt.Errorf("encode a patch: %w", err)
	}
	if _, err := client.Patch(ctx, configuration, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("patch TkgServiceConfiguration: %w", err)
	}
	return nil
}
