package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/tkgfix/tkgfix/internal/lab"
)

// asProgram tells this test binary, started again by the laboratory, to be tkgfix-lab.
const asProgram = "TKGFIX_LAB_TEST_PROGRAM"

const (
	stepTimeout = time.Minute
	stepEvery   = 100 * time.Millisecond
)

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	// The daemon and its helpers inherit it.
	if err := os.Setenv(asProgram, "1"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// kubeBinary is the real one; a test of the laboratory without it would show nothing.
func kubeBinary(t *testing.T) string {
	t.Helper()
	path := os.Getenv(kubeEnv)
	if path == "" {
		t.Fatalf("%s is not set. Run: export %s=$(hack/kube/build.sh)", kubeEnv, kubeEnv)
	}
	return path
}

// up starts a laboratory, which is taken down at the end in any case.
func up(t *testing.T, scenario string) (string, lab.State) {
	t.Helper()
	kube := kubeBinary(t)
	dir := filepath.Join(t.TempDir(), "lab")
	var stdout, stderr bytes.Buffer
	t.Cleanup(func() { _ = lab.Down(context.WithoutCancel(t.Context()), dir) })
	if code := run(t.Context(), &stdout, &stderr, []string{"tkgfix-lab", "up", "--dir", dir, "--scenario", scenario, "--kube", kube}); code != 0 {
		t.Fatalf("up: exit code %d\n%s", code, stderr.String())
	}
	if !strings.Contains(stdout.String(), "tkgfix-lab down --dir "+dir) {
		t.Errorf("up does not say what is next:\n%s", stdout.String())
	}
	return dir, state(t, dir)
}

func state(t *testing.T, dir string) lab.State {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), &stdout, &stderr, []string{"tkgfix-lab", "status", "--dir", dir, "--output", "json"}); code != 0 {
		t.Fatalf("status: exit code %d\n%s", code, stderr.String())
	}
	var s lab.State
	if err := json.Unmarshal(stdout.Bytes(), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestMissingCA(t *testing.T) {
	dir, s := up(t, lab.MissingCA)
	failure := `failed to pull and unpack image "registry.lab:5443/demo/web:1": failed to resolve reference "registry.lab:5443/demo/web:1": ` +
		`failed to do request: Head "https://registry.lab:5443/v2/demo/web/manifests/1": tls: failed to verify certificate: x509: certificate signed by unknown authority`
	t.Run("Dev1CannotPull", func(t *testing.T) { testFailing(t, cluster(t, s, "dev1"), failure) })
	t.Run("Dev2Runs", func(t *testing.T) { testRunning(t, cluster(t, s, "dev2")) })
	t.Run("Users", func(t *testing.T) { testUsers(t, dir) })
	t.Run("Nodes", func(t *testing.T) { testNode(t, dir, s) })
	t.Run("Recreate", func(t *testing.T) { testRecreate(t, dir) })
	t.Run("Audit", func(t *testing.T) { testAudit(t, dir) })
	t.Run("Down", func(t *testing.T) { testDown(t, dir) })
}

func TestWrongCAKilled(t *testing.T) {
	dir, s := up(t, lab.WrongCA)
	testFailing(t, cluster(t, s, "dev1"), `failed to pull and unpack image "registry.lab:5443/demo/web:1": failed to resolve reference "registry.lab:5443/demo/web:1": `+
		`failed to do request: Head "https://registry.lab:5443/v2/demo/web/manifests/1": tls: failed to verify certificate: x509: certificate signed by unknown authority `+
		`(possibly because of "crypto/rsa: verification error" while trying to verify candidate authority certificate "Laboratory Corp Root CA")`)
	if err := syscall.Kill(s.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nothing outlives a killed daemon", func(context.Context) (bool, error) { return len(processes(t, dir)) == 0, nil })
	// A process that ends has given back its memory, by which processes finds it, a moment before it is no process any more.
	eventually(t, "a killed laboratory is dead", func(context.Context) (bool, error) { return state(t, dir).Phase == lab.Dead, nil })
	testDown(t, dir)
}

func TestVSpherePod(t *testing.T) {
	dir, s := up(t, lab.VSpherePod)
	testRunning(t, cluster(t, s, "dev1"))
	client, err := kubernetes.NewForConfig(config(t, filepath.Join(dir, "kubeconfig", "platform.yaml")))
	if err != nil {
		t.Fatal(err)
	}
	events, err := client.CoreV1().Events("team-a").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, e := range events.Items {
		got[e.Type+" "+e.Reason+" "+e.Source.Component]++
		if e.Type == corev1.EventTypeWarning && (!strings.HasPrefix(e.Message, "failed to get images: ") || !strings.HasSuffix(e.Message, "x509: certificate signed by unknown authority")) {
			t.Errorf("the failure reads: %s", e.Message)
		}
	}
	want := map[string]int{
		"Normal Scheduled default-scheduler": 6, "Normal Image image-controller": 6, "Normal SuccessfulRealizeNSXResource nsx-container-ncp": 6,
		"Normal Pulling kubelet": 6, "Warning Failed kubelet": 4,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events of the vSphere Pods (-want, +got):\n%s", diff)
	}
	testDown(t, dir)
}

func cluster(t *testing.T, s lab.State, name string) kubernetes.Interface {
	t.Helper()
	for _, c := range s.Clusters {
		if c.Name == name {
			client, err := kubernetes.NewForConfig(config(t, c.Kubeconfig))
			if err != nil {
				t.Fatal(err)
			}
			return client
		}
	}
	t.Fatalf("no cluster %s in %+v", name, s.Clusters)
	return nil
}

func config(t *testing.T, path string) *rest.Config {
	t.Helper()
	c, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// testFailing expects the six pods of the vendor's page, none of which can pull, and the events of kubelet.
func testFailing(t *testing.T, client kubernetes.Interface, failure string) {
	pods, err := client.CoreV1().Pods("demo").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(6, len(pods.Items)); diff != "" {
		t.Fatalf("pods (-want, +got):\n%s", diff)
	}
	backOff := `Back-off pulling image "registry.lab:5443/demo/web:1": ErrImagePull: ` + failure
	for _, pod := range pods.Items {
		why := pod.Status.ContainerStatuses[0].State.Waiting
		if why == nil || (*why != corev1.ContainerStateWaiting{Reason: "ErrImagePull", Message: failure} && *why != corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: backOff}) {
			t.Errorf("pod %s waits because of %+v", pod.Name, why)
		}
	}
	eventually(t, "kubelet tells of back-off", func(ctx context.Context) (bool, error) {
		events, err := client.CoreV1().Events("demo").List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=" + pods.Items[0].Name})
		if err != nil {
			return false, err
		}
		seen := map[string]bool{}
		for _, e := range events.Items {
			seen[e.Type+" "+e.Reason+" "+e.Message] = true
		}
		for _, want := range []string{
			`Normal Pulling Pulling image "registry.lab:5443/demo/web:1"`, `Warning Failed Failed to pull image "registry.lab:5443/demo/web:1": ` + failure,
			"Warning Failed Error: ErrImagePull", `Normal BackOff Back-off pulling image "registry.lab:5443/demo/web:1"`, "Warning Failed Error: ImagePullBackOff",
		} {
			if !seen[want] {
				return false, nil
			}
		}
		return true, nil
	})
}

func testRunning(t *testing.T, client kubernetes.Interface) {
	pods, err := client.CoreV1().Pods("demo").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	running := 0
	for _, pod := range pods.Items {
		if pod.Status.Phase == corev1.PodRunning && pod.Status.ContainerStatuses[0].Ready {
			running++
		}
	}
	if diff := cmp.Diff(6, running); diff != "" {
		t.Errorf("running pods (-want, +got):\n%s", diff)
	}
}

func tkcs() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "run.tanzu.vmware.com", Version: "v1alpha3", Resource: "tanzukubernetesclusters"}
}

