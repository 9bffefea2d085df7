package cni

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sort"
	"strings"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/contiv/contiv/mgmtfn"
)

// Where an attachment goes when nothing says otherwise.
const (
	defaultTenant  = "default"
	defaultNetwork = "default-net"
)

// Owner marks the attachments that were made through CNI; noteConfig is the note that holds the name of the network
// configuration, which is what GC is about.
const (
	Owner      = "cni"
	noteConfig = "cniNetwork"
)

// netConf is the network configuration of a call.
type netConf struct {
	CNIVersion   string          `json:"cniVersion"`
	Name         string          `json:"name"`
	IPMasq       bool            `json:"ipMasq"`
	IPAM         json.RawMessage `json:"ipam"`
	DNS          types.DNS       `json:"dns"`
	RawPrev      json.RawMessage `json:"prevResult"`
	Runtime      runtimeConf     `json:"runtimeConfig"`
	Args         argsConf        `json:"args"`
	Tenant       *string         `json:"tenant"`
	Network      *string         `json:"network"`
	Group        *string         `json:"group"`
	Valid        []gcAttachment  `json:"cni.dev/valid-attachments"`
	ValidOldName []gcAttachment  `json:"cni.dev/attachments"`
}

type gcAttachment struct {
	ContainerID string `json:"containerID"`
	IfName      string `json:"ifname"`
}

type runtimeConf struct {
	IPs []string `json:"ips"`
	MAC string   `json:"mac"`
	DNS *struct {
		Servers  []string `json:"servers"`
		Searches []string `json:"searches"`
		Options  []string `json:"options"`
	} `json:"dns"`
}

// argsConf is the args member: what a runtime adds for one container.
type argsConf struct {
	CNI struct {
		IPs    []string `json:"ips"`
		Labels []struct {
			Key   string `json:"key"`
			Value string `json:"value"`
		} `json:"labels"`
	} `json:"cni"`
	Contiv json.RawMessage `json:"contiv"`
}

// contivArgs is args.contiv, our own section.
type contivArgs struct {
	Tenant  *string `json:"tenant"`
	Network *string `json:"network"`
	Group   *string `json:"group"`
	Name    *string `json:"name"`
}

// knownKeys are the members that a configuration may have at its top. The specification's own are accepted whether
// or not they mean something to us; ours are those of netConf and agentSocket.
var knownKeys = map[string]bool{
	"cniVersion": true, "cniVersions": true, "name": true, "type": true, "capabilities": true, "args": true,
	"runtimeConfig": true, "prevResult": true, "dns": true, "ipam": true, "ipMasq": true,
	"disableCheck": true, "disableGC": true,
	"tenant": true, "network": true, "group": true, "agentSocket": true,
}

// parseConf reads a configuration as far as every command needs it.
func parseConf(data []byte) (*netConf, error) {
	conf := new(netConf)
	if err := json.Unmarshal(data, conf); err != nil {
		return nil, types.NewError(types.ErrDecodingFailure, "cannot decode the network configuration", err.Error())
	}
	if conf.Name == "" {
		return nil, types.NewError(types.ErrInvalidNetworkConfig, "the network configuration has no name", "")
	}
	return conf, nil
}

// checkKeys refuses what a configuration asks for and does not get: a misspelt "network" must not end up in the
// default one.
func (c *netConf) checkKeys(data []byte) error {
	members := map[string]json.RawMessage{}
	if err := json.Unmarshal(data, &members); err != nil {
		return types.NewError(types.ErrDecodingFailure, "cannot decode the network configuration", err.Error())
	}
	var unknown []string
	for key := range members {
		if !knownKeys[key] && !strings.HasPrefix(key, "cni.dev/") {
			unknown = append(unknown, key)
		}
	}
	if len(unknown) > 0 {
		sort.Strings(unknown)
		return unsupported(unknown[0], members[unknown[0]], "known keys are tenant, network, group, agentSocket, and CNI's own")
	}
	if c.IPMasq {
		return unsupported("ipMasq", members["ipMasq"], "remove it")
	}
	var ipam map[string]any
	if err := json.Unmarshal(orNull(c.IPAM), &ipam); err != nil || len(ipam) > 0 {
		return unsupported("ipam", c.IPAM, "addresses come from the Contiv network: remove it")
	}
	return nil
}

