package docker

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/contiv/contiv/mgmtfn"
	"github.com/contiv/contiv/ofnet/protocol"
)

// fakeCluster stands for netmaster and the switches: it allocates as netmaster does, and its "switch" is one Linux
// bridge per network in a namespace of its own, where the host ends of all hosts' links are plugged in.
type fakeCluster struct {
	fabric netns.NsHandle // netns.None(): no links are made

	mu       sync.Mutex
	catalog  mgmtfn.Catalog
	changed  chan struct{}
	addrs    map[tenantAddr]string // owner: token or endpoint
	rested   map[tenantAddr]bool   // freed; given again only on request
	links    int
	bridges  map[string]string
	tokens   int
	down     bool // netmaster is away
	events   []string
	released []string
}

func newFakeCluster(fabric netns.NsHandle) *fakeCluster {
	return &fakeCluster{
		fabric: fabric, changed: make(chan struct{}), addrs: map[tenantAddr]string{}, rested: map[tenantAddr]bool{},
		bridges: map[string]string{}, catalog: mgmtfn.Catalog{Complete: true},
	}
}

// update changes the catalog as netmaster's stream would.
func (c *fakeCluster) update(change func(*mgmtfn.Catalog)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.catalog = mgmtfn.Catalog{Networks: slices.Clone(c.catalog.Networks), Groups: slices.Clone(c.catalog.Groups), Complete: c.catalog.Complete}
	change(&c.catalog)
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *fakeCluster) addNetwork(tenant, name, subnet string, vni uint32, more ...func(*protocol.Network)) {
	c.update(func(catalog *mgmtfn.Catalog) {
		network := protocol.Network{
			Tenant: tenant, Name: name, Type: "data", Encap: "vxlan", VNI: vni, Subnet: netip.MustParsePrefix(subnet), Tag: name + "." + tenant,
		}
		for _, change := range more {
			change(&network)
		}
		catalog.Networks = append(catalog.Networks, network)
	})
}

func (c *fakeCluster) addGroup(tenant, network, name string) {
	c.update(func(catalog *mgmtfn.Catalog) {
		catalog.Groups = append(catalog.Groups, protocol.Group{Tenant: tenant, Name: name, Network: network, Tag: name + "." + tenant})
	})
}

func (c *fakeCluster) removeNetwork(tenant, name string) {
	c.update(func(catalog *mgmtfn.Catalog) {
		catalog.Networks = slices.DeleteFunc(catalog.Networks, func(n protocol.Network) bool { return n.Tenant == tenant && n.Name == name })
	})
}

// fakeAgent is the agent of one host. It outlives plugins, as the switch's memory does.
type fakeAgent struct {
	*fakeCluster
	host string
	ns   netns.NsHandle

	attachMu sync.Mutex
	attached map[string]mgmtfn.Attachment
}

func (c *fakeCluster) agent(host string, ns netns.NsHandle) *fakeAgent {
	return &fakeAgent{fakeCluster: c, host: host, ns: ns, attached: map[string]mgmtfn.Attachment{}}
}

func (a *fakeAgent) Catalog() (mgmtfn.Catalog, <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.catalog, a.changed
}

func (a *fakeAgent) object(tenant, network string, groups []string) (protocol.Network, error) {
	if network == "" && len(groups) > 0 {
		group, ok := findGroup(a.catalog, tenant, groups[0])
		if !ok {
			return protocol.Network{}, protocol.Errorf(protocol.CodeNotFound, "tenant %s has no group %s", tenant, groups[0])
		}
		network = group.Network
	}
	found, ok := findNetwork(a.catalog, tenant, network)
	if !ok {
		return found, protocol.Errorf(protocol.CodeNotFound, "tenant %s has no network %s", tenant, network)
	}
	return found, nil
}

