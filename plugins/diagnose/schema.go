package diagnose

import "slices"

const inputSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["detect", "nodes", "probe", "encoding"],
  "properties": {
    "detect": {"type": "object", "description": "output of detect"},
    "nodes": {"type": "object", "description": "output of verify-node-cert"},
    "probe": {"type": "object", "description": "output of probe"},
    "encoding": {"type": "object", "description": "output of check-encoding"},
    "owner": {"type": "object", "description": "output of find-owner; without it, or empty, the cluster is judged as a TanzuKubernetesCluster that the login may do everything to"},
    "tried": {"type": "array", "items": {"type": "string"}, "default": [], "description": "remedies that were carried out before, without the nodes trusting the registry now: they are ruled out, and what is left may be harder"}
  }
}`

const outputSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["cause", "remedy", "trust", "summary", "ruledOut"],
  "properties": {
    "cause": {"type": "string", "description": "the one cause, in kebab-case"},
    "remedy": {
      "type": "string",
      "enum": ["nothing", "wait", "restart-runtime", "clock", "network", "proxy", "mirror", "server", "registry", "credentials", "reference", "roll-nodes", "cluster-trust", "service-trust", "recreate", "not-tkg"],
      "description": "the one remedy: nothing to do, wait, restart containerd, mend the nodes' clocks, the network, the proxy, the mirror, what the server presents, the registry itself, the credentials or the image reference; let new machines take the place of nodes that are older than what is declared, declare the CA in the cluster's own trust, declare it in TkgServiceConfiguration, delete and recreate the cluster, or nothing in TKG"
    },
    "trust": {"type": "boolean", "description": "whether the documented way, TkgServiceConfiguration and then new nodes, mends the cause; true for roll-nodes, cluster-trust, service-trust and recreate, but false while there is no usable CA file"},
    "summary": {"type": "string", "description": "cause and remedy in a sentence or two"},
    "ruledOut": {
      "type": "array",
      "description": "the other remedies, gentlest first, and why they are not it",
      "items": {
        "type": "object",
        "additionalProperties": false,
        "required": ["remedy", "reason"],
        "properties": {
          "remedy": {"type": "string", "description": "the remedy"},
          "reason": {"type": "string", "description": "why it is not the one"}
        }
      }
    }
  }
}`

// The remedies, gentlest first.
const (
	nothing     = "nothing"
	wait        = "wait"
	restart     = "restart-runtime"
	clock       = "clock"
	network     = "network"
	proxy       = "proxy"
	mirror      = "mirror"
	server      = "server"
	registry    = "registry"
	credentials = "credentials"
	reference   = "reference"
	rollNodes   = "roll-nodes"
	ownTrust    = "cluster-trust"
	globalTrust = "service-trust"
	recreate    = "recreate"
	notTKG      = "not-tkg"
)

type output struct {
	Cause    string     `json:"cause"`
	Remedy   string     `json:"remedy"`
	Trust    bool       `json:"trust"`
	Summary  string     `json:"summary"`
	RuledOut []ruledOut `json:"ruledOut"`
}

type ruledOut struct {
	Remedy string `json:"remedy"`
	Reason string `json:"reason"`
}

// The types below are the parts of the other steps' outputs that the judgement reads. Fields that it does not know are left alone.

type detected struct {
	Affected     bool      `json:"affected"`
	Class        string    `json:"class"`
	Registry     string    `json:"registry"`
	Failing      []failure `json:"failing"`
	FailingCount int       `json:"failingCount"`
}

type failure struct {
	Scope         string `json:"scope"`
	Registry      string `json:"registry"`
	ImageRegistry string `json:"imageRegistry"`
	Class         string `json:"class"`
}

// isPod tells whether a node of the cluster pulls for it.
func (f failure) isPod() bool { return f.Scope != "supervisor" && f.Scope != "package" }

type nodeTrust struct {
	Nodes          []nodeFiles `json:"nodes"`
	OK             bool        `json:"ok"`
	CandidateOnAll bool        `json:"candidateOnAll"`
}

