package netctl

import (
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/contiv/contiv/netmaster/client"
	"github.com/contiv/contiv/state"
)

func (p *program) netprofileCommand() *cli.Command {
	profiles := (*client.Client).Netprofiles
	return &cli.Command{
		Name:  "netprofile",
		Usage: "limits and marks for the traffic of groups",
		Subcommands: []*cli.Command{
			{
				Name: "create", Usage: "create a profile, or give an existing one other values", ArgsUsage: "NAME",
				Flags: []cli.Flag{
					tenantFlag(),
					&cli.StringFlag{Name: "bandwidth", Aliases: []string{"b"}, Usage: "`RATE` of each container, such as 10Mbps; no limit if left out"},
					&cli.IntFlag{Name: "dscp", Aliases: []string{"d"}, Usage: "`NUMBER` that packets are marked with, up to 63; 0 leaves them as they are"},
					&cli.IntFlag{Name: "burst", Aliases: []string{"s"}, Usage: "`KILOBYTES` that may exceed the rate, 2 to 10486"},
				},
				Action: p.api(p.createNetprofile),
			},
			{
				Name: "inspect", Usage: "show a profile", ArgsUsage: "NAME",
				Flags:  []cli.Flag{tenantFlag()},
				Action: inspect(p, profiles, "NAME", keyInTenant),
			},
			{
				Name: "ls", Aliases: []string{"list"}, Usage: "list profiles",
				Flags: []cli.Flag{tenantFlag(), allFlag(), jsonFlag(), quietFlag()},
				Action: listOfTenant(p, profiles, table[client.Netprofile]{
					columns: []string{"Name", "Tenant", "Bandwidth", "DSCP", "burst size"},
					row: func(n *client.Netprofile) []string {
						return []string{n.ProfileName, n.TenantName, usualBandwidth(n.Bandwidth), strconv.Itoa(n.DSCP), strconv.Itoa(n.Burst)}
					},
					tenant: func(n *client.Netprofile) string { return n.TenantName },
					name:   func(n *client.Netprofile) string { return n.ProfileName },
				}),
			},
			{
				Name: "rm", Aliases: []string{"delete"}, Usage: "delete a profile", ArgsUsage: "NAME",
				Flags:  []cli.Flag{tenantFlag()},
				Action: remove(p, profiles, "NAME", keyInTenant, nil),
			},
		},
	}
}

// usualBandwidth writes a rate with the unit Kbps, Mbps or Gbps.
func usualBandwidth(text string) string {
	if b, err := state.ParseBandwidth(text); err == nil {
		return b.String()
	}
	return text
}

func (p *program) createNetprofile(c *cli.Context, api *client.Client) error {
	words, err := p.arguments(c, "NAME")
	if err != nil {
		return err
	}
	profile := &client.Netprofile{Netprofile: state.Netprofile{
		TenantName: c.String("tenant"), ProfileName: words[0],
		Bandwidth: c.String("bandwidth"), DSCP: c.Int("dscp"), Burst: c.Int("burst"),
	}}
	if _, err := api.Netprofiles().Post(c.Context, profile); err != nil {
		return err
	}
	return p.printf("Creating netprofile %s\n", profile.Key())
}
