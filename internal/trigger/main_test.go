package trigger_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
	"github.com/tkgfix/tkgfix/internal/kube"
	"github.com/tkgfix/tkgfix/internal/kube/planetest"
	"github.com/tkgfix/tkgfix/internal/metrics"
	"github.com/tkgfix/tkgfix/internal/trigger"
)

// The tests have two API servers: that of the management cluster, which is the Supervisor too, and that of a workload cluster. Two
// replicas run the Triggers, as if each were the leader, which for a moment can be: all that is held here, holds for both.
var (
	management, workload *planetest.Plane
	scheme               = runtime.NewScheme()
	admin                client.Client
	node                 *kubernetes.Clientset
	replicas             [2]*replica
)

type replica struct{ registry *prometheus.Registry }

func TestMain(m *testing.M) {
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	ctrl.SetLogger(logr.Discard())
	code := planetest.Main(m, planetest.Options{}, func(p *planetest.Plane) {
		management = p
		if err := prepare(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			stop()
			p.Stop()
			os.Exit(1)
		}
	})
	stop()
	os.Exit(code)
}

func stop() {
	if workload != nil {
		workload.Stop()
	}
}

func prepare() error {
	var err error
	if workload, err = planetest.Start(planetest.Options{}); err != nil {
		return err
	}
	as, err := workload.Config("kubelet")
	if err != nil {
		return err
	}
	if node, err = kubernetes.NewForConfig(as); err != nil {
		return err
	}
	apps := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "apps"}}
	if _, err := node.CoreV1().Namespaces().Create(context.Background(), apps, metav1.CreateOptions{}); err != nil {
		return err
	}
	mine, err := management.Config("admin")
	if err != nil {
		return err
	}
	if admin, err = client.New(mine, client.Options{Scheme: scheme}); err != nil {
		return err
	}
	for i := range replicas {
		if replicas[i], err = start(); err != nil {
			return err
		}
	}
	return nil
}

// start runs a replica for as long as the tests last.
func start() (*replica, error) {
	as, err := management.Config("controller")
	if err != nil {
		return nil, err
	}
	skip := true
	mgr, err := ctrl.NewManager(as, ctrl.Options{
		Scheme: scheme, Metrics: server.Options{BindAddress: "0"}, HealthProbeBindAddress: "0", Controller: config.Controller{SkipNameValidation: &skip},
	})
	if err != nil {
		return nil, err
	}
	r := &replica{registry: prometheus.NewRegistry()}
	counts, err := metrics.New(r.registry, mgr.GetClient(), time.Now)
	if err != nil {
		return nil, err
	}
	err = trigger.Setup(mgr, trigger.Options{
		Now: time.Now, Recorder: mgr.GetEventRecorder("tkgfix"), Counts: counts, Pause: 20 * time.Millisecond, Again: time.Millisecond,
		Supervisor: func(context.Context, string, *v1alpha1.RunTemplate) (*kube.Client, error) {
			data, err := management.Admin("runner")
			if err != nil {
				return nil, err
			}
			return kube.FromKubeconfig(data, "the Supervisor")
		},
	})
	if err != nil {
		return nil, err
	}
	go func() {
		if err := mgr.Start(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err) // the tests wait in vain, and say for what
		}
	}()
	return r, nil
}

// held returns how often a replica held a Run back for a reason.
func (r *replica) held(t *testing.T, reason metrics.Reason) float64 {
	t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "tkgfix_triggers_held_back_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			if m.GetLabel()[0].GetValue() == string(reason) {
				return m.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("there is no count for %s", reason)
	return 0
}

// heldByBoth lets pods fail until both replicas have held a Run back for the reason. Events are of whole seconds: a failure of the same
// second as the last is none that is new.
func heldByBoth(t *testing.T, reason metrics.Reason, registry string) {
	t.Helper()
	before, pods := heldNow(t, reason), 0
	eventually(t, "both replicas hold back: "+string(reason), func() bool {
		pods++
		fail(t, fmt.Sprintf("%s-%s-%d", registry, reason, pods), registry, trust)
		now := heldNow(t, reason)
		return now[0] > before[0] && now[1] > before[1]
	})
}

func heldNow(t *testing.T, reason metrics.Reason) [2]float64 {
	t.Helper()
	return [2]float64{replicas[0].held(t, reason), replicas[1].held(t, reason)}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) { return is(), nil })
	if err != nil {
		t.Fatalf("waited in vain: %s", what)
	}
}

// team makes a namespace of the Supervisor with the way into the workload cluster dev1, and empties that of Events of earlier tests.
func team(t *testing.T) string {
	t.Helper()
	if err := node.CoreV1().Events("apps").DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "team-"}}
	if err := admin.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	data, err := workload.Admin("administrator")
	if err != nil {
		t.Fatal(err)
	}
	entrance(t, ns.Name, "dev1", data)
	return ns.Name
}

