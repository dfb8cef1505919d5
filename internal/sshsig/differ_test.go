package sshsig_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/google/go-cmp/cmp"

	"github.com/tkgfix/tkgfix/internal/sshsig"
)

// verdict is a case of TestDifferential. In the file, {alice}, {bob}, {ca} and so on stand for public keys.
type verdict struct {
	reason string
	file   string
	signer string   // alice if empty
	as     string   // the signature, if another one than the signer's
	at     string   // RFC 3339, noon if empty
	want   []string // whom ssh-keygen and Verify take the signature from
	// stricter is what Verify answers where ssh-keygen takes the signature from anybody in want.
	stricter error
	// err is what Verify answers where both refuse.
	err error
}

func verdicts() map[string]verdict {
	all := verdictsOnLines()
	maps.Copy(all, verdictsOnOptions())
	maps.Copy(all, verdictsOnKeys())
	return all
}

func verdictsOnLines() map[string]verdict {
	alice := []string{"alice"}
	return map[string]verdict{
		"plain":                {reason: "one line, one name", file: "alice {alice}\n", want: alice},
		"comment after":        {reason: "a comment follows the key", file: "alice {alice} alice at work\n", want: alice},
		"no line end":          {reason: "the last line needs no end", file: "alice {alice}", want: alice},
		"crlf":                 {reason: "the file was written on Windows", file: "# mine\r\nalice {alice}\r\n", want: alice},
		"tabs":                 {reason: "tabs separate too", file: "\talice\t{alice}\n", want: alice},
		"blank and comments":   {reason: "neither counts", file: "\n# alice {bob}\n  # x\n\nalice {alice}\n", want: alice},
		"other key":            {reason: "nobody's", file: "bob {bob}\n", err: sshsig.ErrNotListed},
		"several names":        {reason: "all of the list", file: "alice,alice@corp {alice}\n", want: []string{"alice", "alice@corp"}},
		"two lines":            {reason: "both count", file: "alice {alice}\nbob {bob}\nalice@corp {alice}\n", want: []string{"alice", "alice@corp"}},
		"one key, two persons": {reason: "the file says so", file: "alice {alice}\nbob {alice}\n", want: []string{"alice", "bob"}},
		"negated":              {reason: "a name that the list takes back", file: "alice,bob,!bob {alice}\n", want: alice},
		"negated by pattern":   {reason: "a name that a pattern takes back", file: "alice,alice@corp,!*@corp {alice}\n", want: alice},
		"only negated":         {reason: "takes nobody", file: "!bob {alice}\n", err: sshsig.ErrUnnamed},
		"empty parts":          {reason: "commas too many", file: ",alice,, {alice}\n", want: alice},
		"quoted":               {reason: "quotation marks hold spaces", file: "\"alice\" {alice}\n", want: alice},
		"quoted, glued":        {reason: "the key may follow the mark at once", file: "\"alice\"{alice}\n", want: alice},
		"quoted part":          {reason: "a mark inside a word", file: "al\"ice\" {alice}\n", want: alice},
		"quoted space":         {reason: "a name with a space", file: "\"alice b,alice\" {alice}\n", want: alice},
		"quote open":           {reason: "a bad line", file: "bob {bob}\n\"alice {alice}\n", err: sshsig.ErrNotListed},
		"pattern":              {reason: "a pattern names nobody: tkgfix needs a name", file: "*@corp {alice}\n", want: []string{"alice@corp", "bob@corp"}, stricter: sshsig.ErrUnnamed},
		"pattern and negation": {reason: "the same", file: "*@corp,!bob@corp {alice}\n", want: []string{"alice@corp"}, stricter: sshsig.ErrUnnamed},
		"bad line before":      {reason: "a line that cannot be read does not stop the next", file: "alice\nalice ssh-ed25519\nx y z\nalice {alice}\n", want: alice},
		"bad base64":           {reason: "a bad line", file: "bob {bob}\nalice ssh-ed25519 AAAA%%%%\n", err: sshsig.ErrNotListed},
		"other type":           {reason: "a key that is not what the line says", file: "bob {bob}\nalice ssh-rsa {alice:blob}\n", err: sshsig.ErrNotListed},
		"no key":               {reason: "a bad line", file: "bob {bob}\nalice namespaces=\"*\"\n", err: sshsig.ErrNotListed},
	}
}

