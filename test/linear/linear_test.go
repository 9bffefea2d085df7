package linear

import (
	"context"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/contiv/contiv/netmaster/ledger/check"
	"github.com/contiv/contiv/objdb"
	"github.com/contiv/contiv/objdb/consul"
	"github.com/contiv/contiv/objdb/consul/consultest"
	"github.com/contiv/contiv/objdb/embedded"
	"github.com/contiv/contiv/objdb/etcd"
	"github.com/contiv/contiv/objdb/etcd/etcdtest"
)

const clients = 8

// run is one history against one cluster.
type run struct {
	*cluster
	history *history
	rnd     *rand.Rand
	seed    uint64
	tenants []string
	stale   bool // clients ask for reads that may be stale
}

func newRun(t *testing.T, c *cluster) *run {
	t.Helper()
	seed := uint64(time.Now().UnixNano()) //nolint:gosec // never negative
	if text := os.Getenv("CONTIV_LINEAR_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("CONTIV_LINEAR_SEED=%d", seed)
	return &run{
		cluster: c, history: newHistory(), seed: seed, rnd: rand.New(rand.NewPCG(seed, 0)), //nolint:gosec // choices of a test
		tenants: []string{"t0", "t1", "t2", "t3"},
	}
}

// lasting is how long a run takes: in CI so long, or as the environment says.
func lasting(t *testing.T, usual time.Duration) time.Duration {
	t.Helper()
	text := os.Getenv("CONTIV_LINEAR_TIME")
	if text == "" {
		return usual
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (r *run) client(id int) *client {
	return &client{
		id: id, rnd: rand.New(rand.NewPCG(r.seed, uint64(id)+1)), http: r.http, urls: r.urls(), history: r.history, //nolint:gosec // choices of a test
		fail: r.t.Errorf, stale: r.stale,
	}
}

// during runs the clients while something happens, and then reads everything from every netmaster.
func (r *run) during(happens func(ctx context.Context)) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for id := range clients {
		wg.Add(1)
		go func() {
			defer wg.Done()
			r.client(id).run(ctx, r.tenants)
		}()
	}
	happens(ctx)
	cancel()
	wg.Wait()
	r.settle()
	for i, m := range r.masters {
		last := r.client(clients + i)
		last.urls = []string{m.url}
		for s := range slot(slots) {
			if s.isEndpoint() {
				for _, tenant := range r.tenants {
					last.endpoint(context.Background(), input{verb: inspect, partition: tenant, slot: s})
				}
			} else if !last.list(context.Background(), s, r.tenants) {
				r.t.Errorf("%s does not list %s", m.url, s.key("T"))
			}
		}
	}
}

// judge checks the history, the logs, and the store, which is opened when all netmasters have stopped.
func (r *run) judge(open func(context.Context) (objdb.Store, error)) {
	r.t.Helper()
	for _, m := range r.masters {
		m.end(r.t, syscall.SIGTERM)
		m.checkLog(r.t)
	}
	store, err := open(context.Background())
	if err != nil {
		r.t.Fatal(err)
	}
	wrong, err := check.Store(context.Background(), store)
	if err != nil || len(wrong) > 0 {
		r.t.Errorf("what is in the store: %v\n%s", err, strings.Join(wrong, "\n"))
	}
	if err := store.Close(); err != nil {
		r.t.Error(err)
	}
	answered := r.history.answered()
	r.t.Logf("%d operations, by status %v", len(r.history.ops), answered)
	if answered[200] < 200 {
		r.t.Errorf("only %d operations succeeded: the test tests little", answered[200])
	}
	r.history.check(r.t, rules{})
}

// TestOneNetmaster: eight clients, nothing fails.
func TestOneNetmaster(t *testing.T) {
	r := newRun(t, newCluster(t, 1))
	r.during(func(ctx context.Context) { wait(ctx, lasting(t, 5*time.Second)) })
	r.judge(func(ctx context.Context) (objdb.Store, error) {
		return embedded.Open(ctx, embedded.Config{Dir: r.masters[0].data()})
	})
}

// TestOneNetmasterKilled: the only one is killed with -9 at random moments and started again on its embedded store.
func TestOneNetmasterKilled(t *testing.T) {
	r := newRun(t, newCluster(t, 1))
	r.during(func(ctx context.Context) {
		for end := time.Now().Add(lasting(t, 4*time.Second)); time.Now().Before(end); {
			wait(ctx, r.some(2*time.Second))
			r.masters[0].end(t, syscall.SIGKILL)
			r.masters[0].start(t)
			r.settle()
		}
	})
	r.judge(func(ctx context.Context) (objdb.Store, error) {
		return embedded.Open(ctx, embedded.Config{Dir: r.masters[0].data()})
	})
}

// TestLeadersOnEtcd: three netmasters, all asked, of which the leader is killed, stopped and paused.
func TestLeadersOnEtcd(t *testing.T) {
	server := etcdtest.New(t)
	r := newRun(t, newCluster(t, 3, "--etcd", server.URL))
	r.during(func(ctx context.Context) { r.badDays(ctx, lasting(t, 12*time.Second), true) })
	r.judge(etcdOf(server))
}

// TestLeadersOnConsul is the same with another store.
func TestLeadersOnConsul(t *testing.T) {
	server := consultest.New(t)
	r := newRun(t, newCluster(t, 3, "--consul", server.URL))
	r.during(func(ctx context.Context) { r.badDays(ctx, lasting(t, 10*time.Second), false) })
	r.judge(func(ctx context.Context) (objdb.Store, error) {
		return consul.Open(ctx, consul.Config{Endpoints: []string{server.URL}})
	})
}

// TestStoreStops: the store is killed, is away for seconds and comes back.
func TestStoreStops(t *testing.T) {
	server := etcdtest.New(t)
	r := newRun(t, newCluster(t, 2, "--etcd", server.URL))
	r.during(func(ctx context.Context) {
		for end := time.Now().Add(lasting(t, 5*time.Second)); time.Now().Before(end); {
			wait(ctx, time.Second+r.some(time.Second))
			server.Kill(t)
			wait(ctx, time.Second+r.some(3*time.Second))
			server.Start(t)
			server.Await(t)
			r.settle()
		}
		wait(ctx, time.Second)
	})
	r.judge(etcdOf(server))
}

func etcdOf(server *etcdtest.Server) func(context.Context) (objdb.Store, error) {
	return func(ctx context.Context) (objdb.Store, error) {
		return etcd.Open(ctx, etcd.Config{Endpoints: []string{server.URL}})
	}
}

func (r *run) some(most time.Duration) time.Duration { return time.Duration(r.rnd.Int64N(int64(most))) }

// badDays does one thing after the other to whoever leads, each kind once before any comes again.
func (r *run) badDays(ctx context.Context, last time.Duration, all bool) {
	r.t.Helper()
	kill := func(m *master) {
		m.end(r.t, syscall.SIGKILL)
		wait(ctx, r.some(2*time.Second))
		m.start(r.t)
	}
	stop := func(m *master) {
		m.end(r.t, syscall.SIGTERM)
		m.start(r.t)
	}
	pause := func(m *master) {
		m.pause()
		wait(ctx, 4*time.Second+r.some(2*time.Second)) // long enough for another to lead
		m.resume()
	}
	days := []func(*master){kill, pause}
	if all {
		days = append(days, stop)
	}
	end := time.Now().Add(last)
	for done := 0; done < len(days) || time.Now().Before(end); done++ {
		if done%len(days) == 0 {
			r.rnd.Shuffle(len(days), func(i, j int) { days[i], days[j] = days[j], days[i] })
		}
		wait(ctx, 500*time.Millisecond+r.some(time.Second))
		leader := r.leader(ctx)
		if leader == nil {
			r.t.Fatal("nobody leads")
		}
		days[done%len(days)](leader)
		r.settle()
	}
	wait(ctx, time.Second)
}
