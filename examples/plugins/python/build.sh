#!/bin/sh
# Builds a plugin into one executable file, so that the lock file's digest is of all of it: build.sh FOLDER [MODULE]
# MODULE, http_check without one, is beside this script or a path to a .py file; its main() is the plugin's. Needs protoc, and to
# run it Python 3 with grpc, protobuf and cryptography (Debian: python3-grpcio python3-protobuf python3-cryptography). It runs with the
# interpreter PYTHON, Debian's own without one.
set -eu
out=$1
here=$(cd "$(dirname "$0")" && pwd)
source=${2:-$here/http_check.py}
python=${PYTHON:-/usr/bin/python3}
module=$(basename "$source" .py)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$here/tkgfix_plugin.py" "$source" "$work/"
protoc --proto_path="$here/../../../proto" --python_out="$work" step.proto goplugin.proto
mkdir -p "$out"
"$python" -m zipapp "$work" -p "$python" -m "$module:main" -o "$out/tkgfix-plugin-$(echo "$module" | tr _ -)"
