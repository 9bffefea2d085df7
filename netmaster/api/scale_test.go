package api_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/sirupsen/logrus"

	"github.com/contiv/contiv/netmaster/api"
	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/netmaster/objects"
	"github.com/contiv/contiv/objdb"
	"github.com/contiv/contiv/objdb/memory"
	"github.com/contiv/contiv/state"
)

// crowdTenants are the tenants of a crowd; everything else in it grows with its size.
const crowdTenants = 4

// crowd are so many objects: half of them rules, then endpoints, networks, groups, policies and netprofiles.
func crowd(size int) (records []state.Record) {
	add := func(r ...state.Record) { records = append(records, r...) }
	g := state.DefaultGlobal(state.ForwardBridge)
	add(&g, &state.Tenant{TenantName: state.DefaultTenant}, &state.TenantState{TenantName: state.DefaultTenant, VRF: 1})
	for t := range crowdTenants {
		add(&state.Tenant{TenantName: tenantName(t)}, &state.TenantState{TenantName: tenantName(t), VRF: 2 + t})
	}
	units := size / 40 // of 40 objects
	for u := range units {
		tenant, name := tenantName(u%crowdTenants), fmt.Sprint("u", u)
		network := &state.Network{
			TenantName: tenant, NetworkName: name, NwType: "data", Encap: "vxlan", Subnet: fmt.Sprintf("10.%d.%d.0/24", u/256, u%256),
		}
		add(network, &state.NetworkState{TenantName: tenant, NetworkName: name, ID: 1 + u, VNI: 1 + u})
		add(&state.Policy{TenantName: tenant, PolicyName: name}, &state.Netprofile{TenantName: tenant, ProfileName: name})
		group := &state.EndpointGroup{TenantName: tenant, GroupName: name + "g", NetworkName: name, Policies: []string{name}, NetProfile: name}
		add(group, &state.GroupState{TenantName: tenant, GroupName: group.GroupName, ID: 1 + u, Identity: 1 + u})
		for i := range 20 {
			add(&state.Rule{TenantName: tenant, PolicyName: name, RuleID: fmt.Sprint(i), Direction: "in", Action: "allow", Protocol: "tcp", Port: 1 + i, Priority: 1})
		}
		for i := range 16 {
			addr := netip.AddrFrom4([4]byte{10, byte(u / 256), byte(u), byte(1 + i)})
			e := &state.Endpoint{
				EndpointID: state.EndpointID{Host: fmt.Sprint("h", i), ContainerID: fmt.Sprintf("%s-%d", name, i), IfName: "eth0"},
				TenantName: tenant, NetworkName: name, Groups: []string{group.GroupName}, Identity: 1 + u, IPv4: addr,
			}
			add(e, &state.Allocation{Pool: state.AddressPool(network.Key()), Addr: addr, Owner: e.StoreKey()})
		}
	}
	return records
}

func tenantName(i int) string { return fmt.Sprint("t", i) }

// scene is a netmaster with a crowd.
type scene struct {
	t       *testing.T
	opened  uint64 // allocations of opening the model
	objects *objects.Objects
	handler http.Handler
}

