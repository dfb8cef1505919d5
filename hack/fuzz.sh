#!/usr/bin/env bash
# Runs each fuzz target with so many inputs: of the whole module, or of the folders that are named after the number.
# A number (20000x) and not a time: under load Go's fuzzing ends a timed run with a false failure (https://go.dev/issue/75804).
set -euo pipefail
cd "$(dirname "$0")/.."
inputs=${1:-100000x}
shift || true

git grep -oE '^func Fuzz[A-Za-z0-9_]+' -- '*_test.go' | while IFS=: read -r file name; do
	name=${name#func }
	folder=$(dirname "$file")
	if [ $# -gt 0 ] && ! printf '%s\n' "$@" | grep -qx "$folder"; then continue; fi
	echo "fuzz $folder $name"
	go test -trimpath -run '^$' -fuzz "^$name\$" -fuzztime "$inputs" -timeout 10m "./$folder"
done
