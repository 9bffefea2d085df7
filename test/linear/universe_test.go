package linear

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// slot is a place for an object in a tenant, or for one that belongs to no tenant.
type slot int

const (
	tenantSlot slot = iota
	net0
	net1
	group0
	group1
	policy0
	policy1
	rule00
	rule01
	rule10
	rule11
	profile0
	contracts0
	service0
	app0
	endpoint0                    // container 0 on network 0, then container 0 on network 1, ...
	bgp0      = endpoint0 + 3*2  // each of the following is a partition of its own
	aciGw0    = bgp0 + 1         // its deletion may be refused for the sake of any tenant
	global0   = aciGw0 + 1       // always there
	slots     = int(global0) + 1 // at most 63
)

// What the bits of values mean beside being there (bit 0).
const (
	groupNet1      = 1 << 1
	groupPolicy0   = 1 << 2
	groupPolicy1   = 1 << 3
	groupProfile   = 1 << 4
	groupContracts = 1 << 5

	serviceNet1  = 1 << 1
	servicePorts = 1 << 2

	appGroup0 = 1 << 1
	appGroup1 = 1 << 2

	globalFlood   = 1 << 1
	globalVXLANs  = 1 << 2
	globalOnlyARP = 1 << 8 // in requests only: the rest is left out

	endpointThere  = 1 << 24
	endpointLabels = 1 << 20
	endpointGroup1 = 1 << 16 // of group 0; twice that of group 1
	endpointGroups = 3 << 16
	endpointAddr   = 1<<16 - 1 // the lower half of its address; 0: not known
)

func (s slot) isEndpoint() bool { return s >= endpoint0 && s < bgp0 }

// network is the index of an endpoint's network, container that of its container.
func (s slot) network() slot  { return (s - endpoint0) % 2 }
func (s slot) container() int { return int(s-endpoint0) / 2 }

// policy is the slot of a rule's policy.
func (s slot) policy() slot { return policy0 + (s-rule00)/2 }

// collection is the REST name of a slot's type, and kind the name in links.
func (s slot) collection() (collection, kind string) {
	switch {
	case s == tenantSlot:
		return "tenants", "tenant"
	case s <= net1:
		return "networks", "network"
	case s <= group1:
		return "endpointGroups", "endpointGroup"
	case s <= policy1:
		return "policys", "policy"
	case s <= rule11:
		return "rules", "rule"
	}
	switch s {
	case profile0:
		return "netprofiles", "netprofile"
	case contracts0:
		return "extContractsGroups", "extContractsGroup"
	case service0:
		return "serviceLBs", "serviceLB"
	case app0:
		return "appProfiles", "appProfile"
	case bgp0:
		return "Bgps", "Bgp"
	case aciGw0:
		return "aciGws", "aciGw"
	case global0:
		return "globals", "global"
	}
	return "endpoints", "endpoint"
}

// key is the model key of a slot's object in a partition, which is a tenant or, for others, the object's own name.
func (s slot) key(partition string) string {
	switch {
	case s == tenantSlot || s == bgp0 || s == aciGw0 || s == global0:
		return partition
	case s >= rule00 && s <= rule11:
		return fmt.Sprintf("%s:p%d:r%d", partition, s.policy()-policy0, (s-rule00)%2)
	case s.isEndpoint():
		return fmt.Sprintf("%s/%s/plugin-n%d", hostName, s.containerID(partition), s.network())
	}
	return partition + ":" + s.name()
}

func (s slot) containerID(partition string) string {
	return fmt.Sprintf("%s-c%d", partition, s.container())
}

// name is the last part of the key of objects that are neither rules nor endpoints.
func (s slot) name() string {
	return [...]string{"", "n0", "n1", "g0", "g1", "p0", "p1", "", "", "", "", "np", "x", "s", "a"}[s]
}

// values are all that a slot's object can be.
func (s slot) values() []uint32 {
	last := uint32(1)
	switch s {
	case tenantSlot, contracts0, bgp0, aciGw0:
		last = 2
	case net0, net1, profile0:
		last = 3
	case rule00, rule01, rule10, rule11:
		last = 4
	case group0, group1:
		return odd(6)
	case service0, app0, global0:
		return odd(3)
	}
	var all []uint32
	for v := uint32(1); v <= last; v++ {
		all = append(all, v)
	}
	return all
}

// odd are the values of so many bits with bit 0.
func odd(bits int) (all []uint32) {
	for v := uint32(1); v < 1<<bits; v += 2 {
		all = append(all, v)
	}
	return all
}

func oneOf[T any](rnd *rand.Rand, of []T) T { return of[rnd.IntN(len(of))] }

// subnet of a network's value: 1 and 2 are its own, 3 is that of all.
func subnet(n slot, value uint32) string {
	return [...]string{fmt.Sprintf("10.0.%d.0/24", n-net0), fmt.Sprintf("10.0.%d.0/25", n-net0), "10.0.0.0/16"}[value-1]
}

