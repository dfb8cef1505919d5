package tkg_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
)

func TestParseRef(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		want   tkg.Ref
		err    bool
	}{
		"team-a/dev1":            {reason: "the form that every step takes", want: tkg.Ref{Namespace: "team-a", Name: "dev1"}},
		"dev1":                   {reason: "no namespace is guessed", err: true},
		"":                       {reason: "nothing", err: true},
		"/dev1":                  {reason: "an empty namespace", err: true},
		"team-a/":                {reason: "an empty name", err: true},
		"team-a/dev1/x":          {reason: "one slash only", err: true},
		"Team/dev1":              {reason: "no Kubernetes name", err: true},
		"team-a/dev1 --all":      {reason: "it ends up in commands that people paste", err: true},
		"team-a/$(reboot)":       {reason: "the same", err: true},
		"../dev1":                {reason: "it ends up in paths of the API", err: true},
		strings.Repeat("x", 1e4): {reason: "a long one must not flood the terminal", err: true},
	}
	for in, tc := range cases {
		got, err := tkg.ParseRef(in)
		if (err != nil) != tc.err {
			t.Errorf("%.40q, %s: error %v", in, tc.reason, err)
		}
		if err != nil && (plugins.HintOf(err) == "" || len(err.Error()) > 400) {
			t.Errorf("%.40q, %s: error of %d bytes, hint %q", in, tc.reason, len(err.Error()), plugins.HintOf(err))
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%.40q, %s (-want, +got):\n%s", in, tc.reason, diff)
		}
		if err == nil && got.String() != in {
			t.Errorf("%q is printed as %q", in, got)
		}
	}
}

func TestTrust(t *testing.T) {
	t.Parallel()
	entry := map[string]any{"name": "a", "data": "QQ=="}
	cases := map[string]struct {
		reason string
		list   any // nil: no list
		want   []tkg.TrustEntry
		err    string
	}{
		"none":           {reason: "a new Supervisor has no list"},
		"empty":          {reason: "or an empty one", list: []any{}, want: []tkg.TrustEntry{}},
		"two":            {reason: "order matters to the patch", list: []any{entry, map[string]any{"name": "b", "data": "Qg=="}}, want: []tkg.TrustEntry{{Name: "a", Data: "QQ=="}, {Name: "b", Data: "Qg=="}}},
		"no data":        {reason: "an entry may be half written", list: []any{map[string]any{"name": "a"}}, want: []tkg.TrustEntry{{Name: "a"}}},
		"no list":        {reason: "a stranger's schema is told, not guessed at", list: "x", err: "no list"},
		"no object":      {reason: "the same", list: []any{"x"}, err: "entry 0"},
		"no string":      {reason: "the same", list: []any{entry, map[string]any{"name": 1.0, "data": "x"}}, err: "entry 1"},
		"data no string": {reason: "the same", list: []any{map[string]any{"name": "a", "data": true}}, err: "entry 0"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tsc := &unstructured.Unstructured{Object: map[string]any{"kind": "TkgServiceConfiguration"}}
			tkc := &unstructured.Unstructured{Object: map[string]any{"kind": "TanzuKubernetesCluster"}}
			if tc.list != nil {
				tsc.Object["spec"] = map[string]any{"trust": map[string]any{"additionalTrustedCAs": tc.list}}
				tkc.Object["spec"] = map[string]any{"settings": map[string]any{"network": map[string]any{"trust": map[string]any{"additionalTrustedCAs": tc.list}}}}
			}
			for kind, read := range map[string]func() ([]tkg.TrustEntry, error){
				"TkgServiceConfiguration": func() ([]tkg.TrustEntry, error) { return tkg.ServiceTrust(tsc) },
				"TanzuKubernetesCluster":  func() ([]tkg.TrustEntry, error) { return tkg.ClusterTrust(tkc) },
			} {
				got, err := read()
				if (err != nil) != (tc.err != "") || err != nil && !strings.Contains(err.Error(), tc.err) {
					t.Errorf("%s: %s: error %v, want %q", kind, tc.reason, err, tc.err)
				}
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Errorf("%s: %s (-want, +got):\n%s", kind, tc.reason, diff)
				}
			}
		})
	}
	if got, err := tkg.ServiceTrust(nil); got != nil || err != nil {
		t.Errorf("of no object: %v %v", got, err)
	}
}

func TestValidTrustName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"corp-root_2026.v1": true, "A": true, "": false, "a b": false, "a/b": false, "..": false, ".": false, "../x": false, "ä": false, "a\n": false,
		strings.Repeat("x", 247): true, strings.Repeat("x", 248): false,
	} {
		if got := tkg.ValidTrustName(name); got != want {
			t.Errorf("%.40q: %v, want %v", name, got, want)
		}
	}
}

func TestTrustHash(t *testing.T) {
	t.Parallel()
	a, b := tkg.TrustEntry{Name: "a", Data: "1"}, tkg.TrustEntry{Name: "b", Data: "2"}
	// sha256 of [] and of [{"data":"1","name":"a"}], made with sha256sum: a change would void every approval.
	for want, list := range map[string][]tkg.TrustEntry{
		"sha256:4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945": nil,
		"sha256:89a93057f73d9b3247a1987b5b44174438a09d4fb66e0397bed56baf37de8e9d": {a},
	} {
		if got := tkg.TrustHash(list); got != want {
			t.Errorf("%v: %s, want %s", list, got, want)
		}
	}
	if tkg.TrustHash([]tkg.TrustEntry{}) != tkg.TrustHash(nil) {
		t.Error("no list and an empty list differ")
	}
	seen := map[string]bool{}
	for _, list := range [][]tkg.TrustEntry{nil, {a}, {b}, {a, b}, {b, a}, {a, a}, {{Name: "a1"}}} {
		if h := tkg.TrustHash(list); seen[h] {
			t.Errorf("%v has the hash of another list", list)
		} else {
			seen[h] = true
		}
	}
}