func tscs() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "run.tanzu.vmware.com", Version: "v1alpha1", Resource: "tkgserviceconfigurations"}
}

// testUsers expects of each kubeconfig what it is for.
func testUsers(t *testing.T, dir string) {
	cases := map[string]struct {
		reason              string
		tkc, tsc, secretErr func(error) bool
	}{
		"admin":    {"may do all", noError, noError, noError},
		"platform": {"a vSphere administrator", noError, noError, noError},
		"editor":   {"may edit the namespace", noError, apierrors.IsForbidden, noError},
		"viewer":   {"reads clusters only", noError, apierrors.IsForbidden, apierrors.IsForbidden},
		"expired":  {"logged in yesterday", apierrors.IsUnauthorized, apierrors.IsUnauthorized, apierrors.IsUnauthorized},
	}
	for user, tc := range cases {
		client, err := dynamic.NewForConfig(config(t, filepath.Join(dir, "kubeconfig", user+".yaml")))
		if err != nil {
			t.Fatal(err)
		}
		_, tkcErr := client.Resource(tkcs()).Namespace("team-a").Get(t.Context(), "dev1", metav1.GetOptions{})
		_, tscErr := client.Resource(tscs()).Get(t.Context(), "tkg-service-configuration", metav1.GetOptions{})
		_, secretErr := client.Resource(secrets()).Namespace("team-a").Get(t.Context(), "dev1-ssh", metav1.GetOptions{})
		if !tc.tkc(tkcErr) || !tc.tsc(tscErr) || !tc.secretErr(secretErr) {
			t.Errorf("%s, who %s: cluster %v, TkgServiceConfiguration %v, Secret %v", user, tc.reason, tkcErr, tscErr, secretErr)
		}
	}
}