func newScene(t *testing.T, size int) *scene {
	t.Helper()
	ctx := t.Context()
	store := memory.New()
	t.Cleanup(func() { _ = store.Close() })
	ops := []objdb.Op{objdb.Put(state.SchemaKey, []byte(fmt.Sprint(state.SchemaVersion)))}
	commit := func() int64 {
		revision, err := store.Commit(ctx, objdb.Txn{Then: ops})
		if err != nil {
			t.Fatal(err)
		}
		ops = ops[:0]
		return revision
	}
	for _, r := range crowd(size) {
		data, err := state.Encode(r)
		if err != nil {
			t.Fatal(err)
		}
		if ops = append(ops, objdb.Put(r.StoreKey(), data)); len(ops) == 60 {
			commit()
		}
	}
	commit()
	ops = append(ops, objdb.Put("lead", []byte("me")))
	fence := objdb.Unchanged("lead", commit())
	log := logrus.New()
	log.SetOutput(io.Discard)
	s := &scene{t: t}
	var book *ledger.Ledger
	s.opened = allocations(func() {
		var err error
		if book, err = ledger.Open(ctx, store, func() (objdb.Compare, bool) { return fence, true }, logrus.NewEntry(log)); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(book.Close)
	s.objects = objects.New(book, objects.Options{}, logrus.NewEntry(log))
	s.handler = api.Handler(api.Options{
		Reader: book, Changes: api.ChangesOf(s.objects), Agents: new(agents), Cluster: &cluster{leader: "192.0.2.10:9999", self: true},
		Log: logrus.NewEntry(log),
	})
	if streams, ok := s.handler.(interface{ EndStreams() }); ok {
		t.Cleanup(streams.EndStreams)
	}
	return s
}

// allocations counts what a function allocates, with what other goroutines do for it. It counts work, not time.
func allocations(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.Mallocs - before.Mallocs
}

// get is what a request allocates; it must succeed.
func (s *scene) get(path string) uint64 {
	s.t.Helper()
	ask := func() {
		answer := httptest.NewRecorder()
		s.handler.ServeHTTP(answer, httptest.NewRequestWithContext(s.t.Context(), http.MethodGet, path, nil))
		if answer.Code != http.StatusOK {
			s.t.Fatalf("%s: %d %s", path, answer.Code, answer.Body)
		}
	}
	ask()
	return allocations(ask)
}

func (s *scene) profile(i int) {
	s.t.Helper()
	if _, err := s.objects.PutNetprofile(s.t.Context(), &state.Netprofile{TenantName: "t0", ProfileName: "u0", DSCP: 1 + i%60}); err != nil {
		s.t.Fatal(err)
	}
}

// TestScale: four times the objects are at most six times the work where all of them are shown, and no more work where
// one is.
func TestScale(t *testing.T) {
	const few, many = 5000, 20000
	work := map[string][2]uint64{}
	for i, size := range []int{few, many} {
		s := newScene(t, size)
		note := func(what string, n uint64) {
			both := work[what]
			both[i] = n
			work[what] = both
		}
		note("all: start", s.opened)
		for _, name := range []string{"rules", "networks", "endpointGroups", "policys", "netprofiles"} {
			note("all: list "+name, s.get("/api/v1/"+name+"/"))
		}
		note("all: inspect tenant", s.get("/api/v1/inspect/tenants/t0/"))
		note("all: list tenants", s.get("/api/v1/tenants/"))
		note("all: watch begins", s.watch(func(next func() string) {
			for range size / 2 {
				next()
			}
		}, "/api/v1/rules/?watch=true"))
		for _, path := range []string{
			"networks/t0:u0", "endpointGroups/t0:u0g", "rules/t0:u0:7", "inspect/networks/t0:u0", "inspect/endpointGroups/t0:u0g", "inspect/policys/t0:u0",
			"inspect/endpoints/h0/u0-0/eth0", "rules/?limit=20",
		} {
			note("one: "+path, s.get("/api/v1/"+path+map[bool]string{true: "", false: "/"}[strings.Contains(path, "?")]))
		}
		s.profile(0)
		note("one: 50 changes", allocations(func() {
			for i := range 50 {
				s.profile(1 + i)
			}
		}))
		note("one: 50 watched changes", s.watch(func(next func() string) {
			next()
			for i := range 50 {
				s.profile(i)
				next()
			}
		}, "/api/v1/netprofiles/?watch=true&profileName=u0&tenantName=t0"))
	}
	for what, n := range work {
		ratio, most := float64(n[1])/float64(n[0]), 6.0
		if strings.HasPrefix(what, "one: ") {
			most = 2
		}
		t.Logf("%-40s %9d %9d allocations, ratio %.2f", what, n[0], n[1], ratio)
		if ratio > most {
			t.Errorf("%s: %d allocations with %d objects, %d with %d: more than %v times as many", what, n[0], few, n[1], many, most)
		}
	}
}

// watch counts the work of a stream; take reads its events one by one.
func (s *scene) watch(take func(next func() string), path string) (work uint64) {
	s.t.Helper()
	server := httptest.NewServer(s.handler)
	defer server.Close()
	ctx, cancel := context.WithCancel(s.t.Context())
	defer cancel()
	return allocations(func() {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+path, nil)
		if err != nil {
			s.t.Fatal(err)
		}
		response, err := server.Client().Do(request)
		if err != nil {
			s.t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		lines := bufio.NewScanner(response.Body)
		lines.Buffer(nil, 1<<20)
		take(func() string {
			for lines.Scan() {
				if data, ok := strings.CutPrefix(lines.Text(), "data:"); ok && strings.Contains(data, `"key"`) {
					return data
				}
			}
			s.t.Fatalf("the stream has ended: %v", lines.Err())
			return ""
		})
		cancel()
	})
}

// TestListHoldsUpNobody: while lists of 20 000 objects are made one after the other, single requests go on: many of
// them, reading and writing, for each list. Counted, not timed.
func TestListHoldsUpNobody(t *testing.T) {
	s := newScene(t, 20000)
	server := httptest.NewServer(s.handler)
	defer server.Close()
	ask := func(method, path, body string) {
		request, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, strings.NewReader(body))
		if err != nil {
			t.Error(err)
			return
		}
		response, err := server.Client().Do(request)
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = response.Body.Close() }()
		if _, err := io.Copy(io.Discard, response.Body); err != nil || response.StatusCode != http.StatusOK {
			t.Errorf("%s %s: %d, %v", method, path, response.StatusCode, err)
		}
	}
	const lists, perList = 8, 10
	over := make(chan struct{})
	var gets, puts int
	var wg sync.WaitGroup
	until := func(count *int, one func(i int)) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				select {
				case <-over:
					return
				default:
					one(*count)
					*count++
				}
			}
		}()
	}
	until(&gets, func(int) { ask(http.MethodGet, "/api/v1/networks/t0:u0/", "") })
	until(&puts, func(i int) {
		ask(http.MethodPut, "/api/v1/netprofiles/t1:u1/", fmt.Sprintf(`{"tenantName":"t1","profileName":"u1","DSCP":%d}`, 1+i%60))
	})
	for range lists {
		ask(http.MethodGet, "/api/v1/rules/", "")
		ask(http.MethodGet, "/api/v1/inspect/tenants/t0/", "")
	}
	close(over)
	wg.Wait()
	t.Logf("%d gets and %d puts while there were %d lists", gets, puts, lists)
	if gets < lists*perList || puts < lists*perList {
		t.Errorf("%d gets and %d puts in the time of %d lists: they are held up", gets, puts, lists)
	}
}
