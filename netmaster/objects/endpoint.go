package objects

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/ofnet/protocol"
	"github.com/contiv/contiv/state"
)

// CreateEndpoint allocates and records an endpoint and returns it with the revision of its record. Repeating it for the
// same id answers the recorded one, and is refused (Conflict) when tenant, network, groups or a requested address
// differ from it. The host must have registered.
func (o *Objects) CreateEndpoint(ctx context.Context, request *protocol.CreateEndpointRequest) (*state.Endpoint, int64, error) {
	id := state.EndpointID(request.ID)
	if err := checkID(id); err != nil {
		return nil, 0, err
	}
	o.notOrphaned(id) // before it is looked up, so that it is not released in between
	var endpoint *state.Endpoint
	var existing int64
	revision, err := o.commit(ctx, "creating endpoint "+id.String(), func(tx *txn) (err error) {
		existing = 0
		request := tx.withDefaultGroup(request)
		if endpoint = tx.Endpoint(id); endpoint != nil {
			existing = tx.RevisionOf(endpoint.StoreKey())
			return repeats(endpoint, request)
		}
		endpoint, err = tx.createEndpoint(request)
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	if existing != 0 {
		revision = existing
	}
	return endpoint, revision, nil
}

func checkID(id state.EndpointID) error {
	for _, part := range []struct{ name, value string }{
		{"host", id.Host}, {"containerID", id.ContainerID}, {"ifName", id.IfName},
	} {
		if part.value == "" || len(part.value) > 256 || strings.ContainsAny(part.value, "/ \n") {
			return refuse(Invalid, "%s %q of an endpoint must have 1 to 256 characters without slash and space", part.name, shorten(part.value))
		}
	}
	return nil
}

func shorten(text string) string { return text[:min(len(text), 80)] }

// repeats accepts a request for a recorded endpoint if it asks for what is recorded.
func repeats(have *state.Endpoint, want *protocol.CreateEndpointRequest) error {
	for _, f := range []struct {
		what       string
		have, want any
		differ     bool
	}{
		{"tenant", have.TenantName, tenantOf(want.Tenant), have.TenantName != tenantOf(want.Tenant)},
		{"network", have.NetworkName, want.Network, want.Network != "" && have.NetworkName != want.Network},
		{"groups", have.Groups, want.Groups, !slices.Equal(have.Groups, sortedGroups(want.Groups))},
		{"address", have.IPv4, want.IPv4, want.IPv4.IsValid() && have.IPv4 != want.IPv4},
		{"IPv6 address", have.IPv6, want.IPv6, want.IPv6.IsValid() && have.IPv6 != want.IPv6},
	} {
		if f.differ {
			return refuse(Conflict, "endpoint %q exists with %s %v, now %v is asked for; delete it first", have.EndpointID, f.what, f.have, f.want)
		}
	}
	return nil
}

func tenantOf(name string) string {
	if name == "" {
		return state.DefaultTenant
	}
	return name
}

func sortedGroups(names []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(names)))
}

func (tx *txn) createEndpoint(want *protocol.CreateEndpointRequest) (*state.Endpoint, error) {
	switch host := tx.Host(want.ID.Host); {
	case host == nil:
		return nil, refuse(NotFound, "host %q has not registered", want.ID.Host)
	case host.Dead:
		return nil, refuse(Conflict, "host %q was declared dead; it must register again", want.ID.Host)
	}
	tenant := tenantOf(want.Tenant)
	network, groups, err := tx.place(tenant, want.Network, sortedGroups(want.Groups))
	if err != nil {
		return nil, err
	}
	pooled, err := pooledGroup(groups)
	if err != nil {
		return nil, err
	}
	next := &state.Endpoint{
		EndpointID: state.EndpointID(want.ID), TenantName: tenant, NetworkName: network.NetworkName,
		Groups: sortedGroups(want.Groups), ContainerName: want.ContainerName, Labels: want.Labels,
		RuntimeID: want.RuntimeID, Created: tx.now,
	}
	if next.Identity, err = tx.identityOf(tenant, next.Groups); err != nil {
		return nil, err
	}
	if err := tx.addressEndpoint(next, network, pooled, want); err != nil {
		return nil, err
	}
	tx.Put(next)
	return next, nil
}

// maxGroups is how many groups one endpoint may be in: their records are read in the transaction that makes it.
const maxGroups = 16

