#!/usr/bin/env bash
# patiently.sh TEXT COMMAND...: runs a command that may take long, with a sign of life every second and the time it
# took. Its output is shown only if it fails.
set -uo pipefail

text=$1
shift
log=$(mktemp)
trap 'rm -f "$log"' EXIT
begin=$EPOCHREALTIME
printf '%s ' "$text"
"$@" >"$log" 2>&1 </dev/null &
pid=$!
(while sleep 1; do printf '.'; done) &
ticker=$!
wait "$pid"
status=$?
kill "$ticker" 2>/dev/null
wait "$ticker" 2>/dev/null
took=$(awk -v a="$begin" -v b="$EPOCHREALTIME" 'BEGIN {printf "%.1f s", b - a}')
if ((status)); then
  printf ' failed after %s\n' "$took"
  tail -40 "$log" >&2
else
  printf ' %s\n' "$took"
fi
exit $status
