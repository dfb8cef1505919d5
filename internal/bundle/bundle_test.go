package bundle_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/bundle"
	"github.com/tkgfix/tkgfix/internal/state"
	"github.com/tkgfix/tkgfix/plugins"
)

const plan = `{"plan":{"format":"tkgfix.dev/plan/v1alpha1","workflow":"lamp","workflowSHA256":"00","inputs":[],"connections":{},
"plugins":[{"name":"turn","version":"1.0.0","sha256":"d1"}],
"steps":[{"id":"turn","uses":"turn","effect":"change","status":"changes","changes":[{"action":"update","target":{"kind":"Lamp","name":"desk"},"reason":"it is dark","before":{"lit":false},"after":{"lit":true}}]}],
"gates":[{"step":"turn","effect":"change","message":"turns the lamp on","digest":"sha256:aa"}]}}`

// journal returns a run's entries: each kind with its data.
func journal(t testing.TB, kindsAndData ...string) []state.Entry {
	t.Helper()
	var drafts []state.Draft
	for i := 0; i+1 < len(kindsAndData); i += 2 {
		drafts = append(drafts, state.Draft{Time: time.Unix(int64(i), 0), Kind: kindsAndData[i], Data: json.RawMessage(kindsAndData[i+1])})
	}
	lines, _, err := state.Chain{}.Extend(drafts)
	if err != nil {
		t.Fatal(err)
	}
	entries, _, err := state.Decode("test", state.Chain{}, lines)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

const created = `{"file":"lamp.yaml","source":"kind: Workflow\n","inputs":[],"connections":{},"by":{"identity":{"name":"ann@jump","verified":false},"host":"jump","pid":1},"version":"v1"}`

func lamp(t testing.TB) []state.Entry {
	return journal(t, "run.created", created, "run.planned", plan, "effect.intended", `{"step":"turn","key":"turn","target":{"kind":"Lamp","name":"desk"}}`)
}

func write(t testing.TB, entries []state.Entry) []byte {
	t.Helper()
	var out bytes.Buffer
	if _, err := bundle.Write(&out, "r", "v1", entries); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// file is a file in a tar.
type file struct {
	header tar.Header
	data   string
}

func unpack(t testing.TB, raw []byte) []file {
	t.Helper()
	var out []file
	for r := tar.NewReader(bytes.NewReader(gunzip(t, raw))); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, file{*h, string(data)})
	}
}

