#!/usr/bin/env bash
# cni-plugins.sh VERSION DIR: builds the reference CNI plugins from their Go module into DIR.
set -euo pipefail

version=$1 dir=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >go.mod <<EOF
module tools

go 1.24

require github.com/containernetworking/plugins $version
EOF
cat >tools.go <<'EOF'
//go:build tools

package tools

import (
	_ "github.com/containernetworking/cni/cnitool"
	_ "github.com/containernetworking/plugins/plugins/ipam/host-local"
	_ "github.com/containernetworking/plugins/plugins/main/bridge"
	_ "github.com/containernetworking/plugins/plugins/main/loopback"
	_ "github.com/containernetworking/plugins/plugins/meta/portmap"
)
EOF
go mod tidy >tidy.log 2>&1 || { cat tidy.log >&2; exit 1; }
mkdir -p "$dir.new"
plugins=github.com/containernetworking/plugins/plugins
CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$dir.new/" \
  $plugins/ipam/host-local $plugins/main/bridge $plugins/main/loopback $plugins/meta/portmap \
  github.com/containernetworking/cni/cnitool
rm -rf "$dir"
mv "$dir.new" "$dir"
