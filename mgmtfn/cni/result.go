package cni

import (
	"bytes"
	"encoding/json"
	"net"
	"net/netip"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/contiv/contiv/mgmtfn"
	"github.com/contiv/contiv/ofnet/protocol"
)

// previous is the result that a runtime passed on: of the plugins before us (ADD), or of the ADD (CHECK); nil without.
func (c *netConf) previous() (*types100.Result, error) {
	if raw := bytes.TrimSpace(c.RawPrev); len(raw) == 0 || bytes.Equal(raw, []byte("null")) {
		return nil, nil
	}
	given, err := version.NewResult(c.CNIVersion, c.RawPrev)
	if err != nil {
		return nil, types.NewError(types.ErrDecodingFailure, "cannot decode prevResult", err.Error())
	}
	result, err := types100.NewResultFromResult(given)
	if err != nil {
		return nil, types.NewError(types.ErrDecodingFailure, "cannot convert prevResult", err.Error())
	}
	return result, nil
}

// addTo adds an attachment to a result: its two ends, its addresses on the container's end, its default
// routes, and the name server unless another is configured.
func addTo(result *types100.Result, made mgmtfn.Attachment, netns string, dns types.DNS) *types100.Result {
	if result == nil {
		result = new(types100.Result)
	}
	result.CNIVersion = types100.ImplementedSpecVersion
	result.Interfaces = append(result.Interfaces,
		&types100.Interface{Name: made.HostLink},
		&types100.Interface{Name: made.ID.IfName, Mac: made.MAC, Mtu: made.MTU, Sandbox: netns})
	inside := len(result.Interfaces) - 1
	for _, one := range addresses(made) {
		ip := &types100.IPConfig{Interface: types100.Int(inside), Address: ipNet(one.addr)}
		if one.gateway.IsValid() {
			ip.Gateway = one.gateway.AsSlice()
			result.Routes = append(result.Routes, &types.Route{Dst: ipNet(defaultRoute(one.gateway)), GW: ip.Gateway})
		}
		result.IPs = append(result.IPs, ip)
	}
	if result.DNS.IsEmpty() {
		result.DNS = dns
	}
	if result.DNS.IsEmpty() {
		result.DNS.Nameservers = []string{protocol.NameServer.String()}
	}
	return result
}

// address is one family of an attachment.
type address struct {
	addr    netip.Prefix
	gateway netip.Addr // zero without
}

func addresses(made mgmtfn.Attachment) []address {
	var all []address
	for _, one := range []address{{made.IPv4, made.Gateway}, {made.IPv6, made.Gateway6}} {
		if one.addr.IsValid() {
			all = append(all, one)
		}
	}
	return all
}

func defaultRoute(gateway netip.Addr) netip.Prefix {
	if gateway.Is4() {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
}

func ipNet(prefix netip.Prefix) net.IPNet {
	return net.IPNet{IP: prefix.Addr().AsSlice(), Mask: net.CIDRMask(prefix.Bits(), prefix.Addr().BitLen())}
}

// encode gives a result the form of a version of the specification.
func encode(result *types100.Result, cniVersion string) (json.RawMessage, error) {
	converted, err := result.GetAsVersion(cniVersion)
	if err != nil {
		return nil, types.NewError(types.ErrIncompatibleCNIVersion, "cannot answer in cniVersion "+cniVersion, err.Error())
	}
	var out bytes.Buffer
	if err := converted.PrintTo(&out); err != nil {
		return nil, types.NewError(types.ErrIOFailure, "cannot encode the result", err.Error())
	}
	return out.Bytes(), nil
}
