package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"github.com/tkgfix/tkgfix/internal/lab/proc"
)

const stateFile = "lab.json"

// ErrNone says that there is no laboratory in the folder.
var ErrNone = errors.New("no laboratory there")

// Phase says how far a laboratory is.
type Phase string

// The phases of a laboratory.
const (
	// Starting is until the scenario's state shows.
	Starting Phase = "starting"
	// Ready is from then on.
	Ready Phase = "ready"
	// Planting is while it goes to another scenario, and after that has failed until another is planted.
	Planting Phase = "planting"
	// Dead is a laboratory whose daemon has gone without cleaning up; only Status says so.
	Dead Phase = "dead"
)

// State is lab.json: what another program needs to know about a laboratory.
type State struct {
	// PID is the daemon's process and PIDStarted when it started, in clock ticks since boot: both together name it.
	PID        int    `json:"pid"`
	PIDStarted uint64 `json:"pidStarted"`
	Phase      Phase  `json:"phase"`
	Scenario   string `json:"scenario"`
	// Nodes is the kind of nodes, ImitatedNodes or RealNodes.
	Nodes string `json:"nodes"`
	// Generation is the generation of TKG (service.Generation).
	Generation string `json:"generation"`
	// SSHPort is the port of each node's SSH server.
	SSHPort int `json:"sshPort"`
	// Registry is host:port as in an image's name; RegistryAddress is where that is, for what does not resolve it.
	Registry        string `json:"registry"`
	RegistryAddress string `json:"registryAddress"`
	// Image is the image of workload.yaml.
	Image string `json:"image"`
	// Supervisor is the URL of the Supervisor's API.
	Supervisor string `json:"supervisor"`
	// Network is the block of loopback addresses that the laboratory has for itself.
	Network string `json:"network"`
	// Kube is the hyperkube that runs the control planes.
	Kube     string         `json:"kube"`
	Clusters []ClusterState `json:"clusters"`
	// MadeDir says that Up made the folder, so that Down removes it.
	MadeDir bool `json:"madeDir"`
}

// ClusterState is one workload cluster as it is now.
type ClusterState struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Endpoint is the URL of the cluster's API; empty while there is none.
	Endpoint string `json:"endpoint"`
	// Kubeconfig is the file with the admin's kubeconfig, for tests.
	Kubeconfig string `json:"kubeconfig"`
	// Audit is the file of its API server's audit log.
	Audit string      `json:"audit"`
	Nodes []NodeState `json:"nodes"`
}

// NodeState is one node as it is now.
type NodeState struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	// Root is the folder that the node has as its root.
	Root string `json:"root"`
}

// Load reads the state of the laboratory in dir. The error is ErrNone if there is none.
func Load(dir string) (State, error) {
	var state State
	data, err := os.ReadFile(filepath.Join(dir, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return state, ErrNone
	}
	if err != nil {
		return state, fmt.Errorf("reading the laboratory's state: %w", err)
	}
	if err := json.Unmarshal(data, &state); err != nil {
		return state, fmt.Errorf("reading the laboratory's state in %s: %w", filepath.Join(dir, stateFile), err)
	}
	return state, nil
}

// Status is Load with the phase as it really is: Dead if the daemon is not there.
func Status(dir string) (State, error) {
	state, err := Load(dir)
	if err == nil && !proc.Alive(state.PID, state.PIDStarted) {
		state.Phase = Dead
	}
	return state, err
}

// save replaces the state so that a reader sees the old or the new one.
func (s State) save(dir string) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the laboratory's state: %w", err)
	}
	if err := renameio.WriteFile(filepath.Join(dir, stateFile), append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("writing the laboratory's state: %w", err)
	}
	return nil
}