func gunzip(t testing.TB, raw []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func pack(t testing.TB, files []file) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range files {
		f.header.Size = int64(len(f.data))
		if f.header.Typeflag != tar.TypeReg {
			f.header.Size = 0
		}
		if err := w.WriteHeader(&f.header); err != nil {
			t.Fatal(err)
		}
		if f.header.Size > 0 {
			if _, err := w.Write([]byte(f.data)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return zip(t, out.Bytes())
}

func zip(t testing.TB, raw []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(raw); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestWriteThenVerify(t *testing.T) {
	t.Parallel()
	entries := lamp(t)
	raw := write(t, entries)
	if !bytes.Equal(raw, write(t, entries)) {
		t.Error("the same journal gives two bundles")
	}
	m, err := bundle.Verify(bytes.NewReader(raw), "v1")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(bundle.Head{Seq: 3, Sum: entries[2].Sum}, m.Head); diff != "" {
		t.Errorf("head (-want, +got):\n%s", diff)
	}
	var names []string
	for _, f := range unpack(t, raw) {
		names = append(names, f.header.Name)
		if f.header.ModTime.Unix() != 0 || f.header.Uid != 0 || f.header.Uname != "" || f.header.Mode != 0o600 {
			t.Errorf("%s tells when or where it was made: %+v", f.header.Name, f.header)
		}
	}
	want := []string{"manifest.json", "journal.jsonl", "plan.json", "report.json", "report.md", "workflow.yaml"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("files (-want, +got):\n%s", diff)
	}
	if _, err := bundle.Verify(bytes.NewReader(write(t, entries[:1])), "v1"); err != nil {
		t.Errorf("a run that is not planned yet: %v", err)
	}
	if _, err := bundle.Write(io.Discard, "r", "v1", nil); err == nil {
		t.Error("a bundle of nothing was made")
	}
}

// TestVerifyRefuses alters a bundle in each way that its parts could be altered.
func TestVerifyRefuses(t *testing.T) {
	t.Parallel()
	edit := func(name string, f func(*file)) func(*testing.T, []file) []byte {
		return func(t *testing.T, files []file) []byte {
			i := slices.IndexFunc(files, func(f file) bool { return f.header.Name == name })
			f(&files[i])
			return pack(t, files)
		}
	}
	replace := func(name, a, b string) func(*testing.T, []file) []byte {
		return edit(name, func(f *file) {
			if !strings.Contains(f.data, a) {
				t.Fatalf("%s does not contain %q", name, a)
			}
			f.data = strings.ReplaceAll(f.data, a, b)
		})
	}
	for name, tc := range map[string]struct {
		reason string
		alter  func(*testing.T, []file) []byte
		want   string
	}{
		"Report":       {"a report that says something nicer", replace("report.md", "dark", "fine"), "report.md was altered"},
		"ReportAgreed": {"a report with a manifest that agrees with it", agreed("report.md", "dark", "fine"), "report.md is not what the journal gives"},
		"PlanAgreed":   {"a plan with a manifest that agrees with it", agreed("plan.json", "dark", "fine"), "plan.json is not what the journal gives"},
		"Source":       {"another workflow", agreed("workflow.yaml", "Workflow", "Workflaw"), "workflow.yaml is not what the journal gives"},
		"Journal":      {"an altered journal with a manifest that agrees", agreed("journal.jsonl", "dark", "fine"), "entry 2 at offset"},
		"OtherHead":    {"a shorter journal", agreed("manifest.json", `"seq": 3`, `"seq": 2`), "the manifest says 2:"},
		"OtherRun":     {"a run id that could be a path", agreed("manifest.json", `"run": "r"`, `"run": "../r"`), "run id"},
		"OtherFormat":  {"a layout of another time", replace("manifest.json", "v1alpha1", "v9"), "format"},
		"Unknown":      {"a file that does not belong there", add(tar.Header{Name: "x"}, "x"), `holds "x"`},
		"Traversal":    {"a name that leaves the folder", add(tar.Header{Name: "../../etc/passwd"}, "x"), "no part of a bundle"},
		"Symlink":      {"a link in a file's place", add(tar.Header{Name: "plan.json", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}, ""), "no part of a bundle"},
		"Twice":        {"a second file of a name", add(tar.Header{Name: "plan.json"}, "{}"), "plan.json twice"},
		"Missing": {"a file less", func(t *testing.T, files []file) []byte {
			return pack(t, slices.DeleteFunc(files, func(f file) bool { return f.header.Name == "plan.json" }))
		}, "the manifest names 5 files, the bundle holds 4"},
		"NoManifest": {"no manifest", func(t *testing.T, files []file) []byte { return pack(t, files[1:]) }, "no manifest.json"},
		"Empty":      {"nothing at all", func(t *testing.T, _ []file) []byte { return pack(t, nil) }, "no manifest.json"},
		"Header":     {"a header that hides something", edit("report.md", func(f *file) { f.header.Uname = "ann" }), "beside its files"},
		"Order":      {"another order", func(t *testing.T, files []file) []byte { slices.Reverse(files); return pack(t, files) }, "beside its files"},
		"BehindTar":  {"bytes behind the tar's end", func(t *testing.T, files []file) []byte { return zip(t, append(gunzip(t, pack(t, files)), "hello"...)) }, "beside its files"},
		"BehindGzip": {"bytes behind the gzip's end", func(t *testing.T, files []file) []byte { return append(pack(t, files), "hello"...) }, "behind its end"},
		"TwoStreams": {"a second gzip stream", func(t *testing.T, files []file) []byte { return append(pack(t, files), zip(t, []byte("x"))...) }, "behind its end"},
		"CutOff":     {"half a file", func(t *testing.T, files []file) []byte { p := pack(t, files); return p[:len(p)/2] }, "unpack"},
		"NoGzip":     {"something else", func(*testing.T, []file) []byte { return []byte("hello") }, "no gzip"},
		"Nothing":    {"an empty file", func(*testing.T, []file) []byte { return nil }, "no gzip"},
		"Bomb": {"a small file that unpacks to a large one", func(t *testing.T, _ []file) []byte {
			return zip(t, make([]byte, 128<<20+1))
		}, "larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := bundle.Verify(bytes.NewReader(tc.alter(t, unpack(t, write(t, lamp(t))))), "v1")
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: got %v, want %q", tc.reason, err, tc.want)
			}
		})
	}
}

// agreed alters a file and has the manifest agree with what it then is.
func agreed(name, a, b string) func(*testing.T, []file) []byte {
	return func(t *testing.T, files []file) []byte {
		for i, f := range files {
			if f.header.Name == name {
				if !strings.Contains(f.data, a) {
					t.Fatalf("%s does not contain %q", name, a)
				}
				files[i].data = strings.ReplaceAll(f.data, a, b)
			}
		}
		if name == "manifest.json" {
			return pack(t, files)
		}
		var m bundle.Manifest
		if err := json.Unmarshal([]byte(files[0].data), &m); err != nil {
			t.Fatal(err)
		}
		for i := range m.Files {
			for _, f := range files {
				if f.header.Name == m.Files[i].Name {
					m.Files[i].Size, m.Files[i].SHA256 = int64(len(f.data)), digest(f.data)
				}
			}
		}
		raw, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		files[0].data = string(raw)
		return pack(t, files)
	}
}

func add(h tar.Header, data string) func(*testing.T, []file) []byte {
	return func(t *testing.T, files []file) []byte {
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		return pack(t, append(files, file{h, data}))
	}
}

// TestOtherVersion names the tkgfix that made the bundle when its reports are not what this one writes.
func TestOtherVersion(t *testing.T) {
	t.Parallel()
	raw := agreed("report.md", "dark", "old words")(t, unpack(t, write(t, lamp(t))))
	_, err := bundle.Verify(bytes.NewReader(raw), "v2")
	if err == nil || !strings.Contains(plugins.HintOf(err), "made by tkgfix v1 and this is v2") {
		t.Errorf("got %v, hint %q", err, plugins.HintOf(err))
	}
}

// TestEveryFlippedByte flips each byte of a bundle's tar: none goes unnoticed, but for the name of the tkgfix that made it,
// which is a claim that nothing in the journal can confirm.
func TestEveryFlippedByte(t *testing.T) {
	t.Parallel()
	raw := gunzip(t, write(t, journal(t, "run.created", created)))
	claim := bytes.Index(raw, []byte(`"tkgfix": "v1"`)) + len(`"tkgfix": "`)
	for i := range raw {
		if i == claim || i == claim+1 {
			continue
		}
		bad := bytes.Clone(raw)
		bad[i] ^= 1
		if _, err := bundle.VerifyTar(bad, "v1"); err == nil {
			t.Errorf("byte %d (%q became %q) was not noticed", i, raw[i], bad[i])
		}
	}
}

// FuzzVerify checks that no bytes crash the verification.
func FuzzVerify(f *testing.F) {
	raw := gunzip(f, write(f, lamp(f)))
	f.Add(raw)
	f.Add(raw[:700])
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := bundle.VerifyTar(data, "v1")
		if (m == nil) == (err == nil) {
			t.Errorf("manifest %v, error %v", m, err)
		}
	})
}