// allocate gives an address to an owner.
func (a *fakeAgent) allocate(network protocol.Network, v6 bool, want netip.Addr, token, owner string) (netip.Addr, error) {
	subnet, gateway := subnetOf(network, v6)
	if want.IsValid() {
		key := tenantAddr{network.Tenant, want}
		if holder := a.addrs[key]; !subnet.Contains(want) || holder != "" && holder != token && holder != owner {
			return want, protocol.Errorf(protocol.CodeConflict, "address %s is taken", want)
		}
		a.addrs[key] = owner
		return want, nil
	}
	for addr := subnet.Addr().Next(); subnet.Contains(addr); addr = addr.Next() {
		key := tenantAddr{network.Tenant, addr}
		if a.addrs[key] == "" && !a.rested[key] && addr != gateway {
			a.addrs[key] = owner
			return addr, nil
		}
	}
	return want, protocol.Errorf(protocol.CodeExhausted, "no address is left in %s", subnet)
}

func (a *fakeAgent) ReserveAddress(_ context.Context, req protocol.ReserveAddressRequest) (protocol.ReserveAddressReply, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.down {
		return protocol.ReserveAddressReply{}, protocol.Errorf(protocol.CodeUnavailable, "netmaster cannot be reached")
	}
	network, err := a.object(req.Tenant, req.Network, []string{req.Group})
	if err != nil {
		return protocol.ReserveAddressReply{}, err
	}
	a.tokens++
	token := fmt.Sprintf("token-%d", a.tokens)
	addr, err := a.allocate(network, req.IPv6, req.Addr, "", token)
	if err != nil {
		return protocol.ReserveAddressReply{}, err
	}
	subnet, _ := subnetOf(network, req.IPv6)
	return protocol.ReserveAddressReply{Addr: addr, Bits: subnet.Bits(), Token: token}, nil
}

func (a *fakeAgent) ReleaseAddress(_ context.Context, token string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.free(token)
	a.released = append(a.released, token)
	return nil
}

func (a *fakeAgent) free(owner string) {
	for key, holder := range a.addrs {
		if holder == owner {
			delete(a.addrs, key)
			a.rested[key] = true
		}
	}
}

func (a *fakeAgent) CreateNetwork(_ context.Context, req protocol.CreateNetworkRequest) (protocol.Network, error) {
	subnet := netip.MustParsePrefix(req.Subnet)
	catalog, _ := a.Catalog()
	for _, other := range catalog.Networks {
		if other.Tenant == req.Tenant && other.Subnet.Overlaps(subnet) {
			return other, protocol.Errorf(protocol.CodeConflict, "subnet %s overlaps %s of network %s", subnet, other.Subnet, other.Name)
		}
	}
	a.addNetwork(req.Tenant, req.Network, req.Subnet, 77, func(n *protocol.Network) {
		n.DockerNetworkID, n.DockerHost, n.Encap = req.DockerNetworkID, a.host, req.Encap
		if req.Gateway != "" {
			n.Gateway = netip.MustParseAddr(req.Gateway)
		}
	})
	return protocol.Network{}, nil
}

func (a *fakeAgent) DeleteNetwork(_ context.Context, id string) error {
	a.update(func(catalog *mgmtfn.Catalog) {
		catalog.Networks = slices.DeleteFunc(catalog.Networks, func(n protocol.Network) bool { return n.DockerNetworkID == id })
	})
	return nil
}

func (a *fakeAgent) ProviderEvent(_ context.Context, event protocol.ProviderEvent) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.events = append(a.events, event.Event+" "+event.ContainerName+" "+event.Labels["role"])
	return nil
}

func (a *fakeAgent) Attachments(context.Context) ([]mgmtfn.Attachment, error) {
	a.attachMu.Lock()
	defer a.attachMu.Unlock()
	var all []mgmtfn.Attachment
	for _, one := range a.attached {
		all = append(all, one)
	}
	slices.SortFunc(all, func(x, y mgmtfn.Attachment) int { return cmp.Compare(x.ID.String(), y.ID.String()) })
	return all, nil
}

