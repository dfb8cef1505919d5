package vm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

const (
	// stamp is the file in which the node keeps what systemctl says of containerd.
	stamp = "run/containerd.show"
	// restart is the file by which the node's systemctl asks for a restart of containerd.
	restart = "run/containerd.restart"
	// dropIns holds what is added to containerd's unit.
	dropIns = "etc/systemd/system/containerd.service.d"
	// stampFormat is systemd's way to write a time.
	stampFormat = "Mon 2006-01-02 15:04:05 MST"
)

// makeRoot lays out the node's root folder: the operating system as far as anybody looks at it.
func makeRoot(ctx context.Context, spec Spec) error {
	for _, dir := range []string{
		"etc/containerd/certs.d", dropIns, "usr/local/bin",
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
	if err := renderTrust(spec.Root, spec.Family, spec.SystemRoots, spec.Trust); err != nil {
		return err
	}
	rehash(ctx, filepath.Join(spec.Root, certsDir))
	return setTimes(spec)
}

// setTimes gives what has been laid out the times of the node's own clock.
func setTimes(spec Spec) error {
	if spec.Clock == 0 {
		return nil
	}
	now := spec.Now().Add(spec.Clock)
	return filepath.WalkDir(filepath.Join(spec.Root, "etc"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Type()&fs.ModeSymlink != 0 {
			return err
		}
		return os.Chtimes(path, now, now)
	})
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
	files := map[string]nodeFile{
		"etc/hosts":                  {hosts.String(), 0o644},
		"etc/hostname":               {spec.Name + "\n", 0o644},
		"etc/nsswitch.conf":          {"passwd: files\ngroup: files\nhosts: files\n", 0o644},
		"etc/resolv.conf":            {"", 0o644},
		"etc/os-release":             {spec.Family.release(), 0o644},
		"etc/passwd":                 {"root:x:0:0:root:/root:/bin/sh\n" + User + ":x:1000:1000::/home/" + User + ":/bin/sh\n", 0o644},
		"etc/group":                  {"root:x:0:\n" + User + ":x:1000:\n", 0o644},
		"etc/containerd/config.toml": {containerdConfig, 0o644},
		"usr/local/bin/systemctl":    {systemctl, 0o755},
		"usr/local/bin/sudo":         {sudo, 0o755},
		"usr/local/bin/date":         {fmt.Sprintf(date, int64(spec.Clock/time.Second)), 0o755},
		"usr/local/bin/containerd":   {containerdVersion, 0o755},
	}
	if spec.Family == Photon {
		files["usr/local/bin/rehash_ca_certificates.sh"] = nodeFile{rehashScript, 0o755}
	}
	return files
}

// SandboxImage is the image of the pause container that a node brings along.
const SandboxImage = "localhost:5000/vmware.io/pause:3.9"

const containerdConfig = `version = 2

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "` + SandboxImage + `"

[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "/etc/containerd/certs.d"
`

// containerdVersion is what is asked of containerd's own program.
const containerdVersion = `#!/bin/sh
[ "$1" = --version ] || [ "$1" = -v ] || { echo "containerd: the laboratory's node knows only --version" >&2; exit 1; }
echo containerd github.com/containerd/containerd 1.7.27 05044ec0a9a75232cad458027ca83437aae3f4da
`

// rehashScript does what Photon's script of that name does (tkg-facts.md §2).
const rehashScript = `#!/bin/sh
openssl rehash /etc/ssl/certs 2>/dev/null
cat /etc/ssl/certs/*.pem >/etc/pki/tls/certs/ca-bundle.crt
`

// date tells the node's time: the machine's, and the seconds by which the node's clock is off. Who sets or names a time is passed on.
const date = `#!/bin/sh
PATH=/usr/bin:/bin
for word; do case $word in -d* | --date* | -r* | -f* | -s* | --set* | --reference* | --file*) exec date "$@" ;; esac; done
exec date -d "@$(($(date +%%s) + %d))" "$@"
`

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
"daemon-reload ") ;;
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

// writeStamp notes that containerd started at the time with the environment.
func writeStamp(root string, at time.Time, environment []string) error {
	text := "ExecMainStartTimestamp=" + at.UTC().Format(stampFormat) + "\nEnvironment=" + strings.Join(environment, " ") + "\nActiveState=active\n"
	if err := os.WriteFile(filepath.Join(root, stamp), []byte(text), 0o644); err != nil {
		return fmt.Errorf("noting the start of containerd: %w", err)
	}
	return nil
}

// unitEnvironment reads the environment that the drop-ins of containerd's unit give it, in the order of their names, as systemd does:
// a later value of a name wins. One assignment a line is known, quoted or not, which is what TKG writes.
func unitEnvironment(root string) []string {
	var out []string
	files, _ := fs.Glob(tree(root), dropIns+"/*.conf") // the pattern is right
	for _, file := range files {
		data, err := readInside(root, file)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(data)) {
			value, ok := strings.CutPrefix(strings.TrimSpace(line), "Environment=")
			if !ok {
				continue
			}
			value = strings.Trim(value, `"`)
			name, _, _ := strings.Cut(value, "=")
			out = slices.DeleteFunc(out, func(have string) bool { return strings.HasPrefix(have, name+"=") })
			out = append(out, value)
		}
	}
	return out
}

var sandboxLine = regexp.MustCompile(`(?m)^\s*sandbox_image\s*=\s*"([^"\n]*)"`)

// sandboxImage reads containerd's configuration.
func sandboxImage(root string) string {
	data, err := readInside(root, "etc/containerd/config.toml")
	if m := sandboxLine.FindSubmatch(data); err == nil && m != nil {
		return string(m[1])
	}
	return SandboxImage
}
