#!/usr/bin/env bash
# The main job in the laboratory: pods in ErrImagePull, the plan, the gates, the same workload Running.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PWD/bin:$PATH

lab=$(mktemp -d)/lab
export TKGFIX_STATE=$lab.state KUBECONFIG=$lab/kubeconfig/platform.yaml
cleanup() {
	tkgfix-lab down --dir "$lab"
	rm -rf "$(dirname "$lab")"
}
trap cleanup EXIT

bold='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR-}" ]; then bold=$(printf '\033[1m') plain=$(printf '\033[0m'); fi
say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
show() {
	printf '%s$ %s%s\n' "$bold" "$*" "$plain"
	"$@"
}

say "A Supervisor with two TKG clusters and a private registry. team-a/dev1 trusts an old CA of the same name."
show tkgfix-lab up --dir "$lab" --scenario wrong-ca
show tkgfix-lab status --dir "$lab"

ssh_port=$(sed -n 's/.*"sshPort": *\([0-9]*\).*/\1/p' "$lab/lab.json")
fix=(examples/workflows/documented-fix.yaml --input cluster=team-a/dev1 --input "ca=$lab/ca/root.pem"
	--input "workloads=$lab/workload.yaml" --input "sshPort=$ssh_port")

say "What would be done, and why. Nothing is changed."
show tkgfix plan "${fix[@]}"

say "Do it. Without a terminal tkgfix stops at the gates and prints the lines to approve."
code=0
tkgfix run "${fix[@]}" </dev/null >/dev/null 2>"$lab.said" || code=$?
cat "$lab.said"
if [ "$code" -ne 3 ]; then
	echo "expected exit code 3, waiting for approval; got $code" >&2
	exit 1
fi

say "Approve exactly what was shown."
sed -n 's/.*to approve: //p' "$lab.said" | while read -r line; do show $line; done
show $(sed -n 's/.*then: //p' "$lab.said") >/dev/null

say "The same workload."
show tkgfix-lab status --dir "$lab"
run=$(tkgfix runs list | awk 'END {print $1}')
say "What was found, done and proved (tkgfix report $run):"
tkgfix report "$run" | sed -n '/^## Approvals/,$p'

running=$(tkgfix-lab status --dir "$lab" | awk '/^team-a/ {cluster = $1} cluster == "team-a/dev1" && / demo\/web-/ && /Running/' | wc -l)
if [ "$running" -ne 6 ]; then
	echo "expected 6 pods of the workload to run; $running do" >&2
	exit 1
fi
