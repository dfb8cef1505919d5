package nodelook

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/internal/handshake"
	"github.com/tkgfix/tkgfix/internal/node"
	"github.com/tkgfix/tkgfix/internal/probe"
)

// scriptTime bounds the script on the node.
const scriptTime = 90 * time.Second

// LookRequest says what to look at beside the node's own files.
type LookRequest struct {
	// Registry is the host[:port] whose hosts.toml is read and that openssl is pointed at; it may be empty.
	Registry string
	// OpenSSL asks for the answer of the node's own openssl s_client, which takes up to ten seconds.
	OpenSSL bool
	// Connect is the host:port that openssl dials, and ServerName the name that it asks for; those of Registry if empty.
	Connect, ServerName string
	// Now tells the time of this machine, to compare the node's clock with.
	Now func() time.Time

	root string // in tests: a folder that stands for the node's root
}

// Look is what a node answered.
type Look struct {
	// OS is the name of the operating system, as os-release gives it. Family is Photon, Ubuntu, RHEL or OtherFamily.
	OS, Family string
	// Root reports that the script ran as root. If not, Unreadable may not be empty.
	Root bool
	// Time is the node's clock, in whole seconds; Skew is by how much it is ahead of ours, 0 if it agrees.
	Time time.Time
	Skew time.Duration
	// Containerd is what is known of the node's containerd.
	Containerd Containerd
	// Files are the trust files of the node, in the order in which Go reads them, then those that Go does not read.
	Files []File
	// Folders are when the folders that Go reads were last changed, by path: a file was put there or taken away.
	Folders map[string]time.Time
	// Links are the links that are named as TKG names its files: where each leads, by path. One that leads nowhere is in no other list.
	Links map[string]string
	// Unreadable are paths of trust files that the login may not read, Large those that are larger than is read.
	Unreadable []string
	Large      []LargeFile
	// Hosts are what containerd goes by for single registries, by path; Config is what its config.toml says of registries.
	Hosts  []HostsFile
	Config RegistryConfig
	// OpenSSL is what the node's own openssl s_client printed, nil if it was not asked. It is for people and never a verdict: it exits with
	// 0 when it fails, checks no host name and has other rules than Go (tkg-facts.md §6.2).
	OpenSSL *probe.Said
	// Notes are lines about what may make a pull differ from a plain handshake: a proxy, a mirror, other trust files.
	Notes []string

	root    string // of the request
	environ environment
	runtime []File // of containerd: its configuration, and certificates for single registries
}

// File is a trust file of a node.
type File struct {
	Path string
	Data []byte
	// Changed is the later of the file's and, if it is a link, the link's modification times.
	Changed time.Time
	// Placed is the later of their change times: it tells also of a file that was moved here or copied with its old time, and of a new
	// owner or mode.
	Placed time.Time
	// Go reports that containerd reads this very file when it starts.
	Go bool
}

// LargeFile is a file that is larger than is read: 1 MiB, or what is left of 4 MiB for all that Go reads.
type LargeFile struct {
	Path string
	// Go reports that containerd reads it when it starts.
	Go bool
}

// Name returns what stands between tkg- and the ending, as in /etc/ssl/certs/tkg-NAME.pem; ok is false for other files.
func (f File) Name() (name string, ok bool) { return TrustName(f.Path) }

// TrustName returns what stands between tkg- and the ending of a path.
func TrustName(file string) (name string, ok bool) {
	base, ok := strings.CutPrefix(path.Base(file), "tkg-")
	if !ok {
		return "", false
	}
	for _, ending := range []string{".pem", ".crt"} {
		if name, found := strings.CutSuffix(base, ending); found {
			return name, name != ""
		}
	}
	return base, base != ""
}

// NewerThanContainerd reports that containerd was started before the file was written, so that it does not know it. It is
// false when it is not known when containerd started.
func (l Look) NewerThanContainerd(f File) bool {
	return !l.Containerd.Started.IsZero() && f.Changed.After(l.Containerd.Started)
}

// Roots returns what Go would trust on this node if containerd were started now.
func (l Look) Roots() *certs.Roots {
	files := make(map[string][]byte, len(l.Files))
	for _, f := range l.Files {
		if f.Go {
			files[f.Path] = f.Data
		}
	}
	return certs.NewRoots(files)
}

// LoadedRoots returns what the running containerd trusts, as far as the times of the files tell: Roots without what was written after
// containerd started. A bundle that was made anew since then held most of its certificates before: of those in it only the ones of files
// that are new themselves, of TKG's elsewhere too, are taken for new.
func (l Look) LoadedRoots() *certs.Roots {
	known, fresh, bundles := map[string][]byte{}, map[string][]byte{}, map[string][]byte{}
	for _, f := range l.Files {
		_, named := f.Name()
		switch newer := l.NewerThanContainerd(f); {
		case !newer && f.Go:
			known[f.Path] = f.Data
		case newer && f.Go && !named && bytes.Count(f.Data, []byte("-----BEGIN CERTIFICATE-----")) > 1:
			bundles[f.Path] = f.Data
		case newer:
			fresh[f.Path] = f.Data
		}
	}
	added := certs.NewRoots(fresh)
	held := slices.DeleteFunc(certs.NewRoots(bundles).All(), added.Has)
	return certs.NewRoots(known).With(held...)
}

// Emptied returns the folders out of which a file, or a link, was taken after containerd started: they were changed, and nothing in them
// is as new. What it was is not known, and containerd may have read it.
func (l Look) Emptied() []string {
	var out []string
	for _, dir := range slices.Sorted(maps.Keys(l.Folders)) {
		newer := func(f File) bool {
			return path.Dir(f.Path) == dir && (l.NewerThanContainerd(f) || f.Placed.After(l.Containerd.Started))
		}
		if !l.Containerd.Started.IsZero() && l.Folders[dir].After(l.Containerd.Started) && !slices.ContainsFunc(l.Files, newer) {
			out = append(out, dir)
		}
	}
	return out
}

// Take looks at a node by one script over conn. What the node lacks is left empty; an answer that is not what the script
// prints is an error. It blocks until the script is done, 90 seconds at most.
func Take(ctx context.Context, conn *node.Conn, req LookRequest) (Look, error) {
	hostport := ""
	for _, name := range []string{req.Registry, req.Connect, req.ServerName} { // they end up in a command
		if _, _, err := handshake.HostPort(name); err != nil && name != "" {
			return Look{}, err
		}
	}
	if req.Registry != "" {
		var err error
		if _, hostport, err = handshake.HostPort(req.Registry); err != nil {
			return Look{}, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, scriptTime)
	defer cancel()
	before := req.Now()
	out, err := conn.Run(ctx, script(req, hostport))
	if err != nil {
		return Look{}, err
	}
	look, err := parse(out, req.root)
	if err != nil {
		return Look{}, fmt.Errorf("look at node %s: %w", conn.Name(), err)
	}
	look.root = req.root
	look.Skew = skew(look.Time, before, req.Now())
	if f, ok := look.HostsFor(req.Registry); ok && req.Registry != "" {
		look.Notes = append(look.Notes, f.note())
	}
	return look, nil
}

// skew returns by how much a clock that showed t, in whole seconds, somewhere between before and after, is ahead.
func skew(t, before, after time.Time) time.Duration {
	switch {
	case t.Add(time.Second).Before(before):
		return t.Sub(before).Truncate(time.Second)
	case t.After(after):
		return t.Sub(after).Truncate(time.Second)
	}
	return 0
}