func verdictsOnOptions() map[string]verdict {
	alice := []string{"alice"}
	return map[string]verdict{
		"namespace":              {reason: "the right one", file: "alice namespaces=\"approval@tkgfix.dev\" {alice}\n", want: alice},
		"namespaces":             {reason: "one of them", file: "alice namespaces=\"git,approval@tkgfix.dev\" {alice}\n", want: alice},
		"namespace pattern":      {reason: "patterns count", file: "alice namespaces=\"*@tkgfix.dev\" {alice}\n", want: alice},
		"namespace negated":      {reason: "negation counts", file: "alice namespaces=\"*,!approval@*\" {alice}\n", err: sshsig.ErrNotAllowed},
		"other namespace":        {reason: "a key for commits", file: "alice namespaces=\"git\" {alice}\n", err: sshsig.ErrNotAllowed},
		"empty namespace":        {reason: "takes none", file: "alice namespaces=\"\" {alice}\n", err: sshsig.ErrNotAllowed},
		"two lines, one good":    {reason: "a line that forbids does not stop one that allows", file: "alice namespaces=\"git\" {alice}\nalice {alice}\n", want: alice},
		"namespaces twice":       {reason: "a bad line", file: "bob {bob}\nalice namespaces=\"*\",namespaces=\"*\" {alice}\n", err: sshsig.ErrNotListed},
		"upper case":             {reason: "options are read in either case", file: "alice NameSpaces=\"*\" {alice}\n", want: alice},
		"unknown option":         {reason: "a bad line", file: "bob {bob}\nalice no-touch-required {alice}\n", err: sshsig.ErrNotListed},
		"value without marks":    {reason: "a bad line", file: "bob {bob}\nalice namespaces=* {alice}\n", err: sshsig.ErrNotListed},
		"trailing comma":         {reason: "a bad line", file: "bob {bob}\nalice namespaces=\"*\", {alice}\n", err: sshsig.ErrNotListed},
		"two commas":             {reason: "an empty option is none", file: "alice ,,namespaces=\"*\" {alice}\n", want: alice},
		"escaped mark":           {reason: "a quotation mark in a value", file: "alice namespaces=\"a\\\"b,*\" {alice}\n", want: alice},
		"space in a value":       {reason: "is part of the value", file: "alice namespaces=\"x y,*\" {alice}\n", want: alice},
		"space between options":  {reason: "a bad line", file: "bob {bob}\nalice namespaces=\"*\", valid-after=\"20200101\" {alice}\n", err: sshsig.ErrNotListed},
		"option glued to option": {reason: "a bad line", file: "bob {bob}\nalice cert-authorityX {alice}\n", err: sshsig.ErrNotListed},

		"within":              {reason: "valid now", file: "alice valid-after=\"20260101\",valid-before=\"20270101\" {alice}\n", want: alice},
		"expired":             {reason: "too late", file: "alice valid-before=\"20260501Z\" {alice}\n", err: sshsig.ErrNotAllowed},
		"not yet":             {reason: "too early", file: "alice valid-after=\"20260701Z\" {alice}\n", err: sshsig.ErrNotAllowed},
		"last second":         {reason: "valid-before is within", file: "alice valid-before=\"20260601120000Z\" {alice}\n", want: alice},
		"one second late":     {reason: "and the next is not", file: "alice valid-before=\"20260601120000Z\" {alice}\n", at: "2026-06-01T12:00:01Z", err: sshsig.ErrNotAllowed},
		"first second":        {reason: "valid-after is within", file: "alice valid-after=\"20260601120000Z\" {alice}\n", want: alice},
		"one second early":    {reason: "and the one before is not", file: "alice valid-after=\"20260601120000Z\" {alice}\n", at: "2026-06-01T11:59:59Z", err: sshsig.ErrNotAllowed},
		"minutes":             {reason: "seconds may be left out", file: "alice valid-before=\"202606011200Z\" {alice}\n", want: alice},
		"utc":                 {reason: "UTC is Z", file: "alice valid-before=\"202606011200utc\" {alice}\n", want: alice},
		"hours only":          {reason: "a bad line", file: "bob {bob}\nalice valid-before=\"2027010112\" {alice}\n", err: sshsig.ErrNotListed},
		"no such month":       {reason: "a bad line", file: "bob {bob}\nalice valid-before=\"20271301\" {alice}\n", err: sshsig.ErrNotListed},
		"no such hour":        {reason: "a bad line", file: "bob {bob}\nalice valid-before=\"202701012400\" {alice}\n", err: sshsig.ErrNotListed},
		"counted on":          {reason: "30 February is 2 March", file: "alice valid-after=\"20260230Z\" {alice}\n", at: "2026-03-01T12:00:00Z", err: sshsig.ErrNotAllowed},
		"before and after":    {reason: "a bad line", file: "bob {bob}\nalice valid-after=\"20270101\",valid-before=\"20260101\" {alice}\n", err: sshsig.ErrNotListed},
		"after twice":         {reason: "a bad line", file: "bob {bob}\nalice valid-after=\"20200101\",valid-after=\"20200101\" {alice}\n", err: sshsig.ErrNotListed},
		"old line, new line":  {reason: "a key renewed", file: "alice valid-before=\"20260101\" {alice}\nalice valid-after=\"20260101\" {alice}\n", want: alice},
		"before 1970":         {reason: "a bad line", file: "bob {bob}\nalice valid-before=\"19600101Z\" {alice}\n", err: sshsig.ErrNotListed},
		"blanks for digits":   {reason: "strptime skips blanks", file: "bob {bob}\nalice valid-before=\"2027 1 1\" {alice}\n", want: alice, stricter: sshsig.ErrNotListed},
		"invisible principal": {reason: "a name that looks like another's", file: "bob {bob}\nalice,a\u200blice {alice}\n", want: alice, stricter: sshsig.ErrNotListed},
	}
}

