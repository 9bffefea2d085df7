package docker

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-plugins-helpers/network"

	"github.com/contiv/contiv/mgmtfn"
	"github.com/contiv/contiv/ofnet/protocol"
)

// What the drivers write into attachments.
const (
	// Owner of attachments made by this package.
	Owner = "docker"
	// ifName of every attachment: the engine names the interface in the container by itself, and each of its
	// endpoints has an id of its own.
	ifName = "eth0"
	// noteNetwork is the docker network's id, noteGroup the group it stands for.
	noteNetwork = "docker-network"
	noteGroup   = "docker-group"
)

// bindWait is how long an endpoint waits for the reconciler to tell what its docker network is.
const bindWait = 10 * time.Second

// networkDriver plugs the engine's containers in.
type networkDriver struct {
	agent      Agent
	bound      *bindings
	pools      *pools
	reserved   *reservations
	before     *returning
	people     *containers
	nameRoutes nameRoutes
}

func (d *networkDriver) getCapabilities(context.Context, *struct{}) (*networkCapabilities, error) {
	return &networkCapabilities{Scope: network.LocalScope, ConnectivityScope: network.GlobalScope, GwAllocChecker: true}, nil
}

// gwAllocCheck: an engine of 28 and newer need not ask for a gateway that nobody named.
func (d *networkDriver) gwAllocCheck(context.Context, *gwAllocCheckRequest) (*gwAllocCheckResponse, error) {
	return &gwAllocCheckResponse{SkipIPv4: true, SkipIPv6: true}, nil
}

var errSwarm = errors.New("swarm-wide networks are not supported: this driver's networks are of scope local")

func (d *networkDriver) allocateNetwork(context.Context, *network.AllocateNetworkRequest) (*network.AllocateNetworkResponse, error) {
	return nil, errSwarm
}

func (d *networkDriver) freeNetwork(context.Context, *network.FreeNetworkRequest) (*empty, error) {
	return nil, nil
}

// createNetwork finds the object behind a new docker network, or makes one if the user gave only a subnet.
func (d *networkDriver) createNetwork(ctx context.Context, req *network.CreateNetworkRequest) (*empty, error) {
	text := stringOptions(req.Options)
	options := selectionOf(text)
	v4, err := readPool(req.IPv4Data)
	if err != nil {
		return nil, err
	}
	v6, err := readPool(req.IPv6Data)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	pool, asked, err := d.pools.claim(v4.subnet, options, now)
	if errors.Is(err, errSeveralPools) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if v6.subnet.IsValid() {
		if _, _, err := d.pools.claim(v6.subnet, options, now); err != nil && !errors.Is(err, errSeveralPools) {
			return nil, err
		}
	}
	bound := binding{bySubnet: !asked || pool.bySubnet(), subnets: v4.and(v6), since: now, internal: isInternal(req.Options)}
	switch {
	case asked && !pool.bySubnet():
		bound.target = pool.target
		if options.tag != "" {
			catalog, _ := d.agent.Catalog()
			if err := sameByTag(catalog, options, bound.target); err != nil {
				return nil, err
			}
		}
	default:
		bound.poolTenant = pool.Tenant
		if options.tenant == "" {
			options.tenant = pool.Tenant
		}
		if bound.target, err = d.useOrMake(ctx, req.NetworkID, options, text, v4, v6); err != nil {
			return nil, err
		}
	}
	d.bound.set(req.NetworkID, bound)
	return nil, nil
}

