package sshdtest

import (
	"bufio"
	"io"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// helper makes the node's folders its own, starts sshd and lives until its standard input ends, with this process at the latest. It is
// the first process of its namespace, so that all others of the node end with it.
const helper = `set -e
root=$1; port=$2; shift 2
for folder; do mount --bind "$root/$folder" "/$folder"; done
mount -t proc proc /proc
` + sshd + ` -D -e -p "$port" </dev/null &
exec 2>/dev/null
cat >/dev/null
`

// tries bounds how often a free port may be taken by another before sshd has it.
const tries = 10

// process is the helper and what it started.
type process struct {
	cmd   *exec.Cmd
	stdin io.Closer
	once  sync.Once

	listens chan bool // true once it does, false when it ended before
	mu      sync.Mutex
	log     []string
	over    sync.WaitGroup
}

// listen starts sshd on the port that is asked for, or on a free one.
func listen(t testing.TB, root string, o Options) (int, *process) {
	t.Helper()
	for range tries {
		port := o.Port
		if port == 0 {
			port = free(t, o.Address)
		}
		p := start(t, root, port)
		if <-p.listens {
			return port, p
		}
		p.stop()
		if o.Port != 0 || !strings.Contains(p.said(), "Address already in use") {
			t.Fatalf("sshd does not start on port %d:\n%s", port, p.said())
		}
	}
	t.Fatalf("no port was free %d times", tries)
	return 0, nil
}

// free returns a port that nobody listens on just now.
func free(t testing.TB, address string) int {
	t.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().(*net.TCPAddr).Port
}

func start(t testing.TB, root string, port int) *process {
	t.Helper()
	args := append([]string{"-c", helper, "sh", root, strconv.Itoa(port), "etc"}, emptied...)
	cmd := exec.Command("/bin/sh", args...) //nolint:noctx // ended by stop
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	cmd.SysProcAttr = apart()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start sshd in a namespace of its own: %v", err)
	}
	p := &process{cmd: cmd, stdin: stdin, listens: make(chan bool, 2)}
	p.over.Go(func() { p.read(stderr) })
	return p
}

func (p *process) read(stderr io.Reader) {
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		p.mu.Lock()
		p.log = append(p.log, lines.Text())
		p.mu.Unlock()
		if strings.HasPrefix(lines.Text(), "Server listening on ") {
			p.listens <- true
		}
	}
	p.listens <- false
}

// stop ends the node and waits until it is gone.
func (p *process) stop() {
	p.once.Do(func() {
		_ = p.stdin.Close()
		_ = p.cmd.Process.Kill()
		p.over.Wait()
		_ = p.cmd.Wait()
	})
}

// said returns what sshd logged.
func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.log, "\n")
}