func verdictsOnKeys() map[string]verdict {
	alice, bob := []string{"alice"}, []string{"bob"}
	return map[string]verdict{
		"rsa":               {reason: "RSA with SHA-2", file: "alice {rsa}\n", signer: "rsa", want: alice},
		"rsa 1024":          {reason: "too short", file: "bob {bob}\nalice {weak}\n", signer: "weak", want: alice, stricter: sshsig.ErrWeak},
		"dsa":               {reason: "DSA is gone", file: "bob {bob}\nalice {dsa}\n", signer: "dsa", want: alice, stricter: sshsig.ErrWeak},
		"two signatures":    {reason: "which one is meant?", file: "alice {alice}\n", as: "twice", want: alice, stricter: sshsig.ErrMalformed},
		"authority, plain":  {reason: "an authority's key signs certificates", file: "alice cert-authority {alice}\n", err: sshsig.ErrNotAllowed},
		"certificate":       {reason: "the names in it", file: "* cert-authority {ca}\n", signer: "cert", want: []string{"alice", "alice@corp"}},
		"certificate, name": {reason: "that the line takes", file: "alice,bob cert-authority {ca}\n", signer: "cert", want: alice},
		"certificate, pattern": {reason: "a pattern for names in certificates gives names", file: "*@corp,!bob@corp cert-authority {ca}\n",
			signer: "cert", want: []string{"alice@corp"}},
		"certificate, negated":   {reason: "taken back", file: "*,!alice cert-authority {ca}\n", signer: "cert", want: []string{"alice@corp"}},
		"certificate, other":     {reason: "another authority", file: "* cert-authority {bob}\n", signer: "cert", err: sshsig.ErrNotListed},
		"certificate, no option": {reason: "the authority is listed as a person", file: "* {ca}\n", signer: "cert", err: sshsig.ErrNotListed},
		"certificate, own key":   {reason: "the key is listed, the certificate not", file: "alice {alice}\n", signer: "cert", err: sshsig.ErrNotAllowed},
		"certificate, namespace": {reason: "limits its certificates", file: "* cert-authority,namespaces=\"git\" {ca}\n", signer: "cert", err: sshsig.ErrNotAllowed},
		"certificate, line over": {reason: "the line limits the authority", file: "* cert-authority,valid-before=\"20260101\" {ca}\n", signer: "cert", err: sshsig.ErrNotAllowed},
		"certificate, nobody's":  {reason: "names none of the line", file: "bob cert-authority {ca}\n", signer: "cert", err: sshsig.ErrNotAllowed},
		"certificate, expired":   {reason: "by its own word", file: "* cert-authority {ca}\n", signer: "cert", at: "2030-01-02T00:00:00Z", err: sshsig.ErrNotAllowed},
		"certificate, early":     {reason: "by its own word", file: "* cert-authority {ca}\n", signer: "cert", at: "2019-01-02T00:00:00Z", err: sshsig.ErrNotAllowed},
		"certificate, host's":    {reason: "a host approves nothing", file: "* cert-authority {ca}\n", signer: "hostcert", err: sshsig.ErrNotAllowed},
		"certificate, no names":  {reason: "for anybody is for nobody", file: "* cert-authority {ca}\n", signer: "nonames", err: sshsig.ErrNotAllowed},
		"certificate, rsa":       {reason: "RSA under RSA", file: "* cert-authority {rsa}\n", signer: "rsacert", want: bob},
		"certificate, sha1":      {reason: "the authority signs with SHA-1", file: "* cert-authority {rsa}\n", signer: "sha1cert", want: bob, stricter: sshsig.ErrNotAllowed},
		"certificate, forced":    {reason: "it may run one command and no more", file: "* cert-authority {ca}\n", signer: "forced", want: alice, stricter: sshsig.ErrNotAllowed},
		"certificate listed":     {reason: "a line lists keys", file: "bob {bob}\nalice {cert}\n", signer: "cert", want: alice, stricter: sshsig.ErrNotListed},
	}
}

