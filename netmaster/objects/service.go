package objects

import (
	"context"
	"net/netip"

	"github.com/contiv/contiv/state"
)

// maxService is the largest id of a service.
const maxService = 65535

func serviceIDs() numbers {
	return numbers{state.PoolService, 1, maxService, "service id", "service ids"}
}

// PutService makes a service with its id and virtual addresses, or replaces ports, selectors and affinity of one. Its
// addresses stay as long as its network does; others cannot be asked for then.
func (o *Objects) PutService(ctx context.Context, service *state.ServiceLB) (int64, error) {
	want := *service
	if err := want.Validate(); err != nil {
		return 0, classify("writing service", err)
	}
	return o.commit(ctx, "writing service "+want.Key(), func(tx *txn) error {
		if tx.Tenant(want.TenantName) == nil {
			return refuse(NotFound, "Tenant not found: %q", want.TenantName)
		}
		network := tx.Network(state.ModelKey(want.TenantName, want.NetworkName))
		if network == nil {
			return refuse(NotFound, "Network %s not found in tenant %q", want.NetworkName, want.TenantName)
		}
		if old := tx.Service(want.Key()); old != nil {
			return tx.updateService(old, &want, network)
		}
		return tx.createService(&want, network)
	})
}

func (tx *txn) createService(want *state.ServiceLB, network *state.Network) error {
	next := &state.ServiceState{TenantName: want.TenantName, ServiceName: want.ServiceName}
	var err error
	if next.ID, err = tx.take(serviceIDs(), next.StoreKey()); err != nil {
		return err
	}
	if err := tx.takeVIP(next, want, network); err != nil {
		return err
	}
	tx.Put(want)
	tx.Put(next)
	return nil
}

// takeVIP gives the service an address of the network: the one it asks for, or any free one; and one of IPv6, if the
// network has that.
func (tx *txn) takeVIP(next *state.ServiceState, want *state.ServiceLB, network *state.Network) error {
	s, err := space4(network, nil)
	if err != nil {
		return err
	}
	var preferred netip.Addr
	if want.IPAddress != "" {
		if preferred, err = netip.ParseAddr(want.IPAddress); err != nil {
			return refuse(Invalid, "ipAddress: %v", err)
		}
	}
	next.NetworkName = network.NetworkName
	if next.VIP, err = tx.addressFor(s, preferred, "", state.Allocation{Owner: next.StoreKey()}); err != nil {
		return err
	}
	return tx.takeVIP6(next, network)
}

func (tx *txn) takeVIP6(next *state.ServiceState, network *state.Network) error {
	next.VIP6 = netip.Addr{}
	s, has6, err := space6(network)
	if err != nil || !has6 {
		return err
	}
	next.VIP6, err = tx.addressFor(s, netip.Addr{}, "", state.Allocation{Owner: next.StoreKey()})
	return err
}

// giveBackVIPs ends the use of the service's addresses.
func (tx *txn) giveBackVIPs(decided *state.ServiceState) {
	network := state.ModelKey(decided.TenantName, decided.NetworkName)
	tx.giveBackAddress(network, decided.VIP, decided.StoreKey())
	tx.giveBackAddress(network, decided.VIP6, decided.StoreKey())
}

func (tx *txn) updateService(old, want *state.ServiceLB, network *state.Network) error {
	decided := tx.ServiceState(want.Key())
	if decided == nil {
		return refuse(Internal, "service %q has no numbers", want.Key())
	}
	next := *old
	next.Ports, next.Selectors, next.Affinity = want.Ports, want.Selectors, want.Affinity
	switch {
	case want.NetworkName != decided.NetworkName:
		moved := *decided
		tx.giveBackVIPs(decided)
		if err := tx.takeVIP(&moved, want, network); err != nil {
			return err
		}
		tx.Put(&moved)
		next.NetworkName, next.IPAddress = want.NetworkName, want.IPAddress
	case want.IPAddress != "" && want.IPAddress != decided.VIP.String():
		return refuse(Conflict, "service %q has the address %s, which cannot change; delete the service first, or leave ipAddress out",
			want.Key(), decided.VIP)
	case !decided.VIP6.IsValid() && network.IPv6Subnet != "":
		// A service of a version that gave IPv4 addresses only.
		more := *decided
		if err := tx.takeVIP6(&more, network); err != nil {
			return err
		}
		tx.Put(&more)
	}
	return tx.replace(old, &next)
}

// DeleteService removes a service. Its id goes into quarantine, its address rests.
func (o *Objects) DeleteService(ctx context.Context, key string) (int64, error) {
	return o.commit(ctx, "deleting service "+key, func(tx *txn) error {
		old := tx.Service(key)
		if old == nil {
			return refuse(NotFound, "serviceLB not found: %q", key)
		}
		tx.Delete(old)
		decided := tx.ServiceState(key)
		if decided == nil {
			return nil
		}
		tx.giveBack(state.PoolService, decided.ID, decided.StoreKey())
		tx.giveBackVIPs(decided)
		tx.Delete(decided)
		return nil
	})
}
