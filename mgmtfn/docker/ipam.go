package docker

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/docker/go-plugins-helpers/ipam"
	"github.com/sirupsen/logrus"

	"github.com/contiv/contiv/ofnet/protocol"
)

// Address spaces as the engine's own IPAM driver calls them; we tell networks apart by pool id alone.
const (
	localSpace  = "LocalDefault"
	globalSpace = "GlobalDefault"
)

// ipamDriver gives addresses to the engine; netmaster is who allocates them.
type ipamDriver struct {
	agent    Agent
	bound    *bindings
	pools    *pools
	reserved *reservations
	before   *returning
	patience time.Duration // catalogWait
	log      *logrus.Entry
}

// getCapabilities: no MAC address is needed for an address, and no replay of requests, since pool ids say all.
func (d *ipamDriver) getCapabilities(context.Context, *struct{}) (*ipamCapabilities, error) {
	return &ipamCapabilities{}, nil
}

func (d *ipamDriver) getDefaultAddressSpaces(context.Context, *struct{}) (*ipam.AddressSpacesResponse, error) {
	return &ipam.AddressSpacesResponse{LocalDefaultAddressSpace: localSpace, GlobalDefaultAddressSpace: globalSpace}, nil
}

// requestPool answers the subnet of the object that the options name, or the subnet that was given.
func (d *ipamDriver) requestPool(ctx context.Context, req *ipam.RequestPoolRequest) (*ipam.RequestPoolResponse, error) {
	if req.SubPool != "" {
		return nil, fmt.Errorf("--ip-range %s is not supported: give the network a range with netctl network create --subnet FIRST-LAST/LENGTH", req.SubPool)
	}
	wanted, err := parsePool(req.Pool, req.V6)
	if err != nil {
		return nil, err
	}
	options := selectionOf(req.Options)
	id := poolID{Subnet: wanted}
	if options.names() {
		if id, err = d.namedPool(ctx, options, wanted, req.V6); err != nil {
			return nil, err
		}
	} else {
		if !wanted.IsValid() {
			return nil, errors.New("give --subnet to make a network, or --ipam-opt network=NETWORK (and tenant=TENANT, group=GROUP) to use one")
		}
		id.Tenant = options.tenant
	}
	if err := d.pools.asked(id, req.Pool == "", time.Now()); err != nil {
		return nil, err
	}
	return &ipam.RequestPoolResponse{PoolID: id.String(), Pool: id.Subnet.String()}, nil
}

func (d *ipamDriver) namedPool(ctx context.Context, options selection, wanted netip.Prefix, v6 bool) (poolID, error) {
	object, network, err := await(ctx, d.agent, options, d.patience)
	if err != nil {
		return poolID{}, err
	}
	subnet, _ := subnetOf(network, v6)
	if !subnet.IsValid() {
		return poolID{}, fmt.Errorf("network %s of tenant %s has no subnet of this family: make the docker network without --ipv6", network.Name, network.Tenant)
	}
	if wanted.IsValid() && wanted != subnet {
		return poolID{}, fmt.Errorf("network %s of tenant %s has the subnet %s, not %s", network.Name, network.Tenant, subnet, wanted)
	}
	return poolID{target: object, Subnet: subnet}, nil
}

// parsePool reads a subnet; the zero Prefix if none was given.
func parsePool(text string, v6 bool) (netip.Prefix, error) {
	if text == "" {
		return netip.Prefix{}, nil
	}
	subnet, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("subnet %q: want ADDRESS/LENGTH", text)
	}
	if subnet != subnet.Masked() {
		return netip.Prefix{}, fmt.Errorf("subnet %s has bits set beyond its length: want %s", subnet, subnet.Masked())
	}
	if subnet.Addr().Is4() == v6 {
		return netip.Prefix{}, fmt.Errorf("subnet %s is of the other address family", subnet)
	}
	return subnet, nil
}

func (d *ipamDriver) releasePool(_ context.Context, req *ipam.ReleasePoolRequest) (*empty, error) {
	if id, err := parsePoolID(req.PoolID); err == nil {
		d.pools.released(id)
	}
	return nil, nil
}

