//go:build replicas

package replicas

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
	"github.com/tkgfix/tkgfix/internal/engine"
	"github.com/tkgfix/tkgfix/internal/state"
	"github.com/tkgfix/tkgfix/internal/state/kube"
)

// attempt is one that a journal tells of.
type attempt struct {
	host  string
	began time.Time
	// ended says that it ended in order. acting says that it was left while the deletion was intended and not known to have happened.
	ended, acting bool
}

// attempts reads a Run's journal, which must be whole and say that the run is done by one deletion, and returns its attempts.
func attempts(t *testing.T, run *v1alpha1.Run) []attempt {
	t.Helper()
	store := kube.New(kube.Options{Client: admin, Namespace: run.Namespace})
	id := v1alpha1.RunID(run)
	entries, err := store.Read(t.Context(), id, 1)
	must(t, err)
	r, err := engine.Replay(id, entries)
	must(t, err)
	if r.Status != engine.Done || len(r.Effects) != 1 || r.Effects[0].Done.IsZero() || len(r.Decisions) != 1 {
		t.Errorf("the journal of %s says %s, with effects %+v and decisions %+v", id, r.Status, r.Effects, r.Decisions)
	}
	ready := meta.FindStatusCondition(run.Status.Conditions, v1alpha1.ConditionReady)
	if run.Status.Phase != v1alpha1.PhaseDone || ready == nil || ready.Status != "True" || run.Status.Entries != int64(len(entries)) ||
		run.Status.FinishedAt == nil || run.Status.Doing != "" || run.Status.Error != "" || len(run.Status.Gates) > 0 ||
		meta.FindStatusCondition(run.Status.Conditions, v1alpha1.ConditionReconciling) != nil {
		t.Errorf("the journal of %s has %d entries and is done, its status says %s", id, len(entries), unmarshalled(run.Status))
	}
	return tell(t, entries)
}

func unmarshalled(v any) string {
	data, err := json.Marshal(v)
	return fmt.Sprint(string(data), err)
}

func tell(t *testing.T, entries []state.Entry) []attempt {
	t.Helper()
	var out []attempt
	acting := false
	for _, e := range entries {
		switch e.Kind {
		case "run.resumed":
			var data struct{ By engine.Actor }
			must(t, json.Unmarshal(e.Data, &data))
			if len(out) > 0 {
				out[len(out)-1].acting = acting && !out[len(out)-1].ended
			}
			out = append(out, attempt{host: data.By.Host, began: e.Time})
		case "run.waiting", "run.finished":
			out[len(out)-1].ended = true
		case "effect.intended":
			acting = true
		case "effect.done":
			acting = false
		}
	}
	return out
}

// deletedOnce holds the audit log against the relics that were to go: each was deleted once, by the plugin, and nothing else was. Of a deletion
// whose client died before it was answered the log says an error, although it may have been carried out: it stands for one that was, if
// there is no other, as the relic is gone.
func deletedOnce(t *testing.T, log []event, relics map[types.UID]bool) {
	t.Helper()
	count, unanswered := map[string]int{}, map[string]bool{}
	for _, e := range log {
		if e.ObjectRef.Resource != "relics" || e.Verb != "delete" && e.Verb != "deletecollection" {
			continue
		}
		if !e.done() {
			if e.ResponseStatus.Code < 400 || e.ResponseStatus.Code >= 499 {
				unanswered[e.uid(t)] = true
			}
			continue
		}
		if e.User.Username != "eraser" {
			t.Errorf("%s deleted relic %s", e.User.Username, e.ObjectRef.Name)
		}
		count[e.uid(t)]++
	}
	for uid := range relics {
		if n := count[string(uid)]; n > 1 || n == 0 && !unanswered[string(uid)] {
			t.Errorf("the relic with UID %s was deleted %d times", uid, n)
			for _, e := range log {
				if e.ObjectRef.Resource == "relics" && e.Verb == "delete" && e.uid(t) == string(uid) {
					t.Logf("%s by %s at %s: %d", e.Verb, e.UserAgent, e.StageTimestamp, e.ResponseStatus.Code)
				}
			}
		}
		delete(count, string(uid))
	}
	if len(count) > 0 {
		t.Errorf("relics were deleted that nobody asked for: %v", count)
	}
}