// fields are an object as REST takes it and gives it back, but for its links.
func fields(s slot, t string, v uint32) map[string]any {
	f := map[string]any{"tenantName": t}
	has := func(bit uint32) bool { return v&bit != 0 }
	list := func(field string, names ...string) {
		if names = slices.DeleteFunc(names, func(n string) bool { return n == "" }); len(names) > 0 {
			f[field] = names
		}
	}
	when := func(yes bool, text string) string {
		if yes {
			return text
		}
		return ""
	}
	switch {
	case s == tenantSlot:
		if v == 2 {
			f["defaultNetwork"] = "n0"
		}
	case s <= net1:
		f["networkName"], f["subnet"], f["encap"], f["nwType"] = s.name(), subnet(s, v), "vxlan", "data"
		if v == 2 {
			f["encap"], f["gateway"], f["ipv6Subnet"] = "vlan", fmt.Sprintf("10.0.%d.1", s-net0), fmt.Sprintf("fd00:%d::/64", s-net0)
		}
	case s <= group1:
		f["groupName"], f["networkName"] = s.name(), when(!has(groupNet1), "n0")+when(has(groupNet1), "n1")
		list("policies", when(has(groupPolicy0), "p0"), when(has(groupPolicy1), "p1"))
		list("extContractsGrps", when(has(groupContracts), "x"))
		if has(groupProfile) {
			f["netProfile"] = "np"
		}
	case s <= policy1:
		f["policyName"] = s.name()
	case s <= rule11:
		f["policyName"], f["ruleId"] = s.policy().name(), fmt.Sprintf("r%d", (s-rule00)%2)
		f["action"], f["direction"], f["priority"] = "allow", "in", 1
		switch v {
		case 1:
			f["protocol"], f["port"] = "tcp", 80
		case 2:
			f["action"], f["direction"], f["priority"] = "deny", "out", 5
		case 3:
			f["fromEndpointGroup"] = "g0"
		case 4:
			f["fromNetwork"] = "n1"
		}
	case s == profile0:
		f["profileName"], f["DSCP"], f["bandwidth"] = "np", v, "10Mbps"
	case s == contracts0:
		f["contractsGroupName"], f["contractsType"], f["contracts"] = "x", [...]string{"provided", "consumed"}[v-1], []string{"uni/brc-1"}
	case s == service0:
		f["serviceName"], f["networkName"] = "s", when(!has(serviceNet1), "n0")+when(has(serviceNet1), "n1")
		f["ports"], f["selectors"] = []string{when(!has(servicePorts), "80:8080:TCP") + when(has(servicePorts), "53:53:UDP")}, []string{"app=x"}
	case s == app0:
		f["appProfileName"] = "a"
		list("endpointGroups", when(has(appGroup0), "g0"), when(has(appGroup1), "g1"))
	case s == bgp0:
		f = map[string]any{"hostname": t, "routerip": fmt.Sprintf("50.1.1.%d/24", v), "as": "65001"}
	case s == aciGw0:
		f = map[string]any{"name": t, "physicalDomain": fmt.Sprintf("d%d", v), "enforcePolicies": "yes", "includeCommonTenant": "no"}
	case s == global0:
		f = map[string]any{"name": t, "arpMode": when(!has(globalFlood), "proxy") + when(has(globalFlood), "flood")}
		if !has(globalOnlyARP) {
			f["vxlans"] = "1-1" + when(!has(globalVXLANs), "0000") + when(has(globalVXLANs), "2000")
			f["vlans"], f["pvtSubnet"], f["fwdMode"], f["networkInfraType"] = "1-4094", "172.19.0.0/16", "bridge", "default"
		}
	}
	return f
}

// meanings tells of each canonical form of an object which value it is.
type meanings map[slot]map[string]uint32

func meaningsOf(partition string) meanings {
	m := meanings{}
	for s := range slot(slots) {
		if s.isEndpoint() {
			continue
		}
		m[s] = map[string]uint32{}
		for _, v := range s.values() {
			m[s][canonical(fields(s, partition, v))] = v
		}
	}
	return m
}

// canonical is the JSON form with sorted names.
func canonical(f map[string]any) string {
	text, err := json.Marshal(f)
	if err != nil {
		panic(err) // of strings and numbers
	}
	return string(text)
}

// described is a value in words, for people.
func described(s slot, v uint32) string {
	switch {
	case v == 0:
		return "nothing"
	case s.isEndpoint():
		return fmt.Sprintf("address *.*.%d.%d group %d labels %v", v&endpointAddr>>8, v&0xff, int(v&endpointGroups)/endpointGroup1-1, v&endpointLabels != 0)
	}
	f := fields(s, "T", v)
	delete(f, "tenantName")
	return strings.ReplaceAll(canonical(f), `"`, "")
}
