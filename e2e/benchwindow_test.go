//go:build benchcontroller

package e2e

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// sample is the controller at one moment.
type sample struct {
	at time.Time
	// cpu is what the process has used so far.
	cpu time.Duration
	// heap is what was left of it when garbage was collected last.
	rss, heap, goroutines, files float64
}

// window is the controller over a time.
type window struct {
	name    string
	samples []sample
	calls   map[string]int
	// early and late are the calls of the first and of the last quarter.
	early, late int
	// before and after are what there is in the API server: objects by kind, and the bytes of etcd's database.
	before, after map[string]float64
}

// look looks at the controller for a while.
func (b *bench) look(t *testing.T, name string, lasts time.Duration) *window {
	t.Helper()
	t.Logf("%s, for %s", name, lasts)
	audit, err := os.Open(b.plane.Audit)
	must(t, err)
	defer audit.Close()
	_, err = audit.Seek(0, io.SeekEnd)
	must(t, err)
	w := &window{name: name, calls: map[string]int{}, before: b.stored(t)}
	tick := time.NewTicker(*benchEvery)
	defer tick.Stop()
	for w.samples = append(w.samples, b.sample(t)); w.lasts() < lasts; w.samples = append(w.samples, b.sample(t)) {
		<-tick.C
	}
	w.count(t, audit)
	w.after = b.stored(t)
	return w
}

func (w *window) lasts() time.Duration { return w.samples[len(w.samples)-1].at.Sub(w.samples[0].at) }

func (b *bench) sample(t *testing.T) sample {
	t.Helper()
	m, err := b.scrape(t.Context())
	must(t, err)
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", b.cmd.Process.Pid))
	must(t, err)
	var ticks int64
	for _, f := range strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))[11:13] { // utime and stime, in hundredths of a second
		n, err := strconv.ParseInt(f, 10, 64)
		must(t, err)
		ticks += n
	}
	return sample{
		at: time.Now(), cpu: time.Duration(ticks) * 10 * time.Millisecond, rss: m["process_resident_memory_bytes"],
		heap: m["go_gc_heap_live_bytes"], goroutines: m["go_goroutines"], files: m["process_open_fds"],
	}
}

// scrape reads the controller's metrics.
func (b *bench) scrape(ctx context.Context) (map[string]float64, error) {
	text, err := get(ctx, "http://"+b.metrics+"/metrics")
	return parseMetrics(text), err
}

// parseMetrics reads metrics, by name and labels as they are written.
func parseMetrics(text []byte) map[string]float64 {
	out := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if v, err := strconv.ParseFloat(value, 64); err == nil && !strings.HasPrefix(line, "#") {
			out[name] = v
		}
	}
	return out
}

func get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, resp.Status)
	}
	return io.ReadAll(resp.Body)
}

// stored counts what is in the API server.
func (b *bench) stored(t *testing.T) map[string]float64 {
	t.Helper()
	out := map[string]float64{}
	for kind, group := range map[string]string{
		"Run": "tkgfix.dev/v1alpha1", "JournalEntry": "tkgfix.dev/v1alpha1", "Lease": "coordination.k8s.io/v1", "Event": "v1", "ConfigMap": "v1",
	} {
		gv, err := schema.ParseGroupVersion(group)
		must(t, err)
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(gv.WithKind(kind + "List"))
		must(t, b.admin.List(t.Context(), list, client.InNamespace(benchNamespace)))
		out["objects: "+kind] = float64(len(list.Items))
	}
	config, err := b.plane.Config("admin")
	must(t, err)
	server, err := kubernetes.NewForConfig(config)
	must(t, err)
	text, err := server.Discovery().RESTClient().Get().AbsPath("/metrics").DoRaw(t.Context())
	must(t, err)
	for name, v := range parseMetrics(text) {
		if strings.HasPrefix(name, "apiserver_storage_size_bytes") {
			out["bytes of etcd"] += v
		}
	}
	return out
}

// count reads in the audit log which calls the controller made. What a run's plugins call is another user's.
func (w *window) count(t *testing.T, audit io.Reader) {
	t.Helper()
	first, last := w.samples[0].at, w.samples[len(w.samples)-1].at
	quarter := last.Sub(first) / 4
	lines := bufio.NewScanner(audit)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var call struct {
			User      struct{ Username string }
			Verb      string
			ObjectRef struct{ Resource, Subresource, Name string }
			URI       string    `json:"requestURI"`
			At        time.Time `json:"requestReceivedTimestamp"`
		}
		must(t, json.Unmarshal(lines.Bytes(), &call))
		if call.User.Username != benchUser || call.At.After(last) {
			continue
		}
		what := call.Verb + " " + cmp.Or(call.ObjectRef.Resource, call.URI)
		if s := call.ObjectRef.Subresource; s != "" {
			what += "/" + s
		}
		if call.ObjectRef.Resource == "leases" {
			what += " " + call.ObjectRef.Name
		}
		w.calls[what]++
		switch {
		case call.At.Before(first.Add(quarter)):
			w.early++
		case call.At.After(last.Add(-quarter)):
			w.late++
		}
	}
	must(t, lines.Err())
}

