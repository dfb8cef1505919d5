package recreate

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
)

// maxLines bounds each group of what is lost, so that a plan stays readable and small.
const maxLines = 500

// inventory is what goes with a cluster.
type inventory struct {
	// empty says that the cluster never came up, so that nothing can be in it.
	empty        bool
	endpoint     string
	controlPlane int
	workers      int
	secrets      []string // namespace/name on the Supervisor
	kubeconfigs  int
	// addons is how many objects with add-on settings are made again; addonsLost and keysLost are lines about what is not saved.
	addons     int
	addonsLost []string
	keysLost   []string

	pods      int // not in lost: they come and go
	workloads map[string]counts
	volumes   []volume
	snapshots []snapshot
	services  []service
	own       []ownSecret
	// supervisorVolumes are claims on the Supervisor that belong to the cluster's volumes.
	supervisorVolumes []string
}

type volume struct {
	claim   string // namespace/name; empty for a volume without one
	name    string // of the PersistentVolume, empty while unbound
	class   string
	size    string
	reclaim string // Delete, Retain; empty if not known
}

// snapshot is a VolumeSnapshot in the cluster.
type snapshot struct{ name, claim string } // each namespace/name; claim is empty if it was made of none

type service struct {
	name      string // namespace/name
	addresses []string
}

// ownSecret is a Secret in the cluster that no mark says that Git, Flux or Helm makes again.
type ownSecret struct {
	name        string // namespace/name
	kind        string
	certificate bool
}

// counts are the workloads of a namespace by kind.
type counts map[string]int

// lost lists what an approval covers, sorted, a line each. Nothing in it moves while people leave the cluster's objects alone: no pods, no
// ages, no names of nodes.
func (v inventory) lost() []string {
	lines := []string{
		fmt.Sprintf("nodes: %d of the control plane and %d workers, with all that is on their disks", v.controlPlane, v.workers),
		"registrations of the cluster elsewhere (Argo CD, Rancher, Tanzu Mission Control, backup, monitoring)",
	}
	if v.empty {
		lines = append(lines, "nothing in the cluster: its control plane has never come up, so that nobody can have put anything into it; counted on the Supervisor alone")
	} else {
		lines = append(lines, "etcd: every object in the cluster that no file of yours holds, among them its Secrets, custom resources and role bindings")
	}
	if v.endpoint != "" {
		lines = append(lines, "API address "+v.endpoint+": the new cluster may get another; kubeconfigs and DNS names must follow")
	}
	lines = append(lines, capped("Secret", v.secrets, func(s string) string {
		return "Secret " + s + " on the Supervisor: made anew with other content"
	})...)
	same := func(s string) string { return s }
	lines = append(lines, capped("add-on", v.addonsLost, same)...)
	lines = append(lines, capped("key of a Secret", v.keysLost, same)...)
	lines = append(lines, capped("PersistentVolumeClaim", v.volumes, v.volumeLine)...)
	lines = append(lines, capped("VolumeSnapshot", v.strays(), func(s snapshot) string {
		return "VolumeSnapshot " + s.name + ": no claim of it is left, and it goes with the cluster"
	})...)
	lines = append(lines, capped("LoadBalancer Service", v.services, service.line)...)
	lines = append(lines, capped("Supervisor claim", v.supervisorVolumes, func(s string) string {
		return "PersistentVolumeClaim " + s + " on the Supervisor: may stay or go (sources disagree), and is not bound again"
	})...)
	lines = append(lines, capped("Secret in the cluster", v.own, ownSecret.line)...)
	for _, ns := range slices.Sorted(maps.Keys(v.workloads)) {
		lines = append(lines, v.workloads[ns].line(ns))
	}
	slices.Sort(lines)
	return lines
}

// volumeLine says what becomes of a volume and of its snapshots, which are objects of the same cluster.
func (v inventory) volumeLine(vol volume) string {
	line := vol.line()
	var names []string
	for _, s := range v.snapshots {
		if s.claim == vol.claim && s.claim != "" {
			names = append(names, s.name)
		}
	}
	if len(names) == 0 {
		return line
	}
	slices.Sort(names)
	return line + "; with " + count(len(names), "snapshot") + " that cannot be restored from the new cluster: " + strings.Join(names, ", ")
}

// strays are the snapshots whose claim is not among the volumes.
func (v inventory) strays() []snapshot {
	return slices.DeleteFunc(slices.Clone(v.snapshots), func(s snapshot) bool {
		return slices.ContainsFunc(v.volumes, func(vol volume) bool { return vol.claim == s.claim && s.claim != "" })
	})
}

func (v volume) line() string {
	line := "PersistentVolumeClaim " + v.claim
	details := []string{v.size, prefixed("StorageClass ", v.class), prefixed("PersistentVolume ", v.name)}
	if v.claim == "" {
		line = "PersistentVolume " + v.name + " without a claim"
		details = details[:2]
	}
	details = slices.DeleteFunc(details, func(s string) bool { return s == "" })
	if len(details) > 0 {
		line += " (" + strings.Join(details, ", ") + ")"
	}
	switch v.reclaim {
	case "":
		return line + ": no volume is bound to it"
	case "Retain":
		return line + ": reclaim policy Retain, the disk may be left over but nothing binds it again"
	default:
		return line + ": reclaim policy " + v.reclaim + ", the data does not come back"
	}
}

func (s service) line() string {
	if len(s.addresses) == 0 {
		return "LoadBalancer Service " + s.name + ": no address yet"
	}
	slices.Sort(s.addresses)
	return "LoadBalancer Service " + s.name + ": address " + strings.Join(s.addresses, ", ") + " is given back"
}

func (s ownSecret) line() string {
	return fmt.Sprintf("Secret %s in the cluster (%s): no mark says that Git, Flux or Helm makes it again", s.name, s.kind)
}

// line names the kinds of which there are some, and the first three always.
func (c counts) line(namespace string) string {
	var parts []string
	for _, kind := range []string{"Deployment", "StatefulSet", "DaemonSet", "CronJob", "Job"} {
		if n := c[kind]; n > 0 || kind != "CronJob" && kind != "Job" {
			parts = append(parts, fmt.Sprintf("%d %ss", n, kind))
		}
	}
	return "workloads in namespace " + namespace + ": " + strings.Join(parts, ", ")
}

// capped writes a line for each item, in the lines' order, and says how many more there are.
func capped[T any](what string, items []T, line func(T) string) []string {
	lines := make([]string, len(items))
	for i, item := range items {
		lines[i] = line(item)
	}
	slices.Sort(lines)
	if more := len(lines) - maxLines; more > 0 {
		lines = append(lines[:maxLines], fmt.Sprintf("%s: %d more", what, more))
	}
	return lines
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

func hostPort(host string, port int64) string {
	if port == 0 {
		return host
	}
	return net.JoinHostPort(host, strconv.FormatInt(port, 10))
}
