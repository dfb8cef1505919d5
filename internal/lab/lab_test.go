package lab

import (
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tkgfix/tkgfix/internal/lab/ca"
	"github.com/tkgfix/tkgfix/plugins"
)

func TestScenarios(t *testing.T) {
	t.Parallel()
	pki, err := ca.NewCorporate(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	earlier, err := pki.Server(ca.Good, registryHost)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, s := range Scenarios() {
		if seen[s.Name] {
			t.Errorf("two scenarios are named %s", s.Name)
		}
		seen[s.Name] = true
		if s.Name != strings.ToLower(s.Name) || strings.ContainsAny(s.Name, " _") || s.Text == "" || strings.HasSuffix(s.Text, ".") || strings.Contains(s.Text, "\n") {
			t.Errorf("%s: name or text is not as the others: %q", s.Name, s.Text)
		}
		if (s.shows == running) != (s.says == "") {
			t.Errorf("%s: pods that run say nothing, those that fail say something", s.Name)
		}
		for _, list := range [][]entry{s.trust, s.later, s.own} {
			if _, err := trustList(pki, earlier, list); err != nil {
				t.Errorf("%s: %v", s.Name, err)
			}
		}
		if _, err := pki.Server(s.server.cert, registryHost); err != nil {
			t.Errorf("%s: %v", s.Name, err)
		}
	}
	if _, err := trustList(pki, earlier, of("nothing")); err == nil {
		t.Error("a certificate that there is not was configured")
	}
}

func TestEncode(t *testing.T) {
	t.Parallel()
	authority, err := ca.NewRoot("Root", ca.ECDSA, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	data := authority.PEM()
	block, _ := pem.Decode(data)
	cases := map[string]struct {
		reason string
		as     form
		layers int
		want   string
	}{
		"Once":    {"as TkgServiceConfiguration wants it", once, 1, string(data)},
		"Doubled": {"a layer too many", doubled, 2, string(data)},
		"Plain":   {"a layer too few", plain, 0, string(data)},
		"Glued":   {"no line end between two blocks", glued, 1, strings.TrimSpace(string(data)) + string(data)},
		"BOM":     {"as Windows writes it", withBOM, 1, "\xef\xbb\xbf" + string(data)},
		"DER":     {"not PEM at all", der, 1, string(block.Bytes)},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := tc.as.encode(data, data)
			for range tc.layers {
				decoded, err := base64.StdEncoding.DecodeString(got)
				if err != nil {
					t.Fatal(err)
				}
				got = string(decoded)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestShownBy(t *testing.T) {
	t.Parallel()
	pod := func(phase corev1.PodPhase, reason, message string) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Status: corev1.PodStatus{Phase: phase}}
		if reason != "" {
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}}}
		}
		return p
	}
	cases := map[string]struct {
		reason   string
		scenario Scenario
		pod      *corev1.Pod
		told     string
		want     bool
	}{
		"Runs":      {"as it should", Scenario{}, pod(corev1.PodRunning, "", ""), "", true},
		"Pending":   {"not yet", Scenario{}, pod(corev1.PodPending, "", ""), "", false},
		"Fails":     {"with the right words", Scenario{shows: failing, says: "x509"}, pod(corev1.PodPending, "ErrImagePull", "… x509: no"), "", true},
		"OtherWord": {"with others", Scenario{shows: failing, says: "x509"}, pod(corev1.PodPending, "ErrImagePull", "dial tcp"), "", false},
		"NotBack":   {"it has not begun to wait", Scenario{shows: backOff, says: "x"}, pod(corev1.PodPending, "ErrImagePull", "x"), "", false},
		"Back":      {"it waits", Scenario{shows: backOff, says: "x"}, pod(corev1.PodPending, "ImagePullBackOff", "x"), "", true},
		"NoSandbox": {"told of the pod", Scenario{shows: sandbox, says: "x"}, pod(corev1.PodPending, "ContainerCreating", ""), "p: FailedCreatePodSandBox: x\n", true},
		"Untold":    {"told of another", Scenario{shows: sandbox, says: "x"}, pod(corev1.PodPending, "ContainerCreating", ""), "q: FailedCreatePodSandBox: x\n", false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, tc.scenario.shownBy(tc.pod, tc.told)); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestPlantRefuses(t *testing.T) {
	t.Parallel()
	dead := t.TempDir()
	if err := (State{PID: os.Getpid(), PIDStarted: 1, Phase: Ready}).save(dead); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct{ reason, dir, scenario, want, hint string }{
		"Scenario": {"no such scenario", t.TempDir(), "x", "there are: missing-ca, wrong-ca", ""},
		"None":     {"no laboratory", t.TempDir(), Healthy, "no laboratory there", "tkgfix-lab up"},
		"Dead":     {"a killed one", dead, Healthy, "is dead", "tkgfix-lab status"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := Plant(t.Context(), tc.dir, tc.scenario, io.Discard)
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(plugins.HintOf(err), tc.hint) {
				t.Errorf("%s: error %v, hint %q", tc.reason, err, plugins.HintOf(err))
			}
		})
	}
}

func TestUpRefuses(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "hyperkube")
	if err := os.WriteFile(binary, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "precious"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	used := t.TempDir()
	if err := os.WriteFile(filepath.Join(used, stateFile), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		reason     string
		opts       UpOptions
		want, hint string
	}{
		"Scenario": {"no such scenario", UpOptions{Dir: t.TempDir(), Scenario: "x", Kube: binary}, "there are: missing-ca, wrong-ca, vsphere-pod, healthy", ""},
		"NoBinary": {"no Kubernetes binary", UpOptions{Dir: t.TempDir(), Scenario: Healthy, Kube: binary + "x"}, "no Kubernetes binary", "hack/kube/build.sh"},
		"Full":     {"somebody's folder", UpOptions{Dir: full, Scenario: Healthy, Kube: binary}, "is not empty", "a new one"},
		"Used":     {"a laboratory is there", UpOptions{Dir: used, Scenario: Healthy, Kube: binary}, "already", "tkgfix-lab down"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Up(t.Context(), tc.opts)
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(plugins.HintOf(err), tc.hint) {
				t.Errorf("%s: error %v, hint %q", tc.reason, err, plugins.HintOf(err))
			}
		})
	}
}