// quarters returns the lowest values of the first and of the last quarter.
func (w *window) quarters(of func(sample) float64) (early, late float64) {
	n := max(len(w.samples)/4, 1)
	low := func(s []sample) float64 {
		return slices.Min(slices.Collect(func(yield func(float64) bool) {
			for _, one := range s {
				if !yield(of(one)) {
					return
				}
			}
		}))
	}
	return low(w.samples[:n]), low(w.samples[len(w.samples)-n:])
}

// used returns how much CPU was used, as a share of one core, in the whole time and in the first and the last quarter.
func (w *window) used() (all, early, late float64) {
	share := func(s []sample) float64 {
		if len(s) < 2 {
			return 0
		}
		a, b := s[0], s[len(s)-1]
		return float64(b.cpu-a.cpu) / float64(b.at.Sub(a.at))
	}
	n := max(len(w.samples)/4, 2)
	return share(w.samples), share(w.samples[:n]), share(w.samples[len(w.samples)-n:])
}

func (w *window) total() (n int) {
	for _, c := range w.calls {
		n += c
	}
	return n
}

const mib = 1 << 20

func rss(s sample) float64        { return s.rss }
func heap(s sample) float64       { return s.heap }
func goroutines(s sample) float64 { return s.goroutines }
func files(s sample) float64      { return s.files }

// printTable prints what each window says of the controller: at its end, and how that compares to its beginning.
func printTable(runs int, windows ...*window) {
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	row := func(name string, cell func(*window) string) {
		fmt.Fprint(out, name)
		for _, w := range windows {
			fmt.Fprint(out, "\t"+cell(w))
		}
		fmt.Fprintln(out)
	}
	grown := func(early, late float64, format string, unit float64) string {
		if early == 0 {
			return fmt.Sprintf(format, late/unit)
		}
		return fmt.Sprintf(format+" (x%.2f)", late/unit, late/early)
	}
	row("", func(w *window) string { return w.name })
	row("looked at for", func(w *window) string { return w.lasts().Round(time.Second).String() })
	row("CPU, of one core", func(w *window) string {
		all, early, late := w.used()
		return fmt.Sprintf("%.2f %% (%.2f -> %.2f)", 100*all, 100*early, 100*late)
	})
	row("API calls a minute", func(w *window) string {
		return fmt.Sprintf("%.1f (%d -> %d a quarter)", float64(w.total())/w.lasts().Minutes(), w.early, w.late)
	})
	memory := func(name string, of func(sample) float64) {
		row(name, func(w *window) string { early, late := w.quarters(of); return grown(early, late, "%.1f", mib) })
		row("  more than without Runs, KiB each", func(w *window) string {
			_, late := w.quarters(of)
			_, idle := windows[0].quarters(of)
			if w == windows[0] {
				return "-"
			}
			return fmt.Sprintf("%.1f", (late-idle)/1024/float64(runs))
		})
	}
	memory("RSS, MiB", rss)
	memory("live heap, MiB", heap)
	row("goroutines", func(w *window) string { early, late := w.quarters(goroutines); return grown(early, late, "%.0f", 1) })
	row("open files", func(w *window) string { early, late := w.quarters(files); return grown(early, late, "%.0f", 1) })
	for _, what := range slices.Sorted(maps.Keys(windows[0].before)) {
		row(what, func(w *window) string { return grown(w.before[what], w.after[what], "%.0f", 1) })
	}
	_ = out.Flush()
	for _, w := range windows {
		fmt.Printf("\ncalls, %s, in %s:\n", w.name, w.lasts().Round(time.Second))
		for _, call := range slices.SortedFunc(maps.Keys(w.calls), func(a, b string) int { return cmp.Compare(w.calls[b], w.calls[a]) }) {
			fmt.Printf("  %6d  %s\n", w.calls[call], call)
		}
	}
}

// settled fails if the controller that planned the Runs keeps more of them than one that was started anew and only knows them: what it needed
// for an attempt must go when that is over.
func (w *window) settled(t *testing.T, anew *window, runs int) {
	t.Helper()
	// The ends of journals, Events that may be repeated, and what a heap differs by without a reason.
	const most, besides = 16 << 10, 4 * mib
	_, mine := w.quarters(heap)
	_, theirs := anew.quarters(heap)
	if more := mine - theirs; more > most*float64(runs)+besides {
		t.Errorf("%.0f KiB are kept of each Run whose attempt is over", more/float64(runs)/1024)
	}
}

// judge fails if something grew. Time alone must not make more of anything; a tenth is what memory moves by itself.
func (w *window) judge(t *testing.T) {
	t.Helper()
	bound := func(what string, early, late, most, besides float64) {
		if late > early*most+besides {
			t.Errorf("%s grew from %.0f to %.0f in %s", what, early, late, w.lasts())
		}
	}
	for what, of := range map[string]func(sample) float64{"RSS": rss, "the heap": heap, "goroutines": goroutines, "open files": files} {
		early, late := w.quarters(of)
		bound(what, early, late, 1.1, 0)
	}
	bound("API calls", float64(w.early), float64(w.late), 1.1, 5) // a call more or less falls into a quarter
	for what, n := range w.before {
		if what != "bytes of etcd" { // revisions that are not compacted yet
			bound(what, n, w.after[what], 1, 0)
		}
	}
}
