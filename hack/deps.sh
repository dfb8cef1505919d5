#!/usr/bin/env bash
# Installs the Debian packages that tests and laboratory need, where they are missing: a C compiler for the race detector,
# openssl as a node has it, ssh-keygen and ssh-agent to sign with, sshd and sudo for nodes that are real, nc, socat and busybox as a
# node may have them, and what the example of a plugin in Python is built and run with.
set -euo pipefail

missing=()
command -v gcc >/dev/null || missing+=(gcc libc6-dev)
command -v openssl >/dev/null || missing+=(openssl)
command -v dash >/dev/null || missing+=(dash)
command -v ssh-agent >/dev/null || missing+=(openssh-client)
[ -x /usr/sbin/sshd ] || missing+=(openssh-server)
command -v sudo >/dev/null || missing+=(sudo)
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
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
