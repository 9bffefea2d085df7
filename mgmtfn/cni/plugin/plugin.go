// Package plugin is the CNI plugin contivk8s: it hands each call of a container runtime to the agent of its host and
// prints the answer. It knows nothing about networks, so that it starts fast and need not change with the agent.
package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/containernetworking/cni/pkg/ns"
	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"
)

// SocketEnv names the agent's socket where the configuration has no agentSocket.
const SocketEnv = "CONTIV_CNI_SOCKET"

// callTimeout bounds one call to the agent; the agent's own deadlines are shorter.
const callTimeout = 90 * time.Second

// SupportedVersions are the versions of the CNI specification that the plugin speaks.
func SupportedVersions() []string { return []string{"0.3.1", "0.4.0", "1.0.0", "1.1.0"} }

// Main serves one CNI call from the process's environment and standard input. It prints the result or the error
// object to standard output and returns the exit status. about is printed when there is no command.
func Main(about string) int {
	call := &caller{stdout: os.Stdout, getenv: os.Getenv, version: version.Current()}
	failure := skel.PluginMainFuncsWithError(skel.CNIFuncs{
		Add:    call.as(CommandAdd),
		Del:    call.as(CommandDel),
		Check:  call.as(CommandCheck),
		GC:     call.as(CommandGC),
		Status: call.as(CommandStatus),
	}, version.PluginSupports(SupportedVersions()...), about)
	if failure == nil {
		failure = call.print()
	}
	if failure == nil {
		return 0
	}
	if err := printError(os.Stdout, call.version, failure); err != nil {
		fmt.Fprintf(os.Stderr, "contivk8s: %v (while reporting: %v)\n", err, failure)
	}
	return 1
}

// caller is one CNI call. The result is printed only after skel made its last checks, so that standard output holds
// one object and never two.
type caller struct {
	stdout  io.Writer
	getenv  func(string) string
	version string // of the configuration, once known
	result  json.RawMessage
}

func (c *caller) as(command string) func(*skel.CmdArgs) error {
	return func(args *skel.CmdArgs) error { return c.call(command, args) }
}

func (c *caller) call(command string, args *skel.CmdArgs) error {
	var conf struct {
		CNIVersion  string `json:"cniVersion"`
		AgentSocket string `json:"agentSocket"`
	}
	if err := json.Unmarshal(args.StdinData, &conf); err != nil {
		return types.NewError(types.ErrDecodingFailure, "cannot decode the network configuration", err.Error())
	}
	if conf.CNIVersion != "" {
		c.version = conf.CNIVersion
	}
	if err := checkOwnNetNS(command, args); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	reply, err := post(ctx, c.socket(conf.AgentSocket), Request{
		Command:     command,
		ContainerID: args.ContainerID,
		NetNS:       args.Netns,
		IfName:      args.IfName,
		Args:        args.Args,
		Config:      args.StdinData,
	})
	if err != nil {
		return unreachable(command, err)
	}
	if reply.Error != nil {
		return reply.Error
	}
	c.result = reply.Result
	return nil
}

// checkOwnNetNS refuses to plug the host into a network. skel makes the same check, but only after the fact.
func checkOwnNetNS(command string, args *skel.CmdArgs) error {
	if command != CommandAdd {
		return nil
	}
	own, failure := ns.CheckNetNS(args.Netns)
	if failure != nil {
		return failure
	}
	if own {
		return types.NewError(types.ErrInvalidEnvironmentVariables,
			fmt.Sprintf("CNI_NETNS %q is the host's own network namespace", args.Netns), "")
	}
	return nil
}

func (c *caller) socket(configured string) string {
	if configured != "" {
		return configured
	}
	if path := c.getenv(SocketEnv); path != "" {
		return path
	}
	return DefaultSocket
}

func (c *caller) print() *types.Error {
	if len(c.result) == 0 {
		return nil
	}
	if _, err := c.stdout.Write(append(c.result, '\n')); err != nil {
		return types.NewError(types.ErrIOFailure, "cannot write the result", err.Error())
	}
	return nil
}

// unreachable turns a failed call to the agent into what the runtime should make of it.
func unreachable(command string, err error) *types.Error {
	var syntax *replyError
	switch {
	case errors.As(err, &syntax):
		return types.NewError(types.ErrDecodingFailure, "cannot read the answer of netplugin", err.Error())
	case command == CommandStatus:
		return types.NewError(CodeNotAvailable, "netplugin does not answer on this host", err.Error())
	default:
		return types.NewError(types.ErrTryAgainLater,
			"netplugin does not answer on this host: start it; the call may then be repeated", err.Error())
	}
}

// printError writes a CNI error object. types.Error has no cniVersion, which the specification wants.
func printError(w io.Writer, cniVersion string, failure *types.Error) error {
	out := json.NewEncoder(w)
	out.SetIndent("", "    ")
	err := out.Encode(struct {
		CNIVersion string `json:"cniVersion"`
		*types.Error
	}{cniVersion, failure})
	if err != nil {
		return fmt.Errorf("writing the error object: %w", err)
	}
	return nil
}
