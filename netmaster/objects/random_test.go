package objects

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/contiv/contiv/netmaster/ledger"

	"github.com/contiv/contiv/objdb/embedded"
	"github.com/contiv/contiv/objdb/memory"
	"github.com/contiv/contiv/ofnet/protocol"
	"github.com/contiv/contiv/state"
)

// mix does random operations on few names, so that they meet each other all the time.
type mix struct {
	*Objects
	rnd *rand.Rand
}

func (m *mix) pick(what string, n int) string { return fmt.Sprint(what, m.rnd.IntN(n)) }

func (m *mix) tenant() string {
	if m.rnd.IntN(2) == 0 {
		return state.DefaultTenant
	}
	return m.pick("t", 2)
}

func (m *mix) endpointID() protocol.EndpointID {
	return protocol.EndpointID{Host: m.pick("h", 3), ContainerID: m.pick("c", 12), IfName: "eth0"}
}

// step does one operation and tells what it was.
func (m *mix) step(ctx context.Context) (string, error) {
	tenant := m.tenant()
	switch m.rnd.IntN(24) {
	case 16, 17, 18, 19, 20, 21, 22, 23:
		return m.intent(ctx, tenant)
	case 0:
		return did(m.CreateTenant(ctx, &state.Tenant{TenantName: tenant}))("create tenant " + tenant)
	case 1:
		return did(m.DeleteTenant(ctx, tenant))("delete tenant " + tenant)
	case 2, 3, 4:
		n := m.network(tenant)
		return did(m.CreateNetwork(ctx, n))("create network " + n.Key())
	case 5:
		key := state.ModelKey(tenant, m.pick("n", 4))
		return did(m.DeleteNetwork(ctx, key))("delete network " + key)
	case 6, 7:
		g := group(tenant+":"+m.pick("g", 3), m.pick("n", 4), "")
		if m.rnd.IntN(2) == 0 {
			first := 2 + m.rnd.IntN(8)
			g.IPPool = fmt.Sprintf("10.0.%d.%d-10.0.%d.%d", m.rnd.IntN(4), first, m.rnd.IntN(4), first+m.rnd.IntN(4))
		}
		m.attach(g)
		return did(m.PutEndpointGroup(ctx, g))("put group " + g.Key())
	case 8:
		key := tenant + ":" + m.pick("g", 3)
		return did(m.DeleteEndpointGroup(ctx, key))("delete group " + key)
	case 9, 10, 11, 12:
		return m.createEndpoint(ctx, tenant)
	case 13:
		id := m.endpointID()
		return did(m.DeleteEndpoint(ctx, state.EndpointID(id)))("delete endpoint " + id.String())
	case 14:
		return "sweep", m.Sweep(ctx)
	}
	r, err := m.ReserveAddress(ctx, "h0", &protocol.ReserveAddressRequest{Tenant: tenant, Network: m.pick("n", 4)})
	if err == nil && m.rnd.IntN(2) == 0 {
		_, err = m.ReleaseAddress(ctx, r.Token)
	}
	return "reserve", err
}

func did(_ int64, err error) func(string) (string, error) {
	return func(what string) (string, error) { return what, err }
}

func (m *mix) network(tenant string) *state.Network {
	i := m.rnd.IntN(4)
	n := net4(fmt.Sprintf("%s:n%d", tenant, i), fmt.Sprintf("10.0.%d.0/28", i))
	if m.rnd.IntN(4) == 0 {
		n.Subnet = "10.0.0.0/16"
	}
	n.Gateway = fmt.Sprintf("10.0.%d.1", i)
	if n.Subnet == "10.0.0.0/16" {
		n.Gateway = ""
	}
	if m.rnd.IntN(2) == 0 {
		n.Encap = state.EncapVLAN
	}
	if m.rnd.IntN(3) == 0 {
		n.PktTag = 1 + m.rnd.IntN(5)
	}
	if m.rnd.IntN(3) == 0 {
		n.IPv6Subnet = fmt.Sprintf("2001:db8:%d::/126", i)
	}
	return n
}

