package nodecert

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tkgfix/tkgfix/internal/certs"
	"github.com/tkgfix/tkgfix/internal/nodelook"
)

// judge says what a worker that was made at a time holds of a declared CA. Where several files carry the name, the one that Go reads
// counts.
func (v view) judge(d declaration, created time.Time) (file, []finding) {
	out := file{Name: d.name, State: missing, Wanted: d.wanted(), Found: []string{}}
	best := v.holder(d)
	if !d.nameless {
		out.Path, best = v.TrustPath(d.name), v.named(d.name)
	}
	if best == nil {
		return v.absent(out, d, created)
	}
	out.Path, out.NewerThanContainerd = best.Path, v.NewerThanContainerd(best.File)
	out.Found = append(fingerprints(best.taken), fingerprints(best.lost)...)
	var found []finding
	if f, ok := v.link(best.Path); ok {
		found = append(found, f)
	}
	out.State = v.state(*best, d)
	switch out.State {
	case present:
		out.Text = renewed(*best, d)
		return out, append(found, v.leftovers(*best)...)
	case ignoredByGo:
		if d.fits(newSet(best.taken)) {
			return out, append(found, v.unbundled(*best, d)...)
		}
	}
	return out, append(found, explain(*best, out.State, d, created))
}

// named returns the file of a name that counts, nil if there is none.
func (v view) named(name string) *fileView {
	best := -1
	for i, f := range v.files {
		if n, ok := f.Name(); ok && n == name && (best < 0 || f.Go && !v.files[best].Go) {
			best = i
		}
	}
	if best < 0 {
		return nil
	}
	return &v.files[best]
}

// holder returns the one of TKG's files, whatever it is called, that holds all of what is declared; nil if there is none. Of several that from
// which Go takes it counts, then the one that Go reads.
func (v view) holder(d declaration) *fileView {
	best, rank := -1, 0
	for i, f := range v.files {
		if _, ours := f.Name(); !ours || !d.fits(newSet(f.taken, f.lost)) {
			continue
		}
		r := 1
		if f.Go {
			r++
		}
		if d.fits(newSet(f.taken)) {
			r += 2
		}
		if r > rank {
			best, rank = i, r
		}
	}
	if best < 0 {
		return nil
	}
	return &v.files[best]
}

// state tells how a file stands to what is declared.
func (v view) state(f fileView, d declaration) string {
	switch {
	case d.fits(newSet(f.taken)) && d.fits(v.taken):
		return present
	case d.fits(newSet(f.taken)):
		return ignoredByGo
	case f.state == underEncoded, f.state == overEncoded:
		return f.state
	case d.fits(newSet(f.taken, f.lost)):
		return ignoredByGo
	case len(f.taken)+len(f.lost) > 0:
		return otherCert
	case d.tooFew() && !isText(f.Data):
		return underEncoded
	}
	return notPEM
}

// isText reports that data could be read by a person.
func isText(data []byte) bool {
	return !slices.ContainsFunc(data, func(b byte) bool { return b < ' ' && b != '\n' && b != '\r' && b != '\t' || b >= 0x7f })
}

// absent judges a CA of which there is no file by its name or, for one without, no file of TKG's that holds it.
func (v view) absent(out file, d declaration, created time.Time) (file, []finding) {
	unread := slices.IndexFunc(v.Unreadable, d.mayBe)
	if unread >= 0 && !d.nameless {
		return v.unread(out, unread)
	}
	if f := v.carrier(d); f != nil {
		out.Path, out.State, out.NewerThanContainerd = f.Path, present, v.NewerThanContainerd(f.File)
		out.Found, out.Text = out.Wanted, d.lacksFile()+", and Go takes the CA from this one"
		return out, nil
	}
	if d.fits(v.taken) {
		out.State, out.Found, out.Text = present, out.Wanted, d.lacksFile()+", and Go takes the CAs from several others"
		return out, nil
	}
	if unread >= 0 {
		return v.unread(out, unread)
	}
	if i := slices.IndexFunc(v.Large, func(f nodelook.LargeFile) bool { return d.mayBe(f.Path) }); i >= 0 {
		out.Path, out.State = v.Large[i].Path, tooLarge
		return out, []finding{{FileTooLarge, out.Path, "it is larger than 1 MiB, or than 4 MiB with the other files, and was not read: no CA is as large", RollNode, true}}
	}
	f := explain(fileView{File: nodelook.File{Path: out.Path}}, missing, d, created)
	for from, to := range v.Links {
		if !d.nameless && d.mayBe(from) {
			f.Subject, f.Text = from, fmt.Sprintf("it is a link to %s, where nothing is; %s", to, f.Text)
		}
	}
	return out, []finding{f}
}

