package sshsig_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/sync/errgroup"

	"github.com/tkgfix/tkgfix/internal/sshsig"
	"github.com/tkgfix/tkgfix/plugins"
)

const passphrase = "correct horse"

// startAgent runs the real ssh-agent until the test ends.
func startAgent(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("ssh-agent")
	if err != nil {
		t.Fatalf("%v: these tests need OpenSSH; as root: apt-get install openssh-client", err)
	}
	socket := socketPath(t)
	cmd := exec.CommandContext(t.Context(), path, "-D", "-a", socket)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	// It says where it listens once it does.
	if said, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.Contains(said, socket) {
		t.Fatalf("ssh-agent says %q, %v", said, err)
	}
	return socket
}

// socketPath is in a folder whose name is short enough for a socket.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sshsig")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "agent")
}

func sshAdd(t *testing.T, socket, file string) {
	t.Helper()
	out, err := stock(t, []string{"SSH_AUTH_SOCK=" + socket}, nil, "ssh-add", "-q", file)
	must(t, out, err)
}

// lock encrypts the private key.
func (k key) lock(t *testing.T, args ...string) {
	t.Helper()
	out, err := stock(t, nil, nil, "ssh-keygen", append([]string{"-q", "-p", "-P", "", "-N", passphrase, "-f", k.file}, args...)...)
	must(t, out, err)
}

// signing is a case of TestSign.
type signing struct {
	reason string
	args   []string
	// make prepares the key and returns where it is.
	make func(t *testing.T, k key) sshsig.KeySource
	err  string
	hint string
}

func signings(socket string, ca key) map[string]signing {
	return map[string]signing{
		"private": {reason: "needs nothing else", make: func(_ *testing.T, k key) sshsig.KeySource { return sshsig.KeySource{File: k.file} }},
		"private, dead agent": {reason: "the agent is not asked", make: func(_ *testing.T, k key) sshsig.KeySource {
			return sshsig.KeySource{File: k.file, AgentSocket: filepath.Join(dir(k), "no")}
		}},
		"agent": {reason: "a public key names the agent's key", make: func(t *testing.T, k key) sshsig.KeySource {
			sshAdd(t, socket, k.file)
			gone(t, k.file)
			return sshsig.KeySource{File: k.file + ".pub", AgentSocket: socket}
		}},
		"agent, rsa": {reason: "the agent is asked for SHA-2", args: []string{"-t", "rsa", "-b", "2048"}, make: func(t *testing.T, k key) sshsig.KeySource {
			sshAdd(t, socket, k.file)
			gone(t, k.file)
			return sshsig.KeySource{File: k.file + ".pub", AgentSocket: socket}
		}},
		"agent, private gone": {reason: "the file beside says which key", make: func(t *testing.T, k key) sshsig.KeySource {
			sshAdd(t, socket, k.file)
			gone(t, k.file)
			return sshsig.KeySource{File: k.file, AgentSocket: socket}
		}},
		"agent, encrypted": {reason: "the passphrase is not asked for", make: func(t *testing.T, k key) sshsig.KeySource {
			sshAdd(t, socket, k.file)
			k.lock(t)
			gone(t, k.file+".pub")
			return sshsig.KeySource{File: k.file, AgentSocket: socket, Passphrase: func() ([]byte, error) { return nil, errors.New("asked") }}
		}},
		"agent, encrypted PEM": {reason: "PEM does not say which key it is, the file beside does", args: []string{"-t", "rsa", "-b", "2048"}, make: func(t *testing.T, k key) sshsig.KeySource {
			sshAdd(t, socket, k.file)
			k.lock(t, "-m", "PEM")
			return sshsig.KeySource{File: k.file, AgentSocket: socket}
		}},
		"certificate": {reason: "the private key is beside it", make: func(t *testing.T, k key) sshsig.KeySource {
			return sshsig.KeySource{File: k.certified(t, ca, "-n", "alice")}
		}},
		"agent, certificate": {reason: "ssh-add gives both", args: []string{"-t", "rsa", "-b", "2048"}, make: func(t *testing.T, k key) sshsig.KeySource {
			file := k.certified(t, ca, "-n", "alice")
			sshAdd(t, socket, strings.TrimSuffix(file, "-cert.pub"))
			gone(t, strings.TrimSuffix(file, "-cert.pub"))
			return sshsig.KeySource{File: file, AgentSocket: socket}
		}},
		"agent, only the certificate": {reason: "as login tools leave it; RSA must not fall back to SHA-1", args: []string{"-t", "rsa", "-b", "2048"}, make: certificateAgent(ca)},
		"public, beside": {reason: "without an agent the private key beside it", make: func(_ *testing.T, k key) sshsig.KeySource {
			return sshsig.KeySource{File: k.file + ".pub"}
		}},
		"encrypted": {reason: "the passphrase opens it", make: func(t *testing.T, k key) sshsig.KeySource {
			k.lock(t)
			return sshsig.KeySource{File: k.file, Passphrase: asked}
		}},
		"public, encrypted beside": {reason: "the passphrase opens it", make: func(t *testing.T, k key) sshsig.KeySource {
			k.lock(t)
			return sshsig.KeySource{File: k.file + ".pub", AgentSocket: socket, Passphrase: asked}
		}},
	}
}