// TestDifferential asks ssh-keygen and Verify about the same files and signatures.
func TestDifferential(t *testing.T) {
	t.Parallel()
	m := message(t)
	files := signers(t)
	sigs, publics := map[string][]byte{}, []string{}
	for name, file := range files {
		sigs[name] = stockSign(t, file, sshsig.Namespace, m)
		public := strings.TrimSpace(read(t, strings.TrimSuffix(file, ".pub")+".pub"))
		publics = append(publics, "{"+name+"}", public, "{"+name+":blob}", strings.Fields(public)[1])
	}
	sigs["twice"] = append(slices.Clone(sigs["alice"]), sigs["alice"]...)
	fill := strings.NewReplacer(publics...)
	for name, tc := range verdicts() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.signer = first(tc.signer, "alice")
			sig, made := sigs[first(tc.as, tc.signer)]
			if !made {
				t.Fatalf("no signature by %s: this OpenSSH makes no such keys (Debian 12's does)", first(tc.as, tc.signer))
			}
			at, err := time.Parse(time.RFC3339, first(tc.at, noon().Format(time.RFC3339)))
			if err != nil {
				t.Fatal(err)
			}
			text := fill.Replace(tc.file)
			theirs := []string{}
			stockArgs := stockFiles(t, text, sig)
			for _, principal := range []string{"alice", "alice@corp", "bob", "bob@corp"} {
				if ok, _ := stockVerify(t, stockArgs, principal, m, at); ok {
					theirs = append(theirs, principal)
				}
			}
			if diff := cmp.Diff(append([]string{}, tc.want...), theirs); diff != "" {
				t.Fatalf("%s: the case is wrong about ssh-keygen: -want, +got:\n%s", tc.reason, diff)
			}
			got, err := parse(t, text).Verify(m, sig, at)
			want := first(tc.stricter, tc.err)
			if want != nil {
				if !errors.Is(err, want) {
					t.Fatalf("%s: Verify returns %v, %v, want %q", tc.reason, got, err, want)
				}
				return
			}
			if err != nil {
				t.Fatalf("%s: Verify refuses what ssh-keygen takes: %v", tc.reason, err)
			}
			slices.Sort(got.Principals)
			// Names of the file that ssh-keygen was not asked about.
			got.Principals = slices.DeleteFunc(got.Principals, func(n string) bool { return n == "alice b" })
			if diff := cmp.Diff(theirs, got.Principals); diff != "" {
				t.Errorf("%s: -ssh-keygen, +Verify:\n%s", tc.reason, diff)
			}
		})
	}
}

