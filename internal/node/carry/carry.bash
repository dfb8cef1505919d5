exec 4<&0
exec 3<>"/dev/tcp/$1/$2" || exit 98
echo "tkgfix ok"
cat <&3 4<&- &
down=$!
{ cat <&4 >&3; kill "$down"; } 2>/dev/null &
up=$!
wait "$down"
kill "$up" 2>/dev/null
exit 0