func signingsRefused(socket string, ca key) map[string]signing {
	return map[string]signing{
		"encrypted, no passphrase": {reason: "nobody to ask", make: func(t *testing.T, k key) sshsig.KeySource {
			k.lock(t)
			return sshsig.KeySource{File: k.file}
		}, err: "the key is encrypted", hint: "ssh-add "},
		"encrypted, unknown to the agent": {reason: "what was tried is said", make: func(t *testing.T, k key) sshsig.KeySource {
			k.lock(t)
			return sshsig.KeySource{File: k.file, AgentSocket: socket}
		}, err: "the ssh-agent does not hold the key SHA256:", hint: "ssh-add "},
		"wrong passphrase": {reason: "plainly", make: func(t *testing.T, k key) sshsig.KeySource {
			k.lock(t)
			return sshsig.KeySource{File: k.file, Passphrase: func() ([]byte, error) { return []byte("wrong"), nil }}
		}, err: "the passphrase is wrong"},
		"public, nothing else": {reason: "what to do", make: func(t *testing.T, k key) sshsig.KeySource {
			gone(t, k.file)
			return sshsig.KeySource{File: k.file + ".pub"}
		}, err: "there is no ssh-agent", hint: `eval "$(ssh-agent)" && ssh-add `},
		"other half": {reason: "files that were mixed up", make: func(t *testing.T, k key) sshsig.KeySource {
			write(t, k.file+".pub", ca.public(t))
			return sshsig.KeySource{File: k.file + ".pub"}
		}, err: "is not the private half of"},
		"absent": {reason: "named", make: func(_ *testing.T, k key) sshsig.KeySource {
			return sshsig.KeySource{File: filepath.Join(dir(k), "nokey")}
		}, err: "no such file", hint: "ls -l"},
		"no key": {reason: "of which nothing is shown", make: func(t *testing.T, k key) sshsig.KeySource {
			write(t, k.file, "secret")
			gone(t, k.file+".pub")
			return sshsig.KeySource{File: k.file}
		}, err: "no key found"},
		"weak": {reason: "Verify would refuse it", args: []string{"-t", "rsa", "-b", "1024"}, make: func(_ *testing.T, k key) sshsig.KeySource {
			return sshsig.KeySource{File: k.file}
		}, err: "RSA below 2048 bits"},
		"lying agent": {reason: "what the agent answers is proven", make: func(t *testing.T, k key) sshsig.KeySource {
			gone(t, k.file)
			return sshsig.KeySource{File: k.file + ".pub", AgentSocket: serve(t, liar{agent.NewKeyring(), k.public(t)})}
		}, err: "does not match what is to be signed"},
	}
}

func asked() ([]byte, error) { return []byte(passphrase), nil }

func dir(k key) string { return filepath.Dir(k.file) }

