package netctl

import (
	"net/netip"

	"github.com/urfave/cli/v2"

	"github.com/contiv/contiv/netmaster/client"
	"github.com/contiv/contiv/state"
)

func (p *program) bgpCommand() *cli.Command {
	speakers := (*client.Client).Bgps
	return &cli.Command{
		Name:  "bgp",
		Usage: "BGP speakers of hosts",
		Subcommands: []*cli.Command{
			{
				Name: "create", Usage: "create the BGP speaker of a host, or change it", ArgsUsage: "HOST",
				Flags: []cli.Flag{
					&cli.StringFlag{Name: "router-ip", Usage: "`ADDRESS/LENGTH` of the host, required"},
					&cli.StringFlag{Name: "as", Usage: "`NUMBER` of the host's autonomous system, required"},
					&cli.StringFlag{Name: "neighbor-as", Usage: "`NUMBER` of the neighbor's autonomous system, required"},
					&cli.StringFlag{Name: "neighbor", Usage: "`ADDRESS` of the neighbor, required"},
				},
				Action: p.api(p.createBgp),
			},
			{
				Name: "inspect", Usage: "show a BGP speaker with its routes", ArgsUsage: "HOST",
				Action: inspect(p, speakers, "HOST", keyOfName),
			},
			{
				Name: "ls", Aliases: []string{"list"}, Usage: "list BGP speakers",
				Flags: []cli.Flag{jsonFlag(), quietFlag()},
				Action: listAll(p, speakers, table[client.Bgp]{
					columns: []string{"HostName", "RouterIP", "AS", "Neighbor", "NeighborAS"},
					row: func(b *client.Bgp) []string {
						return []string{b.Hostname, b.RouterIP, b.AS, b.Neighbor, b.NeighborAS}
					},
					name: func(b *client.Bgp) string { return b.Hostname },
				}),
			},
			{
				Name: "rm", Aliases: []string{"delete"}, Usage: "delete the BGP speaker of a host", ArgsUsage: "HOST",
				Action: remove(p, speakers, "HOST", keyOfName,
					func(_ *cli.Context, name string) string { return "Deleting Bgp router config: " + name }),
			},
		},
	}
}

func (p *program) createBgp(c *cli.Context, api *client.Client) error {
	words, err := p.arguments(c, "HOST")
	if err != nil {
		return err
	}
	for _, flag := range []string{"router-ip", "as", "neighbor-as", "neighbor"} {
		if c.String(flag) == "" {
			return p.usage(c, "a BGP speaker needs --%s", flag)
		}
	}
	if _, err := netip.ParsePrefix(c.String("router-ip")); err != nil {
		return p.usage(c, "--router-ip %q is not an address with a length, such as 50.1.1.1/24", c.String("router-ip"))
	}
	if _, err := netip.ParseAddr(c.String("neighbor")); err != nil {
		return p.usage(c, "--neighbor %q is not an IP address", c.String("neighbor"))
	}
	_, err = api.Bgps().Post(c.Context, &client.Bgp{Bgp: state.Bgp{
		Hostname: words[0], RouterIP: c.String("router-ip"), AS: c.String("as"),
		Neighbor: c.String("neighbor"), NeighborAS: c.String("neighbor-as"),
	}})
	return err
}

// listAll is the action of "ls" for types that belong to no tenant.
func listAll[T, O any](p *program, in func(*client.Client) client.Collection[T, O], t table[T]) cli.ActionFunc {
	return p.api(func(c *cli.Context, api *client.Client) error {
		if _, err := p.arguments(c); err != nil {
			return err
		}
		found, err := in(api).List(c.Context)
		if err != nil {
			return err
		}
		return t.print(p, c, found)
	})
}
