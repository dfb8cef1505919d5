#!/usr/bin/env bash
# Writes what is made from config/: the one file with the whole installation, and the chart's copies of what it shares with it.
set -euo pipefail
cd "$(dirname "$0")/.."
deploy=$(hack/deploy/build.sh)

files=charts/tkgfix/files
rm -rf $files
mkdir -p $files/crd $files/admission $files/rbac
cp config/crd/tkgfix.dev_*.yaml $files/crd/
cp config/admission/{approver,requester,signers}.yaml $files/admission/
cp config/rbac/{controller,namespace,users}.yaml $files/rbac/

{
	echo "# The controller of tkgfix, as config/default has it. Written by make manifests."
	"$deploy" kubectl kustomize config/default
} >config/install.yaml.$$
mv config/install.yaml.$$ config/install.yaml
