package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/contiv/contiv/install/sandbox"
	"github.com/contiv/contiv/netmaster/client"
	"github.com/contiv/contiv/netmaster/ledger/check"
	"github.com/contiv/contiv/objdb/embedded"
	"github.com/contiv/contiv/state"
	"github.com/sirupsen/logrus"
)

// TestNetmasterKilledAnywhere makes thousands of mixed creates and deletes from four clients while netmaster is killed
// with -9 again and again: what was acknowledged holds, and in the store no address, tag or id is leaked or given
// twice.
func TestNetmasterKilledAnywhere(t *testing.T) {
	c := start(t, sandbox.Config{Hosts: 1})
	const operations, kills = 1000, 12 // at least
	var done atomic.Int64
	var enough atomic.Bool
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	clients := make([]*operator, 4)
	var wg sync.WaitGroup
	for i := range clients {
		rest, err := client.New(c.URL(), client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer rest.Close()
		clients[i] = &operator{t: t, rest: rest, tenant: fmt.Sprintf("t%d", i), exists: map[string]bool{}, random: rand.New(rand.NewPCG(7, uint64(i)))}
		wg.Add(1)
		go func() {
			defer wg.Done()
			for ; !enough.Load() && ctx.Err() == nil; done.Add(1) {
				clients[i].step(ctx)
			}
		}()
	}
	random := rand.New(rand.NewPCG(7, 99))
	for i := 0; i < kills || done.Load() < operations && ctx.Err() == nil; i++ {
		<-time.After(time.Duration(20+random.IntN(200)) * time.Millisecond)
		c.must(c.Kill(sandbox.Netmaster, 1))
		c.must(c.Start(ctx, sandbox.Netmaster, 1))
	}
	enough.Store(true)
	wg.Wait()
	c.waitReady()
	for _, one := range clients {
		one.verify(ctx)
	}
	c.must(c.Stop(sandbox.Netmaster, 1))
	log := logrus.New()
	log.SetLevel(logrus.ErrorLevel)
	store, err := embedded.Open(ctx, embedded.Config{Dir: filepath.Join(c.Dir(), "h1", "netmaster"), Log: logrus.NewEntry(log)})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close() //nolint:errcheck // only read
	wrong, err := check.Store(ctx, store)
	if err != nil || len(wrong) > 0 {
		t.Errorf("the store after %d operations: %v\n%s", done.Load(), err, strings.Join(wrong, "\n"))
	}
	t.Logf("%d operations, %d kills", done.Load(), kills)
}

// operator makes random requests in a tenant of its own and knows what must be there.
type operator struct {
	t      *testing.T
	rest   *client.Client
	tenant string
	random *rand.Rand
	// exists tells for each key what the last acknowledged request left; keys with an unknown outcome are missing.
	exists map[string]bool
}

// step makes or removes one object; a request that fails because netmaster died leaves its outcome unknown.
func (o *operator) step(ctx context.Context) {
	number := o.random.IntN(8)
	network, group := fmt.Sprintf("n%d", number), fmt.Sprintf("g%d", number)
	create := o.random.IntN(3) > 0
	var key string
	var err error
	switch kind := o.random.IntN(5); {
	case kind == 0 && create:
		key = "tenant " + o.tenant
		_, err = o.rest.Tenants().Post(ctx, &client.Tenant{Tenant: state.Tenant{TenantName: o.tenant}})
	case kind == 0:
		key = "tenant " + o.tenant
		err = o.rest.Tenants().Delete(ctx, o.tenant)
	case kind <= 2 && create:
		key = "network " + network
		_, err = o.rest.Networks().Post(ctx, &client.Network{Network: state.Network{TenantName: o.tenant, NetworkName: network,
			Encap: []string{"vxlan", "vlan"}[number%2], Subnet: fmt.Sprintf("10.1.%d.0/24", number)}})
	case kind <= 2:
		key = "network " + network
		err = o.rest.Networks().Delete(ctx, state.ModelKey(o.tenant, network))
	case create:
		key = "group " + group
		_, err = o.rest.EndpointGroups().Post(ctx, &client.EndpointGroup{EndpointGroup: state.EndpointGroup{TenantName: o.tenant,
			GroupName: group, NetworkName: network}})
	default:
		key = "group " + group
		err = o.rest.EndpointGroups().Delete(ctx, state.ModelKey(o.tenant, group))
	}
	switch status := client.StatusOf(err); {
	case err == nil:
		o.exists[key] = create
	case status == http.StatusConflict || status == http.StatusNotFound: // refused: nothing changed
	default:
		delete(o.exists, key)
	}
}

// verify compares what was acknowledged with what is listed.
func (o *operator) verify(ctx context.Context) {
	there := map[string]bool{}
	tenants, err1 := o.rest.Tenants().List(ctx)
	networks, err2 := o.rest.Networks().List(ctx)
	groups, err3 := o.rest.EndpointGroups().List(ctx)
	if err := errors.Join(err1, err2, err3); err != nil {
		o.t.Fatalf("listing after the kills: %v", err)
	}
	for _, tenant := range tenants {
		there["tenant "+tenant.TenantName] = true
	}
	for _, network := range networks {
		if network.TenantName == o.tenant {
			there["network "+network.NetworkName] = true
		}
	}
	for _, group := range groups {
		if group.TenantName == o.tenant {
			there["group "+group.GroupName] = true
		}
	}
	for key, want := range o.exists {
		if there[key] != want {
			o.t.Errorf("tenant %s: %s: acknowledged %v, listed %v", o.tenant, key, want, there[key])
		}
	}
}
