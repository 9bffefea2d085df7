package netctl

import (
	"github.com/urfave/cli/v2"

	"github.com/contiv/contiv/netmaster/client"
	"github.com/contiv/contiv/state"
)

func (p *program) tenantCommand() *cli.Command {
	tenants := (*client.Client).Tenants
	name := func(t *client.Tenant) string { return t.TenantName }
	return &cli.Command{
		Name:  "tenant",
		Usage: "name spaces of networks, groups and addresses",
		Subcommands: []*cli.Command{
			{
				Name: "create", Usage: "create a tenant", ArgsUsage: "TENANT",
				Action: p.api(p.createTenant),
			},
			{
				Name: "inspect", Usage: "show a tenant with its figures", ArgsUsage: "TENANT",
				Action: inspect(p, tenants, "TENANT", keyOfName),
			},
			{
				Name: "ls", Aliases: []string{"list"}, Usage: "list tenants",
				Flags: []cli.Flag{quietFlag(), jsonFlag()},
				Action: p.api(p.listTenants(table[client.Tenant]{
					columns: []string{"Name"},
					row:     func(t *client.Tenant) []string { return []string{t.TenantName} },
					name:    name,
				})),
			},
			{
				Name: "rm", Aliases: []string{"delete"}, Usage: "delete a tenant", ArgsUsage: "TENANT",
				Action: remove(p, tenants, "TENANT", keyOfName,
					func(_ *cli.Context, name string) string { return "Deleting tenant " + name }),
			},
		},
	}
}

func (p *program) createTenant(c *cli.Context, api *client.Client) error {
	words, err := p.arguments(c, "TENANT")
	if err != nil {
		return err
	}
	tenant := &client.Tenant{Tenant: state.Tenant{TenantName: words[0]}}
	if _, err := api.Tenants().Post(c.Context, tenant); err != nil {
		return err
	}
	return p.printf("Creating tenant: %s\n", words[0])
}

func (p *program) listTenants(t table[client.Tenant]) func(*cli.Context, *client.Client) error {
	return func(c *cli.Context, api *client.Client) error {
		if _, err := p.arguments(c); err != nil {
			return err
		}
		found, err := api.Tenants().List(c.Context)
		if err != nil {
			return err
		}
		return t.print(p, c, found)
	}
}
