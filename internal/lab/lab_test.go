package lab

import (
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tkgfix/tkgfix/internal/lab/ca"
	"github.com/tkgfix/tkgfix/plugins"
)

func TestScenarioTrust(t *testing.T) {
	t.Parallel()
	pki, err := ca.NewCorporate(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		reason string
		want   map[string][]byte
	}{
		MissingCA:  {"two CAs of other registries", map[string][]byte{}},
		WrongCA:    {"and a root that is no longer it", map[string][]byte{rootEntry: pki.OldRoot.PEM()}},
		Healthy:    {"and the root", map[string][]byte{rootEntry: pki.Root.PEM()}},
		VSpherePod: {"clusters are healthy", map[string][]byte{rootEntry: pki.Root.PEM()}},
	}
	if diff := cmp.Diff(len(cases), len(Scenarios())); diff != "" {
		t.Fatalf("scenarios without a case (-want, +got):\n%s", diff)
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			list, _, err := unstructured.NestedSlice(serviceConfiguration(name, pki).Object, "spec", "trust", "additionalTrustedCAs")
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]string{"corp-a": string(pki.CorpA.PEM()), "corp-b": string(pki.CorpB.PEM())}
			for k, v := range tc.want {
				want[k] = string(v)
			}
			got := map[string]string{}
			for _, e := range list {
				m := e.(map[string]any)
				data, err := base64.StdEncoding.DecodeString(m["data"].(string))
				if err != nil {
					t.Fatal(err)
				}
				got[m["name"].(string)] = string(data)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", tc.reason, diff)
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
