#!/usr/bin/env bash
# Installs the Debian packages that tests and laboratory need, where they are missing: a C compiler for the race detector,
# openssl as a node has it, git, ssh-keygen and ssh-agent to sign with, what a node runs that is real (containerd, runc, the plugins for the
# network of pods, sshd, sudo), nc, socat and busybox as a node may have them, and what the example of a plugin in Python is built and
# run with.
set -euo pipefail

missing=()
command -v gcc >/dev/null || missing+=(gcc libc6-dev)
command -v openssl >/dev/null || missing+=(openssl)
command -v dash >/dev/null || missing+=(dash)
command -v git >/dev/null || missing+=(git)
command -v ssh-agent >/dev/null || missing+=(openssh-client)
[ -x /usr/bin/containerd ] || missing+=(containerd)
[ -x /usr/sbin/runc ] || missing+=(runc)
[ -x /usr/lib/cni/ptp ] || missing+=(containernetworking-plugins)
[ -x /usr/sbin/sshd ] || missing+=(openssh-server)
command -v sudo >/dev/null || missing+=(sudo)
command -v nsenter >/dev/null || missing+=(util-linux)
command -v update-ca-certificates >/dev/null || missing+=(ca-certificates)
command -v nc >/dev/null || missing+=(netcat-openbsd)
command -v socat >/dev/null || missing+=(socat)
command -v busybox >/dev/null || missing+=(busybox)
command -v protoc >/dev/null || missing+=(protobuf-compiler)
[ -e /usr/include/google/protobuf/any.proto ] || missing+=(libprotobuf-dev)
/usr/bin/python3 -c 'import grpc, google.protobuf, cryptography' 2>/dev/null || missing+=(python3-grpcio python3-protobuf python3-cryptography)
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
	echo "missing: ${missing[*]}; as root: apt-get install ${missing[*]}" >&2
	exit 1
fi
# No daemon that is installed here is to run on this machine, now or after its next start: nodes run them in namespaces of their own.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
	trap 'rm -f $policy' EXIT
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod 755 $policy
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
for package in "${missing[@]}"; do
	case $package in
	containerd) unit=containerd.service ;;
	openssh-server) unit=ssh.service ;;
	*) continue ;;
	esac
	if command -v systemctl >/dev/null; then systemctl disable --quiet $unit; fi
done
