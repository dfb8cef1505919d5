package vm

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/pkg/sftp"
	"golang.org/x/sys/unix"
)

// EnterCommand is the hidden subcommand of the laboratory's program that ends in Enter.
const EnterCommand = "enter-node"

// command returns the helper that runs script (or the sftp server) inside the node, in namespaces of its own: what it mounts is
// seen by nobody else and goes with it, and killing it kills all that it started.
func (n *Node) command(script string, sftp bool) *exec.Cmd {
	args := []string{EnterCommand, "--root", n.spec.Root, "--name", n.spec.Name}
	if sftp {
		args = append(args, "--sftp")
	}
	cmd := exec.Command(n.spec.Helper, append(args, "--", script)...)
	cmd.SysProcAttr = namespaces()
	return cmd
}

// namespaces are those that a process inside the node has for itself.
func namespaces() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS}
	if os.Geteuid() != 0 {
		attr.Cloneflags |= unix.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	return attr
}

// Enter makes the node's root folder the root of this process and becomes `sh -c script`, a login shell if script is empty, or an
// sftp server on stdin and stdout. It must run in new mount, process and name namespaces; it returns only with an error, or nil
// when the sftp session is over.
func Enter(root, name, script string, serveSFTP bool) error {
	// Nothing that is mounted here may be seen outside.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	if err := unix.Sethostname([]byte(name)); err != nil {
		return fmt.Errorf("naming the node: %w", err)
	}
	if err := bindHost(root); err != nil {
		return err
	}
	if err := unix.Chroot(root); err != nil {
		return fmt.Errorf("entering the node: %w", err)
	}
	home := "/home/" + User
	if err := os.Chdir(home); err != nil {
		return fmt.Errorf("entering the node: %w", err)
	}
	if serveSFTP {
		return runSFTP()
	}
	argv := []string{"sh", "-c", script}
	if script == "" {
		argv = []string{"-sh"}
	}
	env := []string{"PATH=/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin", "HOME=" + home, "USER=" + User, "LOGNAME=" + User, "SHELL=/bin/sh", "LANG=C"}
	return fmt.Errorf("starting the shell: %w", unix.Exec("/bin/sh", argv, env))
}

// bindHost lends the host's programs to the node, read-only. The node's own usr/local stays visible.
func bindHost(root string) error {
	for _, dir := range []string{"usr/bin", "usr/sbin", "usr/lib", "usr/lib32", "usr/lib64", "usr/libexec", "usr/share"} {
		if err := bind(root, dir, "/"+dir, true); err != nil {
			return err
		}
	}
	// Where bin and lib are not yet links to usr, what is in them is needed as well.
	for _, dir := range []string{"bin", "sbin", "lib", "lib32", "lib64"} {
		if !isDir("/" + dir) {
			continue
		}
		if err := bind(root, dir, "/"+dir, true); err != nil {
			return err
		}
	}
	if err := unix.Mount("tmpfs", filepath.Join(root, "dev"), "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, "size=64k,mode=755"); err != nil {
		return fmt.Errorf("making devices: %w", err)
	}
	for _, device := range []string{"null", "zero", "full", "random", "urandom"} {
		if err := os.WriteFile(filepath.Join(root, "dev", device), nil, 0o600); err != nil {
			return fmt.Errorf("making devices: %w", err)
		}
		if err := bind(root, "dev/"+device, "/dev/"+device, false); err != nil {
			return err
		}
	}
	for link, target := range map[string]string{"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"} {
		if err := os.Symlink(target, filepath.Join(root, "dev", link)); err != nil {
			return fmt.Errorf("making devices: %w", err)
		}
	}
	if err := unix.Mount("proc", filepath.Join(root, "proc"), "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mounting proc: %w", err)
	}
	return nil
}

// isDir says whether path is a folder, not a link to one.
func isDir(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.IsDir()
}

func bind(root, dir, from string, readOnly bool) error {
	if _, err := os.Stat(from); err != nil {
		return nil // this host does not have it
	}
	target := filepath.Join(root, dir)
	if err := unix.Mount(from, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("lending %s: %w", from, err)
	}
	if !readOnly {
		return nil
	}
	// nosuid and nodev: in a user namespace a remount may not drop what the host's mount has.
	flags := uintptr(unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV)
	if err := unix.Mount("", target, "", flags, ""); err != nil {
		return fmt.Errorf("lending %s read-only: %w", from, err)
	}
	return nil
}

type stdio struct {
	io.Reader
	io.WriteCloser
}

func runSFTP() error {
	server, err := sftp.NewServer(stdio{os.Stdin, os.Stdout})
	if err != nil {
		return fmt.Errorf("starting sftp: %w", err)
	}
	if err := server.Serve(); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("serving sftp: %w", err)
	}
	return nil
}
