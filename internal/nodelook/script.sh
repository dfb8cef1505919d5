# Looks at a node and writes nothing on it. POSIX sh; the tools may be busybox's. Each line of the output is a kind and its
# fields; a field that is text is : and base64. Nothing here reads standard input.
# shellcheck shell=sh disable=SC2154 # root, hostport, sni and openssl are set before
LC_ALL=C TZ=UTC0
export LC_ALL TZ
PATH=${PATH:-/usr/bin:/bin}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
newline='
'
has() { command -v "$1" >/dev/null 2>&1; }
if has base64; then b64() { base64 | tr -d '\n'; }; else b64() { openssl base64 -A; }; fi
text() { printf '%s :' "$1"; head -c "$2" | b64; echo; }
name() { printf '%s' "$2" | text "$1" 4096; }

printf 'date %s\n' "$(date -u +%s)"
printf 'uid %s\n' "$(id -u)"
[ -r "$root/etc/os-release" ] && text os 8192 <"$root/etc/os-release"
unit='' environ=''
if has systemctl; then
  unit=$(systemctl show containerd -p ExecMainStartTimestamp -p MainPID -p Environment 2>/dev/null)
  printf '%s\n' "$unit" | text unit 65536
  pid=$(printf '%s\n' "$unit" | sed -n 's/^MainPID=//p')
  case $pid in
    '' | 0 | *[!0-9]*) ;;
    *) if [ -r "/proc/$pid/environ" ]; then environ=/proc/$pid/environ; fi ;;
  esac
fi
[ -n "$environ" ] && text environ 65536 <"$environ"
has containerd && containerd --version 2>/dev/null | text version 512

# var prints a variable of containerd's: of the process if it can be read, else of its unit.
var() {
  if [ -n "$environ" ]; then
    tr '\0' '\n' <"$environ" | sed -n "s/^$1=//p" | head -n 1
  else
    printf '%s\n' "$unit" | sed -n 's/^Environment=//p' | tr ' ' '\n' | sed -n "s/^\"\{0,1\}$1=\([^\"]*\).*/\1/p" | head -n 1
  fi
}
# linked says whether $1 is a link to a name in its own folder, which Go passes over.
linked() {
  [ -h "$1" ] || return 1
  case $(readlink "$1") in */*) return 1 ;; esac
  return 0
}
# group prints the files in its arguments after the second, all of them with few processes. What is larger than 1 MiB, or than
# the room in the second argument together with those before it, is named and left out.
group() {
  kind=$1 most=$2 room=$2
  shift 2
  [ $# -gt 0 ] || return 0
  if [ $# -gt 2000 ]; then echo "over $kind"; return 0; fi
  # The arguments go round once, beside their sizes.
  for size in $(stat -L -c %s -- "$@" 2>/dev/null); do
    f=$1
    shift
    if [ "$size" -gt 1048576 ] || [ "$size" -gt "$room" ]; then
      name "large $kind" "$f"
    else
      set -- "$@" "$f"
      room=$((room - size))
    fi
  done
  [ $# -gt 0 ] || return 0
  printf 'names %s :' "$kind"
  printf '%s\0' "$@" | b64
  echo
  stat -L -c '%s %Y %Z' -- "$@" 2>/dev/null | text "stat $kind" 262144
  stat -c '%Y %Z' -- "$@" 2>/dev/null | text "lstat $kind" 262144
  printf 'data %s :' "$kind"
  cat -- "$@" 2>/dev/null | head -c "$most" | b64
  echo
}

# What Go reads: the first bundle that can be read, and each file of the folders (crypto/x509/root_unix.go, root_linux.go). Two
# variables of the process put others in their place.
bundles="/etc/ssl/certs/ca-certificates.crt${newline}/etc/pki/tls/certs/ca-bundle.crt${newline}/etc/ssl/ca-bundle.pem
/etc/pki/tls/cacert.pem${newline}/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem${newline}/etc/ssl/cert.pem"
dirs="/etc/ssl/certs${newline}/etc/pki/tls/certs"
v=$(var SSL_CERT_FILE)
if [ -n "$v" ]; then bundles=$v; fi
v=$(var SSL_CERT_DIR)
if [ -n "$v" ]; then dirs=$(printf '%s\n' "$v" | tr ':' '\n' | sed -n 's|/*$||; /^\//p'); fi
set --
while IFS= read -r f; do
  if [ -f "$root$f" ] && [ -r "$root$f" ]; then
    set -- "$root$f"
    break
  fi
done <<END
$bundles
END
bundle=${1:-}
while IFS= read -r d; do
  d=$root$d
  [ -d "$d" ] || continue
  name "dir $(stat -L -c %Y -- "$d")" "$d"
  for f in "$d"/* "$d"/.[!.]*; do
    if [ ! -f "$f" ] || [ "$f" = "$bundle" ] || linked "$f"; then continue; fi
    if [ $# -gt 2000 ]; then break; fi
    if [ -r "$f" ]; then set -- "$@" "$f"; else name unreadable "$f"; fi
  done
done <<END
$dirs
END
group go 4194304 "$@"

# What TKG left elsewhere, or as a link that Go passes over or that leads nowhere.
set --
for f in "$root"/etc/ssl/certs/tkg-* "$root"/etc/pki/tls/certs/tkg-* "$root"/etc/pki/ca-trust/source/anchors/tkg-* \
  "$root"/usr/local/share/ca-certificates/tkg-* "$root"/usr/local/share/ca-certificates/*/tkg-*; do
  if [ -h "$f" ]; then printf '%s\0%s' "$f" "$(readlink "$f")" | text link 8192; fi
  [ -f "$f" ] || continue
  d=${f%/*}
  case "$newline$dirs$newline" in *"$newline${d#"$root"}$newline"*) linked "$f" || continue ;; esac
  if [ -r "$f" ]; then set -- "$@" "$f"; else name unreadable "$f"; fi
done
group tkg 524288 "$@"

# Whom containerd asks and what it trusts for single registries. A file with a private key stays where it is.
set --
while IFS= read -r d; do
  for f in "$root$d"/*/hosts.toml "$root$d"/*/*.crt "$root$d"/*/*.pem "$root$d"/*/*.cer; do
    if [ ! -f "$f" ] || grep -q 'PRIVATE KEY' -- "$f" 2>/dev/null; then continue; fi
    if [ -r "$f" ]; then set -- "$@" "$f"; else name unreadable "$f"; fi
  done
done <<END
/etc/containerd/certs.d
$(sed -n 's/^[[:space:]]*config_path[[:space:]]*=[[:space:]]*["'\'']\([^"'\'']*\)["'\''].*/\1/p' "$root/etc/containerd/config.toml" 2>/dev/null |
  tr ':' '\n' | grep '^/' | grep -v '^/etc/containerd/certs.d/*$' | sort -u | head -n 4)
END
f=$root/etc/containerd/config.toml
if [ -f "$f" ]; then
  if [ -r "$f" ]; then set -- "$@" "$f"; else name unreadable "$f"; fi
fi
group runtime 524288 "$@"
set --

if [ -n "$hostport" ] && [ "$openssl" = yes ] && has openssl && has timeout; then
  openssl version 2>/dev/null | text opensslversion 256
  # shellcheck disable=SC2086 # $sni is two words or none
  { timeout 10 openssl s_client -connect "$connect" $sni -showcerts </dev/null 2>&1; printf '\ntkgfix: exit %s\n' "$?"; } | text openssl 262144
fi
echo end
