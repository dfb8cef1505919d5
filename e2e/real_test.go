//go:build realnodes

// Built with this tag the tests run against nodes of real containerd, kubelet and OpenSSH: make e2e-real.

package e2e

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	// agreeTimeout bounds how long two laboratories may take to show the same. Back-offs of kubelet are 10 s and 20 s at first.
	agreeTimeout = 45 * time.Second
	agreeEvery   = 500 * time.Millisecond
)

// fixed are the scenarios that trust fixes, in which the fix is carried out too: until the containers of the failing pods run.
func fixed() []string {
	return []string{"missing-ca", "wrong-ca", "under-encoded", "over-encoded", "glued"}
}

// TestReal lets a laboratory of real nodes go through all scenarios that these can show. In each, a laboratory of imitated nodes has to
// show the same, tkgfix has to say what is wrong, and where trust fixes it, to fix it.
func TestReal(t *testing.T) {
	real, imitated := upBoth(t)
	verdicts := verdicts()
	names := scenariosOn(t, "real")
	for _, name := range fixed() {
		if !slices.Contains(names, name) {
			t.Errorf("real nodes do not show %s", name)
		}
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			var group sync.WaitGroup
			group.Go(func() { imitated.plant(t, name) })
			real.plant(t, name)
			group.Wait()
			if t.Failed() {
				return
			}
			// kubelet waits for ten seconds before it says that it waits: that is looked at in some scenarios only.
			round := briefly
			if slices.Contains(fixed(), name) || name == "healthy" {
				round = wholly
			}
			t.Run("Agrees", func(t *testing.T) { wantSame(t, real, imitated, round) })
			t.Run("Verdict", func(t *testing.T) { real.wantVerdict(t, verdicts[name]) })
			if slices.Contains(fixed(), name) {
				t.Run("Fixed", func(t *testing.T) { real.wantFixed(t) })
			}
		})
	}
}

// upBoth starts two laboratories, with real and with imitated nodes.
func upBoth(t *testing.T) (real, imitated *laboratory) {
	t.Helper()
	var group sync.WaitGroup
	group.Go(func() { imitated = upWith(t, "imitated", "healthy") })
	real = upWith(t, "real", "healthy")
	group.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return real, imitated
}

func scenariosOn(t *testing.T, nodes string) []string {
	t.Helper()
	var names []string
	for line := range strings.Lines(command(t, nil, filepath.Join(bin, "tkgfix-lab"), "scenarios", "--nodes", nodes).wantCode(t, 0).stdout) {
		name, _, _ := strings.Cut(line, " ")
		names = append(names, name)
	}
	return names
}

// wantFixed runs the documented fix with all approvals and wants real containers of an image that containerd has pulled.
func (l *laboratory) wantFixed(t *testing.T) {
	t.Helper()
	platform := l.kubeconfig("platform")
	waiting := l.tkgfix(t, platform, append([]string{"run", documentedFix}, l.inputs("team-a/dev1", l.ca("root"))...)...).wantCode(t, 3)
	l.approveAll(t, waiting)
	l.tkgfix(t, platform, "resume", waiting.runID(t)).wantCode(t, 0)
	if diff := cmp.Diff(map[string]int{"Running": 6}, l.phases(t, "dev1")); diff != "" {
		t.Errorf("pods of the workload (-want, +got):\n%s", diff)
	}
	client := l.sick(t)
	list, err := client.CoreV1().Pods("demo").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, pod := range list.Items {
		for _, c := range pod.Status.ContainerStatuses {
			if c.State.Running == nil || !strings.HasPrefix(c.ContainerID, "containerd://") || !strings.Contains(c.ImageID, "@sha256:") {
				t.Errorf("%s does not run: %+v", pod.Name, c)
			}
		}
	}
	seen := onShow(t.Context(), client)
	if !slices.ContainsFunc(seen, func(line string) bool { return strings.Contains(line, "Successfully pulled image") }) {
		t.Errorf("no pod has pulled its image:\n%s", strings.Join(seen, "\n"))
	}
}