// entrance makes the Secret with the kubeconfig of a workload cluster, as the Cluster API does.
func entrance(t *testing.T, namespace, cluster string, kubeconfig []byte) {
	t.Helper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: cluster + "-kubeconfig"}, Data: map[string][]byte{"value": kubeconfig}}
	if err := admin.Create(t.Context(), s); err != nil {
		t.Fatal(err)
	}
}

// kubeconfigOf returns a kubeconfig of an API server that is reached by a configuration.
func kubeconfigOf(t *testing.T, c *rest.Config) []byte {
	t.Helper()
	out := clientcmdapi.NewConfig()
	out.Clusters["c"] = &clientcmdapi.Cluster{Server: c.Host, CertificateAuthorityData: c.CAData}
	out.AuthInfos["u"] = &clientcmdapi.AuthInfo{Token: c.BearerToken, ClientCertificateData: c.CertData, ClientKeyData: c.KeyData}
	out.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	out.CurrentContext = "x"
	data, err := clientcmd.Write(*out)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// watching makes a Trigger for the cluster dev1 of the namespace, and returns when both replicas watch: then its status is written.
func watching(t *testing.T, namespace string, change func(*v1alpha1.TriggerSpec)) *v1alpha1.Trigger {
	t.Helper()
	tr := create(t, namespace, change)
	ready(t, tr, metav1.ConditionTrue, "Watching")
	return tr
}

func create(t *testing.T, namespace string, change func(*v1alpha1.TriggerSpec)) *v1alpha1.Trigger {
	t.Helper()
	tr := &v1alpha1.Trigger{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "pulls"}}
	tr.Spec = v1alpha1.TriggerSpec{
		Clusters: []string{namespace + "/dev1"},
		Cooldown: metav1.Duration{Duration: time.Hour}, Storm: v1alpha1.StormBrake{MaxRuns: 3, Per: metav1.Duration{Duration: time.Hour}},
		Run: v1alpha1.RunTemplate{
			Workflow: &v1alpha1.WorkflowReference{Name: "registry-trust"},
			Inputs:   map[string]string{"cluster": "$(cluster)", "registry": "$(registry)", "note": "found $(registry) from $(cluster) by $(nobody)"},
			Connections: &v1alpha1.Connections{Supervisor: &v1alpha1.SupervisorConnection{
				SecretRef: &v1alpha1.KeyReference{Name: "supervisor", Key: "kubeconfig"},
			}},
		},
	}
	if change != nil {
		change(&tr.Spec)
	}
	if err := admin.Create(t.Context(), tr); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := admin.Delete(context.Background(), tr); client.IgnoreNotFound(err) != nil {
			t.Error(err)
		}
	})
	return tr
}

// change changes the spec of a Trigger.
func change(t *testing.T, tr *v1alpha1.Trigger, how func(*v1alpha1.TriggerSpec)) {
	t.Helper()
	before := tr.DeepCopy()
	how(&tr.Spec)
	if err := admin.Patch(t.Context(), tr, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
}

// ready waits until the Trigger is in that state, and returns the message.
func ready(t *testing.T, tr *v1alpha1.Trigger, state metav1.ConditionStatus, reason string) string {
	t.Helper()
	message := ""
	eventually(t, fmt.Sprintf("Trigger %s is %s", tr.Name, reason), func() bool {
		if err := admin.Get(t.Context(), client.ObjectKeyFromObject(tr), tr); err != nil {
			t.Fatal(err)
		}
		for _, c := range tr.Status.Conditions {
			if c.Type == v1alpha1.ConditionReady && c.Status == state && c.Reason == reason {
				message = c.Message
				return c.ObservedGeneration == tr.Generation && tr.Status.ObservedGeneration == tr.Generation
			}
		}
		return false
	})
	return message
}

// runsOf returns the Runs of a namespace by registry.
func runsOf(t *testing.T, namespace string) map[string][]v1alpha1.Run {
	t.Helper()
	var list v1alpha1.RunList
	if err := admin.List(t.Context(), &list, client.InNamespace(namespace)); err != nil {
		t.Fatal(err)
	}
	out := map[string][]v1alpha1.Run{}
	for _, r := range list.Items {
		registry := r.Annotations[trigger.AnnotationRegistry]
		out[registry] = append(out[registry], r)
	}
	return out
}

// opens waits until there are so many Runs for a registry, and returns the last.
func opens(t *testing.T, namespace, registry string, count int) v1alpha1.Run {
	t.Helper()
	var runs []v1alpha1.Run
	eventually(t, fmt.Sprintf("%d Runs for %s", count, registry), func() bool {
		runs = runsOf(t, namespace)[registry]
		return len(runs) >= count
	})
	if len(runs) > count {
		t.Fatalf("%d Runs for %s, want %d", len(runs), registry, count)
	}
	last := runs[0]
	for _, r := range runs {
		if last.CreationTimestamp.Before(&r.CreationTimestamp) {
			last = r
		}
	}
	return last
}
