//go:build replicas

package replicas

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
	"github.com/tkgfix/tkgfix/internal/kube/faulty"
)

// TestApart takes a replica away from the others while it deletes something. Another finishes its run, and from then on the one can do nothing
// more to that, whatever it did last; it can take other Runs.
func TestApart(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		reason string
		// held keeps its deletion on the way to the Supervisor; else the relic is being deleted.
		held bool
		// frozen freezes it with all its processes; else it is cut off from the management API alone, and its plugin reaches the Supervisor.
		frozen bool
	}{
		"CutOffWhileItWaits":   {"the plugin must not watch on, it would act on what it sees", false, false},
		"CutOffWhileItDeletes": {"the plugin must be gone before another deletes", true, false},
		"FrozenWhileItWaits":   {"it believes that it still holds the run when it wakes", false, true},
		"FrozenWhileItDeletes": {"what it sent arrives when the run is over", true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApart(t, "apart-"+strings.ToLower(name), tc.held)
			run := a.strike(t, tc.frozen)
			a.finish(t, run)
			healed := a.heal(t, tc.frozen)
			a.livesOn(t)
			log := audit(t, a.namespace)
			deletedOnce(t, log, a.relics)
			heldByWriter(t, log)
			a.nothingAfter(t, log, healed, run, tc.reason)
			if !tc.frozen {
				a.oneAfterTheOther(t, log, tc.reason)
			}
			noLeases(t, a.namespace, nil)
		})
	}
}

const firstRelic = "first"

// apart is a replica that is taken away, and the one that stays.
type apart struct {
	namespace  string
	away, stay *replica
	bob        *approver
	alice      client.Client
	relics     map[types.UID]bool
	// gate holds deletions; nil if none are held.
	gate *gate
	// struck is when the one was taken away, alone is when its plugin was seen to be gone.
	struck, alone time.Time
}

// gate holds the deletions of a replica's plugin until it is opened.
type gate struct {
	mu            sync.Mutex
	agent         string
	reached, open chan struct{}
}

// faults lets all else pass.
func (g *gate) faults(r *http.Request) faulty.Fault {
	g.mu.Lock()
	agent := g.agent
	g.mu.Unlock()
	if r.Method == http.MethodDelete && r.UserAgent() == agent {
		close(g.reached) // an act is begun once
		<-g.open
	}
	return faulty.None
}

func newApart(t *testing.T, namespace string, held bool) *apart {
	t.Helper()
	a := &apart{namespace: namespace, gate: &gate{reached: make(chan struct{}), open: make(chan struct{})}, relics: map[types.UID]bool{}}
	config, err := management.Config("proxy")
	must(t, err)
	proxy, err := faulty.New(&rest.Config{Host: config.Host, TLSClientConfig: rest.TLSClientConfig{CAData: config.CAData}}, a.gate.faults)
	must(t, err)
	t.Cleanup(proxy.Close)
	t.Cleanup(func() { a.openGate() })
	team(t, namespace, through(t, proxy))
	// Somebody else leads: a leader that is cut off for long ends itself, and its pod is started again.
	leads, long := "elsewhere", int32(3600)
	now := metav1.NowMicro()
	must(t, admin.Create(t.Context(), &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "tkgfix-controller"},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: &leads, LeaseDurationSeconds: &long, AcquireTime: &now, RenewTime: &now},
	}))
	a.alice, a.bob = as(t, "alice"), newApprover(t)
	a.away = pod{namespace: namespace, leaders: namespace, alone: true, wired: true}.start(t)
	if held {
		a.gate.mu.Lock()
		a.gate.agent = "raze/" + a.away.name
		a.gate.mu.Unlock()
	}
	a.away.ready(t)
	return a
}

func (a *apart) openGate() {
	select {
	case <-a.gate.open:
	default:
		close(a.gate.open)
	}
}

