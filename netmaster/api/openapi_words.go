package api

import (
	"net/http"
	"reflect"

	"github.com/contiv/contiv/state"
)

// parameter is what is to be said of a parameter; in is "query" or "header", and empty in paths.
type parameter struct {
	in, description string
	kind            string   // of JSON; empty: string
	allowed         []string // words, if only some are
}

// parameterDocs are the parameters of all operations, by name; those of paths in braces.
var parameterDocs = map[string]parameter{
	"consistency": {"query", "\"cache\" answers from what is at hand; without it the answer contains every change that was acknowledged before", "", []string{"cache"}},
	"force":       {"query", "\"true\" also releases the endpoints of hosts that fell silent just now", "", nil},
	"tenant":      {"query", "only those of the tenant", "", nil},
	"network":     {"query", "only those on the network of the tenant", "", nil},
	"group":       {"query", "only those in the group of the tenant", "", nil},
	"host":        {"query", "only those on the host", "", nil},
	"orphaned":    {"query", "\"true\": only those that their host no longer has", "", []string{"true", "false"}},
	"limit":       {"query", "at most so many; the header Link then has the way to the rest", "integer", nil},
	"continue":    {"query", "where the page before ended, as its header Link says", "", nil},
	"watch":       {"query", "\"true\": a stream of changes (text/event-stream) in the place of the list", "", []string{"true", "false"}},
	"since":       {"query", "of a stream: only what came after this revision", "integer", nil},
	"collection":  {"query", "names of collections, separated by commas; all if left out", "", nil},
	"tenantName":  {"query", "only what is in the tenant", "", nil},

	"If-Match":      {"header", "tags of which the object must have one, or * if it must exist; links do not count", "", nil},
	"If-None-Match": {"header", "tags that the object must not have, or * if it must not exist; 304 to GET, 412 to changes", "", nil},
	"Last-Event-ID": {"header", "of a stream: as since, for clients that come back", "", nil},

	"{key}":      {"", "the object's key: its name, or \"tenant:name\", or \"tenant:policy:rule\"", "", nil},
	"{endpoint}": {"", "an endpoint's id (host/container/interface), container id or its beginning, name or runtime id", "", nil},
	"{id}":       {"", "what it is called: \"service:tenant\" of a service; the name of a network or group, or an endpoint's id", "", nil},
	"{tenant}":   {"", "the tenant's name", "", nil},
	"{category}": {"", "what id names", "", []string{"net", "group", "ep"}},
	"{host}":     {"", "the host's name", "", nil},
}

// headerDocs are the headers of answers.
var headerDocs = map[string]string{
	"ETag":         "names this form of the object, for If-Match and If-None-Match",
	"Link":         "<...>; rel=\"next\": the way to the next page; not there on the last",
	revisionHeader: "the store's revision that the answer shows, to watch from",
}

// member is what is to be said of a member of JSON objects.
type member struct {
	description string
	allowed     []string // words, if only some are
}

// memberDocs are members by name: one name means the same everywhere, or is not described here.
var memberDocs = map[string]member{
	"resourceVersion":     {"the version of the object: the store's revision in which it was last written", nil},
	"key":                 {"the key of URLs", nil},
	"tenantName":          {"the tenant it is in", nil},
	"cfgdTag":             {"the text by which docker networks find it; without one, name.tenant", nil},
	"encap":               {"how its packets travel between hosts; vxlan if left out", []string{state.EncapVLAN, state.EncapVXLAN}},
	"nwType":              {"data carries containers, infra reaches the hosts themselves; data if left out", []string{state.NetworkData, state.NetworkInfra}},
	"subnet":              {"10.1.2.0/24, or with a range to give out 10.1.2.10-10.1.2.99/24", nil},
	"gateway":             {"an address of the subnet that is the default route of endpoints", nil},
	"ipv6Subnet":          {"such as 2001:db8::/64", nil},
	"ipv6Gateway":         {"an address of the IPv6 subnet that is the default route of endpoints", nil},
	"ipPool":              {"addresses of the network's subnet for this group alone: 10.1.2.5-10.1.2.9", nil},
	"netProfile":          {"the network profile that the group's traffic obeys", nil},
	"extContractsGrps":    {"groups of contracts of ACI", nil},
	"priority":            {"1 to 100; the larger wins; 1 if left out", nil},
	"direction":           {"in: to members of the groups that have the policy; out: from them", []string{state.DirectionIn, state.DirectionOut}},
	"action":              {"what happens to the traffic", []string{state.ActionAllow, state.ActionDeny}},
	"protocol":            {"tcp, udp, icmp or a number; any if left out", nil},
	"port":                {"the server's port; any if left out", nil},
	"fromIpAddress":       {"the peer's address, with a length for a subnet", nil},
	"toIpAddress":         {"the peer's address, with a length for a subnet", nil},
	"bandwidth":           {"a number and bps, Kbps, Mbps or Gbps; without limit if left out", nil},
	"burst":               {"kilobytes", nil},
	"DSCP":                {"0 to 63; 0 leaves the mark as it is", nil},
	"selectors":           {"labels that a provider must have, key=value", nil},
	"neighbor-as":         {"the neighbor's autonomous system", nil},
	"routerip":            {"the speaker's address with its length", nil},
	"arpMode":             {"who answers ARP in bridge mode", []string{state.ARPProxy, state.ARPFlood}},
	"fwdMode":             {"how hosts forward between endpoints", []string{state.ForwardBridge, state.ForwardRouting}},
	"networkInfraType":    {"what the hosts are connected to", []string{state.DefaultInfraType, "aci", "aci-opflex"}},
	"pvtSubnet":           {"a /16 for traffic between a host and its containers", nil},
	"vlans":               {"the VLANs that may be given: 1-4094", nil},
	"vxlans":              {"the VNIs that may be given: 1-10000", nil},
	"enforcePolicies":     {"whether policies become contracts; yes if left out", []string{state.Yes, state.No}},
	"includeCommonTenant": {"whether names are also looked for in ACI's tenant common; no if left out", []string{state.Yes, state.No}},
	"contractsType":       {"whether the group provides or consumes the contracts", []string{"provided", "consumed"}},
	"contracts":           {"distinguished names in ACI", nil},
	"pathBindings":        {"topology/pod-1/paths-101/pathep-[eth1/1],...", nil},
	"nodeBindings":        {"topology/pod-1/node-101,...", nil},
}

// errorDocs are the statuses that are no success.
var errorDocs = map[int]string{
	http.StatusBadRequest:            "the request is wrong: a member, a parameter or the JSON",
	http.StatusNotFound:              "there is no such object, or none of those that the request names",
	http.StatusMethodNotAllowed:      "the path does not take the method",
	http.StatusConflict:              "what is there does not allow it: it is in use, taken, or would be another",
	http.StatusGone:                  "the original had this and we do not; the message says what to use",
	http.StatusPreconditionFailed:    "the object is not as If-Match or If-None-Match wants it; nothing was written",
	http.StatusRequestEntityTooLarge: "the body is larger than a megabyte",
	http.StatusInternalServerError:   "our mistake; the log has the details under the id in the message",
	http.StatusServiceUnavailable:    "the store does not answer, or no netmaster leads; try again",
}

// listOf is a list of values of the same type.
func listOf(value any) any {
	return reflect.MakeSlice(reflect.SliceOf(reflect.TypeOf(value)), 0, 0).Interface()
}
