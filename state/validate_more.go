package state

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Lengths of further text fields, in bytes.
const (
	maxLongName = 256 // services and hosts
	maxDomain   = 128
	maxASText   = 64
	maxPortText = 32
	maxSelector = 512
	maxBindings = 2048
	maxContract = 512
	maxProfile  = maxName
)

// Numbers that further fields may hold.
const (
	DefaultPriority = 1
	maxPriority     = 100
	maxPort         = 65535
	maxDSCP         = 63
	maxBurst        = 10486 // kilobytes
	minBurst        = 2     // one kilobyte is less than a packet
	maxAffinity     = 65535 // seconds
)

// Words of the object for ACI.
const (
	Yes = "yes"
	No  = "no"
)

// SetDefaults fills what was left out: priority 1.
func (r *Rule) SetDefaults() {
	if r.Priority == 0 {
		r.Priority = DefaultPriority
	}
}

// SetDefaults fills what was left out: policies are enforced, the tenant "common" is not included.
func (a *AciGw) SetDefaults() {
	for _, f := range []struct {
		to      *string
		factory string
	}{
		{&a.EnforcePolicies, Yes}, {&a.IncludeCommonTenant, No}, {&a.Name, AciGwName},
	} {
		if *f.to == "" {
			*f.to = f.factory
		}
	}
}

// Validate reports the first wrong field as a *FieldError.
func (p *Policy) Validate() error {
	return firstError(checkDeny(p.DefaultDeny), checkName("policyName", p.PolicyName), checkName("tenantName", p.TenantName))
}

// Validate reports the first wrong field as a *FieldError.
func (n *Netprofile) Validate() error {
	return firstError(
		checkBetween("DSCP", n.DSCP, 0, maxDSCP, "0 leaves packets as they are"),
		n.checkBandwidth(),
		n.checkBurst(),
		checkProfileName("profileName", n.ProfileName),
		checkName("tenantName", n.TenantName),
	)
}

func (n *Netprofile) checkBandwidth() error {
	if err := checkLength("bandwidth", n.Bandwidth, maxName); err != nil || n.Bandwidth == "" {
		return err
	}
	if _, err := ParseBandwidth(n.Bandwidth); err != nil {
		return &FieldError{"bandwidth", BadFormat, err.Error() + `; write it as "10Mbps", or leave it out for no limit`}
	}
	return nil
}

func (n *Netprofile) checkBurst() error {
	if n.Burst != 0 && n.Burst < minBurst {
		return &FieldError{"burst", OutOfBound, fmt.Sprintf(
			"%d kilobyte: the burst must exceed a packet of 1500 bytes; allowed are %d to %d, or 0 for netplugin's choice", n.Burst, minBurst, maxBurst)}
	}
	return checkBetween("burst", n.Burst, 0, maxBurst, "kilobytes")
}

// checkProfileName is weaker than checkName, because names of profiles never had rules: what URLs and keys are made of
// is refused, nothing else.
func checkProfileName(field, value string) error {
	if err := checkLength(field, value, maxProfile); err != nil {
		return err
	}
	bad := func(r rune) bool { return r == ':' || r == '/' || r == '\\' || !unicode.IsPrint(r) }
	if value == "" || value == "." || value == ".." || !utf8.ValidString(value) || strings.ContainsFunc(value, bad) {
		return &FieldError{field, BadFormat, fmt.Sprintf("%q; it must not be empty, nor have : / or unprintable characters", value)}
	}
	return nil
}

// Validate reports the first wrong field as a *FieldError. Whether the address is in the network is not checked here.
func (s *ServiceLB) Validate() error {
	return firstError(
		checkBetween("affinity", s.Affinity, 0, maxAffinity, "seconds; 0 for none"),
		checkIPv4("ipAddress", s.IPAddress),
		checkName("networkName", s.NetworkName),
		s.checkPorts(),
		s.checkSelectors(),
		checkNameOf("serviceName", s.ServiceName, maxLongName),
		checkName("tenantName", s.TenantName),
	)
}

func (s *ServiceLB) checkPorts() error {
	for _, text := range s.Ports {
		if err := checkLength("ports", text, maxPortText); err != nil {
			return err
		}
	}
	if _, err := ParseServicePorts(s.Ports); err != nil {
		return &FieldError{"ports", BadFormat, err.Error() + `; write each as "servicePort:providerPort:protocol", such as "80:8080:TCP"`}
	}
	return nil
}