// through returns a kubeconfig of the plugins' user that goes through a proxy.
func through(t *testing.T, proxy *faulty.Proxy) []byte {
	t.Helper()
	c := clientcmdapi.NewConfig()
	c.Clusters["proxy"] = &clientcmdapi.Cluster{Server: proxy.Config().Host, CertificateAuthorityData: proxy.Config().CAData}
	c.AuthInfos["eraser"] = &clientcmdapi.AuthInfo{Token: "eraser-token"}
	c.Contexts["proxy"] = &clientcmdapi.Context{Cluster: "proxy", AuthInfo: "eraser"}
	c.CurrentContext = "proxy"
	data, err := clientcmd.Write(*c)
	must(t, err)
	return data
}

// strike lets the one begin to delete, and takes it away. It returns the Run.
func (a *apart) strike(t *testing.T, frozen bool) *v1alpha1.Run {
	t.Helper()
	run := a.begin(t)
	if frozen {
		a.away.signal(t, syscall.SIGSTOP)
	} else {
		a.away.wire.set(true)
	}
	return run
}

// begin lets the one begin to delete, and then starts the other. It returns the Run.
func (a *apart) begin(t *testing.T) *v1alpha1.Run {
	t.Helper()
	a.relics[newRelic(t, a.namespace, firstRelic)] = true
	run := ask(t, a.alice, a.namespace, firstRelic)
	err := poll(t, 45*time.Second, func(ctx context.Context) (bool, error) {
		if _, err := a.bob.look(ctx, a.namespace); err != nil {
			return false, err
		}
		select {
		case <-a.gate.reached:
			return true, nil
		default:
			return a.deleting(ctx)
		}
	})
	if err != nil {
		t.Fatalf("wait for %s to delete: %v", a.away.name, err)
	}
	a.stay = pod{namespace: a.namespace, leaders: a.namespace, alone: true}.start(t)
	a.stay.ready(t)
	a.struck = time.Now()
	return run
}

// deleting says whether the first relic is being deleted.
func (a *apart) deleting(ctx context.Context) (bool, error) {
	u := relic(a.namespace, firstRelic)
	err := admin.Get(ctx, client.ObjectKeyFromObject(u), u)
	return u.GetDeletionTimestamp() != nil, err
}

// finish waits until the other has taken the run up and finished it. The relic goes only when the other looks after it.
func (a *apart) finish(t *testing.T, run *v1alpha1.Run) {
	t.Helper()
	var all []v1alpha1.Run
	gone := false
	err := poll(t, 45*time.Second, func(ctx context.Context) (bool, error) {
		if a.alone.IsZero() && len(a.away.processes(t)) == 1 {
			a.alone = time.Now()
		}
		if !gone {
			l := &coordinationv1.Lease{}
			if err := admin.Get(ctx, client.ObjectKey{Namespace: a.namespace, Name: "tkgfix-" + v1alpha1.RunID(run)}, l); err != nil {
				return false, client.IgnoreNotFound(err)
			}
			var holder struct{ Host string }
			if err := json.Unmarshal([]byte(l.Annotations["tkgfix.dev/holder"]), &holder); err != nil || holder.Host != a.stay.name {
				return false, err
			}
			deleting, err := a.deleting(ctx)
			if err != nil || !deleting {
				return false, err
			}
			gone = true
			return false, letGo(ctx, a.namespace, firstRelic)
		}
		var err error
		if all, err = a.bob.look(ctx, a.namespace); err != nil {
			return false, err
		}
		return over(all)
	})
	if err != nil {
		t.Fatalf("wait for %s to finish the run: %v: %s", a.stay.name, err, unfinished(all))
	}
	as := attempts(t, &all[0])
	if last := as[len(as)-1].host; last != a.stay.name || !slices.ContainsFunc(as, func(at attempt) bool { return at.host == a.away.name && at.acting }) {
		t.Errorf("attempts: %+v", as)
	}
	t.Logf("taken up after %s, done after %s", as[len(as)-1].began.Sub(a.struck).Round(10*time.Millisecond), time.Since(a.struck).Round(10*time.Millisecond))
}

