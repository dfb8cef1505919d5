package vm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ContainerCommand is the hidden subcommand of the laboratory's program that ends in EnterContainer.
const ContainerCommand = "enter-container"

// outputGrace is how long output is still read when a command was killed and something it started holds on to it.
const outputGrace = time.Second

// containerPath is where programs are looked for in a container, as in most images.
const containerPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Command is a command to run in a container on the node.
type Command struct {
	// Host is where the node's root is mounted in the container; empty if it is not.
	Host string
	// ReadOnly says that it is mounted so.
	ReadOnly bool
	Args     []string
	Stdin    io.Reader
	Stdout   io.Writer
	Stderr   io.Writer
}

// RunIn runs a command in a container of its own and returns its exit code. The container's image has the programs of this machine, and
// nothing else. When ctx ends the command is killed, with all that it started. It blocks until the command ends.
func (n *Node) RunIn(ctx context.Context, c Command) (int, error) {
	args := []string{ContainerCommand, "--root", n.spec.Root, "--name", n.spec.Name, "--host", c.Host}
	if c.ReadOnly {
		args = append(args, "--read-only")
	}
	cmd := exec.Command(n.spec.Helper, append(append(args, "--"), c.Args...)...)
	cmd.SysProcAttr = namespaces()
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = c.Stdout, c.Stderr, outputGrace
	// Not cmd.Stdin: Wait would wait until the client closes its side.
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return 0, err
	}
	if err := n.group.Start(ctx, cmd); err != nil {
		return 0, err
	}
	defer context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })()
	go func() {
		if c.Stdin != nil {
			_, _ = io.Copy(stdin, c.Stdin)
		}
		_ = stdin.Close()
	}()
	return exitCode(cmd.Wait()), nil
}

// EnterContainer makes a container on the node whose root folder is root, with the node's root at host, and becomes argv in it. It must
// run in new mount, process and name namespaces; it returns only with an error.
func EnterContainer(root, name, host string, readOnly bool, argv []string) error {
	if len(argv) == 0 {
		return errors.New("no command to run in the container")
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	if err := unix.Sethostname([]byte(name)); err != nil {
		return fmt.Errorf("naming the node: %w", err)
	}
	if err := bindHost(root); err != nil {
		return err
	}
	// From here on the node is ".": the container's root may hide the folder that it is in.
	if err := os.Chdir(root); err != nil {
		return fmt.Errorf("entering the node: %w", err)
	}
	inside, err := containerRoot()
	if err != nil {
		return err
	}
	if host != "" {
		if err := mountNode(inside, host, readOnly); err != nil {
			return err
		}
	}
	if err := unix.Chroot(inside); err != nil {
		return fmt.Errorf("entering the container: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return fmt.Errorf("entering the container: %w", err)
	}
	program, err := lookup(argv[0])
	if err != nil {
		return err
	}
	return fmt.Errorf("starting %s: %w", program, unix.Exec(program, argv, []string{"PATH=" + containerPath, "HOSTNAME=" + name, "HOME=/root"}))
}

// containerRoot lays out a root folder in memory, which nobody else sees, with the programs of this machine.
func containerRoot() (string, error) {
	inside := os.TempDir()
	if err := unix.Mount("tmpfs", inside, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=1m,mode=755"); err != nil {
		return "", fmt.Errorf("making the container's root: %w", err)
	}
	for _, dir := range []string{
		"usr/bin", "usr/sbin", "usr/lib", "usr/lib32", "usr/lib64", "usr/libexec", "usr/share", "etc", "root", "tmp", "run", "proc", "dev",
	} {
		if err := os.MkdirAll(filepath.Join(inside, dir), 0o755); err != nil {
			return "", fmt.Errorf("laying out the container: %w", err)
		}
	}
	for _, dir := range []string{"bin", "sbin", "lib", "lib32", "lib64"} {
		if err := usrLink(inside, dir); err != nil {
			return "", fmt.Errorf("laying out the container: %w", err)
		}
	}
	return inside, bindHost(inside)
}

// mountNode mounts the node's root, which is the current folder, into the container.
func mountNode(inside, host string, readOnly bool) error {
	at := filepath.Join(inside, filepath.Join("/", host))
	if err := os.MkdirAll(at, 0o755); err != nil {
		return fmt.Errorf("mounting the node: %w", err)
	}
	if err := unix.Mount(".", at, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mounting the node: %w", err)
	}
	if !readOnly {
		return nil
	}
	if err := unix.Mount("", at, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("mounting the node read-only: %w", err)
	}
	return nil
}

// lookup finds a program in the container.
func lookup(name string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, dir := range filepath.SplitList(containerPath) {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("exec: %q: executable file not found in $PATH", name)
}
