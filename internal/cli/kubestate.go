package cli

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/plugins"
)

// kubeState is the namespace of a cluster in which a controller keeps runs, as --state kube:[CONTEXT/]NAMESPACE names it.
type kubeState struct {
	// Context is the kubeconfig's, empty for its current one.
	Context, Namespace string
}

const kubeStateHint = "--state kube:NAMESPACE, or kube:CONTEXT/NAMESPACE"

// parseKubeState reads the value of --state. It returns false for a folder. A context may hold slashes, a namespace holds none.
func parseKubeState(s string) (kubeState, bool, error) {
	rest, ok := strings.CutPrefix(s, "kube:")
	if !ok {
		return kubeState{}, false, nil
	}
	at := kubeState{Namespace: rest}
	if i := strings.LastIndex(rest, "/"); i >= 0 {
		at = kubeState{Context: rest[:i], Namespace: rest[i+1:]}
		if at.Context == "" {
			return kubeState{}, true, plugins.Hint(fmt.Errorf("--state %s names no context before the /", s), kubeStateHint)
		}
	}
	if problems := validation.IsDNS1123Label(at.Namespace); len(problems) > 0 {
		return kubeState{}, true, plugins.Hint(fmt.Errorf("--state %s names no namespace: %s", s, problems[0]), kubeStateHint)
	}
	return at, true, nil
}

// client returns a client with the user's own login: the kubeconfig that kubectl would take.
func (s kubeState) client() (*kube.Client, error) {
	path, err := kubeconfig("")
	if err != nil {
		return nil, err
	}
	return kube.New(plugins.Kube{Kubeconfig: path, Context: s.Context})
}

// kubectl returns a kubectl command line about the namespace that can be pasted.
func (s kubeState) kubectl(format string, args ...any) string {
	line := "kubectl "
	if s.Context != "" {
		line += "--context " + s.Context + " "
	}
	return line + fmt.Sprintf(format, args...) + " -n " + s.Namespace
}

// inCluster returns the namespace that --state names, and false if it names a folder.
func inCluster(c *cli.Context) (kubeState, bool, error) { return parseKubeState(c.String("state")) }
