package api_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/contiv/contiv/netmaster/api"
	"github.com/contiv/contiv/netmaster/client"
	"github.com/contiv/contiv/netmaster/distribute"
	"github.com/contiv/contiv/ofnet/protocol"
)

// announces registers a host whose agent says where its REST server is.
func (r *rig) announces(host, rest string) {
	r.t.Helper()
	_, err := r.objects.RegisterHost(r.t.Context(), &protocol.RegisterRequest{Host: host, MTU: 1500, REST: rest})
	if err != nil {
		r.t.Fatal(err)
	}
	r.must("PUT", "/api/v1/Bgps/"+host+"/", `{"hostname":"`+host+`","routerip":"50.1.1.1/24","as":"65000","neighbor":"50.1.1.2","neighbor-as":"65001"}`)
}

func (r *rig) inspectBgp(host string) client.BgpOper {
	r.t.Helper()
	var out client.Inspection[client.Bgp, client.BgpOper]
	if err := json.Unmarshal([]byte(r.must("GET", "/api/v1/inspect/Bgps/"+host+"/", "")), &out); err != nil {
		r.t.Fatal(err)
	}
	if out.Config.Hostname != host || out.Config.AS != "65000" {
		r.t.Errorf("config %+v", out.Config)
	}
	return out.Oper
}

func TestInspectBgpAsksTheAgent(t *testing.T) {
	r := newRig(t, nil)
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		if request.URL.Path != "/inspect/bgp" {
			http.NotFound(w, request)
			return
		}
		_ = json.NewEncoder(w).Encode(protocol.BgpInspection{
			Peers: []protocol.BgpPeer{{Address: "50.1.1.2", AS: "65001", AdminState: "up", SessionState: "established"}},
			Dsts:  []string{"20.1.1.0/24 via 50.1.1.2", "20.1.2.0/24 via 50.1.1.2"},
		})
	}))
	defer agent.Close()
	_, port, err := net.SplitHostPort(agent.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	closed := httptest.NewServer(nil)
	closed.Close()
	var connected []distribute.HostStatus
	for _, tc := range []struct {
		host, rest, from string
		want             client.BgpOper // a part of Problem
	}{
		{"speaks", "http://:" + port, "127.0.0.1:5000", client.BgpOper{
			AdminStatus: "up", NeighborStatus: "established", NumRoutes: 2, Routes: []string{"20.1.1.0/24 via 50.1.1.2", "20.1.2.0/24 via 50.1.1.2"},
		}},
		{"same-machine", agent.URL, "127.0.0.1:5000", client.BgpOper{AdminStatus: "up", NeighborStatus: "established", NumRoutes: 2}},
		{"anywhere", "http://0.0.0.0:" + port, "127.0.0.1:5000", client.BgpOper{AdminStatus: "up", NeighborStatus: "established", NumRoutes: 2}},
		{"path", agent.URL + "/elsewhere", "127.0.0.1:5000", client.BgpOper{AdminStatus: "up"}}, // only the address of what it says counts
		{"loopback", "http://127.0.0.1:" + port, "192.0.2.7:5000", unknown("loopback address only; start it with --inspect-address 0.0.0.0:" + port)},
		{"nowhere", "", "127.0.0.1:5000", unknown("did not say where")},
		{"strange", "ftp://x", "127.0.0.1:5000", unknown("no URL with a port")},
		{"by-name", "http://metadata.internal:80", "127.0.0.1:5000", unknown("is no address")},
		{"gone", closed.URL, "127.0.0.1:5000", unknown("connection refused")},
		{"lost", "http://:" + port, "", unknown("no address that is known")},
	} {
		r.announces(tc.host, tc.rest)
		if tc.from != "" {
			connected = append(connected, distribute.HostStatus{Host: tc.host, Connected: true, Address: tc.from})
		}
		r.agents.set(connected...)
		got := r.inspectBgp(tc.host)
		if got.AdminStatus != tc.want.AdminStatus || tc.want.NumRoutes != 0 && got.NumRoutes != tc.want.NumRoutes || len(got.Routes) != got.NumRoutes ||
			!strings.Contains(got.Problem, tc.want.Problem) {
			t.Errorf("%s: %+v, want %+v", tc.host, got, tc.want)
		}
	}
	r.must("PUT", "/api/v1/Bgps/nobody/", `{"hostname":"nobody","routerip":"50.1.1.1/24","as":"65000","neighbor":"50.1.1.2","neighbor-as":"65001"}`)
	if got := r.inspectBgp("nobody"); got.AdminStatus != "unknown" || !strings.Contains(got.Problem, "has not registered") {
		t.Errorf("unknown host: %+v", got)
	}
}

func unknown(problem string) client.BgpOper {
	return client.BgpOper{AdminStatus: "unknown", NeighborStatus: "unknown", Problem: problem}
}

// TestInspectBgpOfBadAgents: an agent that says nothing, or nonsense, does not hold the inspection up.
func TestInspectBgpOfBadAgents(t *testing.T) {
	r := newRig(t, nil)
	release := make(chan struct{})
	for host, tc := range map[string]struct {
		handler http.HandlerFunc
		problem string
	}{
		"silent":  {func(http.ResponseWriter, *http.Request) { <-release }, "deadline"},
		"babbles": {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }, "no inspection"},
		"refuses": {http.NotFound, "404 Not Found"},
		"empty":   {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"Peers":null,"Dsts":null}`) }, "runs no BGP speaker"},
	} {
		agent := httptest.NewServer(tc.handler)
		defer agent.Close()
		r.announces(host, agent.URL)
		r.agents.set(distribute.HostStatus{Host: host, Connected: true, Address: "127.0.0.1:5000"})
		begun := time.Now()
		got := r.inspectBgp(host)
		if !strings.Contains(got.Problem, tc.problem) || got.AdminStatus == "up" {
			t.Errorf("%s: %+v", host, got)
		}
		if took := time.Since(begun); took > 4*time.Second {
			t.Errorf("%s: took %v", host, took)
		}
	}
	close(release)
}

// TestInspectBgpOverTLS: the agent must show a certificate with its host's name, whatever its address is.
func TestInspectBgpOverTLS(t *testing.T) {
	agent := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"Peers":[{"AdminState":"up","SessionState":"idle"}]}`)
	}))
	defer agent.Close()
	agent.Config.ErrorLog = nil
	roots := x509.NewCertPool()
	roots.AddCert(agent.Certificate()) // of example.com and 127.0.0.1
	r := newRig(t, func(o *api.Options) {
		o.Forward = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	})
	for host, want := range map[string]string{"example.com": "", "host1": "not host1"} {
		r.announces(host, agent.URL)
		r.agents.set(distribute.HostStatus{Host: host, Connected: true, Address: "127.0.0.1:5000"})
		if got := r.inspectBgp(host); !strings.Contains(got.Problem, want) || (want == "") != (got.NeighborStatus == "idle") {
			t.Errorf("%s: %+v", host, got)
		}
	}
}
