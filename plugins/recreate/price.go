package recreate

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/tkgfix/tkgfix/plugins"
)

// The expected time without the cluster, in minutes: a cluster of VKS 3.7 is there in 4 to 9, a deletion takes a few, and the guides give
// up waiting for one after 30 (tkg-facts.md §4). A nested laboratory has taken more.
const (
	createAtBest, createAtWorst = 4, 9
	deleteAtBest, deleteAtWorst = 2, 30
)

// price is what a recreate costs, as numbers. Of what is in the cluster it counts what people put there: the namespaces of the platform,
// whose content every cluster gets, are left out.
type price struct {
	Clusters          int `json:"clusters"`
	Nodes             int `json:"nodes"`
	ControlPlaneNodes int `json:"controlPlaneNodes"`
	WorkerNodes       int `json:"workerNodes"`
	// Pods are those that are not the finished ones of a Job.
	Pods         int `json:"pods"`
	Workloads    int `json:"workloads"`
	Deployments  int `json:"deployments"`
	StatefulSets int `json:"statefulSets"`
	DaemonSets   int `json:"daemonSets"`
	CronJobs     int `json:"cronJobs"`
	Jobs         int `json:"jobs"`
	// Volumes are the PersistentVolumes with a claim, and those without that hold data; of a cluster that never came up the claims
	// on the Supervisor under its name.
	Volumes         int `json:"volumes"`
	VolumesRetained int `json:"volumesRetained"`
	Snapshots       int `json:"snapshots"`
	LoadBalancers   int `json:"loadBalancers"`
	Addresses       int `json:"addresses"`
	APIAddresses    int `json:"apiAddresses"`
	Secrets         int `json:"secrets"`
	Certificates    int `json:"certificates"`
	AddOns          int `json:"addOns"`
	AddOnsLost      int `json:"addOnsLost"`
	Kubeconfigs     int `json:"kubeconfigs"`
	DowntimeMinimum int `json:"downtimeMinutesMin"`
	DowntimeMaximum int `json:"downtimeMinutesMax"`
}

// price counts what an inventory holds.
func (v inventory) price() price {
	p := price{
		Clusters: 1, ControlPlaneNodes: v.controlPlane, WorkerNodes: v.workers, Nodes: v.controlPlane + v.workers, Pods: v.pods,
		Secrets: 0, AddOns: v.addons + len(v.addonsLost), AddOnsLost: len(v.addonsLost), Kubeconfigs: v.kubeconfigs, LoadBalancers: len(v.services),
		DowntimeMinimum: deleteAtBest + createAtBest, DowntimeMaximum: deleteAtWorst + createAtWorst,
	}
	for _, c := range v.workloads {
		p.Deployments += c["Deployment"]
		p.StatefulSets += c["StatefulSet"]
		p.DaemonSets += c["DaemonSet"]
		p.CronJobs += c["CronJob"]
		p.Jobs += c["Job"]
	}
	p.Workloads = p.Deployments + p.StatefulSets + p.DaemonSets + p.CronJobs + p.Jobs
	for _, vol := range v.volumes {
		if vol.name == "" {
			continue
		}
		p.Volumes++
		if vol.reclaim == "Retain" {
			p.VolumesRetained++
		}
	}
	if v.empty { // otherwise they are those of the claims in the cluster
		p.Volumes += len(v.supervisorVolumes)
	}
	p.Snapshots = len(v.snapshots)
	for _, s := range v.services {
		p.Addresses += len(s.addresses)
	}
	for _, s := range v.own {
		if s.certificate {
			p.Certificates++
		} else {
			p.Secrets++
		}
	}
	if v.endpoint != "" {
		p.APIAddresses = 1
	}
	return p
}

// sentence says the price in one line.
func (p price) sentence() string {
	parts := []string{
		count(p.Nodes, "node") + fmt.Sprintf(" (%d of the control plane)", p.ControlPlaneNodes), count(p.Pods, "pod"), count(p.Workloads, "workload"),
		count(p.Volumes, "volume") + fmt.Sprintf(" (%d kept as disks, %s)", p.VolumesRetained, count(p.Snapshots, "snapshot")),
		count(p.LoadBalancers, "load balancer"), count(p.Secrets, "Secret"), count(p.Certificates, "certificate"),
	}
	return strings.Join(parts, ", ") + fmt.Sprintf("; %d to %d minutes without the cluster", p.DowntimeMinimum, p.DowntimeMaximum)
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// evidence is the price as it is kept with the run. It is not part of what an approval covers: pods come and go, and each restart would
// void one. What an approval does cover, the changes' lines of what is lost, names volumes, snapshots, load balancers and Secrets.
func (p price) evidence(subject string) plugins.Evidence {
	raw, _ := json.Marshal(p) // numbers alone: it cannot go wrong
	return plugins.Evidence{Subject: subject, Check: "price", Verdict: plugins.Info, Text: p.sentence(), Data: raw}
}

// budget bounds the price. A bound that is not given is none.
type budget struct {
	Volumes       *int `json:"maxVolumesLost"`
	LoadBalancers *int `json:"maxLoadBalancersLost"`
	Workloads     *int `json:"maxWorkloadsLost"`
	Nodes         *int `json:"maxNodes"`
	Downtime      *int `json:"maxDowntimeMinutes"`
}

// blocks says where the price is over the budget, naming the number and the bound. What is brought back by the file of workloads is not
// lost: back is how many of them that is.
func (b budget) blocks(p price, back int) []plugins.Block {
	var out []plugins.Block
	for _, line := range []struct {
		what  string
		price int
		bound *int
		field string
	}{
		{"volumes", p.Volumes, b.Volumes, "maxVolumesLost"},
		{"load balancers", p.LoadBalancers, b.LoadBalancers, "maxLoadBalancersLost"},
		{"workloads", max(0, p.Workloads-back), b.Workloads, "maxWorkloadsLost"},
		{"nodes", p.Nodes, b.Nodes, "maxNodes"},
		{"minutes without the cluster", p.DowntimeMaximum, b.Downtime, "maxDowntimeMinutes"},
	} {
		if line.bound == nil || line.price <= *line.bound {
			continue
		}
		out = append(out, plugins.Block{
			Reason: fmt.Sprintf("over the budget: %d %s would be lost, and budget.%s is %d", line.price, line.what, line.field, *line.bound),
			Hint:   "save or move what is over it, and plan again; or raise the bound in the workflow, if that loss is accepted",
		})
		if line.field == "maxDowntimeMinutes" {
			out[len(out)-1].Reason = fmt.Sprintf("over the budget: up to %d %s are expected, and budget.%s is %d", line.price, line.what, line.field, *line.bound)
		}
	}
	return out
}

// platform are the namespaces whose content every new cluster gets from the platform.
func platform(namespace string) bool {
	return slices.Contains([]string{"kube-system", "kube-public", "kube-node-lease", "tkg-system", "tanzu-system", "secretgen-controller"}, namespace) ||
		strings.HasPrefix(namespace, "vmware-system-")
}