// useOrMake is for a docker network whose IPAM options name no object: its -o options may, else it gets one of its own.
func (d *networkDriver) useOrMake(ctx context.Context, id string, options selection, text map[string]string, v4, v6 ipamPool) (target, error) {
	if options.names() {
		catalog, _ := d.agent.Catalog()
		object, found, err := find(catalog, options)
		switch {
		case err == nil && found.DockerNetworkID != id:
			return object, sameSubnets(found, v4, v6)
		case err != nil && (options.group != "" || options.tag != ""):
			return target{}, err
		case err != nil && !catalog.Complete:
			return target{}, fmt.Errorf("%w, as far as is known: netmaster has not told everything yet", err)
		}
	}
	if !v4.subnet.IsValid() || v4.subnet.Bits() == 0 {
		return target{}, errors.New("a docker network of driver contiv needs an IPv4 subnet: give --subnet")
	}
	object := options.target()
	if object.Network == "" {
		object.Network = ownName(id)
	}
	req := protocol.CreateNetworkRequest{
		DockerNetworkID: id, Tenant: object.Tenant, Network: object.Network, Encap: text[optEncap],
		Subnet: prefixText(v4.subnet), Gateway: addrText(v4.gateway), IPv6Subnet: prefixText(v6.subnet), IPv6Gateway: addrText(v6.gateway),
	}
	if req.Encap == "" {
		req.Encap = protocol.EncapVXLAN
	}
	if tag := text[optPktTag]; tag != "" {
		number, err := strconv.Atoi(tag)
		if err != nil {
			return target{}, fmt.Errorf("-o %s=%s: want a number", optPktTag, tag)
		}
		req.PktTag = number
	}
	if _, err := d.agent.CreateNetwork(ctx, req); err != nil {
		return target{}, err
	}
	return object, nil
}

// sameSubnets: a docker network shows the subnets of the network behind it, or it would give addresses of no use.
func sameSubnets(found protocol.Network, v4, v6 ipamPool) error {
	if v4.subnet != found.Subnet || v6.subnet.IsValid() && v6.subnet != found.Subnet6 {
		return fmt.Errorf("network %s of tenant %s exists and has the subnet %s, not %s: use it with --ipam-driver and --ipam-opt %s=%s --ipam-opt %s=%s",
			found.Name, found.Tenant, found.Subnet, v4.subnet, optNetwork, found.Name, optTenant, found.Tenant)
	}
	if v4.gateway.IsValid() && v4.gateway != found.Gateway {
		return fmt.Errorf("--gateway %s: network %s of tenant %s has %s", v4.gateway, found.Name, found.Tenant, gatewayText(found.Gateway))
	}
	return nil
}

// ipamPool is what a docker network has of one address family, zero without.
type ipamPool struct {
	subnet  netip.Prefix
	gateway netip.Addr
}

func (p ipamPool) and(other ipamPool) []netip.Prefix {
	subnets := []netip.Prefix{p.subnet}
	if other.subnet.IsValid() {
		subnets = append(subnets, other.subnet)
	}
	return subnets
}

func readPool(data []*network.IPAMData) (ipamPool, error) {
	if len(data) == 0 || data[0] == nil {
		return ipamPool{}, nil
	}
	if len(data) > 1 {
		return ipamPool{}, errors.New("only one --subnet of each address family is supported")
	}
	if len(data[0].AuxAddresses) > 0 {
		return ipamPool{}, errors.New("--aux-address is not supported: give the network a range with netctl network create --subnet FIRST-LAST/LENGTH")
	}
	subnet, err := netip.ParsePrefix(data[0].Pool)
	if err != nil {
		return ipamPool{}, fmt.Errorf("subnet %q: %w", data[0].Pool, err)
	}
	pool := ipamPool{subnet: subnet.Masked()}
	if data[0].Gateway != "" {
		gateway, err := parseAddr(data[0].Gateway)
		if err != nil {
			return ipamPool{}, fmt.Errorf("gateway: %w", err)
		}
		if gateway != pool.subnet.Addr() { // that one means none, see ipamDriver.gateway
			pool.gateway = gateway
		}
	}
	return pool, nil
}

// parseAddr reads an address that may have a prefix length.
func parseAddr(text string) (netip.Addr, error) {
	bare, _, _ := strings.Cut(text, "/")
	addr, err := netip.ParseAddr(bare)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("address %q: %w", text, err)
	}
	return addr.Unmap(), nil
}

func prefixText(prefix netip.Prefix) string {
	if !prefix.IsValid() {
		return ""
	}
	return prefix.String()
}

func addrText(addr netip.Addr) string {
	if !addr.IsValid() {
		return ""
	}
	return addr.String()
}

func isInternal(options map[string]any) bool {
	internal, _ := options["com.docker.network.internal"].(bool)
	return internal
}

