package tkg

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Who may keep a cluster in the state of a manifest elsewhere, as Managed.By names them.
const (
	ByArgoCD = "argocd"
	ByFlux   = "flux"
	ByTMC    = "tmc"
	ByHelm   = "helm"
	// ByKapp is a kapp application, of the command kapp or of kapp-controller's App.
	ByKapp = "kapp"
)

// Managed says who would put an object back into the state of a manifest that lies elsewhere. The zero value is nobody.
type Managed struct {
	// By is one of the By constants, empty if no mark was found.
	By string `json:"by"`
	// Source names what the manager makes the object from: "Application clusters", "Kustomization flux-system/clusters",
	// "HelmRelease flux-system/clusters", "release clusters in namespace team-a", "cluster group default". The marks name no repository
	// and no path: See is where those are told.
	Source string `json:"source"`
	// Text says it in one sentence without a full stop, with the mark that was found.
	Text string `json:"text"`
	// See is the command that shows the source, empty if none is known.
	See string `json:"-"`
}

// ManagedBy looks for the marks of Argo CD, Flux, Tanzu Mission Control, Helm and kapp on objects, such as a cluster's owner and its Cluster
// (tkg-facts.md §4, GitOps). Of several managers it returns the one that acts of itself, in that order. An option for Argo CD, such as
// argocd.argoproj.io/sync-options, is no mark, nor is app.kubernetes.io/instance, which any chart sets. Objects may be nil.
func ManagedBy(objs ...*unstructured.Unstructured) Managed {
	var found []Managed
	for _, obj := range objs {
		if obj == nil {
			continue
		}
		// Argo CD and Flux put their marks into either map, depending on their settings.
		marks := map[string]string{}
		maps.Copy(marks, obj.GetLabels())
		maps.Copy(marks, obj.GetAnnotations())
		for _, look := range []func(map[string]string) Managed{argoCD, flux, tmc, helm, kapp} {
			if m := look(marks); m.By != "" {
				found = append(found, m)
			}
		}
	}
	for _, by := range []string{ByArgoCD, ByFlux, ByTMC, ByHelm, ByKapp} {
		if i := slices.IndexFunc(found, func(m Managed) bool { return m.By == by }); i >= 0 {
			return found[i]
		}
	}
	return Managed{}
}

// The marks of Argo CD. The tracking id is NAMESPACE_APPLICATION:GROUP/KIND:NAMESPACE/NAME, where NAMESPACE_ is left out for an Application in
// Argo CD's own namespace (https://argo-cd.readthedocs.io/en/stable/user-guide/resource_tracking/).
const (
	argoInstance = "argocd.argoproj.io/instance"
	argoTracking = "argocd.argoproj.io/tracking-id"
)

func argoCD(marks map[string]string) Managed {
	key, value := argoTracking, marks[argoTracking]
	if value == "" {
		key, value = argoInstance, marks[argoInstance]
	}
	if value == "" {
		return Managed{}
	}
	app, _, _ := strings.Cut(value, ":")
	namespace, name, two := strings.Cut(app, "_")
	if !two {
		namespace, name = "", app
	}
	m := managed(ByArgoCD, "Application "+joined(namespace, name), "Argo CD", key, value)
	if word(name) && (namespace == "" || word(namespace)) {
		m.See = "argocd app get " + joined(namespace, name)
	}
	return m
}

func flux(marks map[string]string) Managed {
	for _, k := range []struct{ domain, kind string }{
		{"kustomize.toolkit.fluxcd.io", "Kustomization"}, {"helm.toolkit.fluxcd.io", "HelmRelease"},
	} {
		key := k.domain + "/name"
		name, namespace := marks[key], marks[k.domain+"/namespace"]
		if name == "" {
			continue
		}
		m := managed(ByFlux, k.kind+" "+joined(namespace, name), "Flux", key, name)
		if word(name) && word(namespace) {
			m.See = fmt.Sprintf("kubectl get %ss.%s %s -n %s -o jsonpath='{.spec}'", strings.ToLower(k.kind), k.domain, name, namespace)
		}
		return m
	}
	return Managed{}
}

