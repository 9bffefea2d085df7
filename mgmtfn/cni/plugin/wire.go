package plugin

import (
	"encoding/json"

	"github.com/containernetworking/cni/pkg/types"
)

// DefaultSocket is where the agent listens for the plugin.
const DefaultSocket = "/run/contiv/contiv-cni.sock"

// Path is the HTTP path that a Request is posted to.
const Path = "/cni"

// Commands of the CNI specification that travel to the agent.
const (
	CommandAdd    = "ADD"
	CommandDel    = "DEL"
	CommandCheck  = "CHECK"
	CommandGC     = "GC"
	CommandStatus = "STATUS"
)

// Codes of CNI error objects that are ours; docs/cni.md explains them. Those below 100 are the specification's.
const (
	CodeInternal        uint = 100 // the agent failed in an unforeseen way; its log tells more
	CodeInterfaceExists uint = 101 // the container has an interface of that name
	CodeConflict        uint = 102 // the address is taken, or the container is attached differently
	CodeExhausted       uint = 103 // the network has no address left
	CodeNotFound        uint = 104 // tenant, network or group does not exist
	CodeRefused         uint = 105 // netmaster refuses this host
	CodeDamaged         uint = 106 // CHECK: the interface is not as ADD left it

	CodeNotAvailable uint = 50 // STATUS: no ADD now
	CodeImpaired     uint = 51 // STATUS: no ADD now, and existing containers may have limited connectivity
)

// Request is what the plugin sends to the agent: the environment and standard input of the CNI call.
type Request struct {
	Command     string          `json:"command"`
	ContainerID string          `json:"containerID,omitempty"`
	NetNS       string          `json:"netns,omitempty"`
	IfName      string          `json:"ifname,omitempty"`
	Args        string          `json:"args,omitempty"`
	Config      json.RawMessage `json:"config"`
}

// Reply is the agent's answer: an error, or what to print (nothing but for ADD), in the version that the
// configuration asked for.
type Reply struct {
	Result json.RawMessage `json:"result,omitempty"`
	Error  *types.Error    `json:"error,omitempty"`
}
