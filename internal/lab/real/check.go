package real

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"github.com/tkgfix/tkgfix/plugins"
)

// Check says why real nodes cannot run on this machine: that somebody is not root, or the programs that are missing.
func Check() error {
	if os.Geteuid() != 0 {
		return plugins.Hint(errors.New("real nodes need root: they are made of namespaces, mounts and network devices"), "run as root, or leave --nodes away")
	}
	if runtime.GOARCH != "amd64" {
		return fmt.Errorf("real nodes run on amd64 only, for which their containers are made; this is %s", runtime.GOARCH)
	}
	var missing []string
	for _, program := range []string{"/usr/bin/containerd", "/usr/sbin/runc", "/usr/sbin/sshd", "/usr/bin/sudo", "/usr/bin/openssl", "/usr/sbin/update-ca-certificates", "/usr/lib/cni/ptp", "/usr/lib/cni/host-local"} {
		if _, err := exec.LookPath(program); err != nil {
			missing = append(missing, program)
		}
	}
	if len(missing) > 0 {
		return plugins.Hint(fmt.Errorf("real nodes need programs that are not here: %s", strings.Join(missing, ", ")), "hack/deps.sh installs them on Debian")
	}
	mounted, err := hierarchies()
	if err != nil {
		return err
	}
	if len(mounted) == 0 {
		return fmt.Errorf("real nodes need control groups, and none are mounted in %s", cgroupRoot)
	}
	return nil
}
