package netctl

import (
	"github.com/urfave/cli/v2"

	"github.com/contiv/contiv/netmaster/client"
	"github.com/contiv/contiv/state"
)

// setting is one field of the global object as "global info" shows it and "global set" changes it.
type setting struct {
	label, flag, short, usage string
	field                     func(*client.Global) *string
}

func settings() []setting {
	return []setting{
		{"Fabric mode", "fabric-mode", "f", "`MODE`: default, aci or aci-opflex", func(g *client.Global) *string { return &g.NetworkInfraType }},
		{"Forward mode", "fwd-mode", "b", "`MODE`: bridge or routing; only without networks", func(g *client.Global) *string { return &g.FwdMode }},
		{"ARP mode", "arp-mode", "a", "`MODE`: proxy or flood", func(g *client.Global) *string { return &g.ArpMode }},
		{"Vlan Range", "vlan-range", "v", "`RANGE` of VLANs for networks: 1-4094", func(g *client.Global) *string { return &g.Vlans }},
		{"Vxlan range", "vxlan-range", "x", "`RANGE` of VXLANs for networks: 1-10000", func(g *client.Global) *string { return &g.Vxlans }},
		{"Private subnet", "private-subnet", "s", "`SUBNET` of length 16 between hosts and containers; only without networks",
			func(g *client.Global) *string { return &g.PvtSubnet }},
	}
}

func (p *program) globalCommand() *cli.Command {
	var flags []cli.Flag
	for _, s := range settings() {
		flags = append(flags, &cli.StringFlag{Name: s.flag, Aliases: []string{s.short}, Usage: s.usage})
	}
	return &cli.Command{
		Name:  "global",
		Usage: "settings of the whole cluster",
		Subcommands: []*cli.Command{
			{
				Name: "info", Usage: "show the settings",
				Flags:  []cli.Flag{tenantFlag(), allFlag(), jsonFlag()},
				Action: p.api(p.globalInfo),
			},
			{
				Name: "inspect", Usage: "show the settings and the tags in use",
				Action: p.api(p.inspectGlobal),
			},
			{
				Name: "set", Usage: "change the settings that are given",
				Flags:  flags,
				Action: p.api(p.setGlobal),
			},
		},
	}
}

func (p *program) globalInfo(c *cli.Context, api *client.Client) error {
	if _, err := p.arguments(c); err != nil {
		return err
	}
	found, err := api.Globals().List(c.Context)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return p.printJSON(found)
	}
	for i := range found {
		for _, s := range settings() {
			if err := p.printf("%s: %s\n", s.label, *s.field(&found[i])); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *program) inspectGlobal(c *cli.Context, api *client.Client) error {
	if _, err := p.arguments(c); err != nil {
		return err
	}
	found, err := api.Globals().Inspect(c.Context, state.GlobalName)
	if err != nil {
		return err
	}
	return p.printJSON(found)
}

// setGlobal lays the given settings over the stored ones, so that the others stay.
func (p *program) setGlobal(c *cli.Context, api *client.Client) error {
	if _, err := p.arguments(c); err != nil {
		return err
	}
	if c.NumFlags() == 0 {
		return p.usage(c, "nothing to set")
	}
	global, err := api.Globals().Get(c.Context, state.GlobalName)
	if err != nil {
		return err
	}
	for _, s := range settings() {
		if c.IsSet(s.flag) {
			*s.field(global) = c.String(s.flag)
		}
	}
	_, err = api.Globals().Post(c.Context, global)
	return err
}
