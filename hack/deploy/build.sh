#!/bin/sh
# Builds kubectl and helm, as one program, from their pinned modules, once, and prints the path. About two minutes of two cores the first
# time; afterwards it only prints.
set -eu
cd "$(dirname "$0")"
key=$(cat go.mod go.sum main.go build.sh | sha256sum | cut -c1-12)
dir=${XDG_CACHE_HOME:-$HOME/.cache}/tkgfix/deploy/$key
bin=$dir/deploy
if [ ! -x "$bin" ]; then
	mkdir -p "$dir"
	echo "building kubectl and helm (once; some minutes) ..." >&2
	# Written beside and then renamed, so that a build that is stopped leaves no half binary.
	CGO_ENABLED=0 GOFLAGS=-mod=readonly GOWORK=off go build -trimpath -buildvcs=false -ldflags "-s -w" -o "$bin.$$" .
	mv "$bin.$$" "$bin"
fi
echo "$bin"
