package nodelook

import (
	"go/version"
	"regexp"
	"time"
)

// Containerd is what is known of a node's containerd.
type Containerd struct {
	// Started is when the process began, zero if it is not known.
	Started time.Time
	// Version is the line that containerd --version prints.
	Version string
	// Release is the release in it, such as 1.7.27; empty if it is not known.
	Release string
	// Go is the release of Go whose defaults it has, such as 1.21; empty if it is not known. By it later checks of certificates are on or
	// off: a program has the defaults of the go line in its module, whatever compiler made it (https://go.dev/doc/godebug).
	Go string
	// Debug is the GODEBUG of its process, which overrules single defaults; empty if there is none.
	Debug string
}

var (
	releaseForm = regexp.MustCompile(`(?:^|\s)v?(\d{1,3}\.\d{1,3}\.\d{1,3})(?:[-+~]\S*)?(?:\s|$)`)
	goForm      = regexp.MustCompile(`\bgo(1\.\d{1,3})(?:\.\d{1,3})?\b`)
)

// readVersion takes the release and Go out of the line that containerd --version prints: the name of its package, the release, and the
// revision. Some builds add the compiler, which is then taken for the go line, since that may be the vendor's own.
func (c *Containerd) readVersion(line string) {
	c.Version = line
	if m := releaseForm.FindStringSubmatch(line); m != nil {
		c.Release = m[1]
		c.Go = goLine(m[1])
	}
	if m := goForm.FindStringSubmatch(line); m != nil {
		c.Go = m[1]
	}
}

// goLines are the go lines in the go.mod of containerd's releases, each from the given release of its minor series on. Read with
// `go mod download -json github.com/containerd/containerd@vX` (from 2.0 on, github.com/containerd/containerd/v2@vX); the first release
// known to have it is given where the proxy lacks those before. A build of a vendor may differ.
var goLines = []struct{ since, line string }{
	{"1.5.0", "1.16"}, {"1.5.18", "1.17"},
	{"1.6.0", "1.16"}, {"1.6.8", "1.17"}, {"1.6.24", "1.19"}, {"1.6.38", "1.20"},
	{"1.7.0", "1.19"}, {"1.7.14", "1.21"}, {"1.7.28", "1.23"}, {"1.7.30", "1.24"}, {"1.7.34", "1.25"},
	{"2.0.0", "1.22"}, {"2.0.5", "1.23"},
	{"2.1.0", "1.23"}, {"2.1.8", "1.24"},
	{"2.2.0", "1.24"}, {"2.2.8", "1.25"},
	{"2.3.4", "1.26"},
	{"2.4.0", "1.26"},
}

// goLine returns the go line of a release, empty for a series that is not in the table, or for a release before those in it.
func goLine(release string) string {
	at := "go" + release // three numbers are in the form of a release of Go, and compare as such
	out := ""
	for _, row := range goLines {
		since := "go" + row.since
		if version.Lang(at) == version.Lang(since) && version.Compare(at, since) >= 0 {
			out = row.line
		}
	}
	return out
}

// Before reports that containerd's Go is known to be older than a release, such as 1.23.
func (c Containerd) Before(release string) bool {
	return c.Go != "" && version.Compare("go"+c.Go, "go"+release) < 0
}
