package e2e

import (
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/contiv/contiv/install/sandbox"
)

// TestRestoreUnderLivingHosts: the embedded store is lost and restored from a backup while the hosts live on. Traffic goes
// on; what was there at the backup is there again; endpoints made since are recorded again, unless what they are part of
// is gone: these are lost, which is told and done; endpoints removed since are released; new ones get what nobody has.
func TestRestoreUnderLivingHosts(t *testing.T) {
	c := start(t, sandbox.Config{Hosts: 2})
	a, b, addr := pair(c)
	c.run(sandbox.Workload{Name: "removed", Host: 2, Network: "n"})
	backup := filepath.Join(t.TempDir(), "backup.db")
	c.fetch("/debug/snapshot", backup)

	since := c.run(sandbox.Workload{Name: "since", Host: 2, Network: "n"})
	c.ok("net", "create", "--subnet=10.7.7.0/24", "forgotten")
	c.run(sandbox.Workload{Name: "lost", Host: 1, Network: "forgotten"})
	c.must(c.Remove("removed"))
	c.reaches(a, since.Addresses[0])

	result := c.probing(c.inside(a), c.inside(b), addr, func() {
		c.must(c.Stop(sandbox.Netmaster, 1))
		data := filepath.Join(c.Dir(), "h1", "netmaster")
		c.must(os.Rename(data, data+".destroyed"))
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		restore := exec.CommandContext(ctx, filepath.Join(binDir, "netmaster"), "--restore", backup, "--data-dir", data)
		if output, err := restore.CombinedOutput(); err != nil || !strings.Contains(string(output), "restored") {
			t.Fatalf("restoring: %v: %s", err, output)
		}
		c.must(c.Start(t.Context(), sandbox.Netmaster, 1))
		c.waitReady()
	})
	c.goesOn("restore", result)
	if nets := c.ok("net", "ls", "-q"); strings.TrimSpace(nets) != "n" {
		t.Errorf("networks after the restore: %q", nets)
	}
	c.reaches(a, since.Addresses[0])
	if got := c.ok("net", "inspect", "n"); !strings.Contains(got, since.Addresses[0]) {
		t.Errorf("the endpoint made since the backup is not recorded again: %s", got)
	}
	c.eventually(10*time.Second, "host 1 says what it lost", func() bool {
		return len(c.logged("netplugin-h1", "was released by netmaster")) == 1 && len(c.logged("netmaster-h1", "it is lost")) == 1
	})
	if output, err := c.exec("lost", "ip", "-o", "addr", "show", "dev", "eth0"); err == nil {
		t.Errorf("the lost endpoint still has its interface: %s", output)
	}
	next := c.run(sandbox.Workload{Name: "next", Host: 1, Network: "n"})
	if next.Addresses[0] == since.Addresses[0] || next.Addresses[0] == addr.String() {
		t.Errorf("a new endpoint got %s, which is taken", next.Addresses[0])
	}
	c.reaches("next", since.Addresses[0])
	c.eventually(60*time.Second, "the endpoint removed since the backup is released", func() bool {
		_, metrics := c.rest("GET", "/metrics", "")
		return strings.Contains(metrics, "\ncontiv_netmaster_objects{kind=\"endpoint\"} 4\n")
	})
}

// fetch gets a file from netmaster.
func (c *cluster) fetch(path, file string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 30*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL()+path, nil)
	c.must(err)
	answer, err := http.DefaultClient.Do(request)
	c.must(err)
	defer answer.Body.Close() //nolint:errcheck // only read
	data, err := io.ReadAll(answer.Body)
	c.must(err)
	if answer.StatusCode != http.StatusOK || len(data) == 0 {
		c.t.Fatalf("%s: %s, %d bytes", path, answer.Status, len(data))
	}
	c.must(os.WriteFile(file, data, 0o600))
}
