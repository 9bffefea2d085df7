package netctl

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/contiv/contiv/netmaster/client"
	"github.com/contiv/contiv/state"
)

func (p *program) aciGwCommand() *cli.Command {
	return &cli.Command{
		Name:  "aci-gw",
		Usage: "settings for Cisco ACI",
		Subcommands: []*cli.Command{
			{
				Name: "info", Usage: "show the settings",
				Flags:  []cli.Flag{tenantFlag(), allFlag(), jsonFlag()},
				Action: p.api(p.aciGwInfo),
			},
			{
				Name: "inspect", Usage: "show the settings and the number of application profiles",
				Action: p.api(p.inspectAciGw),
			},
			{
				Name: "set", Usage: "replace the settings",
				Description: "What is left out gets its default.",
				Flags: []cli.Flag{
					&cli.StringFlag{Name: "path-bindings", Aliases: []string{"p"},
						Usage: "`LIST` with commas of ports: topology/pod-1/paths-101/pathep-[eth1/14]"},
					&cli.StringFlag{Name: "node-bindings", Aliases: []string{"n"}, Usage: "`LIST` with commas of switches: topology/pod-1/node-101"},
					&cli.StringFlag{Name: "phys-dom", Aliases: []string{"d"}, Usage: "`NAME` of the physical domain, required"},
					&cli.StringFlag{Name: "enforce-policies", Aliases: []string{"e"}, Value: state.Yes, Usage: "`yes` or no"},
					&cli.StringFlag{Name: "include-common-tenant", Aliases: []string{"i"}, Value: state.No, Usage: "`yes` or no"},
				},
				Action: p.api(p.setAciGw),
			},
		},
	}
}

func (p *program) aciGwInfo(c *cli.Context, api *client.Client) error {
	if _, err := p.arguments(c); err != nil {
		return err
	}
	found, err := api.AciGws().List(c.Context)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return p.printJSON(found)
	}
	for _, a := range found {
		err := p.printf("Path bindings: %s\nNode bindings: %s\nPhysical domain: %s\nEnforce policies: %s\nInclude Common-Tenant: %s\n",
			a.PathBindings, a.NodeBindings, a.PhysicalDomain, a.EnforcePolicies, a.IncludeCommonTenant)
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *program) inspectAciGw(c *cli.Context, api *client.Client) error {
	if _, err := p.arguments(c); err != nil {
		return err
	}
	found, err := api.AciGws().Inspect(c.Context, state.AciGwName)
	if err != nil {
		return err
	}
	return p.printJSON(found)
}

func (p *program) setAciGw(c *cli.Context, api *client.Client) error {
	if _, err := p.arguments(c); err != nil {
		return err
	}
	_, err := api.AciGws().Post(c.Context, &client.AciGw{AciGw: state.AciGw{
		Name: state.AciGwName, PathBindings: c.String("path-bindings"), NodeBindings: c.String("node-bindings"),
		PhysicalDomain: c.String("phys-dom"), EnforcePolicies: c.String("enforce-policies"),
		IncludeCommonTenant: c.String("include-common-tenant"),
	}})
	return err
}

func (p *program) appProfileCommand() *cli.Command {
	profiles := (*client.Client).AppProfiles
	groups := &cli.StringFlag{Name: "group", Aliases: []string{"g"}, Usage: "`LIST` with commas of groups; none if left out"}
	return &cli.Command{
		Name:  "app-profile",
		Usage: "sets of groups that ACI sees as one application",
		Subcommands: []*cli.Command{
			{
				Name: "create", Usage: "create an application profile, or give an existing one other groups", ArgsUsage: "NAME",
				Flags: []cli.Flag{tenantFlag(), groups},
				Action: p.api(func(c *cli.Context, api *client.Client) error {
					key, err := p.putAppProfile(c, api)
					if err != nil {
						return err
					}
					return p.printf("Creating AppProfile %s\n", key)
				}),
			},
			{
				Name: "group-ls", Aliases: []string{"group-list"}, Usage: "list the groups of an application profile", ArgsUsage: "NAME",
				Flags:  []cli.Flag{tenantFlag(), allFlag(), jsonFlag(), quietFlag()},
				Action: p.api(p.listGroupsOfAppProfile),
			},
			{
				Name: "ls", Aliases: []string{"list"}, Usage: "list application profiles",
				Flags: []cli.Flag{tenantFlag(), allFlag(), jsonFlag(), quietFlag()},
				Action: listOfTenant(p, profiles, table[client.AppProfile]{
					columns: []string{"Tenant", "AppProfile", "Groups"},
					row: func(a *client.AppProfile) []string {
						return []string{a.TenantName, a.AppProfileName, strings.Join(a.EndpointGroups, ",")}
					},
					tenant: func(a *client.AppProfile) string { return a.TenantName },
					name:   func(a *client.AppProfile) string { return a.AppProfileName },
				}),
			},
			{
				Name: "rm", Aliases: []string{"delete"}, Usage: "delete an application profile; its groups stay", ArgsUsage: "NAME",
				Flags:  []cli.Flag{tenantFlag()},
				Action: remove(p, profiles, "NAME", keyInTenant, nil),
			},
			{
				Name: "update", Usage: "give an application profile other groups", ArgsUsage: "NAME",
				Flags: []cli.Flag{tenantFlag(), groups},
				Action: p.api(func(c *cli.Context, api *client.Client) error {
					_, err := p.putAppProfile(c, api)
					return err
				}),
			},
		},
	}
}

