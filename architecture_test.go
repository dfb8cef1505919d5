package tkgfix_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/tkgfix/tkgfix"

// rules says, for a folder and all below it, what it must never import, however indirectly. Tests are left out.
func rules() []rule {
	const (
		grpc       = "google.golang.org/grpc"
		kubernetes = "k8s.io/client-go"
		goplugin   = "github.com/hashicorp/go-plugin"
		urfave     = "github.com/urfave/cli/v2"
		// What is behind the API by which spans are made.
		tracing   = "go.opentelemetry.io/otel/sdk"
		exporting = "go.opentelemetry.io/otel/exporters"
	)
	ours := func(names ...string) []string {
		var out []string
		for _, n := range names {
			out = append(out, module+"/"+n)
		}
		return out
	}
	return []rule{
		{"workflow", "the language knows nothing of ours", ours("plugins", "internal")},
		{"internal/approval", "policy is pure", append(ours("internal/engine", "internal/plan", "internal/state"), grpc, kubernetes)},
		{"internal/state", "a journal knows no run", append(ours("internal/engine", "internal/plan", "workflow", "plugins"), grpc)},
		{"internal/state !internal/state/kube", "one medium alone knows Kubernetes", append(ours("internal/kube"), kubernetes)},
		{"internal/plan", "a plan knows no engine and no way to a cluster", append(ours("internal/engine", "internal/state", "internal/kube", "internal/cli"), grpc, goplugin, kubernetes, urfave)},
		{"internal/diagnosis", "a diagnosis makes no run, and reaches clusters by its steps alone", append(ours("internal/engine", "internal/state", "internal/kube", "internal/cli"), grpc, kubernetes, urfave)},
		{"internal/engine", "the engine knows no medium, no gRPC, no Kubernetes, no command line, and not where its traces go",
			append(ours("internal/state/file", "internal/state/mem", "internal/state/kube", "internal/kube", "internal/ui", "internal/cli", "internal/pluginhost", "internal/wire", "internal/telemetry"),
				grpc, goplugin, kubernetes, urfave, tracing, exporting)},
		{"internal/telemetry", "where traces go knows no run", append(ours("internal/engine", "internal/plan", "internal/state", "internal/cli", "plugins"), kubernetes)},
		{"internal/metrics", "what is counted knows no engine", ours("internal/engine", "internal/plan", "internal/cli", "internal/controller", "plugins")},
		{"internal/certs", "judgement of certificates is pure", append(ours("internal/kube", "internal/node", "internal/engine"), grpc, kubernetes, "os/exec")},
		{"internal/report", "a report is built from the journal alone", append(ours("internal/kube", "internal/node", "internal/state/file"), grpc, kubernetes)},
		{"internal/ui", "the terminal knows no cluster", append(ours("internal/kube", "internal/node", "internal/cli"), grpc, kubernetes)},
		{"cmd/tkgfix", "tkgfix never knows that it is in the laboratory, and holds no double of its parts", ours("internal/lab", "cmd/tkgfix-lab", "internal/crashtest/doubles")},
		{"internal/sshsig", "signatures are judged apart from runs", append(ours("internal/engine", "internal/plan", "internal/state", "internal/cli"), grpc, kubernetes)},
		{"internal/history", "words are made from the journal alone", append(ours("internal/kube", "internal/node", "internal/state/file", "internal/cli"), grpc, kubernetes)},
		{"internal/bundle", "a bundle is made from the journal alone", append(ours("internal/kube", "internal/node", "internal/state/file", "internal/cli"), grpc, kubernetes)},
		{"plugins/sdk", "what a step's author calls knows no engine", append(ours("internal/engine", "internal/plan", "internal/state", "internal/cli", "internal/kube"), kubernetes)},
		{"internal/lab", "the laboratory does not use what it is there to test", ours("internal/engine", "internal/plan", "internal/cli", "internal/kube", "internal/node", "internal/tkg", "internal/certs")},
	}
}

// rule is about a folder; one written "folder !inner" leaves a folder in it out.
type rule struct {
	folder, reason string
	never          []string
}

func (r rule) covers(pkg string) bool {
	folder, inner, _ := strings.Cut(r.folder, " !")
	return within(pkg, module+"/"+folder) && (inner == "" || !within(pkg, module+"/"+inner))
}

type listed struct {
	ImportPath string
	Imports    []string
}

// TestImports fails with the path by which a package reaches what its folder must never import.
func TestImports(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	imports := map[string][]string{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		imports[p.ImportPath] = p.Imports
	}
	for _, r := range rules() {
		found := false
		for pkg := range imports {
			if !r.covers(pkg) {
				continue
			}
			found = true
			for _, never := range r.never {
				if path := reach(imports, pkg, never); path != nil {
					t.Errorf("%s: %s", r.reason, strings.Join(path, " -> "))
				}
			}
		}
		if !found {
			t.Errorf("no package in %s: the rule is about nothing", r.folder)
		}
	}
}

func within(pkg, folder string) bool { return pkg == folder || strings.HasPrefix(pkg, folder+"/") }

// reach returns the shortest path of imports from a package to a folder. What is within the folder already is not a path.
func reach(imports map[string][]string, from, folder string) []string {
	if within(from, folder) {
		return nil
	}
	seen := map[string]bool{from: true}
	paths := [][]string{{from}}
	for len(paths) > 0 {
		path := paths[0]
		paths = paths[1:]
		for _, next := range imports[path[len(path)-1]] {
			if seen[next] {
				continue
			}
			seen[next] = true
			longer := append(slices.Clone(path), next)
			if matches(next, folder) {
				return longer
			}
			paths = append(paths, longer)
		}
	}
	return nil
}

// matches tells a standard library package by its name alone, others by their folder.
func matches(pkg, folder string) bool {
	if !strings.Contains(folder, ".") {
		return pkg == folder
	}
	return within(pkg, folder)
}
