package docker

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/vishvananda/netns"
	"go.uber.org/goleak"

	"github.com/contiv/contiv/ofnet/protocol"
)

var update = flag.Bool("update", false, "write golden files anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testDrivers are both drivers on a fake cluster without links.
func testDrivers(t *testing.T) (http.Handler, *fakeAgent, *Plugin) {
	t.Helper()
	cluster := newFakeCluster(netns.None())
	cluster.addNetwork("default", "net", "10.1.2.0/24", 1)
	cluster.addNetwork("blue", "net", "10.1.2.0/24", 2)
	cluster.addNetwork("default", "routed", "10.3.0.0/16", 3, func(n *protocol.Network) {
		n.Gateway, n.Subnet6, n.Gateway6 = netip.MustParseAddr("10.3.0.1"), netip.MustParsePrefix("fd00:3::/64"), netip.MustParseAddr("fd00:3::1")
	})
	cluster.addNetwork("default", "v1.2", "10.4.0.0/16", 4)
	cluster.addNetwork("default", "admin", "10.5.0.0/16", 5, func(n *protocol.Network) { n.Type = protocol.NetworkInfra })
	cluster.addGroup("blue", "net", "web")
	log := logrus.New()
	log.SetOutput(io.Discard)
	agent := cluster.agent("h1", netns.None())
	plugin, err := New(Config{Agent: agent, Host: "h1", DockerHost: "unix:///nowhere", Log: log.WithField("", "")})
	if err != nil {
		t.Fatal(err)
	}
	plugin.ipam.patience = 10 * time.Millisecond
	return newHandler(plugin.handler, plugin.ipam, log.WithField("", "")), agent, plugin
}

// TestProtocol plays the conversations of testdata/*.txt: a line "Method {request}" is answered by a line with status
// and body. Both flavours of the engine's API are in them: 28 and newer ask GwAllocCheck and send the enable options.
func TestProtocol(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no conversations", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			handler, _, _ := testDrivers(t)
			script, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(handler, string(script))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got != string(script) {
				t.Errorf("got\n%s", got)
			}
		})
	}
}

// play answers a script with its answers made anew.
func play(handler http.Handler, script string) string {
	var out strings.Builder
	for line := range strings.Lines(script) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "  ") {
			continue // an answer
		}
		fmt.Fprintln(&out, line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		method, body, _ := strings.Cut(line, " ")
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/"+method, strings.NewReader(body)))
		fmt.Fprintf(&out, "  %d %s", answer.Code, answer.Body)
	}
	return out.String()
}

func TestHandlerRefusesNonsense(t *testing.T) {
	handler, _, _ := testDrivers(t)
	for _, c := range []struct {
		method, path, body string
		status             int
	}{
		{http.MethodGet, "/Plugin.Activate", "", http.StatusMethodNotAllowed},
		{http.MethodPost, "/NetworkDriver.Fly", "{}", http.StatusNotFound},
		{http.MethodPost, "/", "{}", http.StatusNotFound},
		{http.MethodPost, "/NetworkDriver.Join", "{", http.StatusBadRequest},
		{http.MethodPost, "/NetworkDriver.Join", `{"NetworkID":7}`, http.StatusBadRequest},
		{http.MethodPost, "/IpamDriver.RequestPool", `{"Pool":"` + strings.Repeat("x", 2<<20) + `"}`, http.StatusBadRequest},
		{http.MethodPost, "/NetworkDriver.CreateEndpoint", `{"NetworkID":"x"`, http.StatusBadRequest},
	} {
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequest(c.method, c.path, strings.NewReader(c.body)))
		if answer.Code != c.status || !bytes.Contains(answer.Body.Bytes(), []byte(`"Err":`)) {
			t.Errorf("%s %s: %d %s", c.method, c.path, answer.Code, answer.Body)
		}
	}
}

// TestReservationsAreKeptApart: addresses of two tenants, tokens used and released.
func TestReservationsAreKeptApart(t *testing.T) {
	handler, agent, plugin := testDrivers(t)
	plugin.bound.set("n1", binding{target: target{"default", "net", ""}})
	got := play(handler, `IpamDriver.RequestAddress {"PoolID":"net.default|10.1.2.0/24"}
IpamDriver.RequestAddress {"PoolID":"net.blue|10.1.2.0/24"}
NetworkDriver.CreateEndpoint {"NetworkID":"n1","EndpointID":"e1","Interface":{"Address":"10.1.2.1/24"}}
IpamDriver.ReleaseAddress {"PoolID":"net.default|10.1.2.0/24","Address":"10.1.2.1"}
IpamDriver.ReleaseAddress {"PoolID":"net.blue|10.1.2.0/24","Address":"10.1.2.1"}
`)
	if strings.Contains(got, "Err") {
		t.Fatal(got)
	}
	if len(agent.released) != 1 || agent.released[0] != "token-2" {
		t.Errorf("released %v, want only the unused one", agent.released)
	}
	if addrs, _ := agent.held(); addrs != 1 {
		t.Errorf("%d addresses are held, want the endpoint's", addrs)
	}
}

// TestUnknownNetworkIsWaitedFor: a container may start before the reconciler has seen its network.
func TestUnknownNetworkIsWaitedFor(t *testing.T) {
	_, _, plugin := testDrivers(t)
	ctx, cancel := context.WithCancel(t.Context())
	answers := make(chan error, 1)
	go func() {
		_, err := plugin.bound.await(ctx, "late")
		answers <- err
	}()
	<-plugin.wake // the reconciler was asked
	plugin.bound.list(map[string]binding{"late": {target: target{"default", "net", ""}, listed: true}}, plugin.bound.byID["late"].since)
	if err := <-answers; err != nil {
		t.Error(err)
	}
	cancel()
	if _, err := plugin.bound.await(ctx, "never"); err == nil {
		t.Error("an unknown network was found")
	}
}

func FuzzPoolID(f *testing.F) {
	for _, seed := range []string{"10.0.0.0/8", "net.default|10.0.0.0/8", "net:web.blue|10.0.0.0/8", ".blue|fd00::/64", "a%2Eb.c|10.0.0.0/8", "|", "x|y"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		id, err := parsePoolID(text)
		if err != nil {
			return
		}
		again, err := parsePoolID(id.String())
		if err != nil || again != id {
			t.Errorf("%q reads as %+v, which reads back as %+v, %v", text, id, again, err)
		}
	})
}

func TestPoolIDRoundTrip(t *testing.T) {
	subnet := netip.MustParsePrefix("10.0.0.0/8")
	for _, object := range []target{
		{"default", "net", ""}, {"blue", "net", "web"}, {"a.b", "c.d", "e.f"}, {"x|y", "p%2Eq", "g:h"}, {"default", "", "web"}, {"blue", "", ""}, {},
	} {
		id := poolID{object, subnet}
		if again, err := parsePoolID(id.String()); err != nil || again != id {
			t.Errorf("%s: %+v, %v", id, again, err)
		}
	}
	if text := (poolID{target{"blue", "net", "web"}, subnet}).String(); text != "net:web.blue|10.0.0.0/8" {
		t.Error("the original's form has changed:", text)
	}
}

var _ Agent = (*fakeAgent)(nil)
