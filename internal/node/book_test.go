package node

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
)

const (
	goodKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE5qC0YbWDlBDkvMvr8UeDzQxJmm8HhrTb1LQrKBiqSN"
	badKey  = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE5q"
)

func parsed(t testing.TB) ssh.PublicKey {
	t.Helper()
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(goodKey))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestReadBooksPassesOver(t *testing.T) {
	t.Parallel()
	cases := map[string]struct{ reason, line string }{
		"Words":     {"no entry", "what is this"},
		"Old":       {"a key of SSH 1", "host 1024 35 1234"},
		"ShortKey":  {"a key that is cut off", "host " + badKey},
		"OtherType": {"a type that the key does not have", "host ssh-rsa " + strings.Fields(goodKey)[1]},
		"Hash":      {"a hash that is none", "|1|x|y " + goodKey},
		"HashKind":  {"a hash of another kind", "|2|AAAAAAAAAAAAAAAAAAAAAAAAAAA=|AAAAAAAAAAAAAAAAAAAAAAAAAAA= " + goodKey},
		"Bracket":   {"a bracket that is not closed", "[host:22 " + goodKey},
		"Marker":    {"a marker that is none", "@maybe host " + goodKey},
		"Markers":   {"two markers", "@revoked @cert-authority host " + goodKey},
		"Long":      {"a line longer than any", "host " + goodKey + " " + strings.Repeat("x", 100<<10)},
		"Binary":    {"no text", "\x00\xff\xfe"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "known_hosts")
			if err := os.WriteFile(path, []byte(c.line+"\n"+"good "+goodKey+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			b, err := readBooks([]string{path, path + ".missing"})
			if err != nil {
				t.Fatalf("%s: %v", c.reason, err)
			}
			if err := b.look("good:22", parsed(t)); err != nil {
				t.Errorf("%s: the line after it: %v", c.reason, err)
			}
			if err := b.look("host:22", parsed(t)); !knownhosts.IsHostUnknown(err) {
				t.Errorf("%s: want a host that nobody knows, got %v", c.reason, err)
			}
		})
	}
}

func TestReadBooksBounds(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "known_hosts")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	if err := file.Truncate(maxKnownHosts + 1); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, t.TempDir()} {
		if _, err := readBooks([]string{p}); err == nil || !strings.Contains(err.Error(), "regular file of at most 16 MiB") {
			t.Errorf("%s: want a bound, got %v", p, err)
		}
	}
}

func FuzzReadableLines(f *testing.F) {
	f.Add([]byte("host " + goodKey))
	f.Add([]byte("|1|AAAAAAAAAAAAAAAAAAAAAAAAAAA=|AAAAAAAAAAAAAAAAAAAAAAAAAAA= " + goodKey))
	f.Add([]byte("@cert-authority *.corp,!x [a]:22 " + goodKey))
	f.Add([]byte("[a]:22,[::1]:2,b* " + goodKey + "\n#\n\n@revoked * " + goodKey))
	f.Add([]byte("host " + badKey + "\n@x"))
	f.Fuzz(func(t *testing.T, data []byte) {
		cleaned := readableLines(data)
		if bytes.Count(cleaned, []byte("\n")) != bytes.Count(data, []byte("\n")) {
			t.Fatal("the lines have other numbers")
		}
		path := filepath.Join(t.TempDir(), "known_hosts")
		if err := os.WriteFile(path, cleaned, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := knownhosts.NewDB(path); err != nil {
			t.Errorf("a line is left that the library cannot read: %v", err)
		}
	})
}
