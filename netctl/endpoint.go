package netctl

import (
	"cmp"
	"errors"
	"net/http"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/contiv/contiv/netmaster/client"
)

func (p *program) endpointCommand() *cli.Command {
	const ids = "ID is an endpoint, container or runtime id, the beginning of a container id, or a container's name."
	which := func(more ...cli.Flag) []cli.Flag {
		return append([]cli.Flag{
			&cli.StringFlag{Name: "tenant", Aliases: []string{"t"}, Usage: "only those of the tenant `NAME`"},
			&cli.StringFlag{Name: "network", Aliases: []string{"n"}, Usage: "only those of networks called `NAME`"},
			&cli.StringFlag{Name: "group", Aliases: []string{"g"}, Usage: "only those of groups called `NAME`"},
			&cli.StringFlag{Name: "host", Usage: "only those of the host `NAME`"},
			&cli.BoolFlag{Name: "orphaned", Aliases: []string{"o"}, Usage: "only those that their host no longer has"},
		}, more...)
	}
	return &cli.Command{
		Name:    "endpoint",
		Aliases: []string{"ep"},
		Usage:   "interfaces of containers; find and release those left over",
		Subcommands: []*cli.Command{
			{
				Name: "inspect", Usage: "show an endpoint", ArgsUsage: "ID", Description: ids,
				Action: p.api(func(c *cli.Context, api *client.Client) error {
					words, err := p.arguments(c, "ID")
					if err != nil {
						return err
					}
					found, err := api.InspectEndpoint(c.Context, words[0])
					if err != nil {
						return err
					}
					return p.printJSON(found)
				}),
			},
			{
				Name: "ls", Aliases: []string{"list"}, Usage: "list the endpoints of all tenants, or some of them",
				Description: "Attached: the host has it. Stopped: the host has it, but its container does not run. Orphaned: the host is connected\n" +
					"and does not have it; it is released half a minute later. Orphaned, held: so is more than half of the host, and it\n" +
					"waits for \"netctl endpoint release\". Host silent: nobody knows; see \"netctl host ls\".",
				Flags:  which(jsonFlag(), quietFlag()),
				Action: p.api(p.listEndpoints),
			},
			{
				Name: "release", Usage: "release endpoints that are left over: orphaned ones, or of silent hosts", ArgsUsage: "ID, or --orphaned and no ID",
				Description: ids + "\nWith --orphaned, all that the flags choose. What a connected host has plugged in is refused: remove its container.",
				Flags:       which(forceFlag()),
				Action:      p.api(p.releaseEndpoints),
			},
		},
	}
}

func endpointTable() table[client.Endpoint] {
	return table[client.Endpoint]{
		columns: []string{"Tenant", "Network", "Group", "Host", "Container", "IP Address", "IPv6 Address", "State", "ID"},
		row: func(e *client.Endpoint) []string {
			const short = 12 // of a container id, as docker ps shows it
			addresses := append(e.IPAddress, "", "")
			return []string{
				e.TenantName, e.NetworkName, strings.Join(e.Groups, ","), e.HomingHost,
				cmp.Or(e.ContainerName, e.ContainerID[:min(len(e.ContainerID), short)]), addresses[0], addresses[1], stateOf(e), e.ModelKey,
			}
		},
		tenant: func(e *client.Endpoint) string { return e.TenantName },
		name:   func(e *client.Endpoint) string { return e.ModelKey },
	}
}

// stateOf says how an endpoint is, in the words that the help of "endpoint ls" explains.
func stateOf(e *client.Endpoint) string {
	switch {
	case e.Orphaned != nil && e.Orphaned.Held:
		return "orphaned, held"
	case e.Orphaned != nil:
		return "orphaned"
	case e.HostState != client.HostConnected:
		return "host " + e.HostState
	case e.Stopped:
		return "stopped"
	}
	return "attached"
}

func filterOf(c *cli.Context) client.EndpointFilter {
	return client.EndpointFilter{
		Tenant: c.String("tenant"), Network: c.String("network"), Group: c.String("group"), Host: c.String("host"),
		Orphaned: c.Bool("orphaned"),
	}
}

func (p *program) listEndpoints(c *cli.Context, api *client.Client) error {
	if _, err := p.arguments(c); err != nil {
		return err
	}
	found, err := api.Endpoints(c.Context, filterOf(c))
	if err != nil {
		return err
	}
	return endpointTable().print(p, c, found)
}

func (p *program) releaseEndpoints(c *cli.Context, api *client.Client) error {
	which := filterOf(c)
	if !which.Orphaned {
		if which != (client.EndpointFilter{}) {
			return p.usage(c, "--tenant, --network, --group and --host choose among orphaned endpoints: give --orphaned, too")
		}
		words, err := p.arguments(c, "ID")
		if err != nil {
			return err
		}
		return p.releaseEndpoint(c, api, words[0])
	}
	if c.Args().Present() {
		return p.usage(c, "give an ID, or --orphaned, not both")
	}
	found, err := api.Endpoints(c.Context, which)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return errors.New("no endpoint is orphaned there; \"netctl host ls\" shows silent hosts")
	}
	for _, e := range found {
		// One that went by itself meanwhile is what was wanted.
		if err := p.releaseEndpoint(c, api, e.ModelKey); err != nil && client.StatusOf(err) != http.StatusNotFound {
			return err
		}
	}
	return nil
}

func (p *program) releaseEndpoint(c *cli.Context, api *client.Client, id string) error {
	done, err := api.ReleaseEndpoint(c.Context, id, c.Bool("force"))
	if err != nil {
		return err
	}
	return p.printReleased(done)
}
