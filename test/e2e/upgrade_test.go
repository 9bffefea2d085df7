package e2e

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/contiv/contiv/install/sandbox"
)

// previous is what the upgrade test upgrades from: the last tag, or before there is one, an earlier commit.
const previous = "755f57987376"

// buildPrevious builds the binaries of an earlier state of the tree.
func buildPrevious(t *testing.T) string {
	t.Helper()
	source, binaries := t.TempDir(), t.TempDir()
	script := `set -euo pipefail
if ! git cat-file -e "$1^{commit}" 2>/dev/null; then
  echo "commit $1 is not in this clone: the upgrade test needs the history (git fetch --unshallow)"
  exit 1
fi
git archive "$1" | tar -x -C "$2"
cd "$2"
CGO_ENABLED=0 go build -o "$3/" ./cmd/...`
	build := exec.CommandContext(t.Context(), "bash", "-c", script, "bash", previous, source, binaries)
	build.Dir = "../.."
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the binaries of %s: %v\n%s", previous, err, output)
	}
	return binaries
}

// TestUpgrade replaces a running cluster of the previous version part by part, netmaster first and, in a second
// cluster, the agents first: the versions interwork, nothing is lost, and new endpoints can be made all the way.
func TestUpgrade(t *testing.T) {
	old := buildPrevious(t)
	type part struct {
		component sandbox.Component
		host      int
	}
	for name, order := range map[string][]part{
		"netmaster first": {{sandbox.Netmaster, 1}, {sandbox.Netplugin, 1}, {sandbox.Netplugin, 2}},
		"agents first":    {{sandbox.Netplugin, 1}, {sandbox.Netplugin, 2}, {sandbox.Netmaster, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			c := start(t, sandbox.Config{Hosts: 2})
			current := binDir
			c.must(c.UseBinaries(old))
			for _, p := range order { // begin with the old version everywhere
				c.must(c.Restart(t.Context(), p.component, p.host))
			}
			c.waitReady()
			a, b, addr := pair(c)
			for i, p := range order {
				c.must(c.UseBinaries(current))
				c.losesNothing(c.inside(a), c.inside(b), addr, func() {
					c.must(c.Restart(t.Context(), p.component, p.host))
					c.waitReady()
				})
				late := c.run(sandbox.Workload{Name: "late" + strings.Repeat("x", i), Host: 2, Network: "n"})
				c.reaches(a, late.Addresses[0])
			}
		})
	}
}
