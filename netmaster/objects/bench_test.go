package objects

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/objdb"
	"github.com/contiv/contiv/objdb/embedded"
	"github.com/contiv/contiv/ofnet/protocol"
	"github.com/contiv/contiv/state"
)

// BenchmarkAddresses is endpoints created in one network by 1 and 8 clients, against bare transactions with the same
// compares, keys and bytes on the same store. It reports the ratio of P6 without HTTP.
func BenchmarkAddresses(b *testing.B) {
	for _, clients := range []int{1, 8} {
		b.Run(fmt.Sprint(clients), func(b *testing.B) { benchCreates(b, clients, "n") })
	}
}

// BenchmarkNetworks is the same for networks of one tenant.
func BenchmarkNetworks(b *testing.B) {
	for _, clients := range []int{1, 8} {
		b.Run(fmt.Sprint(clients), func(b *testing.B) { benchCreates(b, clients, "") })
	}
}

func benchCreates(b *testing.B, clients int, network string) {
	b.Helper()
	store, err := embedded.Open(b.Context(), embedded.Config{Dir: b.TempDir(), Log: quiet()})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	revision, err := store.Commit(b.Context(), objdb.Txn{Then: []objdb.Op{objdb.Put(leaderKey, []byte("me"))}})
	if err != nil {
		b.Fatal(err)
	}
	fence := objdb.Unchanged(leaderKey, revision)
	l, err := ledger.Open(b.Context(), store, func() (objdb.Compare, bool) { return fence, true }, quiet())
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	o := New(l, Options{}, quiet())
	must := func(_ int64, err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	must(o.Seed(b.Context(), &state.Global{FwdMode: state.ForwardBridge}))
	must(o.CreateNetwork(b.Context(), net4("default:n", "10.0.0.0/8")))
	if _, err := o.RegisterHost(b.Context(), &protocol.RegisterRequest{Host: "h", MTU: 1500}); err != nil {
		b.Fatal(err)
	}
	var ours, bare time.Duration
	create := func(i int) error {
		if network == "" {
			_, err := o.CreateNetwork(b.Context(), net4(fmt.Sprint("default:n", i), fmt.Sprintf("11.%d.%d.0/24", i/256, i%256)))
			return err
		}
		_, _, err := o.CreateEndpoint(b.Context(), request("h", fmt.Sprint("c", i), "n", ""))
		return err
	}
	n := 0
	for b.Loop() {
		const batch = 400
		ours += timed(b, clients, n, batch, create)
		bare += timed(b, clients, n, batch, func(i int) error { return bareCreate(b, store, fence, i, network) })
		n += batch
	}
	b.ReportMetric(float64(n)/ours.Seconds(), "ours/s")
	b.ReportMetric(float64(n)/bare.Seconds(), "bare/s")
	b.ReportMetric(bare.Seconds()/ours.Seconds(), "ratio")
}

func timed(b *testing.B, clients, first, count int, do func(int) error) time.Duration {
	b.Helper()
	var next atomic.Int64
	began := time.Now()
	var wg sync.WaitGroup
	for range clients {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				i := int(next.Add(1)) - 1
				if i >= count {
					return
				}
				if err := do(first + i); err != nil {
					b.Error(err)
					return
				}
			}
		}()
	}
	wg.Wait()
	return time.Since(began)
}

// bareCreate writes what a create does, knowing everything beforehand.
func bareCreate(b *testing.B, store objdb.Store, fence objdb.Compare, i int, network string) error {
	b.Helper()
	txn := objdb.Txn{If: []objdb.Compare{fence}}
	records := []state.Record{
		&state.Endpoint{EndpointID: state.EndpointID{Host: "h", ContainerID: fmt.Sprint("b", i), IfName: "eth0"}, TenantName: "default", NetworkName: "n", MAC: "02:02:0a:00:00:01", Created: time.Now()},
		&state.Allocation{Pool: "bare", Number: i, Owner: fmt.Sprintf("state/eps/h/b%d/eth0", i)},
	}
	if network == "" {
		n := net4(fmt.Sprint("default:bare", i), "11.0.0.0/24")
		records = []state.Record{n, &state.NetworkState{TenantName: "default", NetworkName: n.NetworkName, ID: i, VNI: i},
			&state.Allocation{Pool: "bare", Number: i, Owner: "state/nets/" + n.Key()}, &state.Allocation{Pool: "bare2", Number: i, Owner: "state/nets/" + n.Key()}}
		for range 2 {
			txn.If = append(txn.If, fence)
		}
	} else {
		for range 3 {
			txn.If = append(txn.If, fence)
		}
	}
	for _, record := range records {
		value, err := state.Encode(record)
		if err != nil {
			return err
		}
		key := "bare/" + record.StoreKey()
		txn.If = append(txn.If, objdb.Absent(key))
		txn.Then = append(txn.Then, objdb.Put(key, value))
	}
	_, err := store.Commit(b.Context(), txn)
	return err
}
