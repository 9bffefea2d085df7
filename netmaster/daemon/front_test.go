package daemon

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/contiv/contiv/objdb/etcd/etcdtest"
	"github.com/contiv/contiv/ofnet/protocol/requestid"
)

// TestStoreThatComesLater: a netmaster whose store is not there says so, on its port, from the first moment on, for as
// long as it takes, and works when the store comes.
func TestStoreThatComesLater(t *testing.T) { onEach(t, testLateStore) }

func testLateStore(t *testing.T, store external) {
	t.Helper()
	store.kill(t)
	began := time.Now()
	r := start(t, store.config(t))
	if status, text := r.call(http.MethodGet, "/healthz", ""); status != http.StatusOK || text != "ok\n" {
		t.Errorf("healthz: %d %q", status, text)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("the port answers only after %v", took)
	}
	path, body := tenant("early")
	for _, ask := range []struct{ method, path, body string }{
		{http.MethodGet, "/readyz", ""}, {http.MethodGet, "/api/v1/tenants/", ""}, {http.MethodPost, path, body}, {http.MethodGet, "/version", ""},
	} {
		status, text := r.call(ask.method, ask.path, ask.body)
		if status != http.StatusServiceUnavailable || !strings.Contains(text, "netmaster waits for its store") {
			t.Errorf("%s %s: %d %q", ask.method, ask.path, status, text)
		}
	}
	if status, text := r.call(http.MethodGet, "/metrics", ""); status != http.StatusOK || !strings.Contains(text, "go_goroutines") {
		t.Errorf("metrics: %d %q", status, text)
	}
	turnedAway(t, r)
	store.start(t)
	r.eventually(http.StatusOK, http.MethodGet, "/readyz", "")
	r.createTenant("late")

	store.kill(t)
	r.eventually(http.StatusServiceUnavailable, http.MethodGet, "/readyz", "")
	if _, text := r.call(http.MethodGet, "/readyz", ""); !strings.Contains(text, "asking the store for its revision") {
		t.Errorf("the store is away: %q", text)
	}
	r.must(http.MethodGet, "/healthz", "")
	store.start(t)
	r.eventually(http.StatusOK, http.MethodGet, "/readyz", "")
}

// turnedAway fails the test unless an agent's connection is closed at once.
func turnedAway(t *testing.T, r *running) {
	t.Helper()
	conn, err := net.Dial("tcp", r.d.listeners.rpc.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("an agent is kept waiting by a netmaster that has no store: %v", err)
	}
}

func isTimeout(err error) bool {
	timeout, ok := err.(net.Error) //nolint:errorlint // of a connection, not wrapped
	return ok && timeout.Timeout()
}

// TestStopWhileWaitingForTheStore: SIGTERM is heeded while the store is awaited.
func TestStopWhileWaitingForTheStore(t *testing.T) {
	cfg := testConfig(t)
	cfg.Etcd = []string{"http://127.0.0.1:1"}
	r := start(t, cfg)
	r.must(http.MethodGet, "/healthz", "")
	r.stop()
}

func TestHealthAsJSON(t *testing.T) {
	r := start(t, testConfig(t))
	r.eventually(http.StatusOK, http.MethodGet, "/readyz", "")
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+"/readyz/", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", "application/json")
	answer, err := r.http.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	var got map[string]string
	if err := json.NewDecoder(answer.Body).Decode(&got); err != nil || len(got) != 1 || got["status"] != "ok" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestRequestIDs(t *testing.T) {
	store := onOne(t)
	leader := start(t, store(t))
	leader.createTenant("first")
	follower := start(t, store(t))
	follower.eventually(http.StatusOK, http.MethodGet, "/readyz", "")
	for _, through := range []*running{leader, follower} {
		for given, kept := range map[string]bool{"my-id/1": true, "": false, "with space": false, strings.Repeat("x", 129): false} {
			path, body := tenant("first")
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, through.url+path, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set(requestid.Header, given)
			answer, err := through.http.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			_ = answer.Body.Close()
			got := answer.Header.Values(requestid.Header)
			if len(got) != 1 || !requestid.Valid(got[0]) || (got[0] == given) != kept {
				t.Errorf("id %q was answered as %q", given, got)
			}
		}
	}
}

// TestPprof: profiles are served only if asked for and, with TLS, only to who has a certificate.
func TestPprof(t *testing.T) {
	a := newAuthority(t)
	for _, on := range []bool{false, true} {
		cfg := testConfig(t)
		cfg.Pprof, cfg.TLS = on, a.issue(t, "netmaster")
		r := start(t, cfg)
		roots := x509.NewCertPool()
		roots.AddCert(a.cert)
		for _, certified := range []bool{false, true} {
			secure := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
			if certified {
				pair, err := tls.LoadX509KeyPair(cfg.TLS.Cert, cfg.TLS.Key)
				if err != nil {
					t.Fatal(err)
				}
				secure.Certificates = []tls.Certificate{pair}
			}
			r.http.Transport = &http.Transport{TLSClientConfig: secure, DisableKeepAlives: true}
			want := http.StatusNotFound
			if on {
				want = map[bool]int{false: http.StatusForbidden, true: http.StatusOK}[certified]
			}
			for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/cmdline"} {
				if status, text := r.call(http.MethodGet, path, ""); status != want {
					t.Errorf("flag %v, certificate %v: %s: %d %.100s", on, certified, path, status, text)
				}
			}
		}
		r.stop()
	}
}

// onOne is an etcd that several netmasters can share.
func onOne(t *testing.T) func(t *testing.T) Config {
	t.Helper()
	url := etcdtest.New(t).URL
	return func(t *testing.T) Config {
		t.Helper()
		cfg := testConfig(t)
		cfg.Etcd = []string{url}
		return cfg
	}
}

// scrape reads the metrics.
func (r *running) scrape() string {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url+"/metrics", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	answer, err := r.http.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	data, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		r.t.Fatal(answer.Status, err)
	}
	return string(data)
}

func TestMetrics(t *testing.T) {
	r := start(t, testConfig(t))
	r.createTenant("blue")
	r.must(http.MethodPost, "/api/v1/networks/blue:web/", `{"tenantName":"blue","networkName":"web","encap":"vxlan","subnet":"10.1.1.0/24","gateway":"10.1.1.1"}`)
	r.call(http.MethodGet, "/api/v1/nonsense/", "")
	r.call(http.MethodGet, "/made/up/path", "")
	got := r.scrape()
	for _, want := range []string{
		`contiv_netmaster_requests_total{code="200",collection="tenants",method="POST"} 1`,
		`contiv_netmaster_requests_total{code="404",collection="other",method="GET"} 2`,
		`contiv_netmaster_objects{kind="network"} 1`,
		`contiv_netmaster_objects{kind="tenant"} 2`,
		`contiv_netmaster_leader 1`,
		`contiv_netmaster_pool_used{pool="vni"} 1`,
		`contiv_netmaster_store_lag_revisions 0`,
		`contiv_netmaster_skipped_records 0`,
		`contiv_netmaster_agents_connected 0`,
		`contiv_netmaster_commits_total{outcome="conflict"} 0`,
		`contiv_netmaster_request_seconds_count{collection="tenants",method="POST"} 1`,
		`process_start_time_seconds`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, lines(got, strings.SplitN(want, "{", 2)[0]))
		}
	}
}

// lines are those of a text that begin so.
func lines(text, with string) string {
	var out []string
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, with) {
			out = append(out, line)
		}
	}
	return strings.Join(out, "")
}