func (p *program) putAppProfile(c *cli.Context, api *client.Client) (key string, err error) {
	words, err := p.arguments(c, "NAME")
	if err != nil {
		return "", err
	}
	profile := &client.AppProfile{AppProfile: state.AppProfile{TenantName: c.String("tenant"), AppProfileName: words[0]}}
	if list := c.String("group"); list != "" {
		profile.EndpointGroups = strings.Split(list, ",")
	}
	_, err = api.AppProfiles().Post(c.Context, profile)
	return profile.Key(), err
}

func (p *program) listGroupsOfAppProfile(c *cli.Context, api *client.Client) error {
	words, err := p.arguments(c, "NAME")
	if err != nil {
		return err
	}
	found, err := api.AppProfiles().Get(c.Context, keyInTenant(c, words[0]))
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return p.printJSON(found)
	}
	return p.printf("%s\n", strings.Join(found.EndpointGroups, ","))
}

func (p *program) contractsCommand() *cli.Command {
	contracts := (*client.Client).ExtContractsGroups
	return &cli.Command{
		Name:  "external-contracts",
		Usage: "contracts of ACI that groups provide or consume",
		Subcommands: []*cli.Command{
			{
				Name: "create", Usage: "name a set of contracts", ArgsUsage: "NAME",
				Flags: []cli.Flag{
					tenantFlag(),
					&cli.BoolFlag{Name: "consumed", Aliases: []string{"c"}, Usage: "groups consume the contracts"},
					&cli.BoolFlag{Name: "provided", Aliases: []string{"p"}, Usage: "groups provide the contracts"},
					&cli.StringSliceFlag{Name: "contract", Aliases: []string{"a"}, Usage: "distinguished `NAME` of a contract; may be repeated"},
				},
				Action: p.api(p.createContracts),
			},
			{
				Name: "ls", Aliases: []string{"list"}, Usage: "list sets of contracts",
				Flags: []cli.Flag{tenantFlag(), allFlag(), jsonFlag(), quietFlag()},
				Action: listOfTenant(p, contracts, table[client.ExtContractsGroup]{
					columns: []string{"Tenant", "Name", "Type", "Contracts"},
					row: func(e *client.ExtContractsGroup) []string {
						return []string{e.TenantName, e.ContractsGroupName, e.ContractsType, strings.Join(e.Contracts, ",")}
					},
					tenant: func(e *client.ExtContractsGroup) string { return e.TenantName },
					name:   func(e *client.ExtContractsGroup) string { return e.ContractsGroupName },
				}),
			},
			{
				Name: "rm", Aliases: []string{"delete"}, Usage: "delete a set of contracts", ArgsUsage: "NAME",
				Flags: []cli.Flag{tenantFlag()},
				Action: remove(p, contracts, "NAME", keyInTenant, func(c *cli.Context, name string) string {
					return fmt.Sprintf("Deleting external contracts group %s in tenant %s", name, c.String("tenant"))
				}),
			},
		},
	}
}

func (p *program) createContracts(c *cli.Context, api *client.Client) error {
	words, err := p.arguments(c, "NAME")
	if err != nil {
		return err
	}
	if c.Bool("consumed") == c.Bool("provided") {
		return p.usage(c, "give one of --consumed and --provided")
	}
	if len(c.StringSlice("contract")) == 0 {
		return p.usage(c, "give a --contract")
	}
	kind := state.ContractsProvided
	if c.Bool("consumed") {
		kind = state.ContractsConsumed
	}
	contracts := &client.ExtContractsGroup{ExtContractsGroup: state.ExtContractsGroup{
		TenantName: c.String("tenant"), ContractsGroupName: words[0], ContractsType: kind, Contracts: c.StringSlice("contract"),
	}}
	if _, err := api.ExtContractsGroups().Post(c.Context, contracts); err != nil {
		return err
	}
	return p.printf("Creating ExternalContracts %s\n", contracts.Key())
}
