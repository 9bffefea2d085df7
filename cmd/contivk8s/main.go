// Command contivk8s is the CNI plugin of Contiv: container runtimes call it to attach containers to Contiv networks.
package main

import (
	"fmt"
	"os"

	"github.com/contiv/contiv/install/version"
	"github.com/contiv/contiv/mgmtfn/cni/plugin"
)

func main() {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "-version", "--version":
			fmt.Fprintln(os.Stdout, version.Get())
		default:
			fmt.Fprintln(os.Stderr, "contivk8s is called by container runtimes, through the environment and standard input; the only flag is -version")
			os.Exit(2)
		}
		return
	}
	os.Exit(plugin.Main("CNI plugin contivk8s " + version.Version))
}