// The marks of Tanzu Mission Control: on a Cluster that it made or that was put under its management these annotations (VMware's scripts
// that take a cluster out of it remove them), and labels and annotations of its own domain on what it makes. A cluster that is only
// registered (tmc-already-attached, agent-uid) is not put back by it.
const (
	tmcDomain = "tmc.cloud.vmware.com"
	tmcPrefix = "run.tanzu.vmware.com/vmware-system-tmc-"
	tmcGroup  = tmcPrefix + "cluster-group"
)

func tmc(marks map[string]string) Managed {
	for _, key := range slices.Sorted(maps.Keys(marks)) {
		domain, _, _ := strings.Cut(key, "/")
		mine := domain == tmcDomain || strings.HasSuffix(domain, "."+tmcDomain) || key == tmcPrefix+"managed" || key == tmcPrefix+"applied"
		if !mine || strings.EqualFold(marks[key], "false") {
			continue
		}
		source := "its own definition of the cluster"
		if group := marks[tmcGroup]; group != "" {
			source = "cluster group " + short(group)
		}
		return managed(ByTMC, source, "Tanzu Mission Control", key, marks[key])
	}
	return Managed{}
}

func helm(marks map[string]string) Managed {
	const release, by = "meta.helm.sh/release-name", "app.kubernetes.io/managed-by"
	name, namespace := marks[release], marks["meta.helm.sh/release-namespace"]
	switch {
	case name != "":
		source := "release " + short(name)
		if namespace != "" {
			source += " in namespace " + short(namespace)
		}
		m := managed(ByHelm, source, "Helm", release, name)
		if word(name) && word(namespace) {
			m.See = fmt.Sprintf("helm get values %s -n %s", name, namespace)
		}
		return m
	case strings.EqualFold(marks[by], "helm"):
		m := managed(ByHelm, "a release that the marks do not name", "Helm", by, marks[by])
		m.See = "helm list --all-namespaces"
		return m
	}
	return Managed{}
}

func kapp(marks map[string]string) Managed {
	const key = "kapp.k14s.io/app"
	if marks[key] == "" {
		return Managed{}
	}
	m := managed(ByKapp, "application "+short(marks[key]), "kapp", key, marks[key])
	m.See = "kapp list --all-namespaces; kubectl get apps.kappctrl.k14s.io --all-namespaces"
	return m
}

func managed(by, source, who, key, value string) Managed {
	return Managed{By: by, Source: source, Text: fmt.Sprintf("%s keeps it as its source says: %s (%s: %s)", who, source, key, short(value))}
}

func joined(namespace, name string) string {
	if namespace == "" {
		return short(name)
	}
	return short(namespace) + "/" + short(name)
}

var words = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`)

// word tells whether s may stand in a command that a person is told to type.
func word(s string) bool { return len(s) <= 253 && words.MatchString(s) }

// maxMark bounds what is quoted of a mark, which anybody can write who may edit the object.
const maxMark = 120

// short makes a mark's value fit to be quoted in one line.
func short(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > maxMark {
		s = string(r[:maxMark]) + "..."
	}
	return s
}

// pausedAnnotation stops the Cluster API's controllers, as spec.paused does.
const pausedAnnotation = "cluster.x-k8s.io/paused"

// Paused tells whether an object is taken out of its controllers' hands, by spec.paused or the annotation cluster.x-k8s.io/paused, whose
// value does not count: what is asked of it is not done until somebody lets it go on, a deletion included (tkg-facts.md §4). Nil is not.
func Paused(obj *unstructured.Unstructured) bool {
	if obj == nil {
		return false
	}
	if _, ok := obj.GetAnnotations()[pausedAnnotation]; ok {
		return true
	}
	paused, _, _ := unstructured.NestedBool(obj.Object, "spec", "paused")
	return paused
}
