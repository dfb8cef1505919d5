package node_test

import (
	"bufio"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/tkgfix/tkgfix/internal/node"
	"github.com/tkgfix/tkgfix/internal/node/sshdtest"
	"github.com/tkgfix/tkgfix/plugins"
)

// startAgent starts OpenSSH's agent with these keys and returns its socket.
func startAgent(t *testing.T, keys ...[]byte) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "agent") // a path that a socket may have
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	// It says who it is once it listens, and ends with the program that it starts: with this process at the latest.
	cmd := exec.Command("ssh-agent", "-a", socket, "sh", "-c", `echo "$SSH_AGENT_PID"; exec cat`)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v: install what the tests need with hack/deps.sh", err)
	}
	t.Cleanup(func() { _, _ = stdin.Close(), cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGTERM) })
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	client := agent.NewClient(conn)
	for _, key := range keys {
		private, err := gossh.ParseRawPrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		if err := client.Add(agent.AddedKey{PrivateKey: private}); err != nil {
			t.Fatal(err)
		}
	}
	return socket
}

// encrypted returns a private key with a passphrase.
func encrypted(t *testing.T) []byte {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := gossh.MarshalPrivateKeyWithPassphrase(key, "test", []byte("hunter2"))
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(block)
}

func TestLoginByWhatTheUserNames(t *testing.T) {
	t.Parallel()
	server := sshdtest.Start(t, sshdtest.Options{})
	wrong := make([][]byte, 7)
	for n := range wrong {
		wrong[n], _ = sshdtest.NewKey(t)
	}
	file := func(data []byte, mode os.FileMode) string {
		return put(t, filepath.Join(t.TempDir(), "file"), string(data), mode)
	}
	key, password := file(server.PrivateKey, 0o600), file([]byte(sshdtest.Password+"\n"), 0o600)
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	silent, err := net.Listen("unix", filepath.Join(filepath.Dir(startAgent(t)), "silent"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	secret := node.Credentials{PrivateKey: server.PrivateKey, Password: sshdtest.Password}
	useless := node.Credentials{PrivateKey: wrong[0], Password: "battery"}
	cases := map[string]struct {
		reason string
		conf   plugins.Nodes
		agent  string
		creds  node.Credentials
		err    []string
	}{
		"KeyFile":          {reason: "the file takes the place of the Secret's key", conf: plugins.Nodes{IdentityFile: key}, creds: useless},
		"PasswordFile":     {reason: "the file takes the place of the Secret's password", conf: plugins.Nodes{PasswordFile: password}, creds: useless},
		"KeyFileWrong":     {reason: "in its place, not beside it", conf: plugins.Nodes{IdentityFile: file(wrong[1], 0o600)}, creds: node.Credentials{PrivateKey: server.PrivateKey}, err: []string{"refuses the login"}},
		"PasswordWrong":    {reason: "in its place, not beside it", conf: plugins.Nodes{PasswordFile: file([]byte("battery"), 0o600)}, creds: node.Credentials{Password: sshdtest.Password}, err: []string{"refuses the login"}},
		"FileThenSecret":   {reason: "the Secret's password is tried after the file's key", conf: plugins.Nodes{IdentityFile: file(wrong[1], 0o600)}, creds: secret},
		"Agent":            {reason: "the agent's key opens it", conf: plugins.Nodes{Agent: true}, agent: startAgent(t, server.PrivateKey)},
		"AgentLast":        {reason: "the last of more keys than sshd takes in one connection", conf: plugins.Nodes{Agent: true}, agent: startAgent(t, append(wrong, server.PrivateKey)...)},
		"AgentThenSecret":  {reason: "the Secret's after the agent's", conf: plugins.Nodes{Agent: true}, agent: startAgent(t, wrong...), creds: secret},
		"AgentThenWord":    {reason: "the password after the agent's keys", conf: plugins.Nodes{Agent: true, PasswordFile: password}, agent: startAgent(t, wrong...)},
		"AgentNotAsked":    {reason: "an agent is not asked unless it is said", agent: startAgent(t, server.PrivateKey), creds: useless, err: []string{"refuses the login"}},
		"AgentEmpty":       {reason: "an agent without keys", conf: plugins.Nodes{Agent: true}, agent: startAgent(t), creds: useless, err: []string{"refuses the login", "the agent holds no key"}},
		"NoAgent":          {reason: "no agent", conf: plugins.Nodes{Agent: true}, creds: secret, err: []string{"SSH_AUTH_SOCK", "ssh-add"}},
		"AgentGone":        {reason: "an agent that is gone", conf: plugins.Nodes{Agent: true}, agent: "/nowhere/agent", creds: secret, err: []string{"reach the SSH agent", "ssh-add -l"}},
		"AgentSilent":      {reason: "an agent that never answers", conf: plugins.Nodes{Agent: true}, agent: silent.Addr().String(), creds: secret, err: []string{"does not answer within", "ssh-add -l"}},
		"Encrypted":        {reason: "a key with a passphrase", conf: plugins.Nodes{IdentityFile: file(encrypted(t), 0o600)}, creds: secret, err: []string{"needs a passphrase", "agent: true", "ssh-add"}},
		"EncryptedInAgent": {reason: "a key with a passphrase, which the agent may hold", conf: plugins.Nodes{IdentityFile: file(encrypted(t), 0o600), Agent: true}, agent: startAgent(t, server.PrivateKey)},
		"Open":             {reason: "a key that others can read", conf: plugins.Nodes{IdentityFile: file(server.PrivateKey, 0o640)}, creds: secret, err: []string{"0640", "chmod 600"}},
		"OpenPassword":     {reason: "a password that others can read", conf: plugins.Nodes{PasswordFile: file([]byte("hunter2"), 0o644)}, creds: secret, err: []string{"0644", "chmod 600"}},
		"NoKey":            {reason: "no key", conf: plugins.Nodes{IdentityFile: file([]byte("hunter2"), 0o600)}, creds: secret, err: []string{"not a private key", "ssh-keygen -y"}},
		"Huge":             {reason: "a file without end", conf: plugins.Nodes{IdentityFile: file(make([]byte, 1<<20), 0o600)}, creds: secret, err: []string{"longer than 65536 bytes"}},
		"Pipe":             {reason: "a pipe without a writer", conf: plugins.Nodes{PasswordFile: pipe}, creds: secret, err: []string{"not a regular file"}},
		"Missing":          {reason: "no file", conf: plugins.Nodes{IdentityFile: "/nowhere/id"}, creds: secret, err: []string{"/nowhere/id: no such file", "ls -l /nowhere"}},
		"Relative":         {reason: "a relative path", conf: plugins.Nodes{PasswordFile: "pw"}, creds: secret, err: []string{"absolute"}},
		"TwoLines":         {reason: "more than a password", conf: plugins.Nodes{PasswordFile: file([]byte("hunter2\nhunter2\n"), 0o600)}, creds: secret, err: []string{"only line"}},
		"NoPassword":       {reason: "an empty file", conf: plugins.Nodes{PasswordFile: file([]byte("\n"), 0o600)}, creds: secret, err: []string{"only line"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conf := server.Conf(t)
			conf.IdentityFile, conf.PasswordFile, conf.Agent = c.conf.IdentityFile, c.conf.PasswordFile, c.conf.Agent
			m := node.Machine{Agent: c.agent}
			if name == "AgentSilent" {
				m.Patience = 100 * time.Millisecond
			}
			conn, err := m.Dial(t.Context(), conf, server.Target(), c.creds)
			if c.err == nil {
				if err != nil {
					t.Fatalf("%s: %v; %s", c.reason, err, plugins.HintOf(err))
				}
				_ = conn.Close()
				return
			}
			says(t, c.reason, err, c.err...)
			if err != nil && strings.Contains(err.Error()+plugins.HintOf(err), "hunter2") {
				t.Errorf("%s: a secret is in %v; %s", c.reason, err, plugins.HintOf(err))
			}
		})
	}
}