// requestAddress reserves an address, a given one or any. A gateway is not reserved: it is the network's, or nobody's.
func (d *ipamDriver) requestAddress(ctx context.Context, req *ipam.RequestAddressRequest) (*ipam.RequestAddressResponse, error) {
	id, err := parsePoolID(req.PoolID)
	if err != nil {
		return nil, err
	}
	var wanted netip.Addr
	if req.Address != "" {
		if wanted, err = netip.ParseAddr(req.Address); err != nil {
			return nil, fmt.Errorf("address %q: %w", req.Address, err)
		}
		wanted = wanted.Unmap()
		if !id.Subnet.Contains(wanted) {
			return nil, fmt.Errorf("address %s is not in the subnet %s", wanted, id.Subnet)
		}
	}
	if req.Options[addressType] == gatewayOption {
		return d.gateway(id, wanted)
	}
	reply, err := d.reserve(ctx, id, wanted)
	if err != nil {
		return nil, err
	}
	return &ipam.RequestAddressResponse{Address: netip.PrefixFrom(reply.Addr, reply.Bits).String()}, nil
}

// gateway answers what a docker network has for a gateway. Engines before 28 must have some answer also for a network
// without one: the subnet itself, which NetworkDriver.CreateNetwork knows again.
func (d *ipamDriver) gateway(id poolID, wanted netip.Addr) (*ipam.RequestAddressResponse, error) {
	answer := id.Subnet
	switch {
	case id.bySubnet():
		if wanted.IsValid() {
			answer = netip.PrefixFrom(wanted, id.Subnet.Bits())
		}
	default:
		catalog, _ := d.agent.Catalog()
		_, network, err := find(catalog, selection{tenant: id.Tenant, network: id.Network, group: id.Group})
		if err != nil {
			return nil, err
		}
		_, gateway := subnetOf(network, id.Subnet.Addr().Is6())
		if wanted.IsValid() && wanted != gateway {
			return nil, fmt.Errorf("--gateway %s: network %s of tenant %s has %s", wanted, network.Name, network.Tenant, gatewayText(gateway))
		}
		if gateway.IsValid() {
			answer = netip.PrefixFrom(gateway, id.Subnet.Bits())
		}
	}
	return &ipam.RequestAddressResponse{Address: answer.String()}, nil
}

func gatewayText(gateway netip.Addr) string {
	if gateway.IsValid() {
		return "the gateway " + gateway.String()
	}
	return "no gateway"
}

func (d *ipamDriver) reserve(ctx context.Context, id poolID, wanted netip.Addr) (protocol.ReserveAddressReply, error) {
	object := id.target
	if id.bySubnet() {
		var err error
		if object, err = d.bound.bySubnet(id); err != nil {
			return protocol.ReserveAddressReply{}, err
		}
	}
	v6 := id.Subnet.Addr().Is6()
	req := protocol.ReserveAddressRequest{Tenant: object.Tenant, Network: object.Network, Group: object.Group, IPv6: v6, Addr: wanted}
	reply, err := d.reserveFirst(ctx, object, req)
	if err != nil {
		return reply, err
	}
	if !id.Subnet.Contains(reply.Addr) {
		// The network was made again with another subnet and the docker network is not replaced yet.
		err := fmt.Errorf("docker network has the subnet %s, but %s of tenant %s has %s now: try again in a moment", id.Subnet, object, object.Tenant, netip.PrefixFrom(reply.Addr, reply.Bits).Masked())
		return reply, errors.Join(err, d.agent.ReleaseAddress(ctx, reply.Token))
	}
	d.reserved.add(object.Tenant, reply.Addr, reply.Token, time.Now())
	return reply, nil
}

// reserveFirst prefers, when any address will do, one that this host's engine had before it died.
func (d *ipamDriver) reserveFirst(ctx context.Context, object target, req protocol.ReserveAddressRequest) (protocol.ReserveAddressReply, error) {
	for !req.Addr.IsValid() {
		addr, ok := d.before.take(object, req.IPv6, time.Now())
		if !ok {
			break
		}
		again := req
		again.Addr = addr
		reply, err := d.agent.ReserveAddress(ctx, again)
		if err == nil {
			return reply, nil
		}
		d.log.WithError(err).WithField("address", addr).Debug("address from before the engine's restart is not free")
	}
	return d.agent.ReserveAddress(ctx, req)
}

