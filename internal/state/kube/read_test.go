package kube_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
	"github.com/tkgfix/tkgfix/internal/state"
	"github.com/tkgfix/tkgfix/internal/state/kube"
)

func zip(t *testing.T, lines []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(lines); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func unzip(t *testing.T, data []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	lines, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// lines changes what is compressed in an entry.
func lines(change func([]byte) []byte) func(*testing.T, *v1alpha1.JournalEntry) {
	return func(t *testing.T, e *v1alpha1.JournalEntry) { e.Spec.Data = zip(t, change(unzip(t, e.Spec.Data))) }
}

// TestDamage puts altered objects in the place of the good ones: entries 1, 2 and 3 in one object, 4 in two, 5. Nothing goes unnoticed.
func TestDamage(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	for name, tc := range map[string]struct {
		reason string
		object string // what is deleted; a part is named by "part"
		again  func(*testing.T, *v1alpha1.JournalEntry)
		where  string
		seq    uint64
		says   string
	}{
		"FirstGone": {"a journal without a beginning is not another run", "a.00000001", nil, "a.00000001", 1, "is missing: a.00000004 follows"},
		"Gone":      {"entries between others are missed", "a.00000004", nil, "a.00000004", 4, "is missing: a.00000005 follows"},
		"PartGone":  {"half of an entry is none", "part", nil, "part", 4, "is missing: it is a part of a.00000004"},
		"Flipped": {"each entry has its sum", "a.00000001", lines(func(b []byte) []byte {
			b[bytes.IndexByte(b, '\n')+20] ^= 1
			return b
		}), "a.00000001", 2, "altered"},
		"FlippedPart": {"so has one in parts", "part", func(_ *testing.T, e *v1alpha1.JournalEntry) { e.Spec.Data[100] ^= 1 }, "a.00000004", 4, "altered"},
		"CutOff":      {"an object is created whole, so it is not torn", "a.00000005", lines(func(b []byte) []byte { return b[:len(b)-5] }), "a.00000005", 5, "altered"},
		"LineGone": {"the next object shows that lines are missing", "a.00000001", lines(func(b []byte) []byte {
			return b[:bytes.LastIndexByte(b[:len(b)-1], '\n')+1]
		}), "a.00000003", 3, "is missing: a.00000004 follows"},
		"LineTwice": {"an entry comes once", "a.00000005", lines(func(b []byte) []byte { return append(b, b...) }), "a.00000005", 6, "has number 5"},
		"NoLine":    {"an object without an entry is none of ours", "a.00000005", lines(func([]byte) []byte { return nil }), "a.00000005", 5, "holds no entry"},
		"NoGzip":    {"what is no gzip is not read", "a.00000005", func(_ *testing.T, e *v1alpha1.JournalEntry) { e.Spec.Data = []byte("x") }, "a.00000005", 5, "not compressed"},
		"HalfGzip": {"nor is half of it", "a.00000005", func(_ *testing.T, e *v1alpha1.JournalEntry) {
			e.Spec.Data = e.Spec.Data[:len(e.Spec.Data)-9]
		}, "a.00000005", 5, "does not decompress"},
		"Behind": {"there is nothing behind the end", "a.00000005", func(t *testing.T, e *v1alpha1.JournalEntry) {
			e.Spec.Data = append(e.Spec.Data, zip(t, []byte("more\n"))...)
		}, "a.00000005", 5, "bytes behind its end"},
		"Bomb": {"what decompresses to a thousand times itself is not decompressed", "a.00000005", func(t *testing.T, e *v1alpha1.JournalEntry) {
			e.Spec.Data = zip(t, make([]byte, 1<<20))
		}, "a.00000005", 5, "decompresses to more than"},
		"PutIn": {"there is no second entry 2", "", func(_ *testing.T, e *v1alpha1.JournalEntry) {
			e.Name, e.Spec.Seq = "a.00000002", 2
		}, "a.00000002", 4, "entry 2 was there already"},
		"OtherNumber": {"an object is what its name says", "a.00000005", func(_ *testing.T, e *v1alpha1.JournalEntry) { e.Spec.Seq = 6 }, "a.00000005", 5, "says that it is entry 6 of run a"},
		"OtherRun":    {"the entry of another run is none of this", "a.00000005", func(_ *testing.T, e *v1alpha1.JournalEntry) { e.Spec.Run = "b" }, "a.00000005", 5, "says that it is entry 5 of run b"},
		"Loop": {"parts that name the entry itself end", "a.00000005", func(_ *testing.T, e *v1alpha1.JournalEntry) {
			e.Spec.Parts = []string{e.Name, e.Name}
		}, "a.00000005", 5, "bytes behind its end"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := newNamespace(t, c)
			s := kube.New(kube.Options{Client: c, Namespace: ns}).Small()
			part := written(t, c, s, ns)
			named := func(n string) string { return strings.Replace(n, "part", part, 1) }
			good, err := s.Read(t.Context(), "a", 1)
			if err != nil {
				t.Fatal(err)
			}
			damage(t, c, client.ObjectKey{Namespace: ns, Name: named(tc.object)}, tc.again)

			entries, err := s.Read(t.Context(), "a", 1)
			corrupt, ok := errors.AsType[*state.CorruptError](err)
			if !ok {
				t.Fatalf("%s: got %v, want a CorruptError", tc.reason, err)
			}
			if corrupt.Where != ns+"/"+named(tc.where) || corrupt.Seq != tc.seq || corrupt.Torn || !strings.Contains(corrupt.Reason, tc.says) {
				t.Errorf("%s: got %v (torn %t), want entry %d in %s: %s", tc.reason, err, corrupt.Torn, tc.seq, named(tc.where), tc.says)
			}
			if diff := cmp.Diff(good[:corrupt.Seq-1], entries, whole, cmpopts.EquateEmpty()); diff != "" && corrupt.Seq <= 5 {
				t.Errorf("%s: what stands before it (-want, +got):\n%.500s", tc.reason, diff)
			}
			// Who appends reads first, and does not go on behind the damage.
			if _, err := kube.New(kube.Options{Client: c, Namespace: ns}).Small().Append(t.Context(), "a", 6, draft(6, 100)); err == nil {
				t.Errorf("%s: an entry was appended to a damaged journal", tc.reason)
			}
		})
	}
}

// written writes the journal and returns the name of its part.
func written(t *testing.T, c client.Client, s state.Store, ns string) string {
	t.Helper()
	if _, err := s.Append(t.Context(), "a", 1, draft(1, 100), draft(2, 100), draft(3, 100)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(t.Context(), "a", 4, draft(4, 1500)); err != nil {
		t.Fatal(err)
	}
	fill(t, s, 5, 5)
	head := &v1alpha1.JournalEntry{}
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "a.00000004"}, head); err != nil {
		t.Fatal(err)
	}
	if len(head.Spec.Parts) != 1 {
		t.Fatalf("entry 4 has the parts %q, want one", head.Spec.Parts)
	}
	return head.Spec.Parts[0]
}

