// Command netplugin is the agent of Contiv on every host.
package main

import (
	"os"

	"github.com/contiv/contiv/netplugin/daemon"
)

func main() { os.Exit(daemon.Main(os.Args, os.Stdout, os.Stderr)) }