func orNull(data json.RawMessage) json.RawMessage {
	if len(data) == 0 {
		return json.RawMessage("null")
	}
	return data
}

func unsupported(key string, value json.RawMessage, advice string) error {
	return types.NewError(types.ErrUnsupportedField,
		fmt.Sprintf("unsupported field in the network configuration: %q: %s", key, value), advice)
}

// attachRequest puts together what ADD asks for. Of the three places that name tenant, network and group, args.contiv
// wins over CNI_ARGS (CNI's convention), and CNI_ARGS over the configuration.
func attachRequest(call *request, conf *netConf) (mgmtfn.AttachRequest, error) {
	env, err := parseArgs(call.Args)
	if err != nil {
		return mgmtfn.AttachRequest{}, err
	}
	own, err := conf.ownArgs()
	if err != nil {
		return mgmtfn.AttachRequest{}, err
	}
	want := mgmtfn.AttachRequest{
		ContainerID:   call.ContainerID,
		IfName:        call.IfName,
		NetNS:         call.NetNS,
		Tenant:        pick(conf.Tenant, env.find("CONTIV_TENANT"), own.Tenant),
		Network:       pick(conf.Network, env.find("CONTIV_NETWORK"), own.Network),
		ContainerName: pick(env.find("K8S_POD_NAME"), env.find("CONTIV_NAME"), own.Name),
		Labels:        conf.labels(),
		RuntimeID:     env["K8S_POD_UID"],
		Owner:         Owner,
		Notes:         map[string]string{noteConfig: conf.Name},
	}
	if group := pick(conf.Group, env.find("CONTIV_GROUP"), own.Group); group != "" {
		want.Groups = groupList(group)
	}
	if want.Tenant == "" {
		want.Tenant = defaultTenant
	}
	if want.Network == "" && len(want.Groups) == 0 {
		want.Network = defaultNetwork
	}
	if err := setAddresses(&want, conf, env); err != nil {
		return mgmtfn.AttachRequest{}, err
	}
	return want, nil
}

// groupList reads names with commas between. A name that is missing stays as an empty one, which netmaster refuses.
func groupList(text string) []string {
	names := strings.Split(text, ",")
	for i, name := range names {
		names[i] = strings.TrimSpace(name)
	}
	sort.Strings(names)
	return slices.Compact(names)
}

// pick answers the last value that is there. One that is there and empty takes an earlier one back.
func pick(values ...*string) string {
	text := ""
	for _, value := range values {
		if value != nil {
			text = *value
		}
	}
	return text
}

func (c *netConf) ownArgs() (contivArgs, error) {
	var own contivArgs
	if len(c.Args.Contiv) == 0 {
		return own, nil
	}
	members := map[string]json.RawMessage{}
	if err := json.Unmarshal(c.Args.Contiv, &members); err != nil {
		return own, types.NewError(types.ErrInvalidNetworkConfig, "args.contiv must be an object", err.Error())
	}
	in := json.NewDecoder(bytes.NewReader(c.Args.Contiv))
	in.DisallowUnknownFields()
	err := in.Decode(&own)
	var mistyped *json.UnmarshalTypeError
	switch {
	case err == nil:
		return own, nil
	case errors.As(err, &mistyped):
		return own, types.NewError(types.ErrInvalidNetworkConfig, "args.contiv."+mistyped.Field+" must be a text", err.Error())
	}
	for _, key := range sortedKeys(members) {
		switch key {
		case "tenant", "network", "group", "name":
		default:
			return own, unsupported("args.contiv."+key, members[key], "known keys are tenant, network, group and name")
		}
	}
	return own, types.NewError(types.ErrInvalidNetworkConfig, "args.contiv cannot be read", err.Error())
}

func (c *netConf) labels() map[string]string {
	if len(c.Args.CNI.Labels) == 0 {
		return nil
	}
	labels := make(map[string]string, len(c.Args.CNI.Labels))
	for _, label := range c.Args.CNI.Labels {
		labels[label.Key] = label.Value
	}
	return labels
}

// dns is what the result passes on to the runtime.
func (c *netConf) dns() types.DNS {
	if given := c.Runtime.DNS; given != nil {
		return types.DNS{Nameservers: given.Servers, Search: given.Searches, Options: given.Options, Domain: c.DNS.Domain}
	}
	return c.DNS
}

