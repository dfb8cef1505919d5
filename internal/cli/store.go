package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/internal/state"
	"github.com/tkgfix/tkgfix/internal/state/file"
	statekube "github.com/tkgfix/tkgfix/internal/state/kube"
	"github.com/tkgfix/tkgfix/plugins"
)

// readPatience is for how long a cluster's answer is tried for while a person waits.
const readPatience = 2 * time.Second

// openStore returns the store that a value of --state names: a folder, or a namespace of a cluster. It connects to nothing.
func openStore(value string) (state.Store, error) {
	at, ok, err := parseKubeState(value)
	if err != nil {
		return nil, err
	}
	if ok {
		return at.store()
	}
	dir, err := stateFolder(value)
	if err != nil {
		return nil, err
	}
	return file.New(dir), nil
}

// reader returns an engine that loads runs, from wherever --state says, and can do nothing else.
func (a *app) reader(c *cli.Context) (*engine.Engine, error) {
	store, err := openStore(c.String("state"))
	if err != nil {
		return nil, err
	}
	return &engine.Engine{Store: store, Now: a.now}, nil
}

// store returns what a controller journals in the namespace, to be read with the user's own login.
func (s kubeState) store() (state.Store, error) {
	kubes, err := s.client()
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	// The one kind that is read is known, so that nobody needs to ask what there is.
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.AddSpecific(v1alpha1.GroupVersion.WithKind("JournalEntry"), v1alpha1.GroupVersion.WithResource("journalentries"),
		v1alpha1.GroupVersion.WithResource("journalentry"), meta.RESTScopeNamespace)
	objects, err := client.New(kubes.Config(), client.Options{Scheme: scheme, Mapper: mapper})
	if err != nil {
		return nil, fmt.Errorf("set up the connection to %s: %w", kubes.Server(), err)
	}
	return told{statekube.New(statekube.Options{Client: objects, Namespace: s.Namespace, Patience: readPatience}), s}, nil
}

// told is a store whose errors say what to do about an API server that does not answer, or says no.
type told struct {
	state.Store
	at kubeState
}

// Read implements state.Store.
func (t told) Read(ctx context.Context, run string, from uint64) ([]state.Entry, error) {
	entries, err := t.Store.Read(ctx, run, from)
	return entries, t.explain(err)
}

// List implements state.Store.
func (t told) List(ctx context.Context) ([]string, error) {
	runs, err := t.Store.List(ctx)
	return runs, t.explain(err)
}

func (t told) explain(err error) error {
	if apierrors.IsNotFound(err) {
		return noController(err, t.at)
	}
	return kube.Explain(err)
}

// noController says what it means that the kinds of tkgfix are not there.
func noController(err error, at kubeState) error {
	return plugins.Hint(err, "there is no controller of tkgfix; see that it is the right cluster: %s", at.kubectl("get runs.tkgfix.dev"))
}

// stateDir returns the folder in which runs are kept.
func stateDir(c *cli.Context) (string, error) {
	if _, ok, err := inCluster(c); ok || err != nil {
		if err == nil {
			err = fmt.Errorf("--state %s: the runs there are carried out by a controller; this is for runs in a folder", c.String("state"))
			err = plugins.Hint(err, "--state DIR")
		}
		return "", err
	}
	return stateFolder(c.String("state"))
}

// stateFolder returns the absolute path of the folder that a value of --state names, which may be empty.
func stateFolder(dir string) (string, error) {
	if dir == "" {
		base := os.Getenv("XDG_STATE_HOME")
		if base == "" {
			home, err := os.UserHomeDir()
			if err != nil {
				return "", plugins.Hint(fmt.Errorf("find where to keep runs: %w", err), "give --state DIR")
			}
			base = filepath.Join(home, ".local", "state")
		}
		dir = filepath.Join(base, "tkgfix")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("find the state folder: %w", err)
	}
	return dir, nil
}
