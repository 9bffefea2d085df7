package e2e

import (
	"fmt"
	"net/http"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/contiv/contiv/objdb/etcd/etcdtest"
	"github.com/contiv/contiv/ofnet/protocol"
)

// masters are netmasters on one etcd.
type masters struct {
	*golden
	args map[string][]string // of each process, by URL
	kill map[string]func()
	urls []string
}

func startMasters(t *testing.T, n int) *masters {
	t.Helper()
	store := etcdtest.New(t).URL
	m := &masters{golden: &golden{outer: t, t: t, home: t.TempDir(), hosts: map[string]*bareHost{}}, args: map[string][]string{}, kill: map[string]func(){}}
	var agents []string
	for range n {
		rest, rpc := freeAddress(t), freeAddress(t)
		url := "http://" + rest
		m.urls, agents = append(m.urls, url), append(agents, rpc)
		m.args[url] = []string{"--etcd", store, "--mode", "docker", "--external-address", rest, "--rpc-address", rpc}
		_, m.kill[url] = startNetmaster(t, m.args[url]...)
	}
	m.url = m.urls[0]
	m.leader(m.urls...)
	for _, name := range []string{"M", "W"} {
		m.hosts[name] = startBareHost(t, name, agents...)
		t.Cleanup(func() { m.hosts[name].stop() })
	}
	return m
}

// leader waits until the netmasters at the URLs name one of them as the leader, and gives its URL.
func (m *masters) leader(urls ...string) (leader string) {
	m.t.Helper()
	c := &cluster{t: m.t}
	c.eventually(20*time.Second, "all agree on a leader among them", func() bool {
		leader = "http://" + awaitLeader(m.t, urls[0])
		for _, url := range urls {
			if "http://"+awaitLeader(m.t, url) != leader {
				return false
			}
		}
		return slices.Contains(urls, leader)
	})
	return leader
}

// through runs netctl against one of the netmasters; it must succeed.
func (m *masters) through(url, line string) string {
	m.t.Helper()
	m.url = url
	printed := m.command("netctl " + line)
	if strings.Contains(printed, "[exit") {
		m.t.Fatalf("netctl %s through %s: %s", line, url, printed)
	}
	return printed
}

// TestGoldenHighAvailability is F13.1, F13.3, F13.4 and F12.11 of the golden tutorial.
func TestGoldenHighAvailability(t *testing.T) {
	m := startMasters(t, 3)
	leader := m.leader(m.urls...)
	m.through(leader, "global set --vlan-range 100-200 --private-subnet 10.77.0.0/16")
	t.Run("F13.1", func(t *testing.T) {
		m.t = t
		for i, url := range m.urls {
			m.through(url, fmt.Sprintf("net create -s 10.1.%d.0/24 net%d", i, i))
			if got := m.through(m.urls[(i+1)%3], "net ls -q"); !strings.Contains(got, fmt.Sprintf("net%d\n", i)) {
				t.Errorf("what %s made is not seen through another: %s", url, got)
			}
		}
	})
	m.t = t
	for _, line := range []string{
		"tenant create blue",
		"net create -t blue -s 10.1.0.0/24 -e vlan vlan", "policy create p", "policy rule-add p 1 -l tcp -P 80 -p 7",
		"netprofile create -b 1Mbps np", "group create -p p -n np net0 g", "group create net1 pooled -r 10.1.1.9-10.1.1.20",
		"service create -s net1 -l a=b -p 80:80:TCP svc", "external-contracts create -c -a x ec", "app-profile create -g g ap",
	} {
		m.through(leader, line)
	}
	m.attached("W", "c1", "net0", "g")
	if got := m.attached("M", "c2", "net0"); got != "10.1.0.2" {
		t.Errorf("c2 has %s", got)
	}
	others := slices.DeleteFunc(slices.Clone(m.urls), func(url string) bool { return url == leader })
	before := m.everything(others[0])
	m.kill[leader]()
	next := m.leader(others...)
	t.Run("F13.3", func(t *testing.T) {
		m.t = t
		for _, url := range others {
			if got := m.everything(url); got != before {
				t.Errorf("through %s, before the leader died:\n%s\nafter:\n%s", url, before, got)
			}
		}
		follower := others[0]
		if follower == next {
			follower = others[1]
		}
		m.through(follower, "net create -s 10.2.0.0/24 -e vlan after")
		m.through(follower, "policy rule-add p 2 -l udp")
		if got := m.through(next, "net inspect after | Oper.pktTag"); got != "Oper.pktTag: 101\n" { // 100 is blue's
			t.Errorf("tag of a network made by the new leader: %s", got)
		}
		if got := m.attached("M", "c3", "net0"); got != "10.1.0.3" {
			t.Errorf("address given by the new leader: %s", got)
		}
		m.through(next, "net rm after")
		if got := m.through(follower, "net ls -q"); strings.Contains(got, "after") {
			t.Errorf("a deleted network is listed: %s", got)
		}
	})
	t.Run("F12.11", func(t *testing.T) {
		m.t = t
		if got := m.through(next, "global info"); !strings.Contains(got, "Vlan Range: 100-200\n") || !strings.Contains(got, "Private subnet: 10.77.0.0/16\n") {
			t.Errorf("settings after the leader died: %s", got)
		}
	})
	m.t = t
	_, m.kill[leader] = startNetmaster(t, m.args[leader]...)
	t.Run("F13.4", func(t *testing.T) {
		m.t = t
		if now := m.leader(m.urls...); now != next {
			t.Errorf("the old leader leads again: %s, not %s", now, next)
		}
		m.through(leader, "net create -s 10.3.0.0/24 proxied")
		if got := m.through(next, "net ls -q"); !strings.Contains(got, "proxied\n") {
			t.Errorf("what the old leader passed on: %s", got)
		}
	})
}

