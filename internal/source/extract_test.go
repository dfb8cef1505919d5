package source

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"
)

type entry struct {
	name    string
	kind    byte
	content string
	size    int64
}

func packed(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var out bytes.Buffer
	zipped, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	archive := tar.NewWriter(zipped)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Typeflag: e.kind, Mode: 0o600, Size: max(e.size, int64(len(e.content)))}
		if e.kind == 0 {
			h.Typeflag = tar.TypeReg
		} else {
			h.Linkname = "fix.yaml"
		}
		if err := archive.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(archive, io.MultiReader(strings.NewReader(e.content), zeros{}), h.Size); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(archive.Close(), zipped.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestExtract holds the extractor to archives of those who mean harm.
func TestExtract(t *testing.T) {
	t.Parallel()
	const name = "a/fix.yaml"
	many := make([]entry, maxEntries+1)
	for i := range many {
		many[i].name = "x"
	}
	for label, tc := range map[string]struct {
		reason  string
		archive []byte
		want    string
		err     string
	}{
		"Plain":    {"the file by its name", packed(t, entry{name: "b"}, entry{name: name, content: "x"}, entry{name: "c"}), "x", ""},
		"Dot":      {"tar(1) of a folder", packed(t, entry{name: "./", kind: tar.TypeDir}, entry{name: "./" + name, content: "x"}), "x", ""},
		"Empty":    {"an empty file is one", packed(t, entry{name: name}), "", ""},
		"Dots":     {"a name that others would unpack to the same place", packed(t, entry{name: "b/../" + name, content: "x"}), "", "could be taken for"},
		"Absolute": {"as well from the root", packed(t, entry{name: "/" + name, content: "x"}), "", "could be taken for"},
		"Above":    {"as well from above it", packed(t, entry{name: "../" + name, content: "x"}), "", "could be taken for"},
		"Twice":    {"the second would win with others, the first here", packed(t, entry{name: name, content: "x"}, entry{name: name, content: "y"}), "", "twice"},
		"TwiceDot": {"as well under another name", packed(t, entry{name: name, content: "x"}, entry{name: "./" + name, content: "y"}), "", "twice"},
		"Symlink":  {"a link leads out", packed(t, entry{name: name, kind: tar.TypeSymlink}), "", "links are not followed"},
		"Hardlink": {"a hard link is a link", packed(t, entry{name: name, kind: tar.TypeLink}), "", "links are not followed"},
		"Device":   {"a device is no file", packed(t, entry{name: name, kind: tar.TypeChar}), "", "not a regular file"},
		"Folder":   {"a folder is none either", packed(t, entry{name: name + "/", kind: tar.TypeDir}), "", "not a regular file"},
		"Parent":   {"a file below a link is not below it here", packed(t, entry{name: "a", kind: tar.TypeSymlink}, entry{name: "b/fix.yaml", content: "x"}), "", "no file a/fix.yaml"},
		"Largest":  {"a workflow's bound is its own", packed(t, entry{name: name, size: MaxFile}), strings.Repeat("\x00", MaxFile), ""},
		"Large":    {"above it nothing is read", packed(t, entry{name: name, size: MaxFile + 1}), "", "larger than 1048576 bytes"},
		"Bomb":     {"a small archive that unpacks to a disk's worth", packed(t, entry{name: "zero", size: maxUnpacked + 1}, entry{name: name}), "", "unpacks to more than"},
		"Entries":  {"an archive of a million names", packed(t, many...), "", "more than 100000 entries"},
		"Text":     {"no archive at all", []byte("<html>not found</html>"), "", "it is not gzip"},
		"Cut":      {"half an archive", packed(t, entry{name: name, content: strings.Repeat("x", 1<<16)})[:40], "", "unexpected EOF"},
		"NotTar":   {"gzip of something else", zipped(t, strings.Repeat("x", 4096)), "", "invalid tar header"},
	} {
		t.Run(label, func(t *testing.T) {
			t.Parallel()
			got, err := extract(bytes.NewReader(tc.archive), name)
			switch {
			case tc.err == "" && (err != nil || string(got) != tc.want):
				t.Errorf("%s: got %d bytes, %v", tc.reason, len(got), err)
			case tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err) || got != nil):
				t.Errorf("%s: got %d bytes, %v, want %s", tc.reason, len(got), err, tc.err)
			}
		})
	}
}

func zipped(t testing.TB, s string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// FuzzExtract holds that no archive makes the extractor panic or hand over what tar itself would not find under that name.
func FuzzExtract(f *testing.F) {
	for _, seed := range [][]entry{
		{{name: "f", content: "x"}}, {{name: "./f", content: "x"}}, {{name: "f", kind: tar.TypeSymlink}}, {{name: "f"}, {name: "f"}}, {{name: "a/../f"}},
	} {
		data, err := gunzip(packed(f, seed...))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, archive []byte) {
		got, err := extract(bytes.NewReader(zipped(t, string(archive))), "f")
		if err != nil {
			if got != nil {
				t.Fatalf("%d bytes with %v", len(got), err)
			}
			return
		}
		found := 0
		for r := tar.NewReader(bytes.NewReader(archive)); ; {
			h, err := r.Next()
			if err != nil {
				break
			}
			if h.Name != "f" && h.Name != "./f" {
				continue
			}
			found++
			if want, err := io.ReadAll(r); err != nil || !bytes.Equal(want, got) || h.Typeflag != tar.TypeReg {
				t.Fatalf("%q of type %q, %v; got %q", want, h.Typeflag, err, got)
			}
		}
		if found != 1 || len(got) > MaxFile {
			t.Fatalf("%d entries, %d bytes", found, len(got))
		}
	})
}

func gunzip(data []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}
