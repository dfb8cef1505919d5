package real

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tkgfix/tkgfix/internal/lab/guest"
	"github.com/tkgfix/tkgfix/internal/lab/vm"
)

const (
	kubeletDir = "etc/kubernetes"
	userID     = 1000
)

// lent are the host's folders that a node sees, read-only. Its own usr/local stays its own.
func lent() []string {
	return []string{"usr/bin", "usr/sbin", "usr/lib", "usr/lib32", "usr/lib64", "usr/libexec", "usr/share", "etc/alternatives"}
}

// file is one of a node's files.
type file struct {
	name string
	data []byte
	mode os.FileMode
}

// makeRoot lays out the node's root folder: a small Debian, whose programs are the host's, that says to be of its
// family.
func (m *Machine) makeRoot(ctx context.Context) error {
	for _, dir := range append(lent(),
		"etc/ssl/certs", "etc/ca-certificates/update.d", "etc/containerd/certs.d", "etc/systemd/system/containerd.service.d", "etc/cni/net.d", "etc/ssh", "etc/pam.d",
		"etc/sudoers.d", kubeletDir, ubuntuTrust, "etc/pki/tls/certs", "usr/local/bin", "opt", "home/"+vm.User+"/.ssh", "root", "run", "tmp", "proc", "dev", "sys",
		"var/log", "var/tmp", "var/lib/containerd", "var/lib/kubelet", "var/lib/cni",
	) {
		if err := os.MkdirAll(m.path(dir), 0o755); err != nil {
			return fmt.Errorf("laying out the node: %w", err)
		}
	}
	for _, dir := range []string{"bin", "sbin", "lib", "lib32", "lib64"} {
		if err := os.Symlink("usr/"+dir, m.path(dir)); err != nil {
			return fmt.Errorf("laying out the node: %w", err)
		}
	}
	files, err := m.files(ctx)
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := writeFile(m.path(f.name), f.data, f.mode); err != nil {
			return fmt.Errorf("laying out the node: %w", err)
		}
	}
	home := m.path("home/" + vm.User)
	for _, path := range []string{home, filepath.Join(home, ".ssh"), filepath.Join(home, ".ssh/authorized_keys")} {
		if err := os.Chown(path, userID, userID); err != nil {
			return fmt.Errorf("laying out the node: %w", err)
		}
	}
	return os.Chmod(m.path("tmp"), 0o777|os.ModeSticky)
}

func (m *Machine) path(name string) string { return filepath.Join(m.spec.Root, name) }

// writeFile writes a file whose mode the process's mask does not narrow.
func writeFile(path string, data []byte, mode os.FileMode) error {
	if err := os.WriteFile(path, data, mode); err != nil {
		return err
	}
	return os.Chmod(path, mode)
}

func (m *Machine) files(ctx context.Context) ([]file, error) {
	hash, err := hashPassword(ctx, m.spec.Password)
	if err != nil {
		return nil, err
	}
	hostKey, _, err := vm.NewKey(m.spec.Name)
	if err != nil {
		return nil, err
	}
	files := []file{
		{"etc/hosts", hosts(m.spec.Name, m.address, m.made.names), 0o644},
		{"etc/hostname", []byte(m.spec.Name + "\n"), 0o644},
		{"etc/nsswitch.conf", []byte("passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n"), 0o644},
		{"etc/resolv.conf", fmt.Appendf(nil, "nameserver %s\n", m.made.record.gateway()), 0o644},
		{"etc/ca-certificates.conf", nil, 0o644},
		{"etc/passwd", fmt.Appendf(nil, "root:x:0:0:root:/root:/bin/sh\nsshd:x:100:65534::/run/sshd:/usr/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n%[1]s:x:%[2]d:%[2]d::/home/%[1]s:/bin/sh\n", vm.User, userID), 0o644},
		{"etc/group", fmt.Appendf(nil, "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n%s:x:%d:\n", vm.User, userID), 0o644},
		{"etc/shadow", fmt.Appendf(nil, "root:*:19000::::::\nsshd:*:19000::::::\n%s:%s:19000::::::\n", vm.User, hash), 0o600},
		{"etc/sudoers", fmt.Appendf(nil, "root ALL=(ALL:ALL) ALL\n%s ALL=(ALL) NOPASSWD: ALL\n", vm.User), 0o440},
		{"etc/pam.d/other", []byte("auth required pam_unix.so\naccount required pam_unix.so\nsession required pam_unix.so\npassword required pam_unix.so\n"), 0o644},
		{"etc/ssh/sshd_config", []byte(sshdConfig), 0o644},
		{"etc/ssh/ssh_host_ed25519_key", hostKey, 0o600},
		{"home/" + vm.User + "/.ssh/authorized_keys", m.spec.AuthorizedKey, 0o600},
		{"etc/containerd/config.toml", []byte(containerdConfig), 0o644},
		{"usr/local/bin/systemctl", []byte(systemctl), 0o755},
		{pauseFile, m.made.pause, 0o600},
		{"etc/os-release", []byte(m.spec.Profile.Family.Release()), 0o644},
	}
	return slices.Concat(files, m.trustFiles(), hostFiles()), nil
}

// hostFiles are copies of the host's own, where it has them: what its libraries and programs look for.
func hostFiles() []file {
	var out []file
	for _, name := range []string{"etc/ld.so.cache", "etc/ssl/openssl.cnf", "etc/login.defs"} {
		if data, err := os.ReadFile("/" + name); err == nil {
			out = append(out, file{name, data, 0o644})
		}
	}
	return out
}

