package docker

import (
	"fmt"
	"net/netip"
	"strings"
)

// Option keys of `docker network create -o` and `--ipam-opt`, and of --network driver-opt.
const (
	optTenant  = "tenant"
	optNetwork = "network"
	optGroup   = "group"
	optEncap   = "encap"
	optPktTag  = "pkt-tag"
	optTag     = "contiv-tag"
	// OptEndpointGroup is the driver-opt of `docker run --network name=N,driver-opt=contiv.group=G`.
	OptEndpointGroup = "contiv.group"

	genericOptions = "com.docker.network.generic"
	gatewayOption  = "com.docker.network.gateway"
	addressType    = "RequestAddressType"
)

// LabelManaged marks the docker networks that the reconciler made and may remove.
const LabelManaged = "io.contiv.managed"

// DefaultTenant is meant where no tenant is named.
const DefaultTenant = "default"

// target is the Contiv object behind a docker network: a network, or a group if Group is set.
type target struct {
	Tenant  string
	Network string // may be empty if Group is not: then the group's
	Group   string
}

func (t target) String() string {
	name := t.Network
	if t.Group != "" {
		name = t.Group
	}
	return dockerName(name, t.Tenant)
}

// same tells whether two targets mean one object, though one of them may not name the group's network.
func (t target) same(other target) bool {
	if t.Network == "" || other.Network == "" {
		t.Network, other.Network = "", ""
		return t.Group != "" && t == other
	}
	return t == other
}

// dockerName is the name of the docker network of a network or group.
func dockerName(name, tenant string) string {
	if tenant == DefaultTenant {
		return name
	}
	return name + "/" + tenant
}

// poolID names an address pool to the engine, which keeps it: "net.tenant|subnet", "net:group.tenant|subnet", or, for
// a docker network that names no object in its IPAM options, ".tenant|subnet" or only "subnet". Dots and other
// separators within a name are escaped, so that it reads back as it was written.
type poolID struct {
	target // Network and Group empty: by subnet only; Tenant empty: not named
	Subnet netip.Prefix
}

// bySubnet: the pool's network is known by its subnet only.
func (p poolID) bySubnet() bool { return p.Network == "" && p.Group == "" }

var (
	escapeName   = strings.NewReplacer("%", "%25", ".", "%2E", ":", "%3A", "|", "%7C")
	unescapeName = strings.NewReplacer("%25", "%", "%2E", ".", "%3A", ":", "%7C", "|")
)

// String implements fmt.Stringer.
func (p poolID) String() string {
	if p.bySubnet() && p.Tenant == "" {
		return p.Subnet.String()
	}
	object := escapeName.Replace(p.Network)
	if p.Group != "" {
		object += ":" + escapeName.Replace(p.Group)
	}
	return object + "." + escapeName.Replace(p.Tenant) + "|" + p.Subnet.String()
}

// parsePoolID reads a poolID back.
func parsePoolID(text string) (poolID, error) {
	object, subnet, named := strings.Cut(text, "|")
	if !named {
		object, subnet = "", text
	}
	prefix, err := netip.ParsePrefix(subnet)
	if err != nil {
		return poolID{}, fmt.Errorf("pool id %q: %w", text, err)
	}
	id := poolID{Subnet: prefix}
	if !named {
		return id, nil
	}
	object, tenant, ok := strings.Cut(object, ".")
	if !ok || tenant == "" || strings.ContainsAny(tenant, ".:|") {
		return poolID{}, fmt.Errorf("pool id %q: want NETWORK[:GROUP].TENANT|SUBNET", text)
	}
	network, group, _ := strings.Cut(object, ":")
	id.target = target{unescapeName.Replace(tenant), unescapeName.Replace(network), unescapeName.Replace(group)}
	return id, nil
}

// selection is what the options of a docker network say about the object behind it.
type selection struct {
	tenant, network, group, tag string
}

// selectionOf reads -o or --ipam-opt options; other keys are not ours.
func selectionOf(options map[string]string) selection {
	return selection{options[optTenant], options[optNetwork], options[optGroup], options[optTag]}
}

// names: an object is named, not only a tenant.
func (s selection) names() bool { return s.network != "" || s.group != "" || s.tag != "" }

// merge joins what -o and --ipam-opt say; they must not contradict each other.
func (s selection) merge(other selection) (selection, error) {
	for _, field := range []struct {
		key   string
		mine  *string
		their string
	}{
		{optTenant, &s.tenant, other.tenant},
		{optNetwork, &s.network, other.network},
		{optGroup, &s.group, other.group},
		{optTag, &s.tag, other.tag},
	} {
		switch {
		case *field.mine == "":
			*field.mine = field.their
		case field.their != "" && field.their != *field.mine:
			return selection{}, fmt.Errorf("-o %s=%s contradicts --ipam-opt %s=%s", field.key, *field.mine, field.key, field.their)
		}
	}
	return s, nil
}

// target of a selection without a tag.
func (s selection) target() target {
	if s.tenant == "" {
		s.tenant = DefaultTenant
	}
	return target{s.tenant, s.network, s.group}
}

// ownName is the Contiv network of a docker network that names none.
func ownName(dockerID string) string { return "docker-" + dockerID[:min(12, len(dockerID))] }

// stringOptions are the -o options within those of NetworkDriver.CreateNetwork.
func stringOptions(options map[string]any) map[string]string {
	generic, _ := options[genericOptions].(map[string]any)
	text := make(map[string]string, len(generic))
	for key, value := range generic {
		if s, ok := value.(string); ok {
			text[key] = s
		}
	}
	return text
}
