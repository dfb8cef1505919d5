package service

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// world plays a plan with nodes that join at once, or never if their revision is in wedged.
type world struct {
	nodes  []*node
	wedged map[string]bool
}

// play carries steps out until nothing changes and returns, for each, how many nodes of which revision there were and how many of them
// had joined.
func (w *world) play(t *testing.T, to target) []string {
	t.Helper()
	var out []string
	for range 40 {
		for _, n := range w.nodes {
			n.current = to.current(n)
		}
		next, err := to.plan(w.nodes)
		if err != nil {
			t.Fatal(err)
		}
		if len(next.make)+len(next.end) == 0 {
			return out
		}
		var kept []*node
		for _, n := range append(w.nodes, next.make...) {
			n.joined = !w.wedged[n.revision]
			ended := false
			for _, e := range next.end {
				ended = ended || e == n
			}
			if !ended {
				kept = append(kept, n)
			}
		}
		w.nodes = kept
		out = append(out, w.String())
	}
	t.Fatalf("the plan does not come to an end: %v", out)
	return nil
}

// String is each pool's nodes as revisions, in brackets those that have not joined.
func (w *world) String() string {
	pools := map[string][]string{}
	var names []string
	for _, n := range w.nodes {
		if pools[n.pool] == nil {
			names = append(names, n.pool)
		}
		word := n.revision
		if !n.joined {
			word = "(" + word + ")"
		}
		pools[n.pool] = append(pools[n.pool], word)
	}
	var out []string
	for _, name := range []string{controlPlaneName, "a", "b"} {
		if len(pools[name]) > 0 {
			out = append(out, fmt.Sprintf("%s: %s", name, strings.Join(pools[name], " ")))
		}
	}
	return strings.Join(out, "; ")
}

func to(revision string, workers int) target {
	return target{cluster: "dev1", revision: revision, initialized: true, pools: []pool{
		controlPlanePool(1, ""), {name: "a", replicas: workers},
	}}
}

func TestPlan(t *testing.T) {
	t.Parallel()
	first := func(t target) target { t.initialized = false; return t }
	planting := func(t target) target { t.planting = "now"; return t }
	cases := map[string]struct {
		reason string
		wedged string
		deeds  []target
		want   []string
	}{
		"First": {"all nodes at once", "", []target{first(to("first", 2))}, []string{"control-plane: first; a: first first"}},
		"Roll": {
			"one at a time, the control plane first, with one more than there should be", "", []target{to("first", 2), to("other", 2)},
			[]string{
				"control-plane: first; a: first first",
				"control-plane: first other; a: first first", "control-plane: other; a: first first",
				"control-plane: other; a: first first other", "control-plane: other; a: first other",
				"control-plane: other; a: first other other", "control-plane: other; a: other other",
			},
		},
		"Wedge": {
			"the first new node hangs, and the old ones stay", "other", []target{to("first", 2), to("other", 2)},
			[]string{"control-plane: first; a: first first", "control-plane: first (other); a: first first"},
		},
		"Superseded": {
			"nodes of a roll that hangs go first", "other", []target{to("first", 1), to("other", 1), to("third", 1)},
			[]string{
				"control-plane: first; a: first", "control-plane: first (other); a: first",
				"control-plane: first third; a: first", "control-plane: third; a: first",
				"control-plane: third; a: first third", "control-plane: third; a: third",
			},
		},
		"NeverUp": {
			"there is nothing to join, so nothing is rolled", "first", []target{first(to("first", 1)), first(to("other", 1))},
			[]string{"control-plane: (first); a: (first)"},
		},
		"Planting": {
			"the laboratory does not wait", "", []target{to("first", 1), planting(to("first", 1))},
			[]string{"control-plane: first; a: first", "control-plane: first first; a: first first", "control-plane: first; a: first"},
		},
		"Scale": {"more nodes are added and fewer taken away, and none is replaced", "", []target{to("first", 1), to("first", 3), to("first", 0)}, []string{
			"control-plane: first; a: first", "control-plane: first; a: first first first", "control-plane: first",
		}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &world{wedged: map[string]bool{tc.wedged: true}}
			var got []string
			for _, deed := range tc.deeds {
				got = append(got, w.play(t, deed)...)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestPlanReplacesWhatLeaves(t *testing.T) {
	t.Parallel()
	w := &world{wedged: map[string]bool{}}
	w.play(t, to("first", 2))
	w.nodes[1].leaving = true
	next, err := to("first", 2).plan(w.nodes)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{1, 0}, []int{len(next.make), len(next.end)}); diff != "" {
		t.Errorf("nodes to make and to end besides the one that leaves (-want, +got):\n%s", diff)
	}
	if next.rolling || next.make[0].pool != "a" {
		t.Errorf("planned: %+v", next)
	}
}

func TestPlanWaitsForDrain(t *testing.T) {
	t.Parallel()
	leaving := &node{name: "leaving", pool: "a", revision: "first", joined: true, leaving: true}
	nodes := []*node{
		{name: "c", pool: controlPlaneName, revision: "other", joined: true, current: true}, leaving,
		{name: "old", pool: "a", revision: "first", joined: true}, {name: "new", pool: "a", revision: "other", joined: true, current: true},
	}
	for i, held := range []string{"", "* Pod demo/web: cannot evict pod"} {
		leaving.drain = held
		next, err := to("other", 2).plan(nodes)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]bool{i == 0, true}, []bool{len(next.make) > 0, next.rolling}); diff != "" {
			t.Errorf("held by %q: makes nodes, rolls (-want, +got):\n%s", held, diff)
		}
	}
}

func TestRevision(t *testing.T) {
	t.Parallel()
	cluster := func(topology string) owner {
		return classOwner{parse(t, "kind: Cluster\napiVersion: cluster.x-k8s.io/v1beta1\nmetadata: {name: dev1}\nspec: {controlPlaneEndpoint: {host: h}, topology: "+topology+"}")}
	}
	base := "{class: c, version: v, workers: {machineDeployments: [{name: a, replicas: 2}]}, variables: [{name: x, value: 1}, {name: b, value: {z: 2}}]}"
	cases := map[string]struct {
		reason, topology string
		same             bool
	}{
		"Same":      {"nothing is changed", base, true},
		"Scaled":    {"more nodes are no other nodes", strings.Replace(base, "replicas: 2", "replicas: 3", 1), true},
		"Labels":    {"labels are changed in place", strings.Replace(base, "name: a,", "name: a, metadata: {labels: {l: m}},", 1), true},
		"Order":     {"variables go by their names", "{class: c, version: v, workers: {machineDeployments: [{name: a, replicas: 2}]}, variables: [{name: b, value: {z: 2}}, {name: x, value: 1}]}", true},
		"Variable":  {"a variable's value", strings.Replace(base, "z: 2", "z: 3", 1), false},
		"Version":   {"the version", strings.Replace(base, "version: v", "version: w", 1), false},
		"ClassName": {"the class", strings.Replace(base, "class: c", "class: d", 1), false},
	}
	want, err := revision(cluster(base))
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := revision(cluster(tc.topology))
			if err != nil {
				t.Fatal(err)
			}
			if (got == want) != tc.same {
				t.Errorf("%s: %s after %s", tc.reason, got, want)
			}
		})
	}
}
