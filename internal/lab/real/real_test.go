package real

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/lab/guest"
	"github.com/tkgfix/tkgfix/internal/lab/kubelet"
	"github.com/tkgfix/tkgfix/internal/lab/vm"
)

func TestParseHierarchies(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		reason, mounts string
		want           []string
	}{
		"One":    {"version 2 has one for all", "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n", []string{"/sys/fs/cgroup"}},
		"Many":   {"version 1 has one for each controller, below a tmpfs", "30 23 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n31 30 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n32 30 0:28 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw\n", []string{"/sys/fs/cgroup/cpu", "/sys/fs/cgroup/unified"}},
		"Others": {"what is mounted elsewhere is not the machine's", "31 30 0:27 / /tmp/node/sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n", nil},
		"Torn":   {"lines that are not as they should be count for nothing", "31 30\n\n - cgroup cgroup rw\n31 30 0:27 / /sys/fs/cgroup/cpu rw cgroup cgroup", nil},
	} {
		if diff := cmp.Diff(tc.want, parseHierarchies([]byte(tc.mounts))); diff != "" {
			t.Errorf("%s: %s (-want, +got):\n%s", name, tc.reason, diff)
		}
	}
}

func TestParseEnvironment(t *testing.T) {
	t.Parallel()
	text := "[Service]\nEnvironment=\"HTTP_PROXY=http://proxy.lab:3128\"\n  Environment=NO_PROXY=localhost,.svc\n# Environment=A=b\nEnvironmentFile=/etc/default/x\n"
	want := []string{"HTTP_PROXY=http://proxy.lab:3128", "NO_PROXY=localhost,.svc"}
	if diff := cmp.Diff(want, parseEnvironment(text)); diff != "" {
		t.Errorf("environment of a drop-in (-want, +got):\n%s", diff)
	}
}

func TestRecordNames(t *testing.T) {
	t.Parallel()
	const longest = 15 // IFNAMSIZ less the end
	for block, want := range map[int][2]string{0: {"198.18.0.", "tkgfix0-250"}, 255: {"198.18.255.", "tkgfix255-250"}, blocks - 1: {"198.19.255.", "tkgfix511-250"}} {
		r := Record{Block: block}
		device := r.device([]byte{198, 18, 0, lastNode})
		if diff := cmp.Diff(want, [2]string{r.prefix(), device}); diff != "" {
			t.Errorf("block %d (-want, +got):\n%s", block, diff)
		}
		if len(device) > longest {
			t.Errorf("the name %s is longer than Linux allows", device)
		}
	}
}

func TestRemoveWantsItsOwnRecord(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ reason, record, want string }{
		"None":   {"no laboratory of real nodes was here", "", ""},
		"Range":  {"a block that there is not", `{"block":512}`, "names block 512; there are 512"},
		"Below":  {"nor is there this one", `{"block":-1}`, "names block -1"},
		"Broken": {"a record that was cut off", `{"block":`, "unexpected end of JSON input"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if tc.record != "" {
				if err := os.WriteFile(filepath.Join(dir, recordFile), []byte(tc.record), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			err := Remove(t.Context(), dir)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("%s: got %v, want %q", tc.reason, err, tc.want)
			}
		})
	}
}

func TestSupported(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		reason  string
		profile guest.Profile
		want    bool
	}{
		"Photon": {"what nodes are if nothing is said", guest.Profile{}, true},
		"Ubuntu": {"Debian has its command", guest.Profile{Family: vm.Ubuntu}, true},
		"RHEL":   {"Debian does not have its command", guest.Profile{Family: vm.RHEL}, false},
		"Clock":  {"the clock is the machine's", guest.Profile{Clock: 1}, false},
		"Old":    {"there is one kubelet", guest.Profile{Kubelet: kubelet.Manner{Old: true}}, false},
	} {
		if err := Supported(tc.profile); (err == nil) != tc.want {
			t.Errorf("%s: %s: %v", name, tc.reason, err)
		}
	}
}

func TestTrustFiles(t *testing.T) {
	t.Parallel()
	entries := []vm.Trust{{Name: "a", Data: "QQ=="}, {Name: "../b", Data: "QQ=="}, {Name: "c", Data: "Q"}}
	for family, want := range map[vm.Family][]string{
		vm.Photon: {"etc/ssl/certs/public-web-root.pem", "etc/ssl/certs/tkg-a.pem", "usr/local/bin/rehash_ca_certificates.sh"},
		vm.Ubuntu: {"usr/local/share/ca-certificates/public-web-root.crt", "usr/local/share/ca-certificates/tkg-a.crt"},
	} {
		m := &Machine{made: &Machines{}, spec: guest.MachineSpec{Trust: entries, Profile: guest.Profile{Family: family}}}
		var got []string
		for _, f := range m.trustFiles() {
			got = append(got, f.name)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("files of trust on %s: what cloud-init refuses and what would leave the folder is left out (-want, +got):\n%s", family.Name(), diff)
		}
	}
}

func TestPauseImageIsAnArchive(t *testing.T) {
	t.Parallel()
	image, err := pauseImage()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for r := tar.NewReader(bytes.NewReader(image)); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got[header.Name] = true
	}
	if diff := cmp.Diff(map[string]bool{"config.json": true, "layer.tar": true, "manifest.json": true}, got); diff != "" {
		t.Errorf("files of the image (-want, +got):\n%s", diff)
	}
}
