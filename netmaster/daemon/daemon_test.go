package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"

	"github.com/contiv/contiv/objdb"
	"github.com/contiv/contiv/objdb/consul/consultest"
	"github.com/contiv/contiv/objdb/embedded"
	"github.com/contiv/contiv/objdb/etcd"
	"github.com/contiv/contiv/objdb/etcd/etcdtest"
	"github.com/contiv/contiv/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

// running is a netmaster in this process.
type running struct {
	t    *testing.T
	d    *daemon
	url  string
	http *http.Client
	stop func()
}

func testConfig(t *testing.T) Config {
	t.Helper()
	return Config{
		ForwardMode: state.ForwardBridge, Infra: "default", External: "127.0.0.1:0", RPC: "127.0.0.1:0",
		DataDir: filepath.Join(t.TempDir(), "data"), RunDir: t.TempDir(), AddressRest: time.Minute, Log: LogConfig{Level: "info"},
	}
}

// start runs a netmaster until stop, or the end of the test.
func start(t *testing.T, cfg Config) *running {
	t.Helper()
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	logger := logrus.New()
	logger.SetOutput(io.Discard)
	d, err := open(cfg, logrus.NewEntry(logger))
	if err != nil {
		t.Fatal(err)
	}
	scheme := "http"
	if cfg.TLS != (Certificates{}) {
		scheme = "https"
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		err := d.run(ctx)
		d.close()
		done <- err
	}()
	r := &running{
		t: t, d: d, url: scheme + "://" + d.listeners.external.Addr().String(),
		http: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 15 * time.Second},
	}
	stopped := false
	r.stop = func() {
		t.Helper()
		if stopped {
			return
		}
		stopped = true
		began := time.Now()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("netmaster ended with %v", err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("clean stop took %v", took)
		}
	}
	t.Cleanup(r.stop)
	return r
}

// call makes one request and returns status and body.
func (r *running) call(method, path, body string) (int, string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, r.url+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := r.http.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err.Error()
	}
	return response.StatusCode, string(data)
}

func (r *running) must(method, path, body string) string {
	r.t.Helper()
	status, text := r.call(method, path, body)
	if status != http.StatusOK {
		r.t.Fatalf("%s %s: %d %s", method, path, status, text)
	}
	return text
}

// eventually repeats a request until it is answered so.
func (r *running) eventually(want int, method, path, body string) {
	r.t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		status, text := r.call(method, path, body)
		if status == want {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("%s %s: still %d %s, want %d", method, path, status, text, want)
		}
		<-tick.C
	}
}

func (r *running) isLeader() bool {
	var info struct {
		State string `json:"current-state"`
	}
	status, text := r.call(http.MethodGet, "/info", "")
	return status == http.StatusOK && json.Unmarshal([]byte(text), &info) == nil && info.State == "leader"
}

func tenant(name string) (path, body string) {
	return "/api/v1/tenants/" + name + "/", fmt.Sprintf(`{"tenantName":%q}`, name)
}

func (r *running) createTenant(name string) {
	r.t.Helper()
	path, body := tenant(name)
	r.must(http.MethodPost, path, body)
}

func TestSeedsAreNeverOverwritten(t *testing.T) {
	cfg := testConfig(t)
	first := start(t, cfg)
	if got := first.must(http.MethodGet, "/api/v1/tenants/", ""); !strings.Contains(got, `"default"`) {
		t.Errorf("tenants of a new cluster: %s", got)
	}
	first.must(http.MethodPost, "/api/v1/globals/global/", `{"name":"global","arpMode":"flood","vxlans":"100-200"}`)
	before := first.must(http.MethodGet, "/api/v1/globals/", "")
	if !strings.Contains(before, `"fwdMode":"bridge"`) {
		t.Errorf("global was not seeded from the flags: %s", before)
	}
	first.stop()

	cfg.ForwardMode, cfg.Infra = state.ForwardRouting, "aci"
	second := start(t, cfg)
	if after := second.must(http.MethodGet, "/api/v1/globals/", ""); after != before {
		t.Errorf("a restart with other flags made\n%s of\n%s", after, before)
	}
}

// external is a store that can be killed, and a configuration with it.
type external struct {
	config      func(t *testing.T) Config
	kill, start func(testing.TB)
}

