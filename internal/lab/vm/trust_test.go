package vm

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/lab/ca"
)

func TestRenderTrust(t *testing.T) {
	t.Parallel()
	root, system := newPEM(t, "Root"), newPEM(t, "System")
	once := base64.StdEncoding.EncodeToString(root)
	twice := base64.StdEncoding.EncodeToString([]byte(once))
	cases := map[string]struct {
		reason string
		entry  Trust
		want   []byte // nil: no file
		trusts bool
	}{
		"Once":     {"base64 once is the right form: the file is the PEM", Trust{"a", once}, root, true},
		"Twice":    {"one layer too many leaves base64 text, which Go ignores", Trust{"a", twice}, []byte(once), false},
		"Wrapped":  {"newlines within base64 are dropped", Trust{"a", once[:76] + "\n" + once[76:]}, root, true},
		"NotBase":  {"wrong padding writes nothing", Trust{"a", "abcde"}, nil, false},
		"BadName":  {"a name that would leave the folder writes nothing", Trust{"x/../../../../evil", once}, nil, false},
		"EmptyPEM": {"empty data is an empty file", Trust{"a", ""}, []byte{}, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := newRoot(t)
			if err := renderTrust(dir, Photon, system, []Trust{tc.entry}); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(filepath.Join(dir, certsDir, "tkg-a.pem"))
			if (err != nil) != (tc.want == nil) {
				t.Fatalf("%s: reading the file: %v", tc.reason, err)
			}
			if diff := cmp.Diff(string(tc.want), string(got)); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", tc.reason, diff)
			}
			bundle, err := os.ReadFile(filepath.Join(dir, photonBundle))
			if err != nil {
				t.Fatal(err)
			}
			if want := append(bytes.Clone(system), got...); !bytes.Equal(want, bundle) {
				t.Errorf("%s: the bundle is not what the files hold:\n%s", tc.reason, bundle)
			}
			if diff := cmp.Diff(tc.trusts, trusts(t, dir, root)); diff != "" {
				t.Errorf("%s: trusted (-want, +got):\n%s", tc.reason, diff)
			}
			if !trusts(t, dir, system) {
				t.Errorf("%s: the system's own roots are lost", tc.reason)
			}
		})
	}
}

