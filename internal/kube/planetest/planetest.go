// Package planetest runs a real kube-apiserver with the kinds of tkgfix.dev for tests of what is made for one.
package planetest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/tkgfix/tkgfix/internal/lab/plane"
	"github.com/tkgfix/tkgfix/internal/lab/proc"
)

// Options say what there is beside the API server.
type Options struct {
	// Controllers are the names of kube-controller-manager's controllers that run: "garbage-collector-controller".
	Controllers []string
	// Tokens is the content of a static token file, for users of one's own: token,user,uid,"group,group".
	Tokens string
	// Bare says that the kinds of tkgfix.dev are left out.
	Bare bool
}

// Plane is a running API server.
type Plane struct {
	*plane.Plane
	// Dir is for files of the tests; Audit is the audit log in it.
	Dir, Audit string

	end func()
}

// Main runs the tests of a package with an API server for all of them, which get hands over, and returns the exit code. It is for TestMain.
func Main(m *testing.M, opts Options, get func(*Plane)) int {
	p, err := Start(opts)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer p.Stop()
	get(p)
	return m.Run()
}

// Start starts an API server with the kinds of tkgfix.dev. It blocks until they are served: seconds, and minutes the first time that the
// laboratory's Kubernetes is built.
func Start(opts Options) (*Plane, error) {
	root, err := Root()
	if err != nil {
		return nil, err
	}
	binary, err := hyperkube(root)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "tkgfix-plane-")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &Plane{Dir: dir, Audit: filepath.Join(dir, "audit.log"), end: func() { cancel(); _ = os.RemoveAll(dir) }}
	if err := p.start(ctx, root, binary, opts); err != nil {
		p.Stop()
		return nil, fmt.Errorf("start an API server: %w", err)
	}
	return p, nil
}

func (p *Plane) start(ctx context.Context, root, binary string, opts Options) error {
	group, err := proc.NewGroup(ctx, filepath.Join(p.Dir, "processes"))
	if err != nil {
		return err
	}
	// An address of its own, so that tests of several packages can run at once.
	address := fmt.Sprintf("127.%d.%d.%d", 64+rand.IntN(128), rand.IntN(256), 1+rand.IntN(254))
	p.Plane, err = plane.Start(ctx, group, plane.Options{
		Name: "management", Dir: filepath.Join(p.Dir, "plane"), Binary: binary, Address: address, Audit: p.Audit,
		Tokens: opts.Tokens, Controllers: opts.Controllers, Now: time.Now,
	})
	if err != nil {
		return err
	}
	if !opts.Bare {
		if err := p.Apply(ctx, filepath.Join(root, "config", "crd")); err != nil {
			return err
		}
	}
	return p.StartControllers(ctx)
}

// Stop ends it and removes its folder.
func (p *Plane) Stop() {
	if p.Plane != nil {
		p.Plane.Stop()
	}
	p.end()
}

// Client returns a client, without a cache, of a user that may do everything.
func (p *Plane) Client(user string) (client.Client, error) {
	config, err := p.Config(user)
	if err != nil {
		return nil, err
	}
	return client.New(config, client.Options{})
}

// As returns a configuration of the user whose static token that is.
func (p *Plane) As(user, token string) (*rest.Config, error) {
	data, err := p.Bearer(user, token)
	if err != nil {
		return nil, err
	}
	config, err := clientcmd.RESTConfigFromKubeConfig(data)
	if err != nil {
		return nil, err
	}
	config.WarningHandler, config.UserAgent = rest.NoWarnings{}, user
	config.QPS, config.Burst = 200, 400
	return config, nil
}

// Apply creates every object in the YAML files of a folder, or in one file, and waits until custom kinds are served. What exists
// already stays as it is.
func (p *Plane) Apply(ctx context.Context, path string) error {
	files := []string{path}
	if info, err := os.Stat(path); err != nil {
		return err
	} else if info.IsDir() {
		if files, err = filepath.Glob(filepath.Join(path, "*.yaml")); err != nil {
			return err
		}
	}
	c, err := p.Client("setup")
	if err != nil {
		return err
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		for _, doc := range bytes.Split(data, []byte("\n---\n")) {
			if err := create(ctx, c, doc); err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
		}
	}
	return nil
}

func create(ctx context.Context, c client.Client, doc []byte) error {
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(doc, &u.Object); err != nil || len(u.Object) == 0 || u.GetKind() == "Kustomization" {
		return err
	}
	if err := c.Create(ctx, u); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create %s %s: %w", u.GetKind(), u.GetName(), err)
	}
	if u.GetKind() != "CustomResourceDefinition" {
		return nil
	}
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		if err := c.Get(ctx, client.ObjectKeyFromObject(u), u); err != nil {
			return false, err
		}
		conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions") // they may not be there yet
		for _, c := range conditions {
			if m, ok := c.(map[string]any); ok && m["type"] == "Established" && m["status"] == "True" {
				return true, nil
			}
		}
		return false, nil
	})
	if err != nil {
		return fmt.Errorf("wait for %s to be served: %w", u.GetName(), err)
	}
	return nil
}

// Root returns the module's folder.
func Root() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
}

// hyperkube returns the laboratory's Kubernetes: what TKGFIX_KUBE names, or built.
func hyperkube(root string) (string, error) {
	if path := os.Getenv("TKGFIX_KUBE"); path != "" {
		return path, nil
	}
	if runtime.GOOS != "linux" {
		return "", fmt.Errorf("the laboratory's Kubernetes is for Linux, this is %s", runtime.GOOS)
	}
	cmd := exec.Command(filepath.Join(root, "hack", "kube", "build.sh"))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("build the laboratory's Kubernetes: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}