// heldByWriter holds each entry that was written against the Lease of its run: who wrote it held that then, but for the first entry.
func heldByWriter(t *testing.T, log []event) {
	t.Helper()
	holder := map[string]string{}
	for _, e := range log {
		if !e.done() || !e.writes() {
			continue
		}
		switch e.ObjectRef.Resource {
		case "leases":
			run := strings.TrimPrefix(e.ObjectRef.Name, "tkgfix-")
			if e.Verb == "delete" {
				delete(holder, run)
			} else {
				holder[run] = e.User.Username
			}
		case "journalentries":
			run, seq, _ := strings.Cut(entryName(t, &e), ".")
			if seq != "00000001" && holder[run] != e.User.Username {
				t.Errorf("%s wrote entry %s of run %s, whose Lease %q held", e.User.Username, seq, run, holder[run])
			}
		}
	}
}

// entryName returns the name of the entry that is created.
func entryName(t *testing.T, e *event) string {
	t.Helper()
	var o struct{ Metadata struct{ Name string } }
	must(t, json.Unmarshal(e.RequestObject, &o))
	return o.Metadata.Name
}

// noLeases waits until no run of a namespace is held, but for those that a replica held that was killed when the run was over by then: nobody
// wants such a Lease any more, and it goes with the Run.
func noLeases(t *testing.T, namespace string, kills map[string]time.Time) {
	t.Helper()
	var held, left []string
	err := poll(t, 5*lease, func(ctx context.Context) (bool, error) {
		var list coordinationv1.LeaseList
		if err := admin.List(ctx, &list, client.InNamespace(namespace)); err != nil {
			return false, err
		}
		held, left = nil, nil
		for _, l := range list.Items {
			var holder state.Holder
			if l.Name == "tkgfix-controller" {
				continue
			}
			if err := json.Unmarshal([]byte(l.Annotations["tkgfix.dev/holder"]), &holder); err != nil {
				return false, err
			}
			if _, dead := kills[holder.Host]; dead && len(l.OwnerReferences) == 1 {
				left = append(left, l.Name)
			} else {
				held = append(held, l.Name+" by "+holder.Host)
			}
		}
		return len(held) == 0, nil
	})
	if err != nil {
		t.Errorf("wait for all Leases to go: %v: %q", err, held)
	}
	if len(left) > 0 {
		t.Logf("Leases of the dead on runs that are over: %q", left)
	}
}

// orphans is what became of the attempts that were left by replicas.
type orphans struct {
	// after is for how long each was left by a replica that was killed, in order; acting is how many of them were while they deleted.
	after  []time.Duration
	acting int
	// lost are those of replicas that lived: they could not renew their Leases in time.
	lost []string
}

// left returns what became of the attempts that did not end in order. kills says when which replica was killed.
func left(t *testing.T, all []v1alpha1.Run, kills map[string]time.Time) orphans {
	t.Helper()
	var out orphans
	for i := range all {
		as := attempts(t, &all[i])
		for n, a := range as {
			if a.ended || n+1 == len(as) {
				continue
			}
			killed, ok := kills[a.host]
			after := as[n+1].began.Sub(killed)
			if !ok || after < 0 {
				out.lost = append(out.lost, fmt.Sprintf("%s: %s, then %s after %s", all[i].Name, a.host, as[n+1].host, as[n+1].began.Sub(a.began)))
				continue
			}
			out.after = append(out.after, after)
			if a.acting {
				out.acting++
			}
		}
	}
	slices.Sort(out.after)
	return out
}
