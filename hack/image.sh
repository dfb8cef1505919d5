#!/usr/bin/env bash
# Makes the container image of tkgfix without a container engine, as an archive, and prints its name and digest. More flags go to
# hack/image: -push.
#
#   hack/image.sh IMAGE ARCHIVE [PLATFORMS [FLAGS...]]
set -euo pipefail
cd "$(dirname "$0")/.."
name=$1 archive=$(realpath -m "$2") platforms=${3:-linux/amd64 linux/arm64}
shift $(($# < 3 ? $# : 3))
mkdir -p "$(dirname "$archive")"

rev=$(git rev-parse HEAD 2>/dev/null || true)
[ -z "$rev" ] || git diff --quiet HEAD || rev=$rev-dirty
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
executables=()
for platform in $platforms; do
	path=$dir/${platform//\//-}
	CGO_ENABLED=0 GOOS=${platform%/*} GOARCH=${platform#*/} go build -trimpath -ldflags='-s -w -buildid=' -o "$path" ./cmd/tkgfix
	executables+=("$platform=$path")
done
cd hack/image
CGO_ENABLED=0 GOFLAGS=-mod=readonly GOWORK=off go build -trimpath -buildvcs=false -o "$dir/image" .
"$dir/image" -name "$name" -out "$archive" -version "${name##*:}" -revision "$rev" "$@" "${executables[@]}"