// place finds the network and the groups that an endpoint is to be in.
func (tx *txn) place(tenant, network string, names []string) (*state.Network, []*state.EndpointGroup, error) {
	if len(names) > maxGroups {
		return nil, nil, refuse(TooLarge, "%d groups: an endpoint can be in %d at most", len(names), maxGroups)
	}
	if tx.Tenant(tenant) == nil {
		return nil, nil, refuse(NotFound, "Tenant not found: %q", tenant)
	}
	groups := make([]*state.EndpointGroup, 0, len(names))
	for _, name := range names {
		key := state.ModelKey(tenant, name)
		group := tx.Group(key)
		if group == nil {
			return nil, nil, refuse(NotFound, "endpointGroup not found: %q", key)
		}
		if network == "" {
			network = group.NetworkName
		}
		if network != group.NetworkName {
			return nil, nil, refuse(Invalid, "group %q is of network %q, not %q", key, group.NetworkName, network)
		}
		groups = append(groups, group)
	}
	if network == "" {
		return nil, nil, refuse(Invalid, "neither a network nor a group is named")
	}
	found := tx.Network(state.ModelKey(tenant, network))
	if found == nil {
		return nil, nil, refuse(NotFound, "network not found: %q", state.ModelKey(tenant, network))
	}
	return found, groups, nil
}

// addressEndpoint gives the endpoint its addresses of both families and its MAC.
func (tx *txn) addressEndpoint(next *state.Endpoint, n *state.Network, g *state.EndpointGroup, want *protocol.CreateEndpointRequest) error {
	owner := state.Allocation{Owner: next.StoreKey()}
	s, err := space4(n, g)
	if err != nil {
		return err
	}
	if next.IPv4, err = tx.addressFor(s, want.IPv4, want.Token, owner); err != nil {
		return err
	}
	s, has6, err := space6(n)
	if err != nil {
		return err
	}
	switch {
	case has6:
		if next.IPv6, err = tx.addressFor(s, want.IPv6, want.Token6, owner); err != nil {
			return err
		}
	case want.IPv6.IsValid():
		return refuse(Invalid, "requested address %s: network %q has no IPv6 subnet", want.IPv6, n.Key())
	}
	next.MAC, err = tx.macFor(next, n.Key(), want.MAC)
	return err
}

func (tx *txn) addressFor(s space, want netip.Addr, token string, as state.Allocation) (netip.Addr, error) {
	if !want.IsValid() && token != "" {
		held, ok := tx.Find(ledger.ReservationsOf(token), func(state.Record) bool { return true }).(*state.Allocation)
		if !ok {
			return netip.Addr{}, refuse(NotFound, "the reservation of an address has expired; reserve again")
		}
		want = held.Addr
	}
	if !want.IsValid() {
		return tx.takeAddress(s, as)
	}
	return want, tx.takeWantedAddress(s, want, token, as)
}

// ownMAC begins the MAC addresses that are made of IPv4 addresses.
const ownMAC = "02:02:"

func macOf(a netip.Addr) string {
	raw := a.As4()
	return fmt.Sprintf(ownMAC+"%02x:%02x:%02x:%02x", raw[0], raw[1], raw[2], raw[3])
}

// macFor is the MAC of an endpoint: made of its IPv4 address, or the one asked for if it cannot meet another.
func (tx *txn) macFor(next *state.Endpoint, network, want string) (string, error) {
	usual := macOf(next.IPv4)
	if want == "" {
		return usual, nil
	}
	hw, err := net.ParseMAC(want)
	if err != nil || len(hw) != 6 || hw[0]&1 != 0 || hw.String() == "00:00:00:00:00:00" {
		return "", refuse(Invalid, "requested MAC %q is not the address of an interface, such as %q", shorten(want), usual)
	}
	mac := hw.String()
	if mac != usual && strings.HasPrefix(mac, ownMAC) {
		return "", refuse(Invalid, "requested MAC %s: those that begin with %s are made of IPv4 addresses; for %s it is %s", mac, ownMAC, next.IPv4, usual)
	}
	other, taken := tx.Find(ledger.EndpointsOfNetwork(network), func(r state.Record) bool {
		e, ok := r.(*state.Endpoint)
		return ok && e.MAC == mac
	}).(*state.Endpoint)
	if taken {
		return "", refuse(Conflict, "requested MAC %s is used by endpoint %q of the same network", mac, other.EndpointID)
	}
	return mac, nil
}

