// Package source fetches a workflow's file from where a team keeps it: from the artifact of a Flux source, or from a Git repository.
//
// What it hands over has been compared with a digest or comes from one named commit, is 1 MiB at most and is text of nobody's that may be
// trusted: whoever can write to the repository wrote it. An error of plugins.KindNotYet or plugins.KindTransient may pass by itself; any
// other will not.
package source

// MaxFile bounds a workflow's file, in bytes.
const MaxFile = 1 << 20

// File is a file of a source as it was at one revision.
type File struct {
	// Name says where the file came from, revision included. It holds no credential: journals and reports show it.
	Name string
	// Data is the file's content.
	Data []byte
	// Revision is the source's revision in its own words: main@sha1:… of a Flux source, the commit of a Git repository.
	Revision string
	// Digest is that of the artifact which the file came out of, verified; empty for a Git repository.
	Digest string
}