func (v view) unread(out file, i int) (file, []finding) {
	out.Path, out.State = v.Unreadable[i], unreadable
	return out, []finding{{FileUnreadable, out.Path, "the login may not read it, and sudo asks for a password: what is in it is not known", None, false}}
}

// mayBe reports that a path may be that of the file of a CA: it has the name, or it is one of TKG's where the name is not known.
func (d declaration) mayBe(file string) bool {
	n, ok := nodelook.TrustName(file)
	return ok && (d.nameless || n == d.name)
}

func (d declaration) lacksFile() string {
	if d.nameless {
		return "none of TKG's files holds it"
	}
	return "there is no file of this name"
}

// carrier returns the file from which Go takes one of the declared values: of several the oldest, since containerd knows it if it
// knows any.
func (v view) carrier(d declaration) *fileView {
	var best *fileView
	for i, f := range v.files {
		if f.Go && d.fits(newSet(f.taken)) && (best == nil || f.Changed.Before(best.Changed)) {
			best = &v.files[i]
		}
	}
	return best
}

// explain makes the finding for a file that is not as it was declared.
func explain(f fileView, state string, d declaration, created time.Time) finding {
	out := finding{Subject: cmp.Or(f.Path, d.name), Remedy: RollNode, Bad: true}
	out.ID, out.Text = describe(f, state, d)
	newest := d.newest()
	switch {
	case !d.clean():
		out.Remedy = FixEncoding
		if dead(d) {
			out.Remedy = ReplaceCA
		}
		if problem := d.problem(); problem != "" {
			out.Text += "; " + problem
		}
		if newest.changed.After(created) && !created.IsZero() {
			out.Text += fmt.Sprintf("; the node was made on %s, before that was changed on %s, and has what was declared then", stamp(created), stamp(newest.changed))
		}
	case newest.changed.After(created) && !created.IsZero():
		out.ID = FileStale
		out.Text = fmt.Sprintf("the node was made on %s, before %s was changed on %s, and still has what was declared then: %s",
			stamp(created), newest.source, stamp(newest.changed), out.Text)
	}
	return out
}

// dead reports that there is a value that no encoding mends: Go refuses the certificate itself.
func dead(d declaration) bool {
	return slices.ContainsFunc(d.values, func(v value) bool {
		return v.decoded.Problem == "" && slices.ContainsFunc(v.bundle.Findings, func(f certs.Finding) bool { return f.Kind == certs.KindUnparsable && f.Fatal })
	})
}

// describe says in words what a state means.
func describe(f fileView, state string, d declaration) (ID, string) {
	switch state {
	case missing:
		if d.tooFew() {
			return FileUnderEncoded, "there is no file: cloud-init writes none when what it decodes is no base64"
		}
		text := d.lacksFile() + ", and there is no other from which Go takes the CA"
		if d.shadowed {
			text += "; the cluster has a list of its own, and whether that replaces TkgServiceConfiguration's is documented nowhere"
		}
		return FileMissing, text
	case overEncoded:
		return FileOverEncoded, "it holds base64 where PEM should be, which Go passes over without a word"
	case underEncoded:
		return FileUnderEncoded, "it holds bytes where PEM should be, as they come of decoding PEM that was not encoded"
	case otherCert:
		return FileOther, "it holds " + names(append(slices.Clone(f.taken), f.lost...)) + ", and not all of what is declared: " + wantedNames(d)
	}
	faults := f.faults()
	if f.has(certs.KindGlued) && len(f.lost) > 0 {
		return FileGlued, "Go takes nothing on both sides of two blocks that are glued together: " + faults
	}
	if len(f.lost) > 0 {
		return FileDropped, "Go drops " + names(f.lost) + " in it without a word: " + faults
	}
	return FileDropped, "Go finds no certificate in it" + because(faults)
}

