package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/netmaster/objects"
	"github.com/contiv/contiv/objdb"
	"github.com/contiv/contiv/objdb/embedded"
	"github.com/contiv/contiv/objdb/memory"
	"github.com/contiv/contiv/ofnet/protocol"
	"github.com/contiv/contiv/state"
)

// population is what a cluster of P8 holds: hosts, and tenants that have networks, a group in each, and endpoints that
// are spread over all hosts and all networks.
type population struct {
	name      string
	tenants   int
	networks  int // of one tenant
	endpoints int // of one tenant
}

// cluster is a population on a number of hosts.
type cluster struct {
	population
	agents []*simulated // with their attachments
}

func (p population) total() int { return p.tenants * p.endpoints }

// place says on which host (of a number) and which network the endpoint of a tenant lives. A host with several
// endpoints of a tenant has them on different networks.
func (p population) place(tenant, endpoint, hosts int) (host, network int) {
	return (endpoint + 37*tenant) % hosts, (endpoint + endpoint/hosts) % p.networks
}

// workshop is netmaster's objects on a store in memory: what a benchmark makes there quickly is then copied.
type workshop struct {
	store *recorder
	book  *ledger.Ledger
	*objects.Objects
}

func newWorkshop(ctx context.Context) (*workshop, error) {
	w := &workshop{store: &recorder{Store: memory.New()}}
	revision, err := w.store.Commit(ctx, objdb.Txn{Then: []objdb.Op{objdb.Put("lock/bench", nil)}})
	if err != nil {
		return nil, fmt.Errorf("preparing a store in memory: %w", err)
	}
	fence := func() (objdb.Compare, bool) { return objdb.Unchanged("lock/bench", revision), true }
	if w.book, err = ledger.Open(ctx, w.store, fence, silent()); err != nil {
		return nil, fmt.Errorf("preparing a store in memory: %w", err)
	}
	w.Objects = objects.New(w.book, objects.Options{}, silent())
	if _, err = w.Seed(ctx, &state.Global{FwdMode: state.ForwardBridge}); err != nil {
		w.close()
		return nil, fmt.Errorf("preparing a store in memory: %w", err)
	}
	return w, nil
}

func (w *workshop) close() {
	w.book.Close()
	_ = w.store.Close()
}

// fill makes a cluster and writes it to the embedded store of a directory.
func fill(ctx context.Context, p population, hosts int, dir string) (*cluster, error) {
	w, err := newWorkshop(ctx)
	if err != nil {
		return nil, err
	}
	defer w.close()
	c := &cluster{population: p}
	for i := range hosts {
		c.agents = append(c.agents, &simulated{host: fmt.Sprintf("host%04d", i)})
	}
	if err := c.build(ctx, w); err != nil {
		return nil, fmt.Errorf("making %s: %w", p.name, err)
	}
	return c, copyStore(ctx, w.store, dir)
}

func (c *cluster) build(ctx context.Context, w *workshop) error {
	for _, agent := range c.agents {
		request := registration(agent.host, nil)
		request.Version, request.Build = protocol.Version, ""
		if _, err := w.RegisterHost(ctx, &request); err != nil {
			return err //nolint:wrapcheck // names the host
		}
	}
	for t := range c.tenants {
		if err := c.buildTenant(ctx, w, t); err != nil {
			return err
		}
	}
	return nil
}

func tenantName(t int) string { return fmt.Sprintf("tenant%02d", t) }

func (c *cluster) buildTenant(ctx context.Context, w *workshop, t int) error {
	tenant := tenantName(t)
	if _, err := w.CreateTenant(ctx, &state.Tenant{TenantName: tenant}); err != nil {
		return err //nolint:wrapcheck // names the tenant
	}
	for n := range c.networks {
		_, err := w.CreateNetwork(ctx, &state.Network{
			TenantName: tenant, NetworkName: fmt.Sprintf("net%d", n), Encap: "vxlan", Subnet: fmt.Sprintf("10.%d.0.0/16", n),
		})
		if err == nil {
			_, err = w.PutEndpointGroup(ctx, &state.EndpointGroup{
				TenantName: tenant, NetworkName: fmt.Sprintf("net%d", n), GroupName: fmt.Sprintf("group%d", n),
			})
		}
		if err != nil {
			return err //nolint:wrapcheck // names the object
		}
	}
	for i := range c.endpoints {
		host, network := c.place(t, i, len(c.agents))
		request := c.endpoint(t, i, host, network)
		made, _, err := w.CreateEndpoint(ctx, &request)
		if err != nil {
			return err //nolint:wrapcheck // names the endpoint
		}
		c.agents[host].attachments = append(c.agents[host].attachments, protocol.Attachment{
			ID: request.ID, Tenant: tenant, Network: made.NetworkName, Groups: made.Groups, IPv4: made.IPv4, MAC: made.MAC,
		})
	}
	return nil
}

// endpoint is a request as the CNI plugin makes it: ids are as long as those of containers are.
func (c *cluster) endpoint(tenant, number, host, network int) protocol.CreateEndpointRequest {
	return protocol.CreateEndpointRequest{
		ID: protocol.EndpointID{
			Host: c.agents[host].host, ContainerID: fmt.Sprintf("%064x", tenant*1_000_000+number), IfName: "eth0",
		},
		Tenant: tenantName(tenant), Network: fmt.Sprintf("net%d", network), Groups: []string{fmt.Sprintf("group%d", network)},
		ContainerName: fmt.Sprintf("workload-%d-%d", tenant, number),
	}
}

// copyStore writes everything of a store, but who leads, to the embedded store of a directory.
func copyStore(ctx context.Context, from objdb.Store, dir string) error {
	kvs, _, err := from.List(ctx, "")
	if err != nil {
		return fmt.Errorf("copying a store: %w", err)
	}
	to, err := embedded.Open(ctx, embedded.Config{Dir: dir, Log: silent()})
	if err != nil {
		return fmt.Errorf("copying a store: %w", err)
	}
	defer to.Close() //nolint:errcheck // what was committed is on disk
	var next atomic.Int64
	errs := make([]error, 8)
	var writers sync.WaitGroup
	for i := range errs {
		writers.Go(func() {
			for errs[i] == nil {
				begin := int(next.Add(objdb.MaxTxnOps)) - objdb.MaxTxnOps
				if begin >= len(kvs) {
					return
				}
				var txn objdb.Txn
				for _, kv := range kvs[begin:min(begin+objdb.MaxTxnOps, len(kvs))] {
					if !strings.HasPrefix(kv.Key, "lock/") {
						txn.Then = append(txn.Then, objdb.Put(kv.Key, kv.Value))
					}
				}
				_, errs[i] = to.Commit(ctx, txn)
			}
		})
	}
	writers.Wait()
	for _, err := range errs {
		if err != nil {
			return fmt.Errorf("copying a store: %w", err)
		}
	}
	return nil
}