func first[T comparable](values ...T) T {
	var zero T
	for _, v := range values {
		if v != zero {
			return v
		}
	}
	return zero
}

// signers makes the keys and certificates of TestDifferential: each is the file that ssh-keygen signs with.
func signers(t *testing.T) map[string]string {
	t.Helper()
	alice, bob, ca := newKey(t), newKey(t), newKey(t)
	rsa := newKey(t, "-t", "rsa", "-b", "2048")
	span := []string{"-V", "20200101:20291231"}
	cert := func(k, by key, args ...string) string { return k.certified(t, by, append(args, span...)...) }
	files := map[string]string{
		"alice": alice.file, "bob": bob.file, "ca": ca.file, "rsa": rsa.file,
		"weak":     newKey(t, "-t", "rsa", "-b", "1024").file,
		"cert":     cert(alice, ca, "-n", "alice,alice@corp"),
		"hostcert": cert(alice, ca, "-h", "-n", "alice"),
		"nonames":  cert(alice, ca),
		"forced":   cert(alice, ca, "-n", "alice", "-O", "force-command=true"),
		"rsacert":  cert(rsa, rsa, "-n", "bob"),
		"sha1cert": cert(rsa, rsa, "-n", "bob", "-t", "ssh-rsa"),
	}
	dsa := filepath.Join(t.TempDir(), "key")
	if out, err := stock(t, nil, nil, "ssh-keygen", "-q", "-N", "", "-C", "", "-t", "dsa", "-f", dsa); err == nil {
		files["dsa"] = dsa
	} else if !strings.Contains(out, "unknown key type") {
		t.Fatal(out)
	}
	return files
}

