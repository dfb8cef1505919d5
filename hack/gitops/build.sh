#!/bin/sh
# Builds the agent of Argo CD's GitOps engine, and what runs Argo CD's health checks, from their pinned modules, once, and prints the
# folder that holds both. A minute or two of two cores the first time; afterwards it only prints.
set -eu
cd "$(dirname "$0")"
version=$(sed -n 's/^[[:space:]]*github.com\/argoproj\/gitops-engine \(v[^ ]*\).*/\1/p' go.mod)
key=$(cat go.mod go.sum health/main.go build.sh | sha256sum | cut -c1-12)
dir=${XDG_CACHE_HOME:-$HOME/.cache}/tkgfix/gitops/$key
if [ ! -d "$dir" ]; then
	mkdir -p "$(dirname "$dir")"
	echo "building the agent of gitops-engine $version (once; a minute or two) ..." >&2
	# Written beside and then renamed, so that a build that is stopped leaves no half binary.
	CGO_ENABLED=0 GOFLAGS=-mod=readonly GOWORK=off go build -trimpath -buildvcs=false -ldflags "-s -w" -o "$dir.$$/" \
		github.com/argoproj/gitops-engine/agent ./health
	if [ -d "$dir" ]; then rm -rf "$dir.$$"; else mv "$dir.$$" "$dir"; fi
fi
echo "$dir"
