package api_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"

	"github.com/contiv/contiv/netmaster/api"
	"github.com/contiv/contiv/netmaster/client"
	"github.com/contiv/contiv/netmaster/distribute"
	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/netmaster/objects"
	"github.com/contiv/contiv/objdb"
	"github.com/contiv/contiv/objdb/memory"
	"github.com/contiv/contiv/ofnet/protocol"
	"github.com/contiv/contiv/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a netmaster without agents and election on a store in memory.
type rig struct {
	t       testing.TB
	store   *memory.Store
	objects *objects.Objects
	options api.Options
	agents  *agents
	cluster *cluster
	log     *strings.Builder
	// registered hosts, by name
	registered map[string]bool
	url        string
	api        *client.Client
}

// agents are what a test says they are.
type agents struct {
	mu    sync.Mutex
	hosts []distribute.HostStatus
}

func (a *agents) Hosts() []distribute.HostStatus {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.hosts)
}

func (a *agents) set(hosts ...distribute.HostStatus) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.hosts = hosts
}

// cluster is what a test says it is.
type cluster struct {
	mu     sync.Mutex
	leader string
	self   bool
}

func (c *cluster) Leader() (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leader, c.self
}

// follow makes somebody else the leader.
func (c *cluster) follow(leader string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leader, c.self = leader, false
}

// lead makes this netmaster the leader again.
func (c *cluster) lead() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leader, c.self = "192.0.2.10:9999", true
}

func (c *cluster) LocalAddress() string { return "192.0.2.10:9999" }
func (c *cluster) Masters() []string    { return []string{"192.0.2.11:9999", "192.0.2.10:9999"} }

// newRig starts a netmaster; change, if not nil, has the last word on its options.
func newRig(tb testing.TB, change func(*api.Options)) *rig {
	tb.Helper()
	ctx := tb.Context()
	store := memory.New()
	tb.Cleanup(func() { _ = store.Close() })
	revision, err := store.Commit(ctx, objdb.Txn{Then: []objdb.Op{objdb.Put("lead", []byte("me"))}})
	if err != nil {
		tb.Fatal(err)
	}
	words := new(strings.Builder)
	log := logrus.New()
	log.SetOutput(words)
	fence := func() (objdb.Compare, bool) { return objdb.Unchanged("lead", revision), true }
	book, err := ledger.Open(ctx, store, fence, logrus.NewEntry(log))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(book.Close)
	own := objects.New(book, objects.Options{}, logrus.NewEntry(log))
	if _, err := own.Seed(ctx, &state.Global{FwdMode: state.ForwardBridge}); err != nil {
		tb.Fatal(err)
	}
	r := &rig{
		t: tb, store: store, objects: own, agents: new(agents), log: words, registered: map[string]bool{},
		cluster: &cluster{leader: "192.0.2.10:9999", self: true},
	}
	r.options = api.Options{
		Reader: book, Changes: api.ChangesOf(own), Agents: r.agents, Cluster: r.cluster, Mode: "docker", Log: logrus.NewEntry(log),
	}
	if change != nil {
		change(&r.options)
	}
	r.serve()
	return r
}

func (r *rig) serve() {
	r.t.Helper()
	server := httptest.NewServer(api.Handler(r.options))
	r.t.Cleanup(server.Close)
	r.url = server.URL
	var err error
	if r.api, err = client.New(server.URL, client.Options{}); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(r.api.Close)
}

// ask sends a request and returns status, body and headers. Pairs of header are name and value.
func (r *rig) ask(method, path, body string, header ...string) (int, string, http.Header) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.url+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.(*http.Transport).RoundTrip(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, string(data), resp.Header
}

// must sends a request that must succeed and returns the body.
func (r *rig) must(method, path, body string) string {
	r.t.Helper()
	status, got, _ := r.ask(method, path, body)
	if status != http.StatusOK {
		r.t.Fatalf("%s %s: %d %s", method, path, status, got)
	}
	return got
}

func (r *rig) network(tenant, name, rest string) string {
	r.t.Helper()
	return r.must("POST", "/api/v1/networks/"+tenant+":"+name+"/",
		`{"tenantName":"`+tenant+`","networkName":"`+name+`",`+rest+`}`)
}

// group makes a group of network n1.
func (r *rig) group(tenant, name, rest string) string {
	r.t.Helper()
	return r.must("POST", "/api/v1/endpointGroups/"+tenant+":"+name+"/",
		`{"tenantName":"`+tenant+`","networkName":"n1","groupName":"`+name+`"`+rest+`}`)
}

func (r *rig) endpoint(request protocol.CreateEndpointRequest) {
	r.t.Helper()
	r.host(request.ID.Host, nil)
	if _, _, err := r.objects.CreateEndpoint(r.t.Context(), &request); err != nil {
		r.t.Fatal(err)
	}
}

// host registers a host, the first time or with what it has plugged in.
func (r *rig) host(name string, attached []protocol.Attachment) {
	r.t.Helper()
	if r.registered[name] && attached == nil {
		return
	}
	r.registered[name] = true
	_, err := r.objects.RegisterHost(r.t.Context(), &protocol.RegisterRequest{Host: name, MTU: 1500, Attachments: attached})
	if err != nil {
		r.t.Fatal(err)
	}
}

// versions are the members of objects that are other numbers each time.
var versions = regexp.MustCompile(`"resourceVersion":"[0-9]+",`)

// equal compares answers, resourceVersion aside.
func equal(t *testing.T, what, got, want string) {
	t.Helper()
	got, want = versions.ReplaceAllString(got, ""), versions.ReplaceAllString(want, "")
	if strings.TrimSpace(got) != strings.TrimSpace(want) {
		t.Errorf("%s:\n got %s\nwant %s", what, got, want)
	}
}
