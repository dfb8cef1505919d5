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

// inventory is what goes with a cluster. Nothing in it moves while people leave the cluster's objects alone: no pods, no ages, no
// names of nodes.
type inventory struct {
	endpoint     string
	controlPlane int
	workers      int
	secrets      []string // namespace/name on the Supervisor
	addons       []string // Kind namespace/name on the Supervisor
	volumes      []volume
	services     []service
	workloads    map[string]counts // by namespace
	// supervisorVolumes are claims on the Supervisor that belong to the cluster's volumes.
	supervisorVolumes []string
}

type volume struct {
	claim   string // namespace/name
	name    string // of the PersistentVolume, empty while unbound
	class   string
	size    string
	reclaim string // Delete, Retain; empty if not known
}

type service struct {
	name      string // namespace/name
	addresses []string
}

type counts struct{ deployments, statefulSets, daemonSets int }

// lost lists it all, sorted, a line each.
func (v inventory) lost() []string {
	lines := []string{
		fmt.Sprintf("nodes: %d of the control plane and %d workers, with all that is on their disks", v.controlPlane, v.workers),
		"etcd: every object in the cluster that no file of yours holds, among them its Secrets, custom resources and role bindings",
		"registrations of the cluster elsewhere (Argo CD, Rancher, Tanzu Mission Control, backup, monitoring)",
	}
	if v.endpoint != "" {
		lines = append(lines, "API address "+v.endpoint+": the new cluster may get another; kubeconfigs and DNS names must follow")
	}
	lines = append(lines, capped("Secret", v.secrets, func(s string) string {
		return "Secret " + s + " on the Supervisor: made anew with other content"
	})...)
	lines = append(lines, capped("add-on", v.addons, func(s string) string {
		return "add-on settings " + s + " on the Supervisor: made anew with the defaults"
	})...)
	lines = append(lines, capped("PersistentVolumeClaim", v.volumes, volume.line)...)
	lines = append(lines, capped("LoadBalancer Service", v.services, service.line)...)
	lines = append(lines, capped("Supervisor claim", v.supervisorVolumes, func(s string) string {
		return "PersistentVolumeClaim " + s + " on the Supervisor: may stay or go (sources disagree), and is not bound again"
	})...)
	for _, ns := range slices.Sorted(maps.Keys(v.workloads)) {
		lines = append(lines, v.workloads[ns].line(ns))
	}
	slices.Sort(lines)
	return lines
}

func (v volume) line() string {
	line := "PersistentVolumeClaim " + v.claim
	details := []string{}
	for _, d := range []string{v.size, prefixed("StorageClass ", v.class), prefixed("PersistentVolume ", v.name)} {
		if d != "" {
			details = append(details, d)
		}
	}
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

func (c counts) line(namespace string) string {
	return fmt.Sprintf("workloads in namespace %s: %d Deployments, %d StatefulSets, %d DaemonSets",
		namespace, c.deployments, c.statefulSets, c.daemonSets)
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