// TestOptionsDiffer gives ssh-keygen and Verify the same lines, put together at random from a fixed seed.
func TestOptionsDiffer(t *testing.T) {
	t.Parallel()
	k, m := newKey(t), message(t)
	sig := stockSign(t, k.file, sshsig.Namespace, m)
	pieces := []string{
		"namespaces=", `"*"`, `"approval@tkgfix.dev"`, `"git"`, `"!git,*"`, `"a\"b,*"`, "valid-after=", "valid-before=", `"20250101"`, `"20270101Z"`,
		`"20251231235959Z"`, ",", ",", ",", ",", " ", "\t", `"`, `\`, "cert-authority", "Namespaces=", "x", k.public(t), " " + k.public(t), "ssh-ed25519 ",
	}
	good := []string{`namespaces="*"`, `namespaces="git"`, `valid-after="20250101"`, `valid-before="20270101"`, `valid-before="202501011200Z"`, `valid-after="20270101"`, "cert-authority"}
	r := rand.New(rand.NewPCG(1, 2))
	var text strings.Builder
	const lines = 300
	for i := range lines {
		fmt.Fprintf(&text, "p%d ", i)
		if i%2 == 0 {
			r.Shuffle(len(good), func(a, b int) { good[a], good[b] = good[b], good[a] })
			text.WriteString(strings.Join(good[:1+r.IntN(3)], ","))
		} else {
			for range 1 + r.IntN(5) {
				text.WriteString(pieces[r.IntN(len(pieces))])
			}
		}
		fmt.Fprintf(&text, " %s\n", k.public(t))
	}
	ours := []string{}
	if s, err := parse(t, text.String()).Verify(m, sig, noon()); err == nil {
		ours = append(ours, s.Principals...)
	}
	theirs := []string{}
	files := stockFiles(t, text.String(), sig)
	for i := range lines {
		principal := fmt.Sprintf("p%d", i)
		if ok, _ := stockVerify(t, files, principal, m, noon()); ok {
			theirs = append(theirs, principal)
		}
	}
	if len(theirs) < lines/20 || len(theirs) > lines*19/20 {
		t.Errorf("ssh-keygen takes %d of %d lines: the lines tell nothing", len(theirs), lines)
	}
	if diff := cmp.Diff(theirs, ours); diff != "" {
		t.Errorf("-ssh-keygen, +Verify:\n%s\n%s", diff, text.String())
	}
}

// TestPatternsDiffer asks ssh-keygen -Y match-principals about lists put together at random from a fixed seed.
func TestPatternsDiffer(t *testing.T) {
	t.Parallel()
	k := newKey(t)
	r := rand.New(rand.NewPCG(3, 4))
	var lists []string
	var text strings.Builder
	for range 1500 {
		list := ""
		for range 1 + r.IntN(7) {
			list += []string{"a", "b", "*", "?", "!", ",", "ab", "*b", "a*", ",!", "!a", ",*"}[r.IntN(12)]
		}
		lists = append(lists, list)
		fmt.Fprintf(&text, "%s %s\n", list, k.public(t))
	}
	lists = append(lists, strings.Repeat("a*", 511), strings.Repeat("a*", 512), "a,"+strings.Repeat("*", 1023), strings.Repeat("*", 1022))
	for _, list := range lists[1500:] {
		fmt.Fprintf(&text, "%s %s\n", list, k.public(t))
	}
	files := stockFiles(t, text.String(), nil)
	for _, name := range []string{"a", "b", "ab", "ba", "aab", "abab", "bbb", "!a", "*", "?b"} {
		out, err := stock(t, nil, nil, "ssh-keygen", "-Y", "match-principals", "-I", name, "-f", files[1])
		must(t, out, err)
		ours := ""
		for _, list := range lists {
			if sshsig.MatchList(name, list) {
				ours += list + "\n"
			}
		}
		if diff := cmp.Diff(out, ours); diff != "" {
			t.Errorf("lists that take %q: -ssh-keygen, +ours:\n%s", name, diff)
		}
	}
}

// TestZonesDiffer finds the moment that ssh-keygen reads from a time without a zone, in several zones and around their changes.
func TestZonesDiffer(t *testing.T) {
	t.Parallel()
	k, m := newKey(t), message(t)
	sig := stockSign(t, k.file, sshsig.Namespace, m)
	zones := map[string]string{ // what ssh-keygen needs no zone files for
		"UTC": "UTC0", "Asia/Shanghai": "CST-8", "Asia/Kolkata": "IST-5:30",
		"Europe/Berlin": "CET-1CEST,M3.5.0,M10.5.0/3", "America/New_York": "EST5EDT,M3.2.0,M11.1.0", "Australia/Sydney": "AEST-10AEDT,M10.1.0,M4.1.0/3",
	}
	times := []string{"20260115", "20260715", "202603290230", "20261025023000", "202603080230", "20261101013000", "202610040230", "20260405023000", "20260715Z"}
	for zone, tz := range zones {
		t.Run(zone, func(t *testing.T) {
			t.Parallel()
			loc, err := time.LoadLocation(zone)
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range times {
				at, err := sshsig.ParseTime(text, loc)
				if err != nil {
					t.Fatal(err)
				}
				files := stockFiles(t, fmt.Sprintf("alice valid-after=%q %s\n", text, k.public(t)), sig)
				for shift, want := range map[time.Duration]bool{0: true, -time.Second: false} {
					args := append([]string{"-Y", "verify", "-I", "alice", "-O", "verify-time=" + at.Add(shift).UTC().Format("20060102150405Z")}, files...)
					out, err := stock(t, []string{"TZ=" + tz}, m, "ssh-keygen", args...)
					if got := err == nil; got != want {
						t.Errorf("%s in %s is %s here: %s later ssh-keygen says %s", text, zone, at.UTC(), shift, out)
					}
				}
			}
		})
	}
}
