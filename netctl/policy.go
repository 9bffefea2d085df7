package netctl

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/contiv/contiv/netmaster/client"
	"github.com/contiv/contiv/state"
)

func (p *program) policyCommand() *cli.Command {
	policies := (*client.Client).Policies
	return &cli.Command{
		Name:  "policy",
		Usage: "rules for the traffic of groups",
		Subcommands: append(p.ruleCommands(), []*cli.Command{
			{
				Name: "create", Usage: "create a policy, without rules, or give an existing one another default", ArgsUsage: "POLICY",
				Description: "An existing policy gets the default that is given; without one it keeps its own.",
				Flags:       []cli.Flag{tenantFlag(), defaultDenyFlag("to and from the members of its groups")},
				Action:      p.api(p.createPolicy),
			},
			{
				Name: "inspect", Usage: "show a policy with the endpoints it is about, its hits, and on which hosts it is in force", ArgsUsage: "POLICY",
				Flags:  []cli.Flag{tenantFlag()},
				Action: inspect(p, policies, "POLICY", keyInTenant),
			},
			{
				Name: "ls", Aliases: []string{"list"}, Usage: "list policies",
				Flags: []cli.Flag{tenantFlag(), allFlag(), jsonFlag(), quietFlag()},
				Action: listOfTenant(p, policies, table[client.Policy]{
					columns: []string{"Tenant", "Policy"},
					row:     func(o *client.Policy) []string { return []string{o.TenantName, o.PolicyName} },
					tenant:  func(o *client.Policy) string { return o.TenantName },
					name:    func(o *client.Policy) string { return o.PolicyName },
				}),
			},
			{
				Name: "rm", Aliases: []string{"delete"}, Usage: "delete a policy and its rules", ArgsUsage: "POLICY",
				Flags: []cli.Flag{tenantFlag()},
				Action: remove(p, policies, "POLICY", keyInTenant, func(c *cli.Context, name string) string {
					return "Deleting policy " + keyInTenant(c, name)
				}),
			},
		}...),
	}
}

func (p *program) ruleCommands() []*cli.Command {
	return []*cli.Command{
		{
			Name: "rule-add", Usage: "add a rule to a policy", ArgsUsage: "POLICY RULE",
			Description: "RULE is the rule's id in the policy. A rule cannot be changed: remove it and add it again.",
			Flags:       ruleFlags(),
			Action:      p.api(p.addRule),
		},
		{
			Name: "rule-ls", Usage: "list the rules of a policy", ArgsUsage: "POLICY",
			Flags:  []cli.Flag{tenantFlag(), jsonFlag(), quietFlag()},
			Action: p.api(p.listRules),
		},
		{
			Name: "rule-rm", Usage: "remove a rule from a policy", ArgsUsage: "POLICY RULE",
			Flags:  []cli.Flag{tenantFlag()},
			Action: p.api(p.removeRule),
		},
	}
}

func ruleFlags() []cli.Flag {
	return []cli.Flag{
		tenantFlag(),
		&cli.IntFlag{Name: "priority", Aliases: []string{"p"}, Value: state.DefaultPriority, Usage: "`NUMBER` from 1 to 100; the larger wins"},
		&cli.StringFlag{Name: "direction", Aliases: []string{"d"}, Value: state.DirectionIn,
			Usage: "`DIRECTION`: in, traffic towards the members of the group, or out, traffic from them"},
		&cli.StringFlag{Name: "from-group", Aliases: []string{"g"}, Usage: "`GROUP` that the traffic comes from (in)"},
		&cli.StringFlag{Name: "to-group", Aliases: []string{"e"}, Usage: "`GROUP` that the traffic goes to (out)"},
		&cli.StringFlag{Name: "from-network", Aliases: []string{"n"}, Usage: "`NETWORK` that the traffic comes from (in)"},
		&cli.StringFlag{Name: "to-network", Aliases: []string{"o"}, Usage: "`NETWORK` that the traffic goes to (out)"},
		&cli.StringFlag{Name: "from-ip-address", Aliases: []string{"i"}, Usage: "`ADDRESS` or subnet that the traffic comes from (in)"},
		&cli.StringFlag{Name: "to-ip-address", Aliases: []string{"s"}, Usage: "`ADDRESS` or subnet that the traffic goes to"},
		&cli.StringFlag{Name: "protocol", Aliases: []string{"l"}, Usage: "`PROTOCOL`: tcp, udp, sctp, icmp, icmp6 or a number; any if left out"},
		&cli.IntFlag{Name: "port", Aliases: []string{"P"}, Usage: "`PORT` of the server; 0 for any"},
		&cli.IntFlag{Name: "port-end", DefaultText: "one port", Usage: "last `PORT` of a range that begins with --port"},
		&cli.IntFlag{Name: "icmp-type", DefaultText: "any", Usage: "`TYPE` of ICMP (protocol icmp: of IPv4) or icmp6"},
		&cli.IntFlag{Name: "icmp-code", DefaultText: "any", Usage: "`CODE` of that type"},
		&cli.StringFlag{Name: "action", Aliases: []string{"j"}, Value: state.ActionAllow, Usage: "`ACTION`: allow or deny"},
	}
}

func (p *program) createPolicy(c *cli.Context, api *client.Client) error {
	words, err := p.arguments(c, "POLICY")
	if err != nil {
		return err
	}
	policy := &client.Policy{Policy: state.Policy{TenantName: c.String("tenant"), PolicyName: words[0], DefaultDeny: c.String("default-deny")}}
	if _, err := api.Policies().Post(c.Context, policy); err != nil {
		return err
	}
	return p.printf("Creating policy %s\n", policy.Key())
}

