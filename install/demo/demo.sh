#!/usr/bin/env bash
# A short tour of Contiv: a three-host cluster on this machine, tenants, networks, groups, workloads and pings.
# Every command is shown before its output. The cluster stays; demo-down.sh removes it.
set -euo pipefail
cd "$(dirname "$0")/../.."
export PATH=$PWD/bin:$PATH
unset NETMASTER CONTIV_SANDBOX

if ((EUID != 0)); then
  echo "the demo makes network namespaces: run it as root" >&2
  exit 1
fi

bold='' dim='' plain=''
if [[ -t 1 ]]; then bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'; fi

say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
took() { awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN {printf "%.2f s", b - a}'; }

# show COMMAND...: echoes a command, runs it, and tells how long it took.
show() {
  printf '%s$ %s%s\n' "$bold" "$*" "$plain"
  local begin=$EPOCHREALTIME
  "$@"
  printf '%s  (%s)%s\n' "$dim" "$(took "$begin")" "$plain"
}

# refuse COMMAND...: like show, for a command that must fail.
refuse() {
  printf '%s$ %s%s\n' "$bold" "$*" "$plain"
  local begin=$EPOCHREALTIME
  if "$@"; then
    echo "this should not have worked" >&2
    exit 1
  fi
  printf '%s  (%s; no answer, as it should be)%s\n' "$dim" "$(took "$begin")" "$plain"
}

begin=$EPOCHREALTIME
if contiv-sandbox status >/dev/null 2>&1; then
  say "A sandbox is running already: starting over."
  contiv-sandbox down
fi

say "1. A cluster: three hosts, each with its own Open vSwitch and agent, and one netmaster"
show contiv-sandbox up --hosts 3
eval "$(contiv-sandbox env)"
show netctl version

say "2. Intent: a tenant, two networks, a group"
show netctl tenant create blue
show netctl network create --subnet=10.1.2.0/24 contiv-net
show netctl network create --tenant blue --subnet=10.1.2.0/24 contiv-net
show netctl group create --tenant blue contiv-net web
show netctl network ls --all
echo "Both tenants use the same network name and the same subnet."

say "3. Workloads on different hosts, attached through the CNI plugin"
show contiv-sandbox run --name c1 --host 1 --network contiv-net
show contiv-sandbox run --name c2 --host 2 --network contiv-net
show contiv-sandbox run --name blue1 --host 1 --tenant blue --group web
show contiv-sandbox run --name blue2 --host 2 --tenant blue --network contiv-net
show contiv-sandbox run --name blue3 --host 3 --tenant blue --network contiv-net
show contiv-sandbox ps

say "4. Traffic across hosts, over VXLAN"
show contiv-sandbox exec c1 -- ping -c 3 -i 0.2 -W 1 10.1.2.2
show contiv-sandbox exec blue3 -- ping -c 3 -i 0.2 -W 1 10.1.2.1

say "5. Tenants do not see each other: 10.1.2.3 exists only in blue"
show contiv-sandbox exec blue1 -- ping -c 1 -W 1 10.1.2.3
refuse contiv-sandbox exec c1 -- ping -c 1 -W 1 10.1.2.3

say "6. What the cluster knows"
show netctl network inspect contiv-net

say "Done in $(took "$begin"). The cluster is still running. Try next:"
cat <<EOF
  export PATH=$PWD/bin:\$PATH; eval "\$(contiv-sandbox env)"
  netctl network ls --all                  all networks; netctl help lists every command
  netctl endpoint inspect c2               one endpoint: address, host, group
  contiv-sandbox status                    what runs where, and where the logs are
  contiv-sandbox host 2 -- ovs-ofctl -O OpenFlow13 dump-flows contivVxlanBridge
                                           the flows behind it
  contiv-sandbox kill netplugin --host 1   traffic goes on without the agent; start it again with
  contiv-sandbox start netplugin --host 1
  make demo-down                           removes everything
  docs/                                    starts with docs/README.md
EOF