// damage deletes an object, and creates it again with a change; without a name it creates one like another.
func damage(t *testing.T, c client.Client, key client.ObjectKey, change func(*testing.T, *v1alpha1.JournalEntry)) {
	t.Helper()
	like := key
	if key.Name == "" {
		like.Name = "a.00000001"
	}
	e := &v1alpha1.JournalEntry{}
	if err := c.Get(t.Context(), like, e); err != nil {
		t.Fatal(err)
	}
	if key.Name != "" {
		if err := c.Delete(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if change == nil {
		return
	}
	e.ObjectMeta = metav1.ObjectMeta{Namespace: e.Namespace, Name: e.Name, Labels: e.Labels}
	change(t, e)
	if err := c.Create(t.Context(), e); err != nil {
		t.Fatal(err)
	}
}

// TestStrangers holds that what others label as a run's is none of its journal.
func TestStrangers(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	ns := newNamespace(t, c)
	s := kube.New(kube.Options{Client: c, Namespace: ns})
	for _, run := range []string{"a", "b"} {
		stranger := &v1alpha1.JournalEntry{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: run + ".1", Labels: map[string]string{v1alpha1.LabelRun: run, v1alpha1.LabelFirst: "true"}},
			Spec:       v1alpha1.JournalEntrySpec{Run: run, Seq: 1, Writer: "w", Data: []byte("x")},
		}
		if err := c.Create(t.Context(), stranger); err != nil {
			t.Fatal(err)
		}
	}
	fill(t, s, 1, 2)
	if got, err := s.Read(t.Context(), "a", 1); err != nil || len(got) != 2 {
		t.Errorf("%d entries, %v; want 2", len(got), err)
	}
	if _, err := s.Read(t.Context(), "b", 1); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("a run of which only a stranger is there: got %v, want ErrNotFound", err)
	}
	if runs, err := s.List(t.Context()); err != nil || !cmp.Equal(runs, []string{"a"}) {
		t.Errorf("List: %q, %v; want a", runs, err)
	}
}

// TestPages reads a journal of more objects than one answer holds.
func TestPages(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	ns := newNamespace(t, c)
	s := kube.New(kube.Options{Client: c, Namespace: ns})
	fill(t, s, 1, 230)
	got, err := kube.New(kube.Options{Client: c, Namespace: ns}).Read(t.Context(), "a", 229)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]state.Draft{draft(229, 100), draft(230, 100)}, drafts(got)); diff != "" {
		t.Errorf("the end of a long journal (-want, +got):\n%s", diff)
	}
}
