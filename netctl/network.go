package netctl

import (
	"net/netip"
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/contiv/contiv/netmaster/client"
	"github.com/contiv/contiv/state"
)

func (p *program) networkCommand() *cli.Command {
	networks := (*client.Client).Networks
	return &cli.Command{
		Name:    "network",
		Aliases: []string{"net"},
		Usage:   "subnets that endpoints take their addresses from",
		Subcommands: []*cli.Command{
			{
				Name: "create", Usage: "create a network", ArgsUsage: "NETWORK",
				Flags: []cli.Flag{
					tenantFlag(),
					&cli.StringFlag{Name: "nw-type", Aliases: []string{"n"}, Value: state.NetworkData, Usage: "`TYPE`: data or infra"},
					&cli.StringFlag{Name: "encap", Aliases: []string{"e"}, Value: state.EncapVXLAN, Usage: "`ENCAP`: vlan or vxlan"},
					&cli.IntFlag{Name: "pkt-tag", Aliases: []string{"p"}, Usage: "VLAN or VXLAN `NUMBER`; 0 for any free one"},
					&cli.StringFlag{Name: "subnet", Aliases: []string{"s"},
						Usage: "`SUBNET`, required: 10.1.2.0/24, or a part of one: 10.1.2.50-10.1.2.100/24"},
					&cli.StringFlag{Name: "gateway", Aliases: []string{"g"}, Usage: "`ADDRESS` of the gateway, in the subnet"},
					&cli.StringFlag{Name: "subnetv6", Aliases: []string{"s6"}, Usage: "IPv6 `SUBNET`: 2001:db8::/64"},
					&cli.StringFlag{Name: "gatewayv6", Aliases: []string{"g6"}, Usage: "`ADDRESS` of the IPv6 gateway"},
					&cli.StringFlag{Name: "nw-tag", Aliases: []string{"tag"}, Usage: "`TAG` by which docker finds the network"},
				},
				Action: p.api(p.createNetwork),
			},
			{
				Name: "inspect", Usage: "show a network with its addresses and endpoints", ArgsUsage: "NETWORK",
				Flags:  []cli.Flag{tenantFlag()},
				Action: inspect(p, networks, "NETWORK", keyInTenant),
			},
			{
				Name: "ls", Aliases: []string{"list"}, Usage: "list networks",
				Flags:  []cli.Flag{tenantFlag(), allFlag(), jsonFlag(), quietFlag()},
				Action: listOfTenant(p, networks, networkTable()),
			},
			{
				Name: "rm", Aliases: []string{"delete"}, Usage: "delete a network", ArgsUsage: "NETWORK",
				Flags: []cli.Flag{tenantFlag()},
				Action: remove(p, networks, "NETWORK", keyInTenant, func(c *cli.Context, name string) string {
					return "Deleting network " + keyInTenant(c, name)
				}),
			},
		},
	}
}

func networkTable() table[client.Network] {
	return table[client.Network]{
		columns: []string{
			"Tenant", "Network", "Nw Type", "Encap type", "Packet tag", "Subnet", "Gateway", "IPv6Subnet", "IPv6Gateway", "Cfgd Tag",
		},
		row: func(n *client.Network) []string {
			return []string{
				n.TenantName, n.NetworkName, n.NwType, n.Encap, strconv.Itoa(n.PktTag),
				n.Subnet, n.Gateway, n.IPv6Subnet, n.IPv6Gateway, n.CfgdTag,
			}
		},
		tenant: func(n *client.Network) string { return n.TenantName },
		name:   func(n *client.Network) string { return n.NetworkName },
	}
}

func (p *program) createNetwork(c *cli.Context, api *client.Client) error {
	words, err := p.arguments(c, "NETWORK")
	if err != nil {
		return err
	}
	if c.String("subnet") == "" {
		return p.usage(c, "a network needs a --subnet, such as 10.1.2.0/24")
	}
	for _, flag := range []string{"gateway", "gatewayv6"} {
		if text := c.String(flag); text != "" {
			if _, err := netip.ParseAddr(text); err != nil {
				return p.usage(c, "--%s %q is not an IP address", flag, text)
			}
		}
	}
	network := &client.Network{Network: state.Network{
		TenantName: c.String("tenant"), NetworkName: words[0], NwType: c.String("nw-type"), Encap: c.String("encap"),
		PktTag: c.Int("pkt-tag"), Subnet: c.String("subnet"), Gateway: c.String("gateway"),
		IPv6Subnet: c.String("subnetv6"), IPv6Gateway: c.String("gatewayv6"), CfgdTag: c.String("nw-tag"),
	}}
	if _, err := api.Networks().Post(c.Context, network); err != nil {
		return err
	}
	return p.printf("Creating network %s\n", network.Key())
}