// FuzzWrite checks that no entry that bears the right checksum crashes what is made of a journal, and that what is made
// verifies.
func FuzzWrite(f *testing.F) {
	for _, kind := range []string{"step.planned", "step.finished", "gate.decided", "run.finished", "plugin.started", "unknown"} {
		f.Add(kind, []byte(`{"step":"turn"}`))
	}
	f.Add("step.planned", []byte(`{"step":{"id":"turn","changes":[{"before":1,"after":"x"}]},"gate":{"step":"turn"}}`))
	f.Fuzz(func(t *testing.T, kind string, data []byte) {
		lines, _, err := state.Chain{}.Extend([]state.Draft{
			{Kind: "run.created", Data: json.RawMessage(created)}, {Kind: "run.planned", Data: json.RawMessage(plan)}, {Kind: kind, Data: data},
		})
		if err != nil {
			return
		}
		entries, _, err := state.Decode("fuzz", state.Chain{}, lines)
		if err != nil {
			return
		}
		var out bytes.Buffer
		if _, err := bundle.Write(&out, "r", "v1", entries); err != nil {
			return
		}
		if _, err := bundle.Verify(&out, "v1"); err != nil {
			t.Errorf("what was written does not verify: %v", err)
		}
	})
}

func digest(s string) string {
	return fmt.Sprintf("%x", sha256.Sum256([]byte(s)))
}