func (a *fakeAgent) Attach(_ context.Context, req mgmtfn.AttachRequest) (mgmtfn.Attachment, error) {
	a.attachMu.Lock()
	defer a.attachMu.Unlock()
	a.mu.Lock()
	defer a.mu.Unlock()
	if old, ok := a.attached[req.ContainerID]; ok {
		return old, nil
	}
	network, err := a.object(req.Tenant, req.Network, req.Groups)
	if err != nil {
		return mgmtfn.Attachment{}, err
	}
	for _, group := range req.Groups {
		if _, ok := findGroup(a.catalog, req.Tenant, group); !ok {
			return mgmtfn.Attachment{}, protocol.Errorf(protocol.CodeNotFound, "tenant %s has no group %s", req.Tenant, group)
		}
	}
	v4, err := a.allocate(network, false, req.IPv4, req.Token, req.ContainerID)
	if err != nil {
		return mgmtfn.Attachment{}, err
	}
	a.links++
	done := mgmtfn.Attachment{
		ID:     protocol.EndpointID{Host: a.host, ContainerID: req.ContainerID, IfName: req.IfName},
		Tenant: req.Tenant, Network: network.Name, Groups: req.Groups, MAC: req.MAC, MTU: 1450,
		IPv4: netip.PrefixFrom(v4, network.Subnet.Bits()), Gateway: network.Gateway, Gateway6: network.Gateway6,
		HostLink: fmt.Sprintf("fh%d", a.links), ContainerLink: fmt.Sprintf("fc%d", a.links), Owner: req.Owner, Notes: req.Notes,
	}
	if network.Subnet6.IsValid() {
		v6, err := a.allocate(network, true, req.IPv6, req.Token6, req.ContainerID)
		if err != nil {
			return mgmtfn.Attachment{}, err
		}
		done.IPv6 = netip.PrefixFrom(v6, network.Subnet6.Bits())
	}
	if done.MAC == "" {
		b := v4.As4()
		done.MAC = fmt.Sprintf("02:02:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3])
	}
	if a.fabric.IsOpen() {
		if err := a.plug(done, network); err != nil {
			return mgmtfn.Attachment{}, err
		}
	}
	a.attached[req.ContainerID] = done
	return done, nil
}

func (a *fakeAgent) plug(done mgmtfn.Attachment, network protocol.Network) error {
	fabric, err := netlink.NewHandleAt(a.fabric)
	if err != nil {
		return err
	}
	defer fabric.Close()
	name, ok := a.bridges[network.Key()]
	if !ok {
		name = fmt.Sprintf("br%d", len(a.bridges))
		if err := fabric.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}}); err != nil {
			return fmt.Errorf("bridge: %w", err)
		}
		a.bridges[network.Key()] = name
	}
	bridge, err := fabric.LinkByName(name)
	if err != nil {
		return err
	}
	attrs := netlink.LinkAttrs{Name: done.HostLink, MTU: done.MTU, MasterIndex: bridge.Attrs().Index}
	link := &netlink.Veth{LinkAttrs: attrs, PeerName: done.ContainerLink, PeerNamespace: netlink.NsFd(int(a.ns)), PeerMTU: uint32(done.MTU)}
	if err := fabric.LinkAdd(link); err != nil {
		return fmt.Errorf("veth: %w", err)
	}
	for _, up := range []netlink.Link{bridge, link} {
		if err := fabric.LinkSetUp(up); err != nil {
			return err
		}
	}
	return nil
}

func (a *fakeAgent) Detach(_ context.Context, containerID, _ string) error {
	a.attachMu.Lock()
	defer a.attachMu.Unlock()
	a.mu.Lock()
	defer a.mu.Unlock()
	one, ok := a.attached[containerID]
	if !ok {
		return nil
	}
	if a.fabric.IsOpen() {
		fabric, err := netlink.NewHandleAt(a.fabric)
		if err != nil {
			return err
		}
		defer fabric.Close()
		if link, err := fabric.LinkByName(one.HostLink); err == nil {
			if err := fabric.LinkDel(link); err != nil {
				return err
			}
		}
	}
	delete(a.attached, containerID)
	a.free(containerID)
	return nil
}

// heldAddresses are those that something holds, and how many attachments there are.
func (a *fakeAgent) held() (addrs, attached int) {
	a.attachMu.Lock()
	defer a.attachMu.Unlock()
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.addrs), len(a.attached)
}

type (
	attachment    = mgmtfn.Attachment
	attachRequest = mgmtfn.AttachRequest
)

func randomName(t *testing.T, prefix string) string {
	t.Helper()
	return prefix + rand.Text()[:8]
}
