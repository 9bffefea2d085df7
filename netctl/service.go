package netctl

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/contiv/contiv/netmaster/client"
	"github.com/contiv/contiv/state"
)

func (p *program) serviceCommand() *cli.Command {
	services := (*client.Client).ServiceLBs
	return &cli.Command{
		Name:  "service",
		Usage: "virtual addresses that containers serve",
		Subcommands: []*cli.Command{
			{
				Name: "create", Usage: "create a service, or give an existing one other selectors, ports and affinity", ArgsUsage: "NAME",
				Flags: []cli.Flag{
					tenantFlag(),
					&cli.StringFlag{Name: "network", Aliases: []string{"s"}, Usage: "`NETWORK` that the service's address is from, required"},
					&cli.StringSliceFlag{Name: "selector", Aliases: []string{"l"}, Usage: "`LABEL=VALUE` that containers must have; may be repeated, then all"},
					&cli.StringSliceFlag{Name: "port", Aliases: []string{"p"},
						Usage: "`PORT:PORT:PROTOCOL` of the service, of the containers, and TCP, UDP or SCTP; may be repeated"},
					&cli.StringFlag{Name: "preferred-ip", Aliases: []string{"ip"}, Usage: "`ADDRESS` of the service; any free one if left out"},
					&cli.IntFlag{Name: "affinity", Usage: "`SECONDS` for which a client stays with the same container after its last connection; 0: not at all"},
				},
				Action: p.api(p.createService),
			},
			{
				Name: "inspect", Usage: "show a service with its containers", ArgsUsage: "NAME",
				Flags:  []cli.Flag{tenantFlag()},
				Action: inspect(p, services, "NAME", keyInTenant),
			},
			{
				Name: "ls", Aliases: []string{"list"}, Usage: "list services",
				Flags: []cli.Flag{tenantFlag(), allFlag(), jsonFlag(), quietFlag()},
				Action: listOfTenant(p, services, table[client.ServiceLB]{
					columns: []string{"ServiceName", "Tenant", "Network", "Selectors"},
					row: func(s *client.ServiceLB) []string {
						return []string{s.ServiceName, s.TenantName, s.NetworkName, fmt.Sprint(s.Selectors)}
					},
					tenant: func(s *client.ServiceLB) string { return s.TenantName },
					name:   func(s *client.ServiceLB) string { return s.ServiceName },
				}),
			},
			{
				Name: "rm", Aliases: []string{"delete"}, Usage: "delete a service", ArgsUsage: "NAME",
				Flags: []cli.Flag{tenantFlag()},
				Action: remove(p, services, "NAME", keyInTenant, func(c *cli.Context, name string) string {
					return fmt.Sprintf("Deleting Service  %s,%s", name, c.String("tenant"))
				}),
			},
		},
	}
}

func (p *program) createService(c *cli.Context, api *client.Client) error {
	words, err := p.arguments(c, "NAME")
	if err != nil {
		return err
	}
	service := &client.ServiceLB{ServiceLB: state.ServiceLB{
		TenantName: c.String("tenant"), ServiceName: words[0], NetworkName: c.String("network"),
		Selectors: c.StringSlice("selector"), Ports: c.StringSlice("port"), IPAddress: c.String("preferred-ip"),
		Affinity: c.Int("affinity"),
	}}
	if _, err := api.ServiceLBs().Post(c.Context, service); err != nil {
		return err
	}
	return p.printf("Creating ServiceLB %s\n", service.Key())
}