func hosts(name, address string, names map[string]string) []byte {
	out := fmt.Appendf(nil, "127.0.0.1 localhost\n%s %s\n", address, name)
	known := make([]string, 0, len(names))
	for n := range names {
		known = append(known, n)
	}
	slices.Sort(known)
	for _, n := range known {
		out = fmt.Appendf(out, "%s %s\n", names[n], n)
	}
	return out
}

// hashPassword returns what shadow(5) holds of a password.
func hashPassword(ctx context.Context, password string) (string, error) {
	cmd := exec.CommandContext(ctx, "openssl", "passwd", "-6", "-stdin")
	cmd.Stdin = strings.NewReader(password)
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("hashing the node's password with openssl: %w", err)
	}
	return string(bytes.TrimSpace(out)), nil
}

// kubeletFiles are what the kubelet needs to join.
func (m *Machine) kubeletFiles(member guest.Membership) ([]file, error) {
	credentials, err := member.Credentials(m.spec.Name, m.address)
	if err != nil {
		return nil, err
	}
	network, err := json.Marshal(map[string]any{
		"cniVersion": "0.4.0", "name": "lab",
		"plugins": []any{map[string]any{
			"type": "ptp",
			"ipam": map[string]any{
				"type": "host-local", "ranges": []any{[]any{map[string]any{"subnet": member.PodNet + ".0/24"}}}, "routes": []any{map[string]any{"dst": "0.0.0.0/0"}},
			},
		}},
	})
	if err != nil {
		return nil, fmt.Errorf("encoding the pods' network: %w", err)
	}
	config, err := json.Marshal(kubeletConfig(m.cgroup(), member.Node))
	if err != nil {
		return nil, fmt.Errorf("encoding the kubelet's configuration: %w", err)
	}
	return []file{
		{"etc/cni/net.d/10-lab.conflist", network, 0o644},
		{kubeletDir + "/kubelet.yaml", config, 0o644},
		{kubeletDir + "/kubeconfig", credentials.Kubeconfig, 0o600},
		{kubeletDir + "/ca.pem", credentials.Authority, 0o644},
		{kubeletDir + "/kubelet.pem", credentials.Serving.Cert, 0o644},
		{kubeletDir + "/kubelet.key", credentials.Serving.Key, 0o600},
	}, nil
}

// kubeletConfig is a KubeletConfiguration (kubelet.config.k8s.io/v1beta1) for a node that shares its machine with others.
func kubeletConfig(cgroup string, node guest.NodeSpec) map[string]any {
	taints := []any{}
	if node.ControlPlane {
		taints = append(taints, map[string]any{"key": controlPlaneRole, "effect": "NoSchedule"})
	}
	return map[string]any{
		"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
		"cgroupDriver": "cgroupfs", "cgroupRoot": cgroup, "failCgroupV1": false, "failSwapOn": false,
		"containerRuntimeEndpoint": "unix:///" + containerdSocket,
		"authentication": map[string]any{
			"anonymous": map[string]any{"enabled": false}, "webhook": map[string]any{"enabled": false},
			"x509": map[string]any{"clientCAFile": "/" + kubeletDir + "/ca.pem"},
		},
		"authorization": map[string]any{"mode": "AlwaysAllow"},
		"tlsCertFile":   "/" + kubeletDir + "/kubelet.pem", "tlsPrivateKeyFile": "/" + kubeletDir + "/kubelet.key",
		"clusterDomain": "cluster.local", "clusterDNS": []string{"10.96.0.10"}, "providerID": node.ProviderID, "registerWithTaints": taints,
		"resolvConf": "/etc/resolv.conf", "makeIPTablesUtilChains": false,
		// The host's disk is not the node's to clean up.
		"evictionHard":                map[string]any{"memory.available": "1Mi", "nodefs.available": "0%", "imagefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.inodesFree": "0%"},
		"imageGCHighThresholdPercent": 100,
	}
}

// sshdConfig has sshd ask for the key and then the password, as on a node.
const sshdConfig = `Port 22
HostKey /etc/ssh/ssh_host_ed25519_key
UsePAM no
PermitRootLogin no
PasswordAuthentication yes
PidFile none
Subsystem sftp /usr/lib/openssh/sftp-server
`

// containerdConfig differs from Debian's defaults in what this kind of machine needs: the right to lower oom_score_adj may be missing.
const containerdConfig = `version = 2

[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  sandbox_image = "` + pauseName + `"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "/etc/containerd/certs.d"
`

// systemctl answers what a diagnosis asks about containerd, and has the first process of the node restart it, which only root may.
const systemctl = `#!/bin/sh
verb= unit= keys= value=
while [ $# -gt 0 ]; do
	case "$1" in
	-p | --property) shift; keys="$keys,$1" ;;
	-p*) keys="$keys,${1#-p}" ;;
	--property=*) keys="$keys,${1#--property=}" ;;
	--value) value=1 ;;
	-*) ;;
	*) if [ -z "$verb" ]; then verb=$1; else unit=${1%.service}; fi ;;
	esac
	shift
done
case "$verb $unit" in
"show containerd")
	while IFS= read -r line; do
		case "$keys," in
		,) ;;
		*",${line%%=*},"*) ;;
		*) continue ;;
		esac
		[ -n "$value" ] && line=${line#*=}
		printf '%s\n' "$line"
	done </run/containerd.show
	;;
"restart containerd")
	before=$(cat /run/containerd.show)
	kill -HUP 1 || exit 1
	n=0
	while [ "$(cat /run/containerd.show)" = "$before" ]; do
		[ $n -lt 300 ] || { echo "systemctl: containerd does not start" >&2; exit 1; }
		sleep 0.1
		n=$((n + 1))
	done
	;;
"is-active containerd") echo active ;;
"daemon-reload ") ;;
*) echo "systemctl: this node knows only containerd, not: $verb $unit" >&2; exit 1 ;;
esac
`
