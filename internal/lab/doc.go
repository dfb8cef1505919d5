// Package lab is the laboratory: a vSphere Supervisor with two workload clusters that behaves as documented, made of real parts on one
// machine (design §11).
//
// Up starts a daemon that runs everything and returns when the scenario's fault shows; Down ends it and leaves nothing behind; Status
// says what there is. The parts are in the folders below: plane (etcd and kube-apiserver), service (the TKG Service), guest (a workload
// cluster), vm (a node), real (a node of real parts), kubelet, registry, ca and proc.
package lab
