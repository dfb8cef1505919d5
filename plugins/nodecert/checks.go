package nodecert

// ID names a kind of finding. Each has its section in docs/checks.md.
type ID string

// The findings on a node (tkg-facts.md §6.4).
const (
	FileMissing      ID = "node-file-missing"
	FileStale        ID = "node-file-stale"
	FileOverEncoded  ID = "node-file-over-encoded"
	FileUnderEncoded ID = "node-file-under-encoded"
	FileOther        ID = "node-file-other-certificate"
	FileDropped      ID = "node-file-dropped"
	FileGlued        ID = "node-file-glued"
	FilePrivateKey   ID = "node-file-private-key"
	FileSymlink      ID = "node-file-symlink"
	FileTooLarge     ID = "node-file-too-large"
	FileUnreadable   ID = "node-file-unreadable"
	BundleStale      ID = "node-bundle-stale"
	RuntimeOlder     ID = "runtime-older"
	RuntimeRemoved   ID = "runtime-removed"
	DuplicateNames   ID = "duplicate-names"
	HostsOverride    ID = "hosts-override"
	RuntimeProxy     ID = "runtime-proxy"
	ClockSkew        ID = "clock-skew"
	RuntimeVersion   ID = "runtime-version"
	RuntimeConfig    ID = "runtime-config"
	NotJoined        ID = "not-joined"
)

// Remedy is what mends a finding.
type Remedy string

// The remedies.
const (
	None           Remedy = "none"
	ReplaceCA      Remedy = "replace-ca"
	FixEncoding    Remedy = "fix-encoding"
	RestartRuntime Remedy = "restart-runtime"
	RollNode       Remedy = "roll-node"
	Rename         Remedy = "rename"
	FixClock       Remedy = "fix-clock"
	FixProxy       Remedy = "fix-proxy"
	FixMirror      Remedy = "fix-mirror"
	RotateKey      Remedy = "rotate-key"
)

// Check is a kind of finding, with the remedies that it may have.
type Check struct {
	ID       ID
	Remedies []Remedy
	// Recreate is whether recreating the cluster would mend it. It is never needed for that.
	Recreate bool
}

// Checks returns all kinds of finding in the order of docs/checks.md.
func Checks() []Check {
	return []Check{
		{FileMissing, []Remedy{RollNode, FixEncoding, ReplaceCA}, true},
		{FileStale, []Remedy{RollNode}, true},
		{FileOverEncoded, []Remedy{FixEncoding, RollNode, ReplaceCA}, false},
		{FileUnderEncoded, []Remedy{FixEncoding, RollNode, ReplaceCA}, false},
		{FileOther, []Remedy{RollNode, FixEncoding, ReplaceCA}, true},
		{FileDropped, []Remedy{FixEncoding, RollNode, ReplaceCA, None}, false},
		{FileGlued, []Remedy{FixEncoding, RollNode, ReplaceCA, None}, false},
		{FilePrivateKey, []Remedy{RotateKey}, false},
		{FileSymlink, []Remedy{None}, false},
		{FileTooLarge, []Remedy{RollNode}, true},
		{FileUnreadable, []Remedy{None}, false},
		{BundleStale, []Remedy{RollNode, None}, true},
		{RuntimeOlder, []Remedy{RestartRuntime, None}, true},
		{RuntimeRemoved, []Remedy{RollNode, None}, true},
		{DuplicateNames, []Remedy{Rename, None}, false},
		{HostsOverride, []Remedy{FixMirror, None}, false},
		{RuntimeProxy, []Remedy{FixProxy, None}, false},
		{ClockSkew, []Remedy{FixClock}, false},
		{RuntimeVersion, []Remedy{ReplaceCA, None}, false},
		{RuntimeConfig, []Remedy{FixMirror, None}, false},
		{NotJoined, []Remedy{FixEncoding, None}, false},
	}
}

// finding is one thing about a node that a person should know.
type finding struct {
	ID ID `json:"id"`
	// Subject is the file, name or program that it is about.
	Subject string `json:"subject"`
	Text    string `json:"text"`
	Remedy  Remedy `json:"remedy"`
	// Bad says that pulls fail because of it, or will; else it is for information.
	Bad bool `json:"bad"`
}