// DeleteEndpoint removes an endpoint and gives back its addresses. An endpoint that is not there is no error.
func (o *Objects) DeleteEndpoint(ctx context.Context, id state.EndpointID) (int64, error) {
	revision, err := o.commit(ctx, "deleting endpoint "+id.String(), func(tx *txn) error {
		tx.deleteEndpoint(id)
		return nil
	})
	if err == nil {
		o.notOrphaned(id)
	}
	return revision, err
}

// endpointWrites is the most records that deleteEndpoint reads and writes.
const endpointWrites = 5

func (tx *txn) deleteEndpoint(id state.EndpointID) {
	old := tx.Endpoint(id)
	if old == nil {
		return
	}
	network := state.ModelKey(old.TenantName, old.NetworkName)
	tx.giveBackAddress(network, old.IPv4, old.StoreKey())
	tx.giveBackAddress(network, old.IPv6, old.StoreKey())
	tx.Delete(old)
	tx.gone[old.StoreKey()] = true
	tx.leaveSet(old)
}

// UpdateEndpoint records the name and labels of a started container, and that one has died: it serves nothing then, as
// long as its endpoint is there. Other events and unknown endpoints are no error: the container may be gone already.
func (o *Objects) UpdateEndpoint(ctx context.Context, event *protocol.ProviderEvent) (int64, error) {
	id := state.EndpointID(event.ID)
	return o.commit(ctx, "updating endpoint "+id.String(), func(tx *txn) error {
		old := tx.Endpoint(id)
		if old == nil {
			return nil
		}
		next := *old
		switch event.Event {
		case "start":
			next.ContainerName, next.Labels, next.Stopped = event.ContainerName, event.Labels, false
			if event.RuntimeID != "" && event.RuntimeID != id.ContainerID {
				next.EngineID = event.RuntimeID
			}
		case "die":
			next.Stopped = true
		}
		return tx.replace(old, &next)
	})
}

// Reserved is an address that waits for its endpoint.
type Reserved struct {
	Addr     netip.Addr
	Bits     int    // prefix length of the subnet
	Token    string // to be given with the endpoint
	Revision int64
}

// ReserveAddress takes an address for an endpoint that does not exist yet. It is given up after a minute unless an
// endpoint uses the token.
func (o *Objects) ReserveAddress(ctx context.Context, host string, request *protocol.ReserveAddressRequest) (Reserved, error) {
	out := Reserved{Token: uuid.NewString()}
	var groups []string
	if request.Group != "" {
		groups = []string{request.Group}
	}
	revision, err := o.commit(ctx, "reserving an address", func(tx *txn) error {
		n, in, err := tx.place(tenantOf(request.Tenant), request.Network, groups)
		if err != nil {
			return err
		}
		pooled, err := pooledGroup(in)
		if err != nil {
			return err
		}
		s, err := space4(n, pooled)
		if request.IPv6 || request.Addr.Is6() {
			var ok bool
			if s, ok, err = space6(n); err == nil && !ok {
				return refuse(Invalid, "network %q has no IPv6 subnet", n.Key())
			}
		}
		if err != nil {
			return err
		}
		as := state.Allocation{Reserved: &state.Reservation{Token: out.Token, Host: host, Expires: tx.now.Add(reservationTime)}}
		out.Bits = s.subnet.Prefix.Bits()
		out.Addr, err = tx.addressFor(s, request.Addr, "", as)
		return err
	})
	if err != nil {
		return Reserved{}, err
	}
	out.Revision = revision
	return out, nil
}

// ReleaseAddress gives up a reservation that no endpoint has used. An unknown token is no error. The address does not
// rest: nobody has used it.
func (o *Objects) ReleaseAddress(ctx context.Context, token string) (int64, error) {
	return o.commit(ctx, "releasing a reserved address", func(tx *txn) error {
		found := tx.Any(ledger.ReservationsOf(token))
		a, ok := found.(*state.Allocation)
		if !ok || token == "" {
			return nil
		}
		if held := tx.Allocation(*a); held != nil && held.Reserved != nil && held.Reserved.Token == token {
			tx.Delete(held)
		}
		return nil
	})
}