func (m *mix) createEndpoint(ctx context.Context, tenant string) (string, error) {
	r := &protocol.CreateEndpointRequest{ID: m.endpointID(), Tenant: tenant, Network: m.pick("n", 4)}
	if n := m.rnd.IntN(4); n < 3 {
		r.Network = ""
		for range 1 + n/2*m.rnd.IntN(3) {
			r.Groups = append(r.Groups, m.pick("g", 3))
		}
	}
	_, _, err := m.CreateEndpoint(ctx, r)
	return "create endpoint " + r.ID.String(), err
}

// TestRandomOperations: eight clients in each other's way; the bed's checker looks at the store afterwards.
func TestRandomOperations(t *testing.T) {
	for _, rest := range []time.Duration{0, DefaultAddressRest} {
		t.Run(rest.String(), func(t *testing.T) {
			store := memory.New()
			t.Cleanup(func() { _ = store.Close() })
			b := bedOn(t, store, rest)
			randomOperations(t, b, 8, 250)
		})
	}
}

func TestRandomOperationsEmbedded(t *testing.T) {
	store, err := embedded.Open(t.Context(), embedded.Config{Dir: t.TempDir(), Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	randomOperations(t, bedOn(t, store, 0), 8, 40)
}

func randomOperations(t *testing.T, b *bed, clients, steps int) {
	t.Helper()
	for i := range 3 {
		b.host(fmt.Sprint("h", i))
	}
	kinds := map[Kind]int{}
	accepted := map[string]int{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for client := range clients {
		wg.Add(1)
		go func() {
			defer wg.Done()
			m := &mix{b.Objects, rand.New(rand.NewPCG(uint64(client), 3))}
			for range steps {
				what, err := m.step(t.Context())
				mu.Lock()
				if err == nil {
					accepted[what]++
				} else if kinds[KindOf(err)]++; KindOf(err) == Internal || KindOf(err) == Unavailable {
					t.Errorf("%s: %v", what, err)
				}
				mu.Unlock()
				b.pass(10 * time.Millisecond)
			}
		}()
	}
	wg.Wait()
	total := 0
	for _, n := range accepted {
		total += n
	}
	t.Logf("%d of %d accepted, refused by kind: %v", total, clients*steps, kinds)
	if total < clients*steps/4 {
		t.Errorf("only %d of %d operations were accepted: the test tests little", total, clients*steps)
	}
	b.drain()
}

// drain removes everything, after which no number may be left but those of the default tenant.
func (b *bed) drain() {
	b.t.Helper()
	ctx := b.t.Context()
	var eps []state.EndpointID
	var groups, networks, tenants []string
	b.view(func(m *ledger.Model) {
		for _, e := range m.Endpoints() {
			eps = append(eps, e.EndpointID)
		}
		for _, g := range m.Groups("") {
			groups = append(groups, g.Key())
		}
		for _, n := range m.Networks("") {
			networks = append(networks, n.Key())
		}
		for _, t := range m.Tenants() {
			tenants = append(tenants, t.Key())
		}
	})
	for _, id := range eps {
		b.ok(b.DeleteEndpoint(ctx, id))
	}
	b.drainUsers()
	for _, key := range groups {
		b.ok(b.DeleteEndpointGroup(ctx, key))
	}
	b.drainIntent()
	for _, key := range networks {
		b.ok(b.DeleteNetwork(ctx, key))
	}
	for _, name := range tenants {
		if name != state.DefaultTenant {
			b.ok(b.DeleteTenant(ctx, name))
		}
	}
	b.pass(time.Hour)
	b.sweep()
	kvs, _, err := b.store.List(ctx, "")
	if err != nil {
		b.t.Fatal(err)
	}
	for _, kv := range kvs {
		if len(kv.Key) > len(state.AllocationPrefix) && kv.Key[:len(state.AllocationPrefix)] == state.AllocationPrefix && kv.Key != "alloc/vrf/1" {
			b.t.Errorf("leaked: %s %s", kv.Key, kv.Value)
		}
		if strings.HasPrefix(kv.Key, state.RulePrefix) || strings.HasPrefix(kv.Key, state.GoingPolicyPrefix) {
			b.t.Errorf("left: %s", kv.Key)
		}
	}
}