func TestUpThatFailsLeavesItsLogOnly(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "lab")
	program := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho a step >&3\necho why it failed >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	var progress strings.Builder
	_, err := Up(t.Context(), UpOptions{Dir: dir, Scenario: Healthy, Kube: program, Program: program, Progress: &progress})
	if err == nil || !strings.Contains(err.Error(), "why it failed") || !strings.Contains(plugins.HintOf(err), logFile) {
		t.Errorf("error %v, hint %q", err, plugins.HintOf(err))
	}
	if diff := cmp.Diff("a step\n", progress.String()); diff != "" {
		t.Errorf("progress (-want, +got):\n%s", diff)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !onlyLog(entries) {
		t.Errorf("left: %v", entries)
	}
}

func TestDown(t *testing.T) {
	t.Parallel()
	t.Run("NothingThere", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		precious := filepath.Join(dir, "ca")
		if err := os.Mkdir(precious, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := Down(t.Context(), dir); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(precious); err != nil {
			t.Errorf("a folder without a laboratory was touched: %v", err)
		}
	})
	t.Run("KeepsWhatIsNotItsOwn", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		if err := (State{PID: os.Getpid(), PIDStarted: 1, MadeDir: true}).save(dir); err != nil {
			t.Fatal(err)
		}
		// This process has the id, but another start time: it must survive, and so must the user's file.
		mine := filepath.Join(dir, "notes.txt")
		if err := os.WriteFile(mine, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := Down(t.Context(), dir); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(mine); err != nil {
			t.Errorf("the user's file is gone: %v", err)
		}
		if _, err := Load(dir); !errors.Is(err, ErrNone) {
			t.Errorf("the state is still there: %v", err)
		}
	})
}
