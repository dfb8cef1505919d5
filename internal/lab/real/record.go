package real

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// recordFile is in the laboratory's folder as long as there may be something to remove.
const recordFile = "real.json"

// Record names what outlives the laboratory's processes.
type Record struct {
	// Block is the number of the laboratory's /24 network in 198.18.0.0/15, and of its bridge and control groups.
	Block int `json:"block"`
}

// Names returns what the laboratory's folder holds of this package.
func Names() []string { return []string{recordFile, "logs"} }

// blocks is how many /24 networks 198.18.0.0/15 has. It is set aside for benchmarks of network devices (RFC 2544): no route that
// matters goes there.
const blocks = 2 * 256

func (r Record) prefix() string { return fmt.Sprintf("198.%d.%d.", 18+r.Block/256, r.Block%256) }

// gateway is the bridge's own address.
func (r Record) gateway() string { return r.prefix() + "1" }

// network is the name of the bridge; the devices of nodes begin with it. Linux allows 15 letters.
func (r Record) network() string { return fmt.Sprintf("tkgfix%d", r.Block) }

// cgroup is the path of the control group of the laboratory's nodes in each hierarchy.
func (r Record) cgroup() string { return "/" + r.network() }

func (r Record) save(dir string) error {
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encoding the record of the nodes' network: %w", err)
	}
	if err := renameio.WriteFile(filepath.Join(dir, recordFile), data, 0o600); err != nil {
		return fmt.Errorf("writing the record of the nodes' network: %w", err)
	}
	return nil
}

// Remove removes what a laboratory in the folder left on the machine: the bridge, devices and control groups. It does nothing if
// there is no record of any, and may be repeated. The processes of the laboratory must have ended. It blocks for seconds at most.
func Remove(ctx context.Context, dir string) error {
	data, err := os.ReadFile(filepath.Join(dir, recordFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the record of the nodes' network: %w", err)
	}
	var record Record
	if err := json.Unmarshal(data, &record); err != nil {
		return fmt.Errorf("reading the record of the nodes' network in %s: %w", filepath.Join(dir, recordFile), err)
	}
	if record.Block < 0 || record.Block >= blocks {
		return fmt.Errorf("the record of the nodes' network in %s names block %d; there are %d", filepath.Join(dir, recordFile), record.Block, blocks)
	}
	if err := errors.Join(removeNetwork(record, dir), removeCgroups(ctx, record.cgroup())); err != nil {
		return err
	}
	return os.Remove(filepath.Join(dir, recordFile))
}
