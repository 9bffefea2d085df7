package netctl

import (
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/contiv/contiv/netmaster/client"
)

func (p *program) hostCommand() *cli.Command {
	return &cli.Command{
		Name:  "host",
		Usage: "machines that run an agent",
		Subcommands: []*cli.Command{
			{
				Name: "inspect", Usage: "show a host with its endpoints and what it could not realise", ArgsUsage: "HOST",
				Action: p.api(func(c *cli.Context, api *client.Client) error {
					words, err := p.arguments(c, "HOST")
					if err != nil {
						return err
					}
					found, err := api.InspectHost(c.Context, words[0])
					if err != nil {
						return err
					}
					return p.printJSON(found)
				}),
			},
			{
				Name: "ls", Aliases: []string{"list"}, Usage: "list hosts and how they are",
				Description: "Connected: the agent is registered. Silent: it is not; the host keeps its endpoints until --host-dead-after of\n" +
					"netmaster, or \"netctl host release\". Dead: its endpoints are released. Since is when the agent connected, or was\n" +
					"last heard of. Lag is how many store revisions the host is behind.",
				Flags:  []cli.Flag{jsonFlag(), quietFlag()},
				Action: p.api(p.listHosts),
			},
			{
				Name: "release", Usage: "declare a host dead, and release its endpoints", ArgsUsage: "HOST",
				Description: "For a host that will not come back, so that nothing waits for it any more. A host whose agent is connected is\n" +
					"refused: stop the agent first. If it does come back it is told what it lost.",
				Flags:  []cli.Flag{forceFlag()},
				Action: p.api(p.releaseHost),
			},
		},
	}
}

func forceFlag() cli.Flag {
	return &cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "also if the host was heard of in the last minute"}
}

func hostTable() table[client.Host] {
	return table[client.Host]{
		columns: []string{"Host", "State", "Since", "VTEP", "Endpoints", "Orphaned", "Revision", "Lag", "MTU", "Version", "Warnings"},
		row: func(h *client.Host) []string {
			revision, lag := "", ""
			if h.State == client.HostConnected {
				revision, lag = strconv.FormatInt(h.Acknowledged, 10), strconv.FormatInt(max(0, h.Desired-h.Acknowledged), 10)
			}
			return []string{
				h.Name, h.State, timeText(h.Since), h.VTEP, strconv.Itoa(h.Endpoints), strconv.Itoa(h.Orphans),
				revision, lag, strconv.Itoa(h.MTU), h.Version, strconv.Itoa(len(h.Warnings)),
			}
		},
		name: func(h *client.Host) string { return h.Name },
	}
}

// timeText is a time as tables show it, empty for none.
func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func (p *program) listHosts(c *cli.Context, api *client.Client) error {
	if _, err := p.arguments(c); err != nil {
		return err
	}
	hosts, err := api.Hosts(c.Context)
	if err != nil {
		return err
	}
	if err := hostTable().print(p, c, hosts); err != nil || c.Bool("json") || c.Bool("quiet") {
		return err
	}
	for _, host := range hosts {
		for _, text := range host.Warnings {
			p.logger().Warningf("host %s %s", host.Name, text)
		}
	}
	return nil
}

func (p *program) releaseHost(c *cli.Context, api *client.Client) error {
	words, err := p.arguments(c, "HOST")
	if err != nil {
		return err
	}
	done, err := api.ReleaseHost(c.Context, words[0], c.Bool("force"))
	if err != nil {
		return err
	}
	if err := p.printf("Releasing host %s: %d endpoints\n", words[0], len(done.Released)); err != nil {
		return err
	}
	return p.printReleased(done)
}

func (p *program) printReleased(done *client.Released) error {
	for _, key := range done.Released {
		if err := p.printf("Releasing endpoint %s\n", key); err != nil {
			return err
		}
	}
	return nil
}