func noError(err error) bool { return err == nil }

func secrets() schema.GroupVersionResource {
	return schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
}

// seen is what is new when a cluster is made again.
type seen struct{ tkc, secret, kubeconfig, nodes string }

func look(t *testing.T, client dynamic.Interface, dir string) seen {
	t.Helper()
	tkc, err := client.Resource(tkcs()).Namespace("team-a").Get(t.Context(), "dev1", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	secret, err := client.Resource(secrets()).Namespace("team-a").Get(t.Context(), "dev1-ssh", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig, err := client.Resource(secrets()).Namespace("team-a").Get(t.Context(), "dev1-kubeconfig", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var nodes []string
	for _, n := range state(t, dir).Clusters[0].Nodes {
		nodes = append(nodes, n.Name)
	}
	return seen{tkc: string(tkc.GetUID()), secret: string(secret.GetUID()), kubeconfig: fmt.Sprint(kubeconfig.Object["data"]), nodes: strings.Join(nodes, " ")}
}

// testRecreate deletes dev1 and makes it again.
func testRecreate(t *testing.T, dir string) {
	client, err := dynamic.NewForConfig(config(t, filepath.Join(dir, "kubeconfig", "admin.yaml")))
	if err != nil {
		t.Fatal(err)
	}
	clusters := client.Resource(tkcs()).Namespace("team-a")
	old := look(t, client, dir)
	live, err := clusters.Get(t.Context(), "dev1", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	going := watchCluster(t, client)
	if err := clusters.Delete(t.Context(), "dev1", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	reasons := deletionReasons(t, going)
	eventually(t, "dev1 is gone", func(ctx context.Context) (bool, error) {
		_, err := clusters.Get(ctx, "dev1", metav1.GetOptions{})
		return apierrors.IsNotFound(err), nil
	})
	want := []string{"WaitingForWorkersDeletion", "WaitingForControlPlaneDeletion", "WaitingForInfrastructureDeletion"}
	if diff := cmp.Diff(want, reasons); diff != "" {
		t.Errorf("reasons of the deletion, in order (-want, +got):\n%s", diff)
	}
	for _, suffix := range []string{"-ssh", "-ssh-password", "-kubeconfig"} {
		if _, err := client.Resource(secrets()).Namespace("team-a").Get(t.Context(), "dev1"+suffix, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("Secret dev1%s has outlived its cluster: %v", suffix, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "nodes", "dev1")); !os.IsNotExist(err) {
		t.Errorf("the nodes have outlived their cluster: %v", err)
	}
	fresh := &unstructured.Unstructured{Object: map[string]any{"spec": live.Object["spec"]}}
	fresh.SetAPIVersion(live.GetAPIVersion())
	fresh.SetKind(live.GetKind())
	fresh.SetName("dev1")
	if _, err := clusters.Create(t.Context(), fresh, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "dev1 is ready again", func(ctx context.Context) (bool, error) {
		tkc, err := clusters.Get(ctx, "dev1", metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		phase, _, _ := unstructured.NestedString(tkc.Object, "status", "phase")
		return phase == "running", nil
	})
	now := look(t, client, dir)
	if now.tkc == old.tkc || now.secret == old.secret || now.kubeconfig == old.kubeconfig || now.nodes == old.nodes {
		t.Errorf("something of the old cluster is still there: %v", now.nodes)
	}
}

// watchCluster returns what becomes of the Cluster of dev1 from now on. A look now and then would miss a reason that passes quickly.
func watchCluster(t *testing.T, client dynamic.Interface) watch.Interface {
	t.Helper()
	capi := client.Resource(schema.GroupVersionResource{Group: "cluster.x-k8s.io", Version: "v1beta1", Resource: "clusters"}).Namespace("team-a")
	seconds := int64(goneTimeout.Seconds())
	w, err := capi.Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=dev1", TimeoutSeconds: &seconds})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	return w
}

// goneTimeout bounds how long a deletion is watched.
const goneTimeout = 2 * time.Minute

// deletionReasons returns the reasons of the condition Deleting, in order, until the Cluster is gone.
func deletionReasons(t *testing.T, going watch.Interface) []string {
	t.Helper()
	var reasons []string
	for event := range going.ResultChan() {
		if event.Type == watch.Deleted {
			return reasons
		}
		c, ok := event.Object.(*unstructured.Unstructured)
		if !ok {
			continue
		}
		conditions, _, _ := unstructured.NestedSlice(c.Object, "status", "conditions")
		for _, each := range conditions {
			m := each.(map[string]any)
			reason, _ := m["reason"].(string)
			if m["type"] == "Deleting" && m["status"] == "True" && (len(reasons) == 0 || reasons[len(reasons)-1] != reason) {
				reasons = append(reasons, reason)
			}
		}
	}
	t.Fatalf("the Cluster is not gone after %s: %v", goneTimeout, reasons)
	return nil
}

// testAudit expects the log to tell users from the service, to keep the requests of writes and no content of Secrets.
func testAudit(t *testing.T, dir string) {
	data, err := os.ReadFile(filepath.Join(dir, "audit", "supervisor.log"))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for line := range bytes.Lines(data) {
		var event struct {
			Verb          string
			User          struct{ Username string }
			ObjectRef     struct{ Resource, Name string }
			RequestObject json.RawMessage
		}
		if err := json.Unmarshal(line, &event); err != nil {
			t.Fatal(err)
		}
		if event.ObjectRef.Resource == "secrets" && event.RequestObject != nil {
			t.Error("the audit log holds the content of a Secret")
		}
		if event.ObjectRef.Resource == "tanzukubernetesclusters" && event.User.Username == "admin" && (event.Verb == "create" || event.Verb == "delete") {
			got[fmt.Sprint(event.Verb, " with request: ", event.RequestObject != nil)]++
		}
	}
	if diff := cmp.Diff(map[string]int{"create with request: true": 1, "delete with request: true": 1}, got); diff != "" {
		t.Errorf("what admin did to clusters (-want, +got):\n%s", diff)
	}
}

// testDown takes the laboratory down twice and expects nothing to be left.
func testDown(t *testing.T, dir string) {
	for range 2 {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), &stdout, &stderr, []string{"tkgfix-lab", "down", "--dir", dir}); code != 0 {
			t.Fatalf("down: exit code %d\n%s", code, stderr.String())
		}
	}
	if left := processes(t, dir); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
	if _, err := os.Lstat(dir); !os.IsNotExist(err) {
		t.Errorf("the folder is left: %v", err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), dir) {
		t.Error("a mount is left")
	}
}

// processes returns those that name the folder in their arguments.
func processes(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		data, err := fs.ReadFile(os.DirFS("/proc"), e.Name()+"/cmdline")
		if err == nil && strings.Contains(string(data), dir) {
			out = append(out, e.Name()+" "+strings.ReplaceAll(string(data), "\x00", " "))
		}
	}
	return out
}

func eventually(t *testing.T, what string, condition wait.ConditionWithContextFunc) {
	t.Helper()
	if err := wait.PollUntilContextTimeout(t.Context(), stepEvery, stepTimeout, true, condition); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}
