package nodelook

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/handshake/registrytest"
	"github.com/tkgfix/tkgfix/internal/node"
	"github.com/tkgfix/tkgfix/internal/node/nodetest"
	"github.com/tkgfix/tkgfix/internal/tkg"
	"github.com/tkgfix/tkgfix/plugins"
)

const (
	bundlePath = "/etc/ssl/certs/ca-certificates.crt"
	tkgPath    = "/etc/ssl/certs/tkg-corp.pem"
)

// tree makes a root folder: a value that starts with -> is a link.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, ok := strings.CutPrefix(content, "->"); ok {
			err = os.Symlink(target, path)
		} else {
			err = os.WriteFile(path, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func take(t *testing.T, root string) Look {
	t.Helper()
	conn := nodetest.Start(t, nodetest.Options{}).Dial(t)
	look, err := Take(t.Context(), conn, LookRequest{Now: time.Now, root: root, Registry: registrytest.Host})
	if err != nil {
		t.Fatal(err)
	}
	return look
}

func TestTakeReadsWhatGoReads(t *testing.T) {
	t.Parallel()
	ca := string(registrytest.NewRoot(t, "Corp Root CA").PEM())
	der := string(registrytest.NewRoot(t, "Other CA").Cert.Raw)
	root := tree(t, map[string]string{
		"/etc/os-release":                                "NAME=\"VMware Photon OS\"\nID=photon\nPRETTY_NAME=\"VMware Photon OS/Linux\"\n",
		bundlePath:                                       ca,
		"/etc/pki/tls/certs/ca-bundle.crt":               "a second bundle is one more file of its folder",
		tkgPath:                                          ca,
		"/etc/ssl/certs/binary.der":                      der,
		"/etc/ssl/certs/empty.pem":                       "",
		"/etc/ssl/certs/.hidden":                         "Go reads hidden files as well",
		"/etc/ssl/certs/with space and 'quote'.pem":      "x\x00y\n\n",
		"/etc/ssl/certs/0a1b2c3d.0":                      "->tkg-corp.pem",
		"/etc/ssl/certs/tkg-linked.pem":                  "->tkg-corp.pem",
		"/etc/ssl/certs/elsewhere.pem":                   "->../../../usr/share/elsewhere.crt",
		"/etc/ssl/certs/dangling.pem":                    "->/nowhere/at/all",
		"/etc/ssl/certs/folder/inside.pem":               "folders are not entered",
		"/usr/share/elsewhere.crt":                       "linked to",
		"/usr/local/share/ca-certificates/tkg-corp.crt":  ca,
		"/usr/local/share/ca-certificates/other.crt":     "not of TKG",
		"/etc/pki/ca-trust/source/anchors/tkg-custom-ca": "anchor",
		"/etc/containerd/certs.d/reg.lab:443/hosts.toml": "server = \"https://u:hunter2@mirror.lab\"\n[host.\"https://mirror.lab\"]\n  ca = \"/etc/m.crt\"\n  [host.\"https://mirror.lab\".header]\n    authorization = \"hunter2\"\n",
		"/etc/containerd/certs.d/_default/hosts.toml":    "server = \"https://not-this-one\"\n",
		"/etc/containerd/certs.d/other.lab/hosts.toml":   "server = \"https://nor-this-one\"\n",
		"/etc/ssl/certs/zz-" + strings.Repeat("x", 100):  strings.Repeat("long\n", 1000),
	})
	look := take(t, root)
	got := map[string]string{}
	goReads := map[string]bool{}
	for _, f := range look.Files {
		got[f.Path], goReads[f.Path] = string(f.Data), f.Go
	}
	want := map[string]string{
		bundlePath: ca, "/etc/pki/tls/certs/ca-bundle.crt": "a second bundle is one more file of its folder", tkgPath: ca,
		"/etc/ssl/certs/binary.der": der, "/etc/ssl/certs/empty.pem": "", "/etc/ssl/certs/.hidden": "Go reads hidden files as well",
		"/etc/ssl/certs/with space and 'quote'.pem": "x\x00y\n\n", "/etc/ssl/certs/elsewhere.pem": "linked to",
		"/etc/ssl/certs/zz-" + strings.Repeat("x", 100): strings.Repeat("long\n", 1000),
		"/etc/ssl/certs/tkg-linked.pem":                 ca, "/usr/local/share/ca-certificates/tkg-corp.crt": ca, "/etc/pki/ca-trust/source/anchors/tkg-custom-ca": "anchor",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files: -want, +got:\n%s", diff)
	}
	if look.Family != Photon {
		t.Errorf("family: got %s", look.Family)
	}
	for path := range want {
		others := path == "/etc/ssl/certs/tkg-linked.pem" || !strings.Contains(path, "/certs/")
		if goReads[path] == others {
			t.Errorf("%s: Go reads it: want %v", path, !others)
		}
	}
	if look.Files[0].Path != bundlePath {
		t.Errorf("want the bundle first, got %s", look.Files[0].Path)
	}
	if look.OS != "VMware Photon OS/Linux" {
		t.Errorf("OS: got %q", look.OS)
	}
	if look.Skew != 0 || time.Since(look.Time).Abs() > time.Minute {
		t.Errorf("clock: got %s, skew %s", look.Time, look.Skew)
	}
	notes := strings.Join(look.Notes, "\n")
	if strings.Contains(notes, "hunter2") || strings.Contains(notes, "this-one") || !strings.Contains(notes, `https://mirror.lab with the CA in /etc/m.crt`) {
		t.Errorf("notes on hosts.toml: got %q", notes)
	}
}

func TestTakeWritesNothing(t *testing.T) {
	t.Parallel()
	root := tree(t, map[string]string{tkgPath: "x", "/etc/os-release": "ID=photon\n"})
	before := listing(t, root)
	take(t, root)
	if diff := cmp.Diff(before, listing(t, root)); diff != "" {
		t.Errorf("the look changed the node: -want, +got:\n%s", diff)
	}
}

func listing(t *testing.T, root string) map[string]time.Time {
	t.Helper()
	out := map[string]time.Time{}
	err := filepath.Walk(root, func(path string, info os.FileInfo, err error) error {
		if err == nil {
			out[path] = info.ModTime()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestTakeEmptyNode(t *testing.T) {
	t.Parallel()
	look := take(t, t.TempDir())
	if len(look.Files) != 0 || look.Roots().Len() != 0 {
		t.Errorf("want no trust at all, got %d files", len(look.Files))
	}
}

func TestTimes(t *testing.T) {
	t.Parallel()
	root := tree(t, map[string]string{
		tkgPath:                      "x",
		"/etc/ssl/certs/linked.pem":  "->../../../usr/share/linked",
		"/usr/share/linked":          "y",
		"/etc/ssl/certs/tkg-old.pem": "z",
	})
	started := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for name, when := range map[string]time.Time{
		tkgPath: started.Add(time.Second), "/usr/share/linked": started.Add(-time.Hour), "/etc/ssl/certs/tkg-old.pem": started,
	} {
		if err := os.Chtimes(filepath.Join(root, name), when, when); err != nil {
			t.Fatal(err)
		}
	}
	look := take(t, root)
	look.Containerd.Started = started
	got := map[string]bool{}
	for _, f := range look.Files {
		got[f.Path] = look.NewerThanContainerd(f)
	}
	// The link was made now, although what it leads to is old: containerd did not see it under that name.
	if diff := cmp.Diff(map[string]bool{tkgPath: true, "/etc/ssl/certs/linked.pem": true, "/etc/ssl/certs/tkg-old.pem": false}, got); diff != "" {
		t.Errorf("newer than containerd: -want, +got:\n%s", diff)
	}
	look.Containerd.Started = time.Time{}
	if look.NewerThanContainerd(look.Files[0]) {
		t.Error("nothing is newer than a time that is not known")
	}
}

func TestFileName(t *testing.T) {
	t.Parallel()
	cases := map[string]string{
		"/etc/ssl/certs/tkg-corp.pem": "corp", "/usr/local/share/ca-certificates/tkg-corp.v2.crt": "corp.v2", "/x/tkg-corp": "corp",
		"/x/corp.pem": "", "/x/tkg-.pem": "", "/x/tkg-": "",
	}
	for path, want := range cases {
		got, ok := File{Path: path}.Name()
		if ok != (want != "") || ok && got != want {
			t.Errorf("Name of %s: want %q, got %q, %v", path, want, got, ok)
		}
	}
}

func TestEachNamesWhoCannotBeAsked(t *testing.T) {
	t.Parallel()
	server := nodetest.Start(t, nodetest.Options{})
	workers := Workers{Conf: server.Conf(t), Credentials: node.Credentials{PrivateKey: server.PrivateKey}}
	for _, name := range []string{"a", "b", "c"} {
		workers.Nodes = append(workers.Nodes, tkg.Node{Name: name, Address: server.Address, MachineUID: "uid-" + "1"})
	}
	workers.Nodes[1].Address = ""
	workers.Nodes[2].Address = "127.0.0.2"
	asked := make(chan int, 3)
	err := workers.Each(t.Context(), func(_ context.Context, i int, _ *node.Conn) error { asked <- i; return nil })
	close(asked)
	if err == nil || !strings.Contains(err.Error(), "2 of 3") || !strings.Contains(err.Error(), "node b") || !strings.Contains(err.Error(), "node c") {
		t.Errorf("want both nodes named, got %v", err)
	}
	if plugins.HintOf(err) == "" {
		t.Error("want a hint")
	}
	for i := range asked {
		if i != 0 {
			t.Errorf("asked worker %d", i)
		}
	}
}

func TestAskLetsTheOthersSpeak(t *testing.T) {
	t.Parallel()
	server := nodetest.Start(t, nodetest.Options{})
	workers := Workers{Conf: server.Conf(t), Credentials: node.Credentials{PrivateKey: server.PrivateKey}}
	// One that can be reached among forty that cannot.
	for i := range 41 {
		n := tkg.Node{Name: fmt.Sprintf("n%02d", i), MachineUID: "uid-1"}
		if i == 0 {
			n.Address = server.Address
		}
		workers.Nodes = append(workers.Nodes, n)
	}
	spoke := make(chan struct{})
	errs := workers.Ask(t.Context(), func(_ context.Context, i int, _ *node.Conn) error {
		if i != 0 {
			t.Errorf("asked worker %d", i)
		}
		close(spoke)
		return nil
	})
	select {
	case <-spoke:
	default:
		t.Fatal("the one that can be reached was not asked")
	}
	if errs[0] != nil || len(errs) != 41 {
		t.Errorf("want 41 answers and none wrong of the first, got %d, %v", len(errs), errs[0])
	}
	for i, err := range errs[1:] {
		if err == nil || !strings.Contains(err.Error(), workers.Nodes[i+1].Name) {
			t.Errorf("want an error that names %s, got %v", workers.Nodes[i+1].Name, err)
		}
	}
}

func TestAskGivesUp(t *testing.T) {
	t.Parallel()
	workers := Workers{Conf: nodetest.Start(t, nodetest.Options{}).Conf(t)}
	for i := range 100 {
		workers.Nodes = append(workers.Nodes, tkg.Node{Name: fmt.Sprintf("n%02d", i)})
	}
	errs := workers.Ask(t.Context(), func(context.Context, int, *node.Conn) error { return nil })
	tried := 0
	for _, err := range errs {
		if err == nil {
			t.Fatal("nobody can be asked")
		}
		if !errors.Is(err, errNotTried) {
			tried++
		}
	}
	if tried < scouts || tried > 2*scouts {
		t.Errorf("want about %d to be tried, got %d", scouts, tried)
	}
	err := workers.Join(errs)
	if err == nil || !strings.HasPrefix(err.Error(), "100 of 100 workers could not be asked: ") || strings.Contains(err.Error(), "not tried") || plugins.HintOf(err) == "" {
		t.Errorf("want one error with the hint of the first, got %v", err)
	}
}
