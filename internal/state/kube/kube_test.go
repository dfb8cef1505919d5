package kube_test

import (
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
	"github.com/tkgfix/tkgfix/internal/kube/planetest"
	"github.com/tkgfix/tkgfix/internal/state"
	"github.com/tkgfix/tkgfix/internal/state/kube"
	"github.com/tkgfix/tkgfix/internal/state/statetest"
)

var management *planetest.Plane

func TestMain(m *testing.M) {
	code := planetest.Main(m, planetest.Options{}, func(p *planetest.Plane) { management = p })
	// The API server is down, so no connection is open: what is left would be of the stores.
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// newClient returns a client of the API server.
func newClient(t *testing.T) client.WithWatch {
	t.Helper()
	config, err := management.Config("tester")
	if err != nil {
		t.Fatal(err)
	}
	return clientFor(t, config)
}

// clientFor returns a client that is not slowed down.
func clientFor(t *testing.T, config *rest.Config) client.WithWatch {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, coordinationv1.AddToScheme, corev1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	config.QPS = -1
	c, err := client.NewWithWatch(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var namespaces atomic.Int64

// newNamespace makes an empty namespace.
func newNamespace(t *testing.T, c client.Client) string {
	t.Helper()
	name := fmt.Sprintf("store-%d", namespaces.Add(1))
	if err := c.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestStore(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	statetest.Run(t, func(t *testing.T) (state.Store, func() state.Store) {
		ns := newNamespace(t, c)
		open := func() state.Store { return kube.New(kube.Options{Client: c, Namespace: ns}) }
		return open(), open
	})
}
