// Command deploy is kubectl and helm in one program: what the installation is made and tested with, pinned by this module, so that
// nothing has to be installed. `deploy kubectl kustomize` is kustomize.
package main

import (
	"fmt"
	"os"

	helm "helm.sh/helm/v4/pkg/cmd"
	"helm.sh/helm/v4/pkg/kube"
	"k8s.io/kubectl/pkg/cmd"
)

func main() {
	if len(os.Args) < 2 {
		fail("usage: deploy kubectl|helm ARGUMENTS")
	}
	// Both look for their flags in os.Args, and print their errors themselves.
	os.Args = os.Args[1:]
	switch os.Args[0] {
	case "kubectl":
		if err := cmd.NewDefaultKubectlCommand().Execute(); err != nil {
			os.Exit(1)
		}
	case "helm":
		kube.ManagedFieldsManager = "helm" // as in helm's own main
		c, err := helm.NewRootCmd(os.Stdout, os.Args[1:], helm.SetupLogging)
		if err != nil {
			fail(err)
		}
		if err := c.Execute(); err != nil {
			os.Exit(1)
		}
	default:
		fail("in this program are kubectl and helm, and no ", os.Args[0])
	}
}

func fail(why ...any) {
	fmt.Fprintln(os.Stderr, "error:", fmt.Sprint(why...))
	os.Exit(1)
}