type nodeFiles struct {
	Name             string    `json:"name"`
	ClockSkewSeconds float64   `json:"clockSkewSeconds"`
	Candidate        bool      `json:"candidate"`
	Findings         []finding `json:"findings"`
}

type finding struct {
	ID   string `json:"id"`
	Text string `json:"text"`
}

type probed struct {
	Registry       string      `json:"registry"`
	Trusted        bool        `json:"trusted"`
	CandidateWorks bool        `json:"candidateWorks"`
	Missing        string      `json:"missing"`
	Nodes          []nodeProbe `json:"nodes"`
}

type nodeProbe struct {
	Name           string   `json:"name"`
	OK             bool     `json:"ok"`
	Verdict        string   `json:"verdict"`
	FixableByTrust bool     `json:"fixableByTrust"`
	Also           []string `json:"also"`
	Error          string   `json:"error"`
	CandidateOK    bool     `json:"candidateOk"`
	CandidateError string   `json:"candidateError"`
	CompletedBy    []string `json:"completedBy"`
	Missing        string   `json:"missing"`
	Note           string   `json:"note"`
}

type encoded struct {
	OK        bool      `json:"ok"`
	Entries   []stored  `json:"entries"`
	Candidate candidate `json:"candidate"`
}

type stored struct {
	Where        string   `json:"where"`
	Name         string   `json:"name"`
	OK           bool     `json:"ok"`
	Problem      string   `json:"problem"`
	Fingerprints []string `json:"fingerprints"`
	Findings     []struct {
		ID    string `json:"id"`
		Fatal bool   `json:"fatal"`
	} `json:"findings"`
}

// doubled tells whether all that is wrong with the entry is that another has its name.
func (e stored) doubled() bool {
	found := false
	for _, f := range e.Findings {
		if f.Fatal && f.ID != "duplicate-name" {
			return false
		}
		found = found || f.ID == "duplicate-name"
	}
	return found
}

// unread tells whether nothing is known of the value but that this login may not read it.
func (e stored) unread() bool {
	return slices.ContainsFunc(e.Findings, func(f struct {
		ID    string `json:"id"`
		Fatal bool   `json:"fatal"`
	}) bool {
		return f.ID == "unread"
	})
}

// String names the entry as check-encoding and probe do.
func (e stored) String() string { return e.Where + ", entry " + e.Name }

type candidate struct {
	Given        bool     `json:"given"`
	OK           bool     `json:"ok"`
	Problem      string   `json:"problem"`
	Subjects     []string `json:"subjects"`
	Fingerprints []string `json:"fingerprints"`
	ConfiguredAs string   `json:"configuredAs"`
}

// owned is the output of find-owner. Its cluster is empty if there is none.
type owned struct {
	Cluster     string     `json:"cluster"`
	Kind        string     `json:"kind"`
	Class       string     `json:"class"`
	Way         string     `json:"way"`
	Retiring    bool       `json:"retiring"`
	Paused      bool       `json:"paused"`
	Initialized bool       `json:"initialized"`
	Managed     managed    `json:"managed"`
	Roll        roll       `json:"roll"`
	May         rights     `json:"may"`
	Declared    []declared `json:"declared"`
}

// managed says who would put back what is changed by hand, and where it must be changed instead.
type managed struct {
	By     string `json:"by"`
	Source string `json:"source"`
	Text   string `json:"text"`
}

type roll struct {
	State string `json:"state"`
	Note  string `json:"note"`
}

type rights struct {
	ClusterTrust   bool `json:"clusterTrust"`
	ServiceTrust   bool `json:"serviceTrust"`
	DeleteMachines bool `json:"deleteMachines"`
	DeleteCluster  bool `json:"deleteCluster"`
}

// declared is a stored CA, with whether each of this cluster's machines was made since it was last changed: yes, no, or unknown.
type declared struct {
	Where string `json:"where"`
	Name  string `json:"name"`
	Seen  string `json:"seen"`
	Why   string `json:"why"`
}

// String names the entry as check-encoding and probe do.
func (d declared) String() string { return d.Where + ", entry " + d.Name }
