#!/usr/bin/env bash
# Installs the Debian packages that building, the demo and the tests use. Says nothing when all are there.
set -euo pipefail

packages=(gcc libc6-dev curl openvswitch-switch etcd-server etcd-client docker.io busybox-static ethtool iproute2 iputils-ping iperf3 tcpdump procps iptables)

missing=()
for package in "${packages[@]}"; do
  [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
done
((${#missing[@]})) || exit 0

if ((EUID != 0)); then
  echo "make deps: missing packages: ${missing[*]}; run it as root" >&2
  exit 1
fi
# Nothing of this needs to run as a service: the sandbox and the tests start their own.
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod +x "$policy"
  trap 'rm -f "$policy"' EXIT
fi
here=$(dirname "$0")
export DEBIAN_FRONTEND=noninteractive
"$here/patiently.sh" "reading the package lists" apt-get update -q
"$here/patiently.sh" "installing ${missing[*]}" apt-get install -yq --no-install-recommends "${missing[@]}"