func because(faults string) string {
	if faults == "" {
		return ""
	}
	return ": " + faults
}

// names lists certificates for people, the first few of them.
func names(list []anchor) string {
	const most = 4
	var out []string
	for _, a := range list[:min(len(list), most)] {
		out = append(out, fmt.Sprintf("%s (SHA-256 %.16s)", a.name(), a.fingerprint()))
	}
	if len(list) > most {
		out = append(out, fmt.Sprintf("%d more", len(list)-most))
	}
	return strings.Join(out, ", ")
}

func wantedNames(d declaration) string {
	var all []anchor
	for _, v := range d.values {
		all = append(all, v.wanted...)
	}
	if len(all) == 0 {
		return "nothing that can be read"
	}
	return names(all)
}

// renewed tells of certificates that are other bytes than the declared ones, and the same CA.
func renewed(f fileView, d declaration) string {
	wanted := d.wanted()
	for _, a := range f.taken {
		fits := slices.ContainsFunc(d.values, func(v value) bool { return newSet(v.wanted)[a.key()] })
		if fits && !slices.Contains(wanted, a.fingerprint()) {
			return "it holds another certificate of the same key and subject as declared: that is the same CA, renewed"
		}
	}
	return ""
}

// leftovers tells of what Go drops from a file that holds all that is declared nevertheless.
func (v view) leftovers(f fileView) []finding {
	if len(f.lost) == 0 {
		return v.notInBundle(f, false)
	}
	id := FileDropped
	if f.has(certs.KindGlued) {
		id = FileGlued
	}
	text := "all that is declared is taken from it, and beside that Go drops " + names(f.lost) + " without a word: " + f.faults()
	return append(v.notInBundle(f, false), finding{id, f.Path, text, None, false})
}

// unbundled is for a file that is right and that Go does not read.
func (v view) unbundled(f fileView, d declaration) []finding {
	if found := v.notInBundle(f, true); len(found) > 0 {
		return found
	}
	text := "it is right, and Go does not read it: no file that Go reads holds " + wantedNames(d)
	return []finding{{BundleStale, f.Path, text, RollNode, true}}
}

// notInBundle tells of a file that this family's bundle should hold and does not.
func (v view) notInBundle(f fileView, bad bool) []finding {
	path := v.BundlePath()
	i := slices.IndexFunc(v.files, func(other fileView) bool { return other.Path == path })
	if path == "" || f.Path == path || len(f.taken) == 0 || i >= 0 && newSet(v.files[i].taken).holds(f.taken) {
		return nil
	}
	if bad {
		return []finding{{BundleStale, f.Path, "it is right, and not in " + path + ", which is what Go reads on this system", RollNode, true}}
	}
	return []finding{{BundleStale, f.Path, "Go reads it; it is not in " + path + ", by which openssl and curl may go", None, false}}
}

// link tells where a path leads that is a link.
func (v view) link(path string) (finding, bool) {
	to, ok := v.Links[path]
	if !ok {
		return finding{}, false
	}
	text := "it is a link to " + to
	if v.Family == nodelook.Ubuntu {
		text += ", as update-ca-certificates makes it"
	}
	if !strings.Contains(to, "/") {
		text += " in its own folder, which Go passes over since it reads that file anyway"
	}
	return finding{FileSymlink, path, text, None, false}, true
}
