//go:build gitops

package gitops

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tkgfix/tkgfix/internal/kube/planetest"
	"github.com/tkgfix/tkgfix/internal/state"
)

const (
	// system is the controller's own namespace, remedies the one whose Runs it carries out.
	system, remedies = "tkgfix-system", "team-a"
	// lease is for how long a replica that died is waited for, in place of 15 seconds.
	lease = "3s"
)

// install applies what a user applies. The Deployment in it is carried out by nobody here: replicas stand for its pods.
func install(t *testing.T) {
	t.Helper()
	root, err := planetest.Root()
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"config/install.yaml", "examples/controller/namespace.yaml"} {
		if err := management.Apply(t.Context(), filepath.Join(root, file)); err != nil {
			t.Fatal(err)
		}
	}
}

// replica is a process of `tkgfix controller`.
type replica struct {
	*child
	health string
}

// replicas starts some. They share a folder, as replicas have theirs at the same path.
func replicas(t *testing.T, n int) []replica {
	t.Helper()
	work, kubeconfig := t.TempDir(), accountFile(t, system, "tkgfix-controller")
	var out []replica
	for i := range n {
		// An address of its own, as a pod has.
		address := fmt.Sprintf("127.%d.%d.%d", 32+rand.IntN(32), rand.IntN(256), 1+rand.IntN(254))
		r := replica{health: "http://" + address + ":8081"}
		r.child = start(t, fmt.Sprintf("replica-%d", i), filepath.Join(bin, "tkgfix"), "controller",
			"--kubeconfig", kubeconfig, "--namespace", remedies, "--leader-elect-namespace", system, "--work-dir", work, "--lease", lease,
			"--health-address", address+":8081", "--metrics-address", address+":8080")
		out = append(out, r)
	}
	return out
}

// ready waits until a replica works.
func (r replica) ready(t *testing.T) {
	t.Helper()
	eventually(t, "a replica is ready", func(ctx context.Context) (bool, string) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.health+"/readyz", nil)
		if err != nil {
			return false, err.Error()
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			return false, err.Error()
		}
		defer answer.Body.Close()
		return answer.StatusCode == http.StatusOK, answer.Status
	})
}

// worker returns the replica that works on a run, by the Lease of the run.
func worker(t *testing.T, all []replica, run string) replica {
	t.Helper()
	var (
		found replica
		lease coordinationv1.Lease
	)
	eventually(t, "a replica works on the run", func(ctx context.Context) (bool, string) {
		if err := admin.Get(ctx, client.ObjectKey{Namespace: remedies, Name: "tkgfix-" + run}, &lease); err != nil {
			return false, err.Error()
		}
		var holder state.Holder
		if err := json.Unmarshal([]byte(lease.Annotations["tkgfix.dev/holder"]), &holder); err != nil {
			return false, err.Error()
		}
		i := slices.IndexFunc(all, func(r replica) bool { return r.PID() == holder.PID })
		if i >= 0 {
			found = all[i]
		}
		return i >= 0, holder.String()
	})
	return found
}
