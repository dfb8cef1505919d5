package real

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// kubeBinary is where a node has hyperkube.
const kubeBinary = "opt/hyperkube"

// tunables are settings of the kernel that a kubelet insists on, with the values that it wants (pkg/kubelet/cm/container_manager_linux.go).
// A node has files in their place: they are the whole machine's, which is not the node's to change.
func tunables() map[string]string {
	return map[string]string{
		"vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10", "kernel/panic_on_oops": "1",
		"kernel/keys/root_maxkeys": "1000000", "kernel/keys/root_maxbytes": "25000000",
	}
}

// enterRoot makes the folder the root of this process's mount namespace, with the host's programs in it and kernel file systems of
// its own. The namespace must be new.
func enterRoot(root, kube string) error {
	steps := []struct {
		doing string
		do    func() error
	}{
		// Nothing that is mounted here may be seen outside, nor the other way around.
		{"making mounts private", func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") }},
		{"mounting the root", func() error { return unix.Mount(root, root, "", unix.MS_BIND, "") }},
		{"lending programs", func() error { return lend(root, kube) }},
		{"mounting kernel file systems", func() error { return mountKernel(root) }},
		{"making devices", func() error { return makeDevices(filepath.Join(root, "dev")) }},
		{"mounting memory", func() error { return mountMemory(root) }},
		{"keeping kernel settings", func() error { return coverTunables(root) }},
		{"changing the root", func() error { return pivot(root) }},
		// Pods get what kubelet mounts for them by propagation within the node.
		{"sharing mounts", func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, "") }},
	}
	for _, step := range steps {
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.doing, err)
		}
	}
	return nil
}

// lend mounts the host's programs, read-only. They keep their rights: sudo is one of them.
func lend(root, kube string) error {
	for _, dir := range lent() {
		if _, err := os.Stat("/" + dir); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := bindReadOnly("/"+dir, filepath.Join(root, dir)); err != nil {
			return err
		}
	}
	target := filepath.Join(root, kubeBinary)
	if err := os.WriteFile(target, nil, 0o755); err != nil {
		return err
	}
	return bindReadOnly(kube, target)
}

func bindReadOnly(from, to string) error {
	if err := unix.Mount(from, to, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return &os.PathError{Op: "bind", Path: from, Err: err}
	}
	if err := unix.Mount("", to, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		return &os.PathError{Op: "bind read-only", Path: from, Err: err}
	}
	return nil
}

// mountKernel mounts what shows the node's own processes and network devices, and the host's control groups.
func mountKernel(root string) error {
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := unix.Mount("proc", filepath.Join(root, "proc"), "proc", flags, ""); err != nil {
		return err
	}
	if err := unix.Mount("sysfs", filepath.Join(root, "sys"), "sysfs", flags, ""); err != nil {
		return err
	}
	return unix.Mount(cgroupRoot, filepath.Join(root, cgroupRoot), "", unix.MS_BIND|unix.MS_REC, "")
}

// mountMemory mounts what a machine keeps in memory, and what goes with the node: containerd's and kubelet's data.
func mountMemory(root string) error {
	for dir, options := range map[string]string{
		"run": "mode=755", "dev/shm": "mode=1777", "var/lib/containerd": "mode=711", "var/lib/kubelet": "mode=750", "var/lib/cni": "mode=755",
	} {
		if err := unix.Mount("tmpfs", filepath.Join(root, dir), "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
			return &os.PathError{Op: "mount", Path: dir, Err: err}
		}
	}
	return nil
}

// makeDevices lends the harmless devices and makes a set of terminals.
func makeDevices(dev string) error {
	if err := unix.Mount("tmpfs", dev, "tmpfs", unix.MS_NOSUID, "mode=755,size=64k"); err != nil {
		return err
	}
	for _, device := range []string{"null", "zero", "full", "random", "urandom", "tty", "kmsg"} {
		target := filepath.Join(dev, device)
		if err := os.WriteFile(target, nil, 0o600); err != nil {
			return err
		}
		if err := unix.Mount("/dev/"+device, target, "", unix.MS_BIND, ""); err != nil {
			return &os.PathError{Op: "bind", Path: "/dev/" + device, Err: err}
		}
	}
	for link, target := range map[string]string{
		"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2", "ptmx": "pts/ptmx",
	} {
		if err := os.Symlink(target, filepath.Join(dev, link)); err != nil {
			return err
		}
	}
	for _, dir := range []string{"pts", "shm"} {
		if err := os.Mkdir(filepath.Join(dev, dir), 0o755); err != nil {
			return err
		}
	}
	return unix.Mount("devpts", filepath.Join(dev, "pts"), "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5")
}

// coverTunables puts a file over each setting.
func coverTunables(root string) error {
	dir := filepath.Join(root, "run/sysctl")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	for name, value := range tunables() {
		setting := filepath.Join(root, "proc/sys", name)
		if _, err := os.Stat(setting); errors.Is(err, fs.ErrNotExist) {
			continue // this kernel does not have it
		}
		file := filepath.Join(dir, strings.ReplaceAll(name, "/", "."))
		if err := os.WriteFile(file, []byte(value+"\n"), 0o644); err != nil {
			return err
		}
		if err := unix.Mount(file, setting, "", unix.MS_BIND, ""); err != nil {
			return &os.PathError{Op: "bind", Path: setting, Err: err}
		}
	}
	return nil
}

// pivot makes the folder, which is a mount, the root of the namespace and lets go of the old one. runc cannot work in a chroot.
func pivot(root string) error {
	if err := os.Chdir(root); err != nil {
		return err
	}
	// The old root lands on the new one, from where it is taken away (pivot_root(2), "pivot_root(".", ".")").
	if err := unix.PivotRoot(".", "."); err != nil {
		return err
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return err
	}
	return os.Chdir("/")
}
