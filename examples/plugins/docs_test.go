package plugins_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const protocolDoc = "../../docs/plugin-protocol.md"

// TestProtocolDocRuns writes the files that the document shows and types its commands, in its order.
func TestProtocolDocRuns(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(root, "examples"), filepath.Join(b.dir, "examples")); err != nil {
		t.Fatal(err)
	}
	// The module of a third party, whose go.mod is as the example's.
	for _, name := range []string{"go.mod", "go.sum"} {
		raw, err := os.ReadFile(filepath.Join("silence", name))
		if err != nil {
			t.Fatal(err)
		}
		b.write(t, name, strings.Replace(string(raw), "=> ../../..", "=> "+root, 1))
	}
	blocks := regexp.MustCompile("(?ms)^```([a-z]+)(?: file=(\\S+))?\n(.*?)^```$").FindAllStringSubmatch(read(t, protocolDoc), -1)
	files, commands := 0, 0
	for _, m := range blocks {
		switch {
		case m[2] != "":
			files++
			b.write(t, m[2], m[3])
		case m[1] == "console":
			for _, block := range strings.Split("\n"+m[3], "\n$ ")[1:] {
				commands++
				command, want, _ := strings.Cut(block, "\n")
				b.sh(t, command, strings.TrimRight(want, "\n"))
			}
		}
	}
	if files != 2 || commands != 5 {
		t.Errorf("the document has %d files and %d commands: is it still read rightly?", files, commands)
	}
}

// sh types a command and holds what it printed against the document, in which … stands for anything.
func (b *bench) sh(t *testing.T, command, want string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", command)
	var out bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = b.dir, &out, &out
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(b.tkgfix)+":"+os.Getenv("PATH"), "GOWORK=off", "GOFLAGS=-mod=readonly -trimpath")
	if err := cmd.Run(); err != nil {
		t.Fatalf("$ %s: %v\n%s", command, err, out.String())
	}
	// Talk of what is being looked at comes and goes with the terminal.
	got := regexp.MustCompile(`(?m)^tkgfix: \S+: looking\n`).ReplaceAllString(out.String(), "")
	pattern := "(?s)^" + strings.ReplaceAll(regexp.QuoteMeta(want), "…", ".*") + "$"
	if !regexp.MustCompile(pattern).MatchString(strings.TrimRight(got, "\n")) {
		t.Errorf("$ %s\nwant:\n%s\ngot:\n%s", command, want, got)
	}
}

// TestProtocolDocIsWhole holds the document to the protocol: every call, every kind of error, and the limits.
func TestProtocolDocIsWhole(t *testing.T) {
	t.Parallel()
	doc := read(t, protocolDoc)
	for _, file := range []string{"../../proto/step.proto", "../../proto/goplugin.proto"} {
		proto := read(t, file)
		for _, m := range regexp.MustCompile(`rpc (\w+)|(ERROR_KIND_\w+) = [1-9]`).FindAllStringSubmatch(proto, -1) {
			if word := "`" + m[1] + m[2] + "`"; !strings.Contains(doc, word) {
				t.Errorf("the document does not say %s of %s", word, file)
			}
		}
	}
	python := read(t, "python/tkgfix_plugin.py")
	for _, m := range regexp.MustCompile(`"((?:TKGFIX|PLUGIN)_[A-Z_]+)"|COOKIE = "([^"]+)"`).FindAllStringSubmatch(python, -1) {
		if word := m[1] + m[2]; !strings.Contains(doc, "`"+word+"`") {
			t.Errorf("the document does not name %s, which the example in Python needs", word)
		}
	}
	for _, m := range regexp.MustCompile(`\]\((\.\./[^)]+)\)`).FindAllStringSubmatch(doc, -1) {
		if _, err := os.Stat(filepath.Join("../../docs", m[1])); err != nil {
			t.Errorf("a link leads nowhere: %v", err)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
