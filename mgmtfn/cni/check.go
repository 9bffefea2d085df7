package cni

import (
	"context"
	"fmt"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/contiv/contiv/mgmtfn"
	"github.com/contiv/contiv/mgmtfn/cni/plugin"
)

// check compares three views of an attachment: the agent's, the runtime's (prevResult) and the kernel's.
func (s *Server) check(ctx context.Context, call *request, conf *netConf) error {
	previous, err := conf.previous()
	if err != nil {
		return err
	}
	if previous == nil {
		return types.NewError(types.ErrInvalidNetworkConfig, "CHECK needs prevResult in the network configuration", "")
	}
	made, err := s.agent.Check(ctx, call.ContainerID, call.IfName)
	if err != nil {
		return err
	}
	if err := checkResult(previous, made, call.NetNS); err != nil {
		return err
	}
	return checkLink(previous, made, call.NetNS)
}

func damaged(format string, args ...any) error {
	return types.NewError(plugin.CodeDamaged, fmt.Sprintf(format, args...), "DEL and ADD the container again")
}

// checkResult makes sure that prevResult lists the interface with its addresses as they are attached. Plugins that
// came later may have added to it.
func checkResult(previous *types100.Result, made mgmtfn.Attachment, netns string) error {
	inside := -1
	for i, one := range previous.Interfaces {
		if one.Name == made.ID.IfName && one.Sandbox == netns {
			inside = i
			// Versions before 1.0 and some runtimes leave the MAC out.
			if one.Mac != "" && one.Mac != made.MAC {
				return damaged("prevResult has MAC %s for interface %q, attached is %s", one.Mac, one.Name, made.MAC)
			}
		}
	}
	if inside < 0 {
		return damaged("prevResult has no interface %q in %s", made.ID.IfName, netns)
	}
	listed := map[string]bool{}
	for _, ip := range previous.IPs {
		if ip.Interface != nil && *ip.Interface == inside {
			listed[toPrefix(ip.Address).String()] = true
		}
	}
	for _, one := range addresses(made) {
		if !listed[one.addr.String()] {
			return damaged("prevResult does not have address %s on interface %q", one.addr, made.ID.IfName)
		}
	}
	return nil
}

// checkLink makes sure that the container has what was attached. Of routes only those are wanted that prevResult
// still lists: a chained plugin may have replaced the others.
func checkLink(previous *types100.Result, made mgmtfn.Attachment, netns string) error {
	seen, err := readLink(netns, made.ID.IfName)
	if err != nil {
		return err
	}
	if !seen.up {
		return damaged("the container's interface %q is down", made.ID.IfName)
	}
	if seen.mac != made.MAC {
		return damaged("the container's interface %q has MAC %s, attached is %s", made.ID.IfName, seen.mac, made.MAC)
	}
	for _, one := range addresses(made) {
		if !seen.addrs[one.addr] {
			return damaged("the container's interface %q has lost its address %s", made.ID.IfName, one.addr)
		}
		if one.gateway.IsValid() && listsRoute(previous, one) && !seen.routes[one.gateway] {
			return damaged("the container has lost its default route by %s", one.gateway)
		}
	}
	return nil
}

func listsRoute(result *types100.Result, one address) bool {
	want := defaultRoute(one.gateway)
	for _, route := range result.Routes {
		if toPrefix(route.Dst) == want && route.GW.Equal(one.gateway.AsSlice()) {
			return true
		}
	}
	return false
}
