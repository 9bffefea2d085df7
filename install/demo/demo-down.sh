#!/usr/bin/env bash
# Removes the demo's cluster and everything it made, also after a crash in the middle.
set -euo pipefail
cd "$(dirname "$0")/../.."
unset CONTIV_SANDBOX

if [[ ! -x bin/contiv-sandbox ]]; then
  make --no-print-directory build
fi
bin/contiv-sandbox down
echo "the sandbox is gone"
