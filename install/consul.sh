#!/usr/bin/env bash
# consul.sh VERSION DIR: builds the Consul agent from its Go modules into DIR/consul. Takes minutes of CPU.
#
# Consul's own go.mod replaces its sub-modules by folders that exist only in its repository. A module of our own with
# the same requirements and checksums, but without those lines, builds the same command.
set -euo pipefail

version=$1 dir=$2
module=github.com/hashicorp/consul
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

go mod download "$module@$version"
source=$(go list -m -f '{{.Dir}}' "$module@$version")
grep -vE '=> \./' "$source/go.mod" | sed 's#^module .*#module tools#' >go.mod
echo "require $module $version" >>go.mod
install -m 644 "$source/go.sum" go.sum
mkdir -p "$dir.new"
CGO_ENABLED=0 GOFLAGS=-mod=mod go build -trimpath -ldflags '-s -w' -o "$dir.new/consul" "$module"
rm -rf "$dir"
mv "$dir.new" "$dir"
