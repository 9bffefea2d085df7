package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/contiv/contiv/install/sandbox"
	"github.com/contiv/contiv/ofnet/protocol/requestid"
)

// logged gives the lines of a daemon's log that hold a text.
func (c *cluster) logged(daemon, text string) []string {
	c.t.Helper()
	data, err := os.ReadFile(filepath.Join(c.Dir(), "log", daemon+".log"))
	c.must(err)
	var lines []string
	for line := range strings.Lines(string(data)) {
		if strings.Contains(line, text) {
			lines = append(lines, line)
		}
	}
	return lines
}

// TestRequestIDs: one id follows a REST request through a follower and the leader to every host, and a CNI ADD from its
// host to netmaster and to the hosts that it concerns, and no other.
func TestRequestIDs(t *testing.T) {
	c := start(t, sandbox.Config{Hosts: 3, Netmasters: 2, Store: sandbox.StoreEtcd})
	pair(c) // on hosts 1 and 2
	c.eventually(10*time.Second, "both agree on a leader", func() bool { return c.leader(1) != 0 && c.leader(1) == c.leader(2) })
	leader := c.leader(1)
	follower := 3 - leader
	const id = "ticket-4711/deploy"
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.URLOf(follower)+"/api/v1/globals/global/",
		strings.NewReader(`{"name":"global","arpMode":"flood"}`))
	c.must(err)
	request.Header.Set(requestid.Header, id)
	answer, err := http.DefaultClient.Do(request)
	c.must(err)
	c.must(answer.Body.Close())
	if answer.StatusCode != http.StatusOK || answer.Header.Get(requestid.Header) != id {
		t.Fatalf("%s, id %q", answer.Status, answer.Header.Get(requestid.Header))
	}
	for _, daemon := range []string{"netplugin-h1", "netplugin-h2", "netplugin-h3"} {
		c.eventually(10*time.Second, "the id is in the log of "+daemon, func() bool { return len(c.logged(daemon, id)) > 0 })
		if line := c.logged(daemon, id)[0]; !strings.Contains(line, "revision=") {
			t.Errorf("%s does not say which revision: %s", daemon, line)
		}
	}
	for _, n := range []string{"1", "2"} {
		lines := c.logged("netmaster-h"+n, id)
		if len(lines) != 1 || !strings.Contains(lines[0], "status=200") || !strings.Contains(lines[0], "method=POST") ||
			!strings.Contains(lines[0], "principal=anonymous") || !strings.Contains(lines[0], "took=") {
			t.Errorf("netmaster %s logged %q", n, lines)
		}
	}

	c.run(sandbox.Workload{Name: "late", Host: 1, Network: "n"})
	created := c.logged("netplugin-h1", "method=endpoint.create")
	if len(created) == 0 {
		t.Fatal("host 1 does not log what it asked netmaster")
	}
	found := regexp.MustCompile(`request=(\S+)`).FindStringSubmatch(created[len(created)-1])
	if found == nil {
		t.Fatalf("no id in %q", created)
	}
	if lines := c.logged(fmt.Sprint("netmaster-h", leader), found[1]); len(lines) != 1 || !strings.Contains(lines[0], "endpoint.create") {
		t.Errorf("the leader logged %q for the request %s", lines, found[1])
	}
	c.eventually(10*time.Second, "host 2 hears of the endpoint under the same id", func() bool { return len(c.logged("netplugin-h2", found[1])) > 0 })
	if lines := c.logged("netplugin-h3", found[1]); len(lines) > 0 {
		t.Errorf("a host that it does not concern logged %q", lines)
	}
}
