package tkg

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/validation"

	"github.com/tkgfix/tkgfix/plugins"
)

// Ref names a workload cluster in its vSphere Namespace.
type Ref struct{ Namespace, Name string }

// ParseRef reads namespace/name. The error carries a hint.
func ParseRef(s string) (Ref, error) {
	namespace, name, ok := strings.Cut(s, "/")
	if !ok || namespace == "" || name == "" {
		return Ref{}, badRef(s, "it must be namespace/name")
	}
	if why := validation.ValidateNamespaceName(namespace, false); len(why) > 0 {
		return Ref{}, badRef(s, "the namespace "+why[0])
	}
	if why := validation.NameIsDNSSubdomain(name, false); len(why) > 0 {
		return Ref{}, badRef(s, "the name "+why[0])
	}
	return Ref{Namespace: namespace, Name: name}, nil
}

// String returns namespace/name.
func (r Ref) String() string { return r.Namespace + "/" + r.Name }

func badRef(s, why string) error {
	return plugins.Hint(fmt.Errorf("cluster %.80q: %s", s, why), "kubectl get clusters --all-namespaces lists them; write the cluster as namespace/name, such as team-a/dev1")
}
