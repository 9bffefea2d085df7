package netctl

import (
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/contiv/contiv/netmaster/client"
	"github.com/contiv/contiv/state"
)

func (p *program) groupCommand() *cli.Command {
	groups := (*client.Client).EndpointGroups
	return &cli.Command{
		Name:  "group",
		Usage: "sets of endpoints of a network",
		Subcommands: []*cli.Command{
			{
				Name: "create", Usage: "create a group, or give an existing one other options", ArgsUsage: "NETWORK GROUP",
				Description: "An existing group gets exactly the options given here: repeat those that should stay.",
				Flags: []cli.Flag{
					tenantFlag(),
					&cli.StringSliceFlag{Name: "policy", Aliases: []string{"p"}, Usage: "`NAME` of a policy; may be repeated"},
					&cli.StringFlag{Name: "networkprofile", Aliases: []string{"n"}, Usage: "`NAME` of a network profile"},
					&cli.StringSliceFlag{Name: "external-contract", Aliases: []string{"e"},
						Usage: "`NAME` of an external contracts group; may be repeated"},
					&cli.StringFlag{Name: "ip-pool", Aliases: []string{"r"}, Usage: "`POOL` of addresses of the group alone: 10.1.2.5-10.1.2.10"},
					defaultDenyFlag("to and from its members"),
					&cli.StringFlag{Name: "epg-tag", Aliases: []string{"tag"}, Usage: "`TAG` by which docker finds the group"},
				},
				Action: p.api(p.createGroup),
			},
			{
				Name: "inspect", Usage: "show a group with its endpoints", ArgsUsage: "GROUP",
				Flags:  []cli.Flag{tenantFlag()},
				Action: inspect(p, groups, "GROUP", keyInTenant),
			},
			{
				Name: "ls", Aliases: []string{"list"}, Usage: "list groups",
				Flags:  []cli.Flag{tenantFlag(), allFlag(), jsonFlag(), quietFlag()},
				Action: listOfTenant(p, groups, groupTable()),
			},
			{
				Name: "rm", Aliases: []string{"delete"}, Usage: "delete a group", ArgsUsage: "GROUP",
				Flags:  []cli.Flag{tenantFlag()},
				Action: remove(p, groups, "GROUP", keyInTenant, nil),
			},
		},
	}
}

func groupTable() table[client.EndpointGroup] {
	return table[client.EndpointGroup]{
		columns: []string{"Tenant", "Group", "Network", "IP Pool", "CfgdTag", "Policies", "Network profile"},
		row: func(g *client.EndpointGroup) []string {
			return []string{
				g.TenantName, g.GroupName, g.NetworkName, g.IPPool, g.CfgdTag, strings.Join(g.Policies, ","), g.NetProfile,
			}
		},
		tenant: func(g *client.EndpointGroup) string { return g.TenantName },
		name:   func(g *client.EndpointGroup) string { return g.GroupName },
	}
}

func (p *program) createGroup(c *cli.Context, api *client.Client) error {
	words, err := p.arguments(c, "NETWORK", "GROUP")
	if err != nil {
		return err
	}
	group := &client.EndpointGroup{EndpointGroup: state.EndpointGroup{
		TenantName: c.String("tenant"), NetworkName: words[0], GroupName: words[1],
		Policies: c.StringSlice("policy"), NetProfile: c.String("networkprofile"),
		ExtContractsGrps: c.StringSlice("external-contract"), IPPool: c.String("ip-pool"), CfgdTag: c.String("epg-tag"),
		DefaultDeny: c.String("default-deny"),
	}}
	if _, err := api.EndpointGroups().Post(c.Context, group); err != nil {
		return err
	}
	return p.printf("Creating EndpointGroup %s\n", group.Key())
}