func TestSign(t *testing.T) {
	t.Parallel()
	socket, ca := startAgent(t), newKey(t)
	cases := signings(socket, ca)
	maps.Copy(cases, signingsRefused(socket, ca))
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k, m := newKey(t, tc.args...), message(t)
			public := k.public(t)
			armored, err := sshsig.Sign(t.Context(), tc.make(t, k), m)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) || !strings.Contains(plugins.HintOf(err), tc.hint) {
					t.Fatalf("%s: got %v (%s), want %q (%s)", tc.reason, err, plugins.HintOf(err), tc.err, tc.hint)
				}
				if strings.Contains(err.Error(), passphrase) || strings.Contains(err.Error(), "secret") {
					t.Errorf("%s: a secret in %v", tc.reason, err)
				}
				return
			}
			if err != nil {
				t.Fatalf("%s: %v", tc.reason, err)
			}
			text := "alice " + public + "\nalice cert-authority " + ca.public(t) + "\n"
			if ok, out := stockVerify(t, stockFiles(t, text, armored), "alice", m, noon()); !ok {
				t.Errorf("%s: ssh-keygen says %s", tc.reason, out)
			}
			s, err := parse(t, text).Verify(m, armored, noon())
			if err != nil {
				t.Errorf("%s: %v", tc.reason, err)
			}
			if certified := strings.Contains(name, "certificate"); certified != strings.Contains(s.KeyType, "-cert-") {
				t.Errorf("%s: signed by a %s key", tc.reason, s.KeyType)
			}
		})
	}
}

func gone(t *testing.T, file string) {
	t.Helper()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
}

// certificateAgent holds the key under its certificate alone.
func certificateAgent(ca key) func(*testing.T, key) sshsig.KeySource {
	return func(t *testing.T, k key) sshsig.KeySource {
		t.Helper()
		file := k.certified(t, ca, "-n", "alice")
		cert, _, _, _, err := ssh.ParseAuthorizedKey([]byte(read(t, file)))
		if err != nil {
			t.Fatal(err)
		}
		private, err := ssh.ParseRawPrivateKey([]byte(read(t, k.file)))
		if err != nil {
			t.Fatal(err)
		}
		ring := agent.NewKeyring()
		if err := ring.Add(agent.AddedKey{PrivateKey: private, Certificate: cert.(*ssh.Certificate)}); err != nil {
			t.Fatal(err)
		}
		gone(t, strings.TrimSuffix(file, "-cert.pub"))
		return sshsig.KeySource{File: file, AgentSocket: serve(t, ring)}
	}
}

// liar says that it holds a key and signs with nothing.
type liar struct {
	agent.Agent
	public string
}

func (l liar) List() ([]*agent.Key, error) {
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(l.public))
	if err != nil {
		return nil, err
	}
	return []*agent.Key{{Format: key.Type(), Blob: key.Marshal()}}, nil
}

func (l liar) Sign(key ssh.PublicKey, _ []byte) (*ssh.Signature, error) {
	return &ssh.Signature{Format: key.Type(), Blob: make([]byte, 64)}, nil
}

// serve answers one connection on a socket.
func serve(t *testing.T, a agent.Agent) string {
	t.Helper()
	return listen(t, func(conn net.Conn) { _ = agent.ServeAgent(a, conn) })
}

func listen(t *testing.T, answer func(net.Conn)) string {
	t.Helper()
	socket := socketPath(t)
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	var g errgroup.Group
	g.Go(func() error {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		answer(conn)
		return nil
	})
	t.Cleanup(func() {
		_ = l.Close()
		_ = g.Wait()
	})
	return socket
}

// TestSignCanceled has an agent that never answers.
func TestSignCanceled(t *testing.T) {
	t.Parallel()
	k := newKey(t)
	ctx, cancel := context.WithCancel(t.Context())
	socket := listen(t, func(conn net.Conn) {
		_, _ = io.ReadFull(conn, make([]byte, 4))
		cancel()
		_, _ = io.Copy(io.Discard, conn)
	})
	gone(t, k.file)
	if _, err := sshsig.Sign(ctx, sshsig.KeySource{File: k.file + ".pub", AgentSocket: socket}, message(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}