func (s *ServiceLB) checkSelectors() error {
	for _, text := range s.Selectors {
		if err := checkLength("selectors", text, maxSelector); err != nil {
			return err
		}
	}
	if _, err := ParseSelectors(s.Selectors); err != nil {
		return &FieldError{"selectors", BadFormat, err.Error() + `; write each as "key=value"`}
	}
	return nil
}

// Validate reports the first wrong field as a *FieldError. Whether the host exists is not checked here.
func (b *Bgp) Validate() error {
	if err := firstError(
		checkAS("as", b.AS),
		checkNameOf("hostname", b.Hostname, maxLongName),
		checkIPv4("neighbor", b.Neighbor),
		checkAS("neighbor-as", b.NeighborAS),
		b.checkRouter(),
	); err != nil {
		return err
	}
	if b.Neighbor == "" {
		return nil
	}
	for _, f := range []struct{ name, value string }{{"as", b.AS}, {"neighbor-as", b.NeighborAS}} {
		if f.value == "" {
			return &FieldError{f.name, BadFormat, "it must be given when there is a neighbor"}
		}
	}
	return nil
}

func (b *Bgp) checkRouter() error {
	router, err := ParseRouterIP(b.RouterIP)
	if err != nil {
		return &FieldError{"routerip", BadFormat, err.Error() + `; write it as "50.1.1.1/24"`}
	}
	if router.Addr().String() == b.Neighbor {
		return &FieldError{"routerip", OutOfBound, fmt.Sprintf("%s is the neighbor's address", router.Addr())}
	}
	return nil
}

func checkAS(field, text string) error {
	if err := checkLength(field, text, maxASText); err != nil || text == "" {
		return err
	}
	if _, err := ParseAS(text); err != nil {
		return &FieldError{field, BadFormat, err.Error()}
	}
	return nil
}

// Validate reports the first wrong field as a *FieldError. Call SetDefaults before.
func (a *AciGw) Validate() error {
	return firstError(
		checkWord("enforcePolicies", a.EnforcePolicies, Yes, No),
		checkWord("includeCommonTenant", a.IncludeCommonTenant, Yes, No),
		checkWord("name", a.Name, AciGwName),
		checkBindings("nodeBindings", a.NodeBindings, ParseNodeBindings),
		checkBindings("pathBindings", a.PathBindings, ParsePathBindings),
		checkNameOf("physicalDomain", a.PhysicalDomain, maxDomain),
	)
}

func checkBindings[T any](field, text string, parse func(string) ([]T, error)) error {
	if err := checkLength(field, text, maxBindings); err != nil {
		return err
	}
	if _, err := parse(text); err != nil {
		return &FieldError{field, BadFormat, err.Error()}
	}
	return nil
}

// Validate reports the first wrong field as a *FieldError. Whether the groups exist is not checked here.
func (a *AppProfile) Validate() error {
	return firstError(
		checkName("appProfileName", a.AppProfileName),
		checkNames("endpointGroups", a.EndpointGroups),
		checkName("tenantName", a.TenantName),
	)
}

// Validate reports the first wrong field as a *FieldError. The contracts live in ACI: only their form is checked.
func (e *ExtContractsGroup) Validate() error {
	return firstError(
		e.checkContracts(),
		checkName("contractsGroupName", e.ContractsGroupName),
		checkWord("contractsType", e.ContractsType, ContractsProvided, ContractsConsumed),
		checkName("tenantName", e.TenantName),
	)
}

func (e *ExtContractsGroup) checkContracts() error {
	bad := func(r rune) bool { return r == ' ' || !unicode.IsPrint(r) }
	for _, name := range e.Contracts {
		if err := checkLength("contracts", name, maxContract); err != nil {
			return err
		}
		if name == "" || !utf8.ValidString(name) || strings.ContainsFunc(name, bad) {
			return &FieldError{"contracts", BadFormat, fmt.Sprintf(
				"%q is no distinguished name, such as %q", shorten(name), "uni/tn-common/brc-default")}
		}
	}
	return nil
}

func checkIPv4(field, text string) error {
	if text == "" {
		return nil
	}
	if _, err := parseIPv4(text); err != nil {
		return &FieldError{field, BadFormat, err.Error()}
	}
	return nil
}

func checkBetween(field string, value, least, most int, remark string) error {
	if value < least || value > most {
		return &FieldError{field, OutOfBound, fmt.Sprintf("%d; allowed are %d to %d (%s)", value, least, most, remark)}
	}
	return nil
}