// sick is a client of dev1.
func (l *laboratory) sick(t *testing.T) kubernetes.Interface {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", l.kubeconfig("team-a-dev1"))
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// round is how much of what kubelet says is compared.
type round int

const (
	// wholly is until kubelet waits with its next try, and says so.
	wholly round = iota
	// briefly leaves the back-off out: only what comes of a try counts.
	briefly
)

// wantSame wants both laboratories to show the same of the workload on dev1: states of containers with reasons and messages, and
// Events. Each shows more and more as its kubelets come to it, so that what has been seen is gathered until it is the same.
func wantSame(t *testing.T, real, imitated *laboratory, r round) {
	t.Helper()
	clients := [2]kubernetes.Interface{imitated.sick(t), real.sick(t)}
	seen := [2]map[string]bool{{}, {}}
	var lines [2][]string
	err := wait.PollUntilContextTimeout(t.Context(), agreeEvery, agreeTimeout, true, func(ctx context.Context) (bool, error) {
		for i, client := range clients {
			for _, line := range onShow(ctx, client) {
				if line = r.of(line); line != "" {
					seen[i][line] = true
				}
			}
			lines[i] = slices.Sorted(maps.Keys(seen[i]))
		}
		return slices.Equal(lines[0], lines[1]) && r.settled(lines[0]), nil
	})
	if err != nil {
		t.Errorf("shown (-imitated, +real): %v\n%s", err, cmp.Diff(lines[0], lines[1]))
	}
}

// of is what of a line is compared, empty for nothing.
func (r round) of(line string) string {
	if r == wholly {
		return line
	}
	line = backedOff.ReplaceAllString(line, "waiting ErrImagePull ")
	if strings.Contains(line, "BackOff") {
		return ""
	}
	return line
}

// backedOff is how kubelet begins to say again, while it waits, what came of the last try.
var backedOff = regexp.MustCompile(`^waiting ImagePullBackOff Back-off pulling image "[^"]*": ErrImagePull: `)

// settled says whether a kubelet has come all the way round: the pods run, or a try has failed.
func (r round) settled(lines []string) bool {
	ends := []string{"event Normal Started", "event Warning FailedCreatePodSandBox", "event Normal BackOff"}
	if r == briefly {
		ends[2] = "event Warning Failed spec.containers{web} Error: ErrImagePull"
	}
	return slices.ContainsFunc(lines, func(line string) bool {
		return slices.ContainsFunc(ends, func(end string) bool { return strings.HasPrefix(line, end) })
	})
}

// onShow returns what is to be seen of the workload: a line for each state of a container and each Event of the pods that there are.
func onShow(ctx context.Context, client kubernetes.Interface) []string {
	list, err := client.CoreV1().Pods("demo").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil // asked again
	}
	events, err := client.CoreV1().Events("demo").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil
	}
	var out []string
	there := map[string]bool{}
	for _, pod := range list.Items {
		there[string(pod.UID)] = true
		for _, c := range pod.Status.ContainerStatuses {
			out = append(out, stateOf(c))
		}
	}
	for _, e := range events.Items {
		if there[string(e.InvolvedObject.UID)] && e.Source.Component == "kubelet" {
			out = append(out, fmt.Sprintf("event %s %s %s %s", e.Type, e.Reason, e.InvolvedObject.FieldPath, e.Message))
		}
	}
	for i := range out {
		out[i] = plainly(out[i])
	}
	return slices.DeleteFunc(out, func(line string) bool {
		// Whether one of a node's pods asks for its image only when another has pulled it already is chance.
		return strings.Contains(line, "ContainerCreating") || strings.Contains(line, "already present on machine")
	})
}

func stateOf(c corev1.ContainerStatus) string {
	switch {
	case c.State.Waiting != nil:
		return fmt.Sprintf("waiting %s %s", c.State.Waiting.Reason, c.State.Waiting.Message)
	case c.State.Running != nil:
		return "running"
	}
	return fmt.Sprintf("terminated %+v", c.State.Terminated)
}

// same are the parts of a message that differ from one laboratory to another, from one time to another, or from one release of Go to
// another: Debian's containerd 1.6.20 is built with Go 1.19.
var same = []struct {
	reason string
	of     *regexp.Regexp
	to     string
}{
	{"Go says this since 1.20 (crypto/tls, CertificateVerificationError)", regexp.MustCompile(`tls: failed to verify certificate: `), ""},
	{"Go said this from 1.18 to 1.23 (crypto/x509, InsecureAlgorithmError)", regexp.MustCompile(` \(temporarily override with GODEBUG=x509sha1=1\)`), ""},
	{"containerd said this up to 1.6 (remotes/docker/resolver.go)", regexp.MustCompile(`pulling from host \S+ failed with status code \[manifests \S+\]: `), "STATUS "},
	{"containerd says this since 1.7", regexp.MustCompile(`unexpected status from HEAD request to \S+: `), "STATUS "},
	{"the blobs of an image, of which any may be the first", regexp.MustCompile(`sha256:[0-9a-f]{64}`), "DIGEST"},
	{"net/http says this before the error if it came while nothing was being read (persistConn.readLoop)", regexp.MustCompile(`readLoopPeekFailLocked: `), ""},
	{"a pod's name", regexp.MustCompile(`\bweb-[a-z0-9]+-[a-z0-9]+\b`), "POD"},
	{"a pod's id", regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`), "UID"},
	{"a time", regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`), "TIME"},
	{"how long a pull took", regexp.MustCompile(`in \S+ \(\S+ including waiting\)`), "in TIME"},
	{"a laboratory's addresses", regexp.MustCompile(`\b(127|198)\.\d+\.\d+\.(\d+)\b`), "LAB.$2"},
	{"a port of a connection", regexp.MustCompile(`LAB\.\d+:\d{5}\b`), "LAB:PORT"},
	{"a name server", regexp.MustCompile(`on \S+:53: `), "on SERVER:53: "},
}

func plainly(line string) string {
	for _, s := range same {
		line = s.of.ReplaceAllString(line, s.to)
	}
	return line
}