// releaseAddress gives up a reservation. An address that an endpoint uses goes with the endpoint.
func (d *ipamDriver) releaseAddress(ctx context.Context, req *ipam.ReleaseAddressRequest) (*empty, error) {
	id, err := parsePoolID(req.PoolID)
	if err != nil {
		return nil, err
	}
	addr, err := netip.ParseAddr(req.Address)
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", req.Address, err)
	}
	addr = addr.Unmap()
	tenant := id.Tenant
	if id.bySubnet() {
		object, err := d.bound.bySubnet(id)
		if err != nil {
			return nil, nil //nolint:nilerr // the docker network is gone, and its addresses with it
		}
		tenant = object.Tenant
	}
	token := d.reserved.token(tenant, addr)
	if token == "" {
		return nil, nil
	}
	if err := d.agent.ReleaseAddress(ctx, token); err != nil {
		return nil, fmt.Errorf("releasing %s: %w", addr, err)
	}
	d.reserved.drop(tenant, addr)
	return nil, nil
}

// pools are the pools that docker networks in the making asked for: NetworkDriver.CreateNetwork is not told of IPAM
// options, so this is how it knows that they named an object. All methods may be called at once.
type pools struct {
	mu   sync.Mutex
	asks []poolAsk
}

type poolAsk struct {
	id  poolID
	any bool // docker did not name the subnet
	at  time.Time
}

// Between a RequestPool and its CreateNetwork lies only the engine's own work.
const poolAskLife = 30 * time.Second

// An engine before 28 asks again and again if the subnet overlaps a route of the host.
const (
	poolAskLimit  = 8
	poolAskWindow = 2 * time.Second
)

// asked remembers a request.
func (p *pools) asked(id poolID, anySubnet bool, now time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	kept, again := p.asks[:0], 0
	for _, ask := range p.asks {
		if now.Sub(ask.at) > poolAskLife {
			continue
		}
		if anySubnet && ask.any && ask.id == id && now.Sub(ask.at) < poolAskWindow {
			again++
		}
		kept = append(kept, ask)
	}
	p.asks = kept
	if again >= poolAskLimit {
		return fmt.Errorf("docker asks for %s over and over, as it does when that overlaps a route of the host; give --subnet %s to use it all the same", id, id.Subnet)
	}
	p.asks = append(p.asks, poolAsk{id, anySubnet, now})
	return nil
}

// released forgets the newest request of a pool.
func (p *pools) released(id poolID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := len(p.asks) - 1; i >= 0; i-- {
		if p.asks[i].id == id {
			p.asks = append(p.asks[:i], p.asks[i+1:]...)
			return
		}
	}
}

// claim answers and forgets the request for a subnet whose IPAM options do not contradict the -o options. No request:
// another IPAM driver was asked. Only requests that contradict, or several that may be meant, are errors; the latter is
// errSeveralPools if they all name an object.
func (p *pools) claim(subnet netip.Prefix, options selection, now time.Time) (id poolID, asked bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	found, several, named := -1, false, true
	for i, ask := range p.asks {
		if ask.id.Subnet != subnet || now.Sub(ask.at) > poolAskLife {
			continue
		}
		theirs := selection{tenant: ask.id.Tenant, network: ask.id.Network, group: ask.id.Group}
		if _, contradiction := options.merge(theirs); contradiction != nil {
			err = contradiction
			continue
		}
		several = several || found >= 0 && p.asks[found].id != ask.id
		named = named && !ask.id.bySubnet()
		found = i
	}
	switch {
	case found < 0:
		return poolID{}, false, err
	case several && named:
		return poolID{}, true, errSeveralPools
	case several:
		return poolID{}, true, fmt.Errorf("several docker networks with the subnet %s are being made: try again", subnet)
	}
	id = p.asks[found].id
	p.asks = slices.Delete(p.asks, found, found+1)
	return id, true, nil
}

// errSeveralPools: the engine's list will tell what the new docker network stands for.
var errSeveralPools = errors.New("several docker networks with this subnet are being made")