func (p *program) addRule(c *cli.Context, api *client.Client) error {
	words, err := p.arguments(c, "POLICY", "RULE")
	if err != nil {
		return err
	}
	if err := p.checkPeers(c); err != nil {
		return err
	}
	_, err = api.Rules().Post(c.Context, &client.Rule{Rule: state.Rule{
		TenantName: c.String("tenant"), PolicyName: words[0], RuleID: words[1],
		Priority: c.Int("priority"), Direction: c.String("direction"), Action: c.String("action"),
		FromEndpointGroup: c.String("from-group"), ToEndpointGroup: c.String("to-group"),
		FromNetwork: c.String("from-network"), ToNetwork: c.String("to-network"),
		FromIPAddress: c.String("from-ip-address"), ToIPAddress: c.String("to-ip-address"),
		Protocol: c.String("protocol"), Port: c.Int("port"), PortEnd: c.Int("port-end"),
		ICMPType: optionalInt(c, "icmp-type"), ICMPCode: optionalInt(c, "icmp-code"),
	}})
	return err
}

func defaultDenyFlag(what string) cli.Flag {
	return &cli.StringFlag{Name: "default-deny", Usage: "deny what no rule allows " + what + ": `DIRECTION` in, out, both or none"}
}

// optionalInt is nil for a flag that is not given.
func optionalInt(c *cli.Context, flag string) *int {
	if !c.IsSet(flag) {
		return nil
	}
	n := c.Int(flag)
	return &n
}

// portText is a port, or the range that it begins.
func portText(r *client.Rule) string {
	if r.PortEnd > r.Port {
		return fmt.Sprintf("%d-%d", r.Port, r.PortEnd)
	}
	return strconv.Itoa(r.Port)
}

// protocolText is a protocol with the type and code of ICMP, if the rule has them: "icmp/8/0".
func protocolText(r *client.Rule) string {
	text := r.Protocol
	for _, n := range []*int{r.ICMPType, r.ICMPCode} {
		if n != nil {
			text += "/" + strconv.Itoa(*n)
		}
	}
	return text
}

// checkPeers refuses peers that the direction does not allow; netmaster would, too.
func (p *program) checkPeers(c *cli.Context) error {
	refused, group, network := []string{"to-group", "to-network"}, "from-group", "from-network"
	switch direction := c.String("direction"); direction {
	case state.DirectionIn:
	case state.DirectionOut:
		refused, group, network = []string{"from-group", "from-network", "from-ip-address"}, "to-group", "to-network"
	default:
		return p.usage(c, "--direction %q is unknown; it is in or out", direction)
	}
	for _, flag := range refused {
		if c.String(flag) != "" {
			return p.usage(c, "--%s cannot be in a rule of direction %s", flag, c.String("direction"))
		}
	}
	if c.String(group) != "" && c.String(network) != "" {
		return p.usage(c, "--%s and --%s cannot be in one rule", group, network)
	}
	return nil
}

func (p *program) listRules(c *cli.Context, api *client.Client) error {
	words, err := p.arguments(c, "POLICY")
	if err != nil {
		return err
	}
	key := keyInTenant(c, words[0])
	if _, err := api.Tenants().Get(c.Context, c.String("tenant")); err != nil {
		return err
	}
	if _, err := api.Policies().Get(c.Context, key); err != nil {
		return err
	}
	rules, err := api.Rules().List(c.Context)
	if err != nil {
		return err
	}
	rules = slices.DeleteFunc(rules, func(r client.Rule) bool { return r.PolicyKey() != key })
	slices.SortFunc(rules, func(a, b client.Rule) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.RuleID, b.RuleID))
	})
	return p.printRules(c, rules)
}

func (p *program) printRules(c *cli.Context, rules []client.Rule) error {
	switch {
	case c.Bool("json"):
		return p.printJSON(append([]client.Rule{}, rules...))
	case c.Bool("quiet"):
		for i := range rules {
			if err := p.printf("%s\n", rules[i].RuleID); err != nil {
				return err
			}
		}
		return nil
	}
	var in, out [][]string
	for i := range rules {
		r := &rules[i]
		priority, port, protocol := strconv.Itoa(r.Priority), portText(r), protocolText(r)
		if r.Direction == state.DirectionOut {
			out = append(out, []string{r.RuleID, priority, r.ToEndpointGroup, r.ToNetwork, r.ToIPAddress, protocol, port, r.Action})
			continue
		}
		in = append(in, []string{
			r.RuleID, priority, r.FromEndpointGroup, r.FromNetwork, r.FromIPAddress, r.ToIPAddress, protocol, port, r.Action,
		})
	}
	if err := p.printf("Incoming Rules:\n"); err != nil {
		return err
	}
	incoming := []string{"Rule", "Priority", "From EndpointGroup", "From Network", "From IpAddress", "To IpAddress", "Protocol", "Port", "Action"}
	if err := p.printTable(incoming, in); err != nil {
		return err
	}
	if err := p.printf("Outgoing Rules:\n"); err != nil {
		return err
	}
	return p.printTable([]string{"Rule", "Priority", "To EndpointGroup", "To Network", "To IpAddress", "Protocol", "Port", "Action"}, out)
}

func (p *program) removeRule(c *cli.Context, api *client.Client) error {
	words, err := p.arguments(c, "POLICY", "RULE")
	if err != nil {
		return err
	}
	return api.Rules().Delete(c.Context, keyInTenant(c, words[0])+":"+words[1])
}