// deleteNetwork removes the Contiv network that was made for a docker network, if any.
func (d *networkDriver) deleteNetwork(ctx context.Context, req *network.DeleteNetworkRequest) (*empty, error) {
	if d.mayOwn(req.NetworkID) {
		if err := d.agent.DeleteNetwork(ctx, req.NetworkID); err != nil {
			return nil, err
		}
	}
	d.bound.drop(req.NetworkID)
	return nil, nil
}

// mayOwn: netmaster must be asked, since nothing here rules out that the docker network has a Contiv network.
func (d *networkDriver) mayOwn(id string) bool {
	bound, known := d.bound.get(id)
	return !known || bound.bySubnet
}

// createEndpoint plugs a container's interface in; its end for the container waits in the host's namespace.
func (d *networkDriver) createEndpoint(ctx context.Context, req *network.CreateEndpointRequest) (*network.CreateEndpointResponse, error) {
	waiting, cancel := context.WithTimeout(ctx, bindWait)
	defer cancel()
	bound, err := d.bound.await(waiting, req.NetworkID)
	if err != nil {
		return nil, err
	}
	attach, err := d.attachRequest(bound, req)
	if err != nil {
		return nil, err
	}
	attached, err := d.agent.Attach(ctx, attach)
	if errors.Is(err, mgmtfn.ErrDamaged) {
		if err = d.agent.Detach(ctx, req.EndpointID, ifName); err == nil {
			attached, err = d.agent.Attach(ctx, attach)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("attaching to %s: %w", bound, err)
	}
	if attach.MAC != "" && !strings.EqualFold(attach.MAC, attached.MAC) {
		err := fmt.Errorf("--mac-address %s is not possible on %s: the interface has %s", attach.MAC, bound, attached.MAC)
		return nil, errors.Join(err, d.agent.Detach(ctx, req.EndpointID, ifName))
	}
	d.reserved.drop(bound.Tenant, attach.IPv4)
	d.reserved.drop(bound.Tenant, attach.IPv6)
	return &network.CreateEndpointResponse{Interface: news(attach, attached)}, nil
}

// news is what the engine did not know; it refuses to be told what it did.
func news(asked mgmtfn.AttachRequest, attached mgmtfn.Attachment) *network.EndpointInterface {
	var reply network.EndpointInterface
	if asked.MAC == "" {
		reply.MacAddress = attached.MAC
	}
	if !asked.IPv4.IsValid() {
		reply.Address = prefixText(attached.IPv4)
	}
	return &reply
}

func (d *networkDriver) attachRequest(bound binding, req *network.CreateEndpointRequest) (mgmtfn.AttachRequest, error) {
	attach := mgmtfn.AttachRequest{
		ContainerID: req.EndpointID, IfName: ifName, Tenant: bound.Tenant, Network: bound.Network, Owner: Owner,
		Notes: map[string]string{noteNetwork: req.NetworkID},
	}
	group, err := endpointGroup(bound, req.Options)
	if err != nil {
		return attach, err
	}
	if group != "" {
		attach.Groups = []string{group}
	}
	if bound.Group != "" {
		attach.Notes[noteGroup] = bound.Group
	}
	if req.Interface == nil {
		return attach, nil
	}
	attach.MAC = req.Interface.MacAddress
	if req.Interface.Address != "" {
		if attach.IPv4, err = parseAddr(req.Interface.Address); err != nil {
			return attach, err
		}
		attach.Token = d.reserved.token(bound.Tenant, attach.IPv4)
	}
	if req.Interface.AddressIPv6 != "" {
		if attach.IPv6, err = parseAddr(req.Interface.AddressIPv6); err != nil {
			return attach, err
		}
		attach.Token6 = d.reserved.token(bound.Tenant, attach.IPv6)
	}
	return attach, nil
}

// endpointGroup is the group of the docker network, or that of the container's driver-opt; not one of each.
func endpointGroup(bound binding, options map[string]any) (string, error) {
	value, given := options[OptEndpointGroup]
	if !given {
		return bound.Group, nil
	}
	group, ok := value.(string)
	if !ok || group == "" {
		return "", fmt.Errorf("driver-opt %s: want the name of a group", OptEndpointGroup)
	}
	if bound.Group != "" && bound.Group != group {
		return "", fmt.Errorf("driver-opt %s=%s: this docker network is group %s; use that of network %s", OptEndpointGroup, group, bound.Group, bound.Network)
	}
	return group, nil
}

// deleteEndpoint unplugs; an endpoint that is not there is no error.
func (d *networkDriver) deleteEndpoint(ctx context.Context, req *network.DeleteEndpointRequest) (*empty, error) {
	if d.people.mayReturn(req.EndpointID) {
		if attached, err := d.attachment(ctx, req.EndpointID); err == nil {
			object, now := target{attached.Tenant, attached.Network, attached.Notes[noteGroup]}, time.Now()
			d.before.note(object, attached.IPv4.Addr(), now)
			d.before.note(object, attached.IPv6.Addr(), now)
		}
	}
	if err := d.agent.Detach(ctx, req.EndpointID, ifName); err != nil && !errors.Is(err, mgmtfn.ErrNotAttached) {
		return nil, fmt.Errorf("detaching endpoint %s: %w", short(req.EndpointID), err)
	}
	return nil, nil
}

// attachment of an endpoint, mgmtfn.ErrNotAttached if there is none.
func (d *networkDriver) attachment(ctx context.Context, endpointID string) (mgmtfn.Attachment, error) {
	all, err := d.agent.Attachments(ctx)
	if err != nil {
		return mgmtfn.Attachment{}, fmt.Errorf("listing attachments: %w", err)
	}
	for _, attached := range all {
		if attached.Owner == Owner && attached.ID.ContainerID == endpointID {
			return attached, nil
		}
	}
	return mgmtfn.Attachment{}, fmt.Errorf("endpoint %s: %w", short(endpointID), mgmtfn.ErrNotAttached)
}

func (d *networkDriver) endpointOperInfo(ctx context.Context, req *network.InfoRequest) (*network.InfoResponse, error) {
	attached, err := d.attachment(ctx, req.EndpointID)
	if errors.Is(err, mgmtfn.ErrNotAttached) {
		return &network.InfoResponse{Value: map[string]string{}}, nil
	}
	if err != nil {
		return nil, err
	}
	return &network.InfoResponse{Value: map[string]string{
		"io.contiv.tenant":  attached.Tenant,
		"io.contiv.network": attached.Network,
		"io.contiv.groups":  strings.Join(attached.Groups, ","),
		"io.contiv.link":    attached.HostLink,
	}}, nil
}

// routeConnected is the type of a route without a next hop.
const routeConnected = 1

// join names the link that the engine is to move into the container. Without a gateway the engine adds docker_gwbridge
// to the container, which then has a way out through the host. The route to the name server is for an engine or container
// that is told to ask it (--dns).
func (d *networkDriver) join(ctx context.Context, req *network.JoinRequest) (*network.JoinResponse, error) {
	attached, err := d.attachment(ctx, req.EndpointID)
	if err != nil {
		return nil, err
	}
	reply := &network.JoinResponse{InterfaceName: network.InterfaceName{SrcName: attached.ContainerLink, DstPrefix: "eth"}}
	reply.StaticRoutes = []*network.StaticRoute{{
		Destination: d.nameRoutes.choose(req.SandboxKey, req.EndpointID).String(), RouteType: routeConnected,
	}}
	if bound, known := d.bound.get(req.NetworkID); known && bound.internal {
		return reply, nil
	}
	reply.Gateway, reply.GatewayIPv6 = addrText(attached.Gateway), addrText(attached.Gateway6)
	return reply, nil
}

func (d *networkDriver) leave(_ context.Context, req *network.LeaveRequest) (*empty, error) {
	d.nameRoutes.release(req.EndpointID)
	return nil, nil
}

func (d *networkDriver) discover(context.Context, *network.DiscoveryNotification) (*empty, error) {
	return nil, nil
}

// externalConnectivity: publishing ports is docker_gwbridge's business.
func (d *networkDriver) externalConnectivity(context.Context, *network.ProgramExternalConnectivityRequest) (*empty, error) {
	return nil, nil
}
