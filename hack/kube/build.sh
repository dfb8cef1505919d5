#!/bin/sh
# Builds etcd, the Kubernetes control plane and kubelet for the laboratory from their pinned modules, once, and prints the path.
# About ten minutes of two cores the first time; afterwards it only prints.
set -eu
cd "$(dirname "$0")"
version=$(sed -n 's/^[[:space:]]*k8s.io\/kubernetes \(v[^ ]*\).*/\1/p' go.mod)
key=$(cat go.mod go.sum main.go build.sh | sha256sum | cut -c1-12)
dir=${XDG_CACHE_HOME:-$HOME/.cache}/tkgfix/kube/$key
bin=$dir/hyperkube
if [ ! -x "$bin" ]; then
	mkdir -p "$dir"
	echo "building kube-apiserver, kube-controller-manager, kube-scheduler, kubelet $version and etcd (once; some minutes) ..." >&2
	major=$(echo "$version" | sed 's/v\([0-9]*\).*/\1/')
	minor=$(echo "$version" | sed 's/v[0-9]*\.\([0-9]*\).*/\1/')
	base=k8s.io/component-base/version
	client=k8s.io/client-go/pkg/version
	flags="-s -w"
	for p in $base $client; do
		flags="$flags -X $p.gitVersion=$version -X $p.gitMajor=$major -X $p.gitMinor=$minor -X $p.gitTreeState=clean"
	done
	# Written beside and then renamed, so that a build that is stopped leaves no half binary.
	CGO_ENABLED=0 GOFLAGS=-mod=readonly GOWORK=off go build -trimpath -buildvcs=false -ldflags "$flags" -o "$bin.$$" .
	mv "$bin.$$" "$bin"
fi
echo "$bin"
