#!/usr/bin/env bash
# Runs every test of the project: first all packages with the race detector, then the end-to-end tests, which start
# real processes and would only be slowed by it. A skipped test that test/skips.txt does not list is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."

if ((EUID != 0)); then
  echo "the tests make network namespaces and start Open vSwitch: run \"make test\" as root" >&2
  exit 1
fi
# The container engines and switches of the tests load nothing from these.
export PATH=$PATH:/usr/sbin:/sbin

logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
failed=0

# run NAME COMMAND...: shows a line a package, and all there is to a failure.
run() {
  local log=$logs/$1.log
  shift
  if ! "$@" 2>&1 | tee "$log" | grep --line-buffered -E '^(ok|FAIL|panic:)|^ *--- FAIL'; then
    : # grep found nothing: the log is judged below
  fi
  if ((PIPESTATUS[0])) || grep -qE '^(FAIL|panic:)' "$log"; then
    failed=1
    echo "---- output of the failed packages"
    awk '{buffer=buffer $0 "\n"} /^(ok|\?)[ \t]/ {buffer=""} /^FAIL[ \t]/ {printf "%s", buffer; buffer=""}' "$log" |
      grep -vE '^=== (RUN|PAUSE|CONT)|^ *--- PASS' | tail -300
  fi
}

mapfile -t unit < <(go list ./... | grep -v '/test/e2e')
CGO_ENABLED=1 run unit go test -race -count=1 -v -timeout 15m "${unit[@]}"
run e2e go test -count=1 -v -timeout 40m ./test/e2e/...

skipped=$(cat "$logs"/*.log | sed -nE 's/^ *--- SKIP: ([^ ]+).*/\1/p' | sort -u)
unlisted=$(comm -23 <(echo "$skipped") <(grep -vE '^(#|$)' test/skips.txt | cut -d' ' -f1 | sort -u) | sed '/^$/d')
if [[ -n $unlisted ]]; then
  echo "skipped without being listed in test/skips.txt: $unlisted"
  failed=1
fi
passed=$(cat "$logs"/*.log | grep -cE '^ *--- PASS' || true)
broken=$(cat "$logs"/*.log | grep -cE '^ *--- FAIL' || true)
echo "$passed passed, $broken failed"
exit $failed
