package lab

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tkgfix/tkgfix/internal/lab/ca"
	"github.com/tkgfix/tkgfix/internal/lab/guest"
	"github.com/tkgfix/tkgfix/internal/lab/proxy"
	"github.com/tkgfix/tkgfix/internal/lab/registry"
)

// The scenarios that others name.
const (
	// MissingCA: no trust configuration of dev1 has the registry's root.
	MissingCA = "missing-ca"
	// WrongCA: TkgServiceConfiguration has a root of the same subject and another key.
	WrongCA = "wrong-ca"
	// VSpherePod: the clusters are healthy, pods on the Supervisor itself cannot pull.
	VSpherePod = "vsphere-pod"
	// Healthy: nothing is wrong.
	Healthy = "healthy"
)

// Scenario is a fault as data: all that is planted, and what is to be seen of it.
type Scenario struct {
	// Name is a word, Text says in one line what is planted.
	Name, Text string

	// server is what answers as the registry; the other hosts of a pull are always there.
	server server
	// trust is what TkgServiceConfiguration holds when dev1's nodes are made, besides the CAs of other registries; later is what it holds
	// from then on, if that is another list. own is dev1's own trust.
	trust, later, own []entry
	// nodes are those of dev1.
	nodes guest.Profile
	// hand is a script that somebody runs on each node of dev1 who has logged in there; words in braces are replaced (handWords).
	hand string
	// image is what the workload asks for; the laboratory's own if empty.
	image string
	// shows is what is to be seen of the workload's pods on dev1, and says what they, or their Events, say among other things.
	shows shows
	says  string
	// pods is how many the workload has; six if 0. Fewer where each pull takes long.
	pods int
	// notReal says why real nodes do not show it; empty if they do, as far as their kind can be real.
	notReal string
	// supervisor adds vSphere Pods that cannot pull, kapp a package that kapp-controller cannot fetch.
	supervisor, kapp bool
}

// server is how the registry answers.
type server struct {
	speech registry.Speech
	cert   ca.ServerKind
	// maxVersion is the newest version of TLS; 0 for the newest there is.
	maxVersion uint16
	// mutual demands a client certificate.
	mutual bool
	http   httpFault
	proxy  proxy.Mode // of proxy.lab; it opens tunnels if empty
}

// httpFault is what a registry does wrong behind TLS.
type httpFault string

const (
	busy      httpFault = "busy"      // 429
	broken    httpFault = "broken"    // 503
	private   httpFault = "private"   // tokens are given to everybody and are good for nothing
	foreign   httpFault = "foreign"   // tokens are good, but their server's CA is another
	elsewhere httpFault = "elsewhere" // blobs are on a host with another CA
)

// shows is what is to be seen of pods.
type shows string

const (
	running shows = ""
	failing shows = "failing" // the pull fails, or kubelet waits since it did
	backOff shows = "back-off"
	sandbox shows = "sandbox" // the pod's sandbox cannot be made
)

// entry is an entry of a list of trust: the certificate of that name (materials) under a name, in some form.
type entry struct {
	name, of string
	as       form
}

// Scenarios returns all there are: those that show most of the laboratory first, then by family.
func Scenarios() []Scenario {
	return slices.Concat(mainScenarios(), certificateScenarios(), tlsScenarios(), reachScenarios(), answerScenarios(), wayScenarios(),
		encodingScenarios(), nodeScenarios(), podScenarios())
}

// Names returns the names of the scenarios.
func Names() []string {
	var out []string
	for _, s := range Scenarios() {
		out = append(out, s.Name)
	}
	return out
}

// findScenario says what would have been right if there is no such scenario.
func findScenario(name string) (Scenario, error) {
	all := Scenarios()
	if i := slices.IndexFunc(all, func(s Scenario) bool { return s.Name == name }); i >= 0 {
		return all[i], nil
	}
	return Scenario{}, fmt.Errorf("no scenario %q, there are: %s", name, strings.Join(Names(), ", "))
}

func (s Scenario) imageOrOwn() string { return cmp.Or(s.image, image()) }
func (s Scenario) replicas() int      { return cmp.Or(s.pods, workloadReplicas) }

// clockBehind is more than the age of any certificate of the laboratory.
const clockBehind = -48 * time.Hour

// roots is the list in which the registry's root is as it should be.
func roots() []entry { return []entry{{name: rootEntry, of: "root"}} }

// in is the list in which the root is in another form.
func in(as form) []entry { return []entry{{name: rootEntry, of: "root", as: as}} }

// of is the list in which another certificate stands in the root's place.
func of(material string) []entry { return []entry{{name: rootEntry, of: material}} }