// onEach runs a test on each kind of external store.
func onEach(t *testing.T, test func(t *testing.T, store external)) {
	t.Helper()
	t.Run("etcd", func(t *testing.T) {
		server := etcdtest.New(t)
		test(t, external{func(t *testing.T) Config {
			t.Helper()
			cfg := testConfig(t)
			cfg.Etcd = []string{server.URL}
			return cfg
		}, server.Kill, server.Start})
	})
	t.Run("consul", func(t *testing.T) {
		server := consultest.New(t)
		test(t, external{func(t *testing.T) Config {
			t.Helper()
			cfg := testConfig(t)
			cfg.Consul = []string{server.URL}
			return cfg
		}, server.Kill, server.Start})
	})
}

func TestFollowerReadsAndForwards(t *testing.T) { onEach(t, testFollower) }

func testFollower(t *testing.T, store external) {
	t.Helper()
	one, two := store.config(t), store.config(t)
	leader := start(t, one)
	leader.createTenant("first")
	follower := start(t, two)
	if follower.isLeader() || !leader.isLeader() {
		t.Fatal("the second netmaster leads")
	}
	follower.createTenant("second")
	for _, r := range []*running{leader, follower} {
		for _, name := range []string{"first", "second"} {
			path, _ := tenant(name)
			r.must(http.MethodGet, path, "")
		}
	}
	if status, text := follower.call(http.MethodPost, "/api/v1/tenants/bad_name/", `{"tenantName":"bad_name"}`); status != http.StatusBadRequest {
		t.Errorf("refusal through the follower: %d %s", status, text)
	}
	began := time.Now()
	leader.stop()
	path, body := tenant("third")
	follower.eventually(http.StatusOK, http.MethodPost, path, body)
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("writes again only %v after a clean stop of the leader", took)
	}
	if !follower.isLeader() {
		t.Error("the follower does not lead")
	}
}

func TestStoreGone(t *testing.T) { onEach(t, testStoreGone) }

func testStoreGone(t *testing.T, store external) {
	t.Helper()
	r := start(t, store.config(t))
	r.createTenant("before")
	store.kill(t)
	path, body := tenant("during")
	if status, text := r.call(http.MethodGet, "/api/v1/tenants/", ""); status != http.StatusServiceUnavailable || text == "" {
		t.Errorf("read without the store: %d %s", status, text)
	}
	if status, text := r.call(http.MethodPost, path, body); status != http.StatusServiceUnavailable || text == "" {
		t.Errorf("write without the store: %d %s", status, text)
	}
	// Now that the store is known to be away, this is told soon.
	for method, path := range map[string]string{http.MethodGet: "/api/v1/tenants/", http.MethodPost: path} {
		began := time.Now()
		if status, text := r.call(method, path, body); status != http.StatusServiceUnavailable || time.Since(began) > 2*time.Second {
			t.Errorf("%s: %d %s after %v", method, status, text, time.Since(began))
		}
	}
	r.must(http.MethodGet, "/version", "")
	store.start(t)
	r.eventually(http.StatusOK, http.MethodPost, path, body)
	for _, name := range []string{"before", "during"} {
		path, _ := tenant(name)
		r.must(http.MethodGet, path, "")
	}
}

func TestNewerStoreIsNotLed(t *testing.T) {
	cfg := testConfig(t)
	ctx := context.Background()
	store, err := embedded.Open(ctx, embedded.Config{Dir: cfg.DataDir})
	if err != nil {
		t.Fatal(err)
	}
	_, err = store.Commit(ctx, objdb.Txn{Then: []objdb.Op{objdb.Put(state.SchemaKey, []byte(fmt.Sprint(state.SchemaVersion+1)))}})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	r := start(t, cfg)
	path, body := tenant("x")
	if status, text := r.call(http.MethodPost, path, body); status != http.StatusServiceUnavailable {
		t.Errorf("write to a newer store: %d %s", status, text)
	}
}

func TestRegistry(t *testing.T) {
	store := etcdtest.New(t)
	cfg := testConfig(t)
	cfg.Etcd = []string{store.URL}
	r := start(t, cfg)
	r.must(http.MethodGet, "/version", "")
	observer, err := etcd.Open(context.Background(), etcd.Config{Endpoints: cfg.Etcd})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = observer.Close() }()
	deadline := time.Now().Add(patience)
	for {
		rest, err := objdb.Services(context.Background(), observer, "netmaster")
		rpc, rpcErr := objdb.Services(context.Background(), observer, "netmaster.rpc")
		if err == nil && rpcErr == nil && len(rest) == 1 && len(rpc) == 1 && rest[0].Role == "leader" && rpc[0].Role == "leader" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("registry has %+v and %+v, %v, %v", rest, rpc, err, rpcErr)
		}
	}
}
