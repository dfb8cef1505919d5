# Dials $1:$2 and carries standard input there and what comes back to standard output. $3 is for bash, $4 for python3. The line "tkgfix
# ok" goes before the first byte. 96: nothing here can dial; else what was wrong is on standard error.
LC_ALL=C
export LC_ALL
has() { command -v "$1" >/dev/null 2>&1; }
if has bash; then
	bash -c "$3" bash "$1" "$2"
	code=$?
	[ "$code" -eq 97 ] || exit "$code"
fi
if has python3; then
	exec python3 -c "$4" "$1" "$2"
fi
if has socat; then
	case $1 in
	*:*) to="TCP:[$1]:$2" ;;
	*) to="TCP:$1:$2" ;;
	esac
	socat -u OPEN:/dev/null "$to,connect-timeout=25" || exit 98
	echo "tkgfix ok"
	exec socat - "$to"
fi
# What nc is differs from system to system. Not each ends with its input: so an idle connection ends after a minute.
if has nc; then
	said=$(nc -v -z -w 25 "$1" "$2" </dev/null 2>&1) && {
		echo "tkgfix ok"
		exec nc -w 60 "$1" "$2"
	}
	case $said in
	*"invalid option"* | *"unrecognized option"*) ;;
	*)
		echo "$said" >&2
		exit 98
		;;
	esac
fi
if has busybox; then
	busybox nc -w 25 "$1" "$2" -e true </dev/null || exit 98
	echo "tkgfix ok"
	exec busybox nc "$1" "$2"
fi
exit 96