func TestRoots(t *testing.T) {
	t.Parallel()
	a, b := newPEM(t, "A"), newPEM(t, "B")
	cases := map[string]struct {
		reason string
		files  map[string][]byte
		link   [2]string
		a, b   bool
	}{
		"Folder":     {"each file of the folder counts", map[string][]byte{"etc/ssl/certs/x": a, "etc/pki/tls/certs/y": b}, [2]string{}, true, true},
		"FirstOnly":  {"only the first bundle that exists counts", map[string][]byte{photonBundle: a, "etc/ssl/ca-bundle.pem": b}, [2]string{}, true, false},
		"Garbage":    {"a file that does not parse is nothing", map[string][]byte{"etc/ssl/certs/x": []byte("LS0t"), "etc/ssl/certs/y": b}, [2]string{}, false, true},
		"SubFolder":  {"folders are not entered", map[string][]byte{"etc/ssl/certs/sub/x": a}, [2]string{}, false, false},
		"OtherDir":   {"a link to another folder counts", map[string][]byte{"usr/local/x.crt": a}, [2]string{"../../../usr/local/x.crt", "etc/ssl/certs/x.pem"}, true, false},
		"Escape":     {"a link out of the node is not followed", nil, [2]string{"/proc/self/environ", "etc/ssl/certs/x.pem"}, false, false},
		"Everything": {"nothing there", nil, [2]string{}, false, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := newRoot(t)
			for file, data := range tc.files {
				path := filepath.Join(dir, file)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, data, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if tc.link[0] != "" {
				if err := os.Symlink(tc.link[0], filepath.Join(dir, tc.link[1])); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff([]bool{tc.a, tc.b}, []bool{trusts(t, dir, a), trusts(t, dir, b)}); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestLookup(t *testing.T) {
	t.Parallel()
	dir := newRoot(t)
	if err := os.WriteFile(filepath.Join(dir, "etc/hosts"), []byte("127.0.0.9 Registry.lab reg # not.this\n# 1.1.1.1 comment.lab\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	n := &Node{spec: Spec{Name: "n", Root: dir}}
	cases := map[string]struct {
		reason, name, want string
	}{
		"Name":    {"a name of the file", "registry.lab", "127.0.0.9"},
		"Alias":   {"another name of the line, with a dot at its end", "reg.", "127.0.0.9"},
		"Address": {"an address is its own", "10.0.0.1", "10.0.0.1"},
		"Comment": {"what is commented out is not there", "comment.lab", ""},
		"Trailer": {"nor is what follows a hash", "not.this", ""},
		"Unknown": {"the host's own names are unknown to a node", "localhost", ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := n.Lookup(tc.name)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want, +got):\n%s", tc.reason, diff)
			}
			if (err != nil) != (tc.want == "") {
				t.Errorf("%s: %v", tc.reason, err)
			}
		})
	}
}

// TestFamilies renders an entry as each family of operating systems does and looks at all that a person would look at.
func TestFamilies(t *testing.T) {
	t.Parallel()
	a, b, system := newPEM(t, "A"), newPEM(t, "B"), newPEM(t, "System")
	noEnd := bytes.TrimSuffix(a, []byte("\n"))
	entries := []Trust{{"a", base64.StdEncoding.EncodeToString(noEnd)}, {"b", base64.StdEncoding.EncodeToString(b)}}
	cases := map[Family]struct {
		reason string
		files  map[string]string // content
		links  map[string]string // target
		trusts []bool            // a, b, system
	}{
		Photon: {
			"cat glues a PEM without a newline to the next one; each file counts by itself all the same",
			map[string]string{"etc/ssl/certs/tkg-a.pem": string(noEnd), photonBundle: string(system) + string(noEnd) + string(b)}, nil, []bool{true, true, true},
		},
		Ubuntu: {
			"update-ca-certificates adds the newline and links",
			map[string]string{ubuntuSource + "/tkg-a.crt": string(noEnd), "etc/ssl/certs/tkg-a.pem": string(noEnd), ubuntuBundle: string(system) + string(a) + string(b)},
			map[string]string{"etc/ssl/certs/tkg-a.pem": "/" + ubuntuSource + "/tkg-a.crt"}, []bool{true, true, true},
		},
		RHEL: {
			"update-ca-trust extracts",
			map[string]string{rhelSource + "/tkg-a.pem": string(noEnd), rhelBundle: string(system) + string(a) + string(b), photonBundle: string(system) + string(a) + string(b)},
			map[string]string{photonBundle: "/" + rhelBundle}, []bool{true, true, true},
		},
	}
	for family, tc := range cases {
		t.Run("Family"+string(family), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := renderTrust(dir, family, system, entries); err != nil {
				t.Fatal(err)
			}
			for name, want := range tc.files {
				got, err := readInside(dir, name)
				if diff := cmp.Diff(want, string(got)); err != nil || diff != "" {
					t.Errorf("%s: %s: %v (-want, +got):\n%s", tc.reason, name, err, diff)
				}
			}
			for name, want := range tc.links {
				got, err := os.Readlink(filepath.Join(dir, name))
				if diff := cmp.Diff(want, got); err != nil || diff != "" {
					t.Errorf("%s: %s: %v (-want, +got):\n%s", tc.reason, name, err, diff)
				}
			}
			if diff := cmp.Diff(tc.trusts, []bool{trusts(t, dir, a), trusts(t, dir, b), trusts(t, dir, system)}); diff != "" {
				t.Errorf("%s: trusted (-want, +got):\n%s", tc.reason, diff)
			}
			if want := map[Family]string{Photon: "ID=photon", Ubuntu: "ID=ubuntu", RHEL: "ID=\"rhel\""}[family]; !strings.Contains(family.release(), want+"\n") {
				t.Errorf("os-release of %q: %s", family, family.release())
			}
		})
	}
}

func TestUpdateCATrustTakesDER(t *testing.T) {
	t.Parallel()
	a := newPEM(t, "A")
	block, _ := pem.Decode(a)
	for name, data := range map[string][]byte{"DER": block.Bytes, "PEM": a} {
		if diff := cmp.Diff(string(a), string(certificates(data))); diff != "" {
			t.Errorf("%s (-want, +got):\n%s", name, diff)
		}
	}
	if got := certificates([]byte("neither")); got != nil {
		t.Errorf("made %q of nothing", got)
	}
}

func TestUnitEnvironment(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, dropIns), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"10-a.conf":    "[Service]\nEnvironment=\"HTTPS_PROXY=http://a.lab:1\"\nEnvironment=NO_PROXY=.lab\nExecStart=\n",
		"20-b.conf":    "[Service]\nEnvironment=\"HTTPS_PROXY=http://b.lab:1\"\n",
		"30-c.ignored": "[Service]\nEnvironment=X=1\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, dropIns, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"NO_PROXY=.lab", "HTTPS_PROXY=http://b.lab:1"}, unitEnvironment(dir)); diff != "" {
		t.Errorf("the later drop-in wins (-want, +got):\n%s", diff)
	}
}

func TestSandboxImage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if diff := cmp.Diff(SandboxImage, sandboxImage(dir)); diff != "" {
		t.Errorf("no configuration (-want, +got):\n%s", diff)
	}
	if err := os.MkdirAll(filepath.Join(dir, "etc/containerd"), 0o755); err != nil {
		t.Fatal(err)
	}
	for want, text := range map[string]string{SandboxImage: containerdConfig, "x:1": "[a]\n  sandbox_image = \"x:1\"\n"} {
		if err := os.WriteFile(filepath.Join(dir, "etc/containerd/config.toml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, sandboxImage(dir)); diff != "" {
			t.Errorf("(-want, +got):\n%s", diff)
		}
	}
}

func FuzzTrustDecode(f *testing.F) {
	f.Add("LS0tLS1CRUdJTg==")
	f.Add("a=b=c")
	f.Add("====")
	f.Fuzz(func(t *testing.T, data string) {
		out, ok := Trust{Name: "x", Data: data}.decode()
		if ok && len(out) > len(data) {
			t.Errorf("decoding %q grew it", data)
		}
	})
}

func newRoot(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, sub := range []string{certsDir, filepath.Dir(photonBundle), "usr/local"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func newPEM(t *testing.T, name string) []byte {
	t.Helper()
	authority, err := ca.NewRoot(name, ca.ECDSA, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return authority.PEM()
}

// trusts says whether the node's roots hold exactly this certificate.
func trusts(t *testing.T, dir string, data []byte) bool {
	t.Helper()
	block, _ := pem.Decode(data)
	with := Roots(dir)
	without := with.Clone()
	with.AppendCertsFromPEM(pem.EncodeToMemory(block))
	return with.Equal(without)
}