// everything is all objects with their figures, as netctl shows them through one of the netmasters.
func (m *masters) everything(url string) string {
	m.t.Helper()
	var out strings.Builder
	for _, line := range []string{
		"tenant ls -j", "net ls -a -j", "group ls -a -j", "policy ls -a -j", "policy rule-ls p -j", "netprofile ls -a -j", "service ls -a -j",
		"external-contracts ls -a -j", "app-profile ls -a -j", "global inspect", "tenant inspect default", "tenant inspect blue", "net inspect net0", "net inspect -t blue vlan",
		"group inspect g", "group inspect pooled", "service inspect svc", "policy inspect p", "endpoint inspect c1",
	} {
		out.WriteString("$ netctl " + line + "\n" + m.through(url, line))
	}
	return reports.ReplaceAllString(out.String(), "")
}

// reports are what hosts tell the leader, who begins without: they are no part of what must be the same.
var reports = regexp.MustCompile(`(?m)^\s*"realised": \{[^}]*\},?\n`)

// attached starts a container as soon as its host is attached to the leader, and gives its address.
func (m *masters) attached(host, name, network string, groups ...string) (address string) {
	m.t.Helper()
	c := &cluster{t: m.t}
	c.eventually(15*time.Second, "container "+name+" starts", func() bool {
		e, err := m.hosts[host].attach(m.t.Context(), protocol.CreateEndpointRequest{
			ID: m.hosts[host].id(name), Tenant: "default", Network: network, Groups: groups, ContainerName: name,
		})
		address = addressText(e.IPv4)
		return err == nil
	})
	return address
}

// TestGoldenListenAddresses is F13.6: users use the address of --listen-url, other netmasters that of --control-url,
// and nothing else is listened on.
func TestGoldenListenAddresses(t *testing.T) {
	port := func() string { return strings.TrimPrefix(freeAddress(t), "127.0.0.1:") }
	users, control, agents := port(), port(), freeAddress(t)
	for _, tc := range []struct {
		name string
		args []string
		want []string // listened on
	}{
		{"F13.6-listen", []string{"--listen-url", "0.0.0.0:" + users}, []string{"*:" + users, agents}},
		{"F13.6-control", []string{"--listen-url", "0.0.0.0:" + users, "--control-url", "127.0.0.1:" + control},
			[]string{"*:" + users, "127.0.0.1:" + control, agents}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			pid, kill := startNetmaster(t, append(tc.args, "--rpc-address", agents, "--data-dir", t.TempDir())...)
			defer kill()
			awaitLeader(t, "http://127.0.0.1:"+users)
			output, err := exec.CommandContext(t.Context(), "ss", "-Hltnp").Output()
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for line := range strings.Lines(string(output)) {
				if strings.Contains(line, fmt.Sprintf("pid=%d,", pid)) {
					got = append(got, strings.Fields(line)[3])
				}
			}
			slices.Sort(got)
			slices.Sort(tc.want)
			if !slices.Equal(got, tc.want) {
				t.Errorf("listens on %v, want %v", got, tc.want)
			}
			for _, address := range tc.want {
				if address == agents {
					continue
				}
				response, err := http.Get("http://" + strings.Replace(address, "*", "127.0.0.1", 1) + "/version")
				if err != nil || response.StatusCode != http.StatusOK {
					t.Errorf("%s: %v", address, err)
					continue
				}
				_ = response.Body.Close()
			}
		})
	}
}

// TestGoldenSilentHost is F13.7: a host that is gone holds up deleting until an operator gives it up, with one command
// that says what it released; a connected host is never given up; the lost host comes back and is told what it lost.
func TestGoldenSilentHost(t *testing.T) {
	g := newGolden(t, "--data-dir", t.TempDir())
	expect := func(line string, words ...string) {
		t.Helper()
		printed := g.command("netctl " + line)
		for _, word := range words {
			if !strings.Contains(printed, word) {
				t.Errorf("netctl %s: no %q in %q", line, word, printed)
			}
		}
	}
	expect("net create -s 10.1.2.0/24 n", "Creating")
	expect("group create n g", "Creating")
	g.plug([]string{"M", "stays", "default", "n"})
	g.plug([]string{"W", "goes", "default", "n", "g"})
	expect("host ls", "M ", "W ", "connected")
	expect("host release --force W", "is connected; stop its agent", "[exit 3]")
	expect("endpoint ls --host W", "attached", "W/goes/eth0")

	w := g.hosts["W"]
	w.stop()
	c := &cluster{t: t}
	c.eventually(15*time.Second, "the host is silent", func() bool {
		return strings.Contains(g.command("netctl host inspect W | Oper.state"), "silent")
	})
	expect("endpoint ls -g g", "host silent")
	expect("group rm g", "has active endpoints", "[exit 3]")
	expect("host release W", "heard of less than a minute or so ago", "[exit 3]")
	expect("host release --force W", "Releasing host W: 1 endpoints\nReleasing endpoint W/goes/eth0\n")
	expect("host ls", "dead")
	expect("net inspect n | Oper.restingIPAddresses Oper.numEndpoints", `restingIPAddresses: "10.1.2.2"`, "numEndpoints: 1")
	if printed := g.command("netctl group rm g"); printed != "" {
		t.Errorf("the group cannot be deleted: %s", printed)
	}

	w.start(t, g.rpc)
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Equal(w.lost, []protocol.EndpointID{w.id("goes")}) || len(w.has) != 0 {
		t.Errorf("the host that came back was told that it lost %v", w.lost)
	}
	expect("host inspect W | Oper.state Oper.endpoints", `"connected"`, "endpoints: 0")
}
