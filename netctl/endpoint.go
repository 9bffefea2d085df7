package netctl

import (
	"github.com/urfave/cli/v2"

	"github.com/contiv/contiv/netmaster/client"
)

func (p *program) endpointCommand() *cli.Command {
	return &cli.Command{
		Name:    "endpoint",
		Aliases: []string{"ep"},
		Usage:   "interfaces of containers",
		Subcommands: []*cli.Command{{
			Name: "inspect", Usage: "show an endpoint", ArgsUsage: "ID",
			Description: "ID is an endpoint, container or runtime id, the beginning of a container id, or a container's name.",
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
		}},
	}
}
