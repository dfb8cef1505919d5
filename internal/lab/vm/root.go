package vm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	// stamp is the file in which the node keeps what systemctl says of containerd.
	stamp = "run/containerd.show"
	// restart is the file by which the node's systemctl asks for a restart of containerd.
	restart = "run/containerd.restart"
	// stampFormat is systemd's way to write a time.
	stampFormat = "Mon 2006-01-02 15:04:05 MST"
)

// makeRoot lays out the node's root folder: Photon as far as anybody looks at it.
func makeRoot(ctx context.Context, spec Spec) error {
	for _, dir := range []string{
		certsDir, filepath.Dir(bundleFile), "etc/containerd", "etc/systemd/system", "usr/local/bin",
		"usr/bin", "usr/sbin", "usr/lib", "usr/lib32", "usr/lib64", "usr/libexec", "usr/share",
		"home/" + User, "root", "tmp", "run", "var/log", "proc", "dev", "sys",
	} {
		if err := os.MkdirAll(filepath.Join(spec.Root, dir), 0o755); err != nil {
			return fmt.Errorf("laying out node %s: %w", spec.Name, err)
		}
	}
	for _, dir := range []string{"bin", "sbin", "lib", "lib32", "lib64"} {
		if err := usrLink(spec.Root, dir); err != nil {
			return fmt.Errorf("laying out node %s: %w", spec.Name, err)
		}
	}
	for name, file := range nodeFiles(spec) {
		if err := os.WriteFile(filepath.Join(spec.Root, name), []byte(file.text), file.mode); err != nil {
			return fmt.Errorf("laying out node %s: %w", spec.Name, err)
		}
	}
	if err := renderTrust(spec.Root, spec.SystemRoots, spec.Trust); err != nil {
		return err
	}
	rehash(ctx, filepath.Join(spec.Root, certsDir))
	return nil
}

// usrLink makes dir a link into usr as on the host, or a folder to mount on where the host has one.
func usrLink(root, dir string) error {
	if isDir("/" + dir) {
		return os.MkdirAll(filepath.Join(root, dir), 0o755)
	}
	err := os.Symlink("usr/"+dir, filepath.Join(root, dir))
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// rehash makes the links by which OpenSSL finds certificates, as c_rehash does at the node's first boot. Go does not need them, so
// a machine without openssl is no reason to stop.
func rehash(ctx context.Context, dir string) {
	cmd := exec.CommandContext(ctx, "openssl", "rehash", dir)
	_ = cmd.Run()
}

type nodeFile struct {
	text string
	mode os.FileMode
}

func nodeFiles(spec Spec) map[string]nodeFile {
	var hosts strings.Builder
	fmt.Fprintf(&hosts, "127.0.0.1 localhost\n%s %s\n", spec.Address, spec.Name)
	for name, address := range spec.Hosts {
		fmt.Fprintf(&hosts, "%s %s\n", address, name)
	}
	return map[string]nodeFile{
		"etc/hosts":         {hosts.String(), 0o644},
		"etc/hostname":      {spec.Name + "\n", 0o644},
		"etc/nsswitch.conf": {"passwd: files\ngroup: files\nhosts: files\n", 0o644},
		"etc/resolv.conf":   {"", 0o644},
		"etc/os-release": {"NAME=\"VMware Photon OS\"\nVERSION=\"5.0\"\nID=photon\nVERSION_ID=5.0\n" +
			"PRETTY_NAME=\"VMware Photon OS/Linux\"\nANSI_COLOR=\"1;34\"\n", 0o644},
		"etc/passwd":                 {"root:x:0:0:root:/root:/bin/sh\n" + User + ":x:1000:1000::/home/" + User + ":/bin/sh\n", 0o644},
		"etc/group":                  {"root:x:0:\n" + User + ":x:1000:\n", 0o644},
		"etc/containerd/config.toml": {"version = 2\n\n[plugins.\"io.containerd.grpc.v1.cri\"]\n  sandbox_image = \"localhost:5000/vmware.io/pause:3.9\"\n", 0o644},
		"usr/local/bin/systemctl":    {systemctl, 0o755},
		"usr/local/bin/sudo":         {sudo, 0o755},
	}
}

// systemctl answers what a diagnosis asks of a node: when containerd started and with what environment (tkg-facts.md §3), and
// restarts it: the laboratory's containerd sees the file and loads its roots anew.
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
	: >/run/containerd.restart
	n=0
	while [ -e /run/containerd.restart ] && [ $n -lt 100 ]; do sleep 0.1; n=$((n + 1)); done
	;;
"is-active containerd") echo active ;;
*) echo "systemctl: the laboratory's node knows only containerd, not: $verb $unit" >&2; exit 1 ;;
esac
`

// sudo is there because commands are typed with it; the session may do everything anyway.
const sudo = `#!/bin/sh
while [ $# -gt 0 ]; do
	case "$1" in
	-n | -H | -E | -S) shift ;;
	-u) shift 2 ;;
	-i | -s) shift; [ $# -eq 0 ] && set -- sh ;;
	--) shift; break ;;
	*) break ;;
	esac
done
exec "$@"
`

// writeStamp notes that containerd started at the time.
func writeStamp(root string, at time.Time) error {
	text := "ExecMainStartTimestamp=" + at.UTC().Format(stampFormat) + "\nEnvironment=\nActiveState=active\n"
	if err := os.WriteFile(filepath.Join(root, stamp), []byte(text), 0o644); err != nil {
		return fmt.Errorf("noting the start of containerd: %w", err)
	}
	return nil
}