// heal brings the one back, and returns when that was. What was on the way arrives first.
func (a *apart) heal(t *testing.T, frozen bool) time.Time {
	t.Helper()
	healed := time.Now()
	a.openGate()
	if !frozen {
		a.away.wire.set(false)
		return healed
	}
	if a.gate.agent != "" {
		err := poll(t, 20*time.Second, func(context.Context) (bool, error) {
			return slices.ContainsFunc(audit(t, a.namespace), func(e event) bool { return e.Verb == "delete" && e.UserAgent == a.gate.agent }), nil
		})
		if err != nil {
			t.Errorf("wait for what %s sent to arrive: %v", a.away.name, err)
		}
	}
	a.away.signal(t, syscall.SIGCONT)
	return healed
}

// livesOn lets the one carry out another Run when it is alone.
func (a *apart) livesOn(t *testing.T) {
	t.Helper()
	a.stay.kill(t)
	letAllGo(t, a.namespace, rand.New(rand.NewPCG(0, 0)))
	a.gate.mu.Lock()
	a.gate.agent = ""
	a.gate.mu.Unlock()
	a.relics[newRelic(t, a.namespace, "second")] = true
	ask(t, a.alice, a.namespace, "second")
	var all []v1alpha1.Run
	err := poll(t, 45*time.Second, func(ctx context.Context) (bool, error) {
		var err error
		if all, err = a.bob.look(ctx, a.namespace); err != nil {
			return false, err
		}
		return over(all)
	})
	if err != nil {
		t.Fatalf("wait for %s to carry out another Run: %v: %s", a.away.name, err, unfinished(all))
	}
	for i := range all {
		_ = attempts(t, &all[i])
	}
	if !a.away.alive() {
		t.Error(a.away.Err())
	}
}

// nothingAfter holds that nothing of the first run was written by the one after it was back.
func (a *apart) nothingAfter(t *testing.T, log []event, healed time.Time, run *v1alpha1.Run, reason string) {
	t.Helper()
	id := v1alpha1.RunID(run)
	for _, e := range log {
		if !e.writes() || !e.done() || e.StageTimestamp.Before(healed) {
			continue
		}
		ref := e.ObjectRef
		ofRun := ref.Resource == "journalentries" && strings.HasPrefix(entryName(t, &e), id+".") || ref.Resource == "leases" && ref.Name == "tkgfix-"+id ||
			ref.Resource == "runs" && ref.Name == run.Name
		ofPlugin := ref.Resource == "relics" && ref.Name == firstRelic && e.UserAgent == "raze/"+a.away.name
		if ofRun && e.User.Username == a.away.name || ofPlugin {
			t.Errorf("%s: %s, back since %s, has written at %s: %s %s/%s: %s", reason, a.away.name, healed, e.StageTimestamp, e.Verb, ref.Resource, ref.Name, e.RequestObject)
		}
	}
}

// oneAfterTheOther holds that the plugin of the one was gone before that of the other began.
func (a *apart) oneAfterTheOther(t *testing.T, log []event, reason string) {
	t.Helper()
	var last, first time.Time
	for _, e := range log {
		if e.ObjectRef.Resource != "relics" || e.ObjectRef.Name != firstRelic {
			continue
		}
		switch e.UserAgent {
		case "raze/" + a.away.name:
			if e.Verb == "get" { // a deletion that was held arrives late
				last = e.StageTimestamp
			}
		case "raze/" + a.stay.name:
			if first.IsZero() {
				first = e.RequestReceivedTimestamp
			}
		}
	}
	if last.IsZero() || first.IsZero() || a.alone.IsZero() || !last.Before(first) || !a.alone.Before(first) {
		t.Errorf("%s: the plugin of %s was heard of until %s and gone at %s, that of %s was heard of from %s", reason, a.away.name, last, a.alone, a.stay.name, first)
	}
	t.Logf("the plugin was gone %s after its replica was cut off, the other's was heard of from %s",
		a.alone.Sub(a.struck).Round(10*time.Millisecond), first.Sub(a.struck).Round(10*time.Millisecond))
}
