# Looks at a node and writes nothing on it. POSIX sh; the tools may be busybox's. Each line of the output is a kind and its
# fields; a field that is text is : and base64. Nothing here reads standard input.
LC_ALL=C TZ=UTC0
export LC_ALL TZ
PATH=${PATH:-/usr/bin:/bin}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
has() { command -v "$1" >/dev/null 2>&1; }
if has base64; then b64() { base64 | tr -d '\n'; }; else b64() { openssl base64 -A; }; fi
text() { printf '%s :' "$1"; head -c "$2" | b64; echo; }

printf 'date %s\n' "$(date -u +%s)"
printf 'uid %s\n' "$(id -u)"
[ -r "$root/etc/os-release" ] && text os 8192 <"$root/etc/os-release"
if has systemctl; then
  systemctl show containerd -p ExecMainStartTimestamp -p MainPID -p Environment 2>/dev/null | text unit 16384
  pid=$(systemctl show containerd -p MainPID 2>/dev/null)
  pid=${pid#MainPID=}
  case $pid in
    '' | 0 | *[!0-9]*) ;;
    *) [ -r "/proc/$pid/environ" ] && text environ 65536 <"/proc/$pid/environ" ;;
  esac
fi
has containerd && containerd --version 2>/dev/null | text version 512

# linked says whether $1 is a link to a name in its own folder, which Go passes over.
linked() {
  [ -h "$1" ] || return 1
  case $(readlink "$1") in */*) return 1 ;; esac
  return 0
}
# group prints the files in its arguments, all of them with few processes.
group() {
  kind=$1
  shift
  [ $# -gt 0 ] || return 0
  if [ $# -gt 4000 ]; then echo "over $kind"; return 0; fi
  printf 'names %s :' "$kind"
  printf '%s\0' "$@" | b64
  echo
  stat -L -c '%s %Y' -- "$@" 2>/dev/null | text "stat $kind" 262144
  stat -c '%Y' -- "$@" 2>/dev/null | text "lstat $kind" 262144
  printf 'data %s :' "$kind"
  cat -- "$@" 2>/dev/null | head -c 5242880 | b64
  echo
}

# What Go reads: the first bundle that can be read, and each file of the two folders (crypto/x509/root_linux.go).
set --
for f in "$root/etc/ssl/certs/ca-certificates.crt" "$root/etc/pki/tls/certs/ca-bundle.crt" "$root/etc/ssl/ca-bundle.pem" \
  "$root/etc/pki/tls/cacert.pem" "$root/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem" "$root/etc/ssl/cert.pem"; do
  if [ -f "$f" ] && [ -r "$f" ]; then set -- "$f"; break; fi
done
bundle=${1:-}
for d in "$root/etc/ssl/certs" "$root/etc/pki/tls/certs"; do
  for f in "$d"/* "$d"/.[!.]*; do
    if [ ! -f "$f" ] || [ "$f" = "$bundle" ] || linked "$f"; then continue; fi
    if [ -r "$f" ]; then set -- "$@" "$f"; else printf '%s' "$f" | text unreadable 1024; fi
  done
done
group go "$@"

# What TKG left elsewhere, or as a link that Go passes over.
set --
for f in "$root"/etc/ssl/certs/tkg-* "$root"/etc/pki/tls/certs/tkg-* "$root"/etc/pki/ca-trust/source/anchors/tkg-* \
  "$root"/usr/local/share/ca-certificates/tkg-* "$root"/usr/local/share/ca-certificates/*/tkg-*; do
  [ -f "$f" ] || continue
  case $f in "$root"/etc/ssl/certs/* | "$root"/etc/pki/tls/certs/*) linked "$f" || continue ;; esac
  if [ -r "$f" ]; then set -- "$@" "$f"; else printf '%s' "$f" | text unreadable 1024; fi
done
group tkg "$@"
set --

if [ -n "$hostport" ]; then
  for f in "$root/etc/containerd/certs.d/$hostport/hosts.toml" "$root/etc/containerd/certs.d/_default/hosts.toml"; do
    if [ -r "$f" ]; then text hosts 16384 <"$f"; break; fi
  done
fi
if [ -n "$hostport" ] && [ "$openssl" = yes ] && has openssl && has timeout; then
  openssl version 2>/dev/null | text opensslversion 256
  # shellcheck disable=SC2086 # $sni is two words or none
  timeout 10 openssl s_client -connect "$hostport" $sni -showcerts </dev/null 2>&1 | text openssl 262144
fi
echo end
