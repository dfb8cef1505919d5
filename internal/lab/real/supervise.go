package real

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"
)

const (
	// showFile is what the node's systemctl shows of containerd.
	showFile = "/run/containerd.show"
	// showFormat is systemd's way to write a time.
	showFormat = "Mon 2006-01-02 15:04:05 MST"
	// dropIns is where TKG leaves the environment of containerd (tkg-facts.md §3).
	dropIns = "/etc/systemd/system/containerd.service.d/*.conf"
	// A daemon that ended by itself is started again after this long.
	restartDelay = time.Second
)

// daemon is a program that is to run as long as the node does.
type daemon struct {
	argv []string
	// env is asked for before each start, for NAME=value in addition to the node's own.
	env func() []string
	// pid is 0 while it does not run.
	pid int
	// now says that it has been told to end, to be started again at once.
	now bool
}

// supervisor starts daemons, starts them again, and reaps every process of the node that nobody else waits for. All of it happens in
// one goroutine, so that no child is waited for in two places.
type supervisor struct {
	opts                      InitOptions
	containerd, sshd, kubelet *daemon
	// due are those that are to be started again.
	due chan *daemon
	// shown tells whether containerd answered after a start.
	shown chan error
}

func newSupervisor(opts InitOptions) *supervisor {
	s := &supervisor{opts: opts, due: make(chan *daemon), shown: make(chan error)}
	s.containerd = &daemon{argv: []string{"/usr/bin/containerd"}, env: containerdEnvironment}
	s.sshd = &daemon{argv: []string{"/usr/sbin/sshd", "-D", "-e"}}
	s.kubelet = &daemon{argv: []string{
		"/" + kubeBinary, "kubelet", "--kubeconfig=/" + kubeletDir + "/kubeconfig", "--config=/" + kubeletDir + "/kubelet.yaml",
		"--hostname-override=" + opts.Name, "--node-ip=" + opts.Address,
	}}
	return s
}

// start starts a daemon, whose output is this process's.
func (s *supervisor) start(d *daemon) error {
	env := []string{"PATH=" + nodePath, "LANG=C", "HOME=/root"}
	if d.env != nil {
		env = append(env, d.env()...)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return fmt.Errorf("starting %s: %w", filepath.Base(d.argv[0]), err)
	}
	defer null.Close()
	d.now = false
	d.pid, err = syscall.ForkExec(d.argv[0], d.argv, &syscall.ProcAttr{
		Dir: "/", Env: env, Files: []uintptr{null.Fd(), os.Stdout.Fd(), os.Stderr.Fd()}, Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		d.pid = 0
		return fmt.Errorf("starting %s: %w", filepath.Base(d.argv[0]), err)
	}
	return nil
}

// startContainerd starts containerd and returns before it answers; shown gets the outcome of that.
func (s *supervisor) startContainerd() error {
	if err := s.start(s.containerd); err != nil {
		return err
	}
	pid := s.containerd.pid
	go func() { s.shown <- s.show(pid) }()
	return nil
}

// run returns when the input ends.
func (s *supervisor) run(signals <-chan os.Signal, input <-chan string) error {
	for {
		select {
		case line, ok := <-input:
			if !ok {
				return nil
			}
			if line != commandKubelet {
				return fmt.Errorf("told an unknown thing: %q", line)
			}
			if err := s.start(s.kubelet); err != nil {
				return err
			}
		case sig := <-signals:
			if sig == unix.SIGHUP {
				s.restartContainerd()
				continue
			}
			if err := s.reap(); err != nil {
				return err
			}
		case err := <-s.shown:
			if err != nil {
				fmt.Fprintln(os.Stderr, err) // what is wrong with it stands in its own lines
			}
		case d := <-s.due:
			if err := s.again(d); err != nil {
				return err
			}
		}
	}
}

// restartContainerd asks containerd to end; reap starts it again. Containers go on meanwhile, as they do under systemd.
func (s *supervisor) restartContainerd() {
	if s.containerd.pid != 0 {
		s.containerd.now = true
		_ = unix.Kill(s.containerd.pid, unix.SIGTERM) // an error means that it has ended, which reap will find
	}
}

// reap takes note of every child that has ended.
func (s *supervisor) reap() error {
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		if err == unix.EINTR {
			continue
		}
		if pid <= 0 || err != nil {
			return nil
		}
		for _, d := range []*daemon{s.containerd, s.sshd, s.kubelet} {
			if d.pid != pid {
				continue
			}
			d.pid = 0
			if !d.now {
				time.AfterFunc(restartDelay, func() { s.due <- d })
				continue
			}
			if err := s.again(d); err != nil {
				return err
			}
		}
	}
}

func (s *supervisor) again(d *daemon) error {
	if d == s.containerd {
		return s.startContainerd()
	}
	return s.start(d)
}

// show writes what the node's systemctl says of containerd, once it answers.
func (s *supervisor) show(pid int) error {
	at := s.opts.Now().UTC()
	if err := answers("unix", "/"+containerdSocket); err != nil {
		return err
	}
	text := "ExecMainStartTimestamp=" + at.Format(showFormat) + "\nMainPID=" + strconv.Itoa(pid) +
		"\nEnvironment=" + strings.Join(containerdEnvironment(), " ") + "\nActiveState=active\n"
	if err := renameio.WriteFile(showFile, []byte(text), 0o644); err != nil {
		return fmt.Errorf("noting the start of containerd: %w", err)
	}
	return nil
}

// containerdEnvironment reads the Environment= lines of containerd's drop-ins, in which a value with spaces is in double quotes.
func containerdEnvironment() []string {
	files, err := filepath.Glob(dropIns)
	if err != nil {
		return nil
	}
	var out []string
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		out = append(out, parseEnvironment(string(data))...)
	}
	return out
}

func parseEnvironment(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		value, found := strings.CutPrefix(strings.TrimSpace(line), "Environment=")
		if found {
			out = append(out, strings.Trim(value, `"`))
		}
	}
	return out
}