// setAddresses finds the wanted addresses: runtimeConfig.ips, else args.cni.ips, else IP of CNI_ARGS. A prefix length
// is accepted and not used: the network has one.
func setAddresses(want *mgmtfn.AttachRequest, conf *netConf, env cniArgs) error {
	texts, where := conf.Runtime.IPs, "runtimeConfig.ips"
	if len(texts) == 0 {
		texts, where = conf.Args.CNI.IPs, "args.cni.ips"
	}
	code := types.ErrInvalidNetworkConfig
	if len(texts) == 0 && env["IP"] != "" {
		texts, where, code = strings.Split(env["IP"], ","), "CNI_ARGS IP", types.ErrInvalidEnvironmentVariables
	}
	for _, text := range texts {
		addr, err := parseAddr(text)
		if err != nil {
			return types.NewError(code, fmt.Sprintf("%s: %q is no IP address", where, text), err.Error())
		}
		slot := &want.IPv4
		if addr.Is6() {
			slot = &want.IPv6
		}
		if slot.IsValid() {
			return types.NewError(code, fmt.Sprintf("%s: one address of each family at most", where), strings.Join(texts, " "))
		}
		*slot = addr
	}
	mac, where, code := conf.Runtime.MAC, "runtimeConfig.mac", types.ErrInvalidNetworkConfig
	if mac == "" {
		mac, where, code = env["MAC"], "CNI_ARGS MAC", types.ErrInvalidEnvironmentVariables
	}
	if mac == "" {
		return nil
	}
	hw, err := net.ParseMAC(mac)
	if err != nil || len(hw) != 6 || hw[0]&1 != 0 {
		return types.NewError(code, fmt.Sprintf("%s: %q is no MAC address of an interface", where, mac), "")
	}
	want.MAC = hw.String()
	return nil
}

func parseAddr(text string) (netip.Addr, error) {
	text = strings.TrimSpace(text)
	if strings.Contains(text, "/") {
		prefix, err := netip.ParsePrefix(text)
		return prefix.Addr().Unmap(), err
	}
	addr, err := netip.ParseAddr(text)
	if err == nil && addr.Zone() != "" {
		return netip.Addr{}, errors.New("an address with a zone cannot be requested")
	}
	return addr.Unmap(), err
}

// cniArgs are the pairs of CNI_ARGS.
type cniArgs map[string]string

func (a cniArgs) find(key string) *string {
	if value, ok := a[key]; ok {
		return &value
	}
	return nil
}

// knownArgs are the keys of CNI_ARGS that are ours or Kubernetes'.
var knownArgs = map[string]bool{
	"IgnoreUnknown": true, "IP": true, "MAC": true,
	"K8S_POD_NAME": true, "K8S_POD_NAMESPACE": true, "K8S_POD_INFRA_CONTAINER_ID": true, "K8S_POD_UID": true,
	"CONTIV_TENANT": true, "CONTIV_NETWORK": true, "CONTIV_GROUP": true, "CONTIV_NAME": true,
}

// parseArgs reads CNI_ARGS ("KEY=value;KEY=value"). Keys that are not known are refused unless IgnoreUnknown is set,
// and those that begin with CONTIV_ always.
func parseArgs(text string) (cniArgs, error) {
	args := cniArgs{}
	for _, pair := range strings.Split(text, ";") {
		if pair == "" {
			continue
		}
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return nil, types.NewError(types.ErrInvalidEnvironmentVariables,
				fmt.Sprintf("CNI_ARGS: %q is no KEY=value", pair), "")
		}
		if _, twice := args[key]; twice {
			return nil, types.NewError(types.ErrInvalidEnvironmentVariables, "CNI_ARGS: "+key+" is given twice", "")
		}
		args[key] = value
	}
	lenient := isTrue(args["IgnoreUnknown"])
	for _, key := range sortedKeys(args) {
		if !knownArgs[key] && (!lenient || strings.HasPrefix(key, "CONTIV_")) {
			return nil, types.NewError(types.ErrInvalidEnvironmentVariables, fmt.Sprintf("CNI_ARGS: unknown key %q", key),
				"known are CONTIV_TENANT, CONTIV_NETWORK, CONTIV_GROUP, CONTIV_NAME, IP, MAC and K8S_POD_*; "+
					"IgnoreUnknown=1 lets others pass that do not begin with CONTIV_")
		}
	}
	return args, nil
}

func isTrue(text string) bool {
	return text == "1" || strings.EqualFold(text, "true")
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}
