// Command contiv-sandbox runs a whole Contiv cluster on one machine; see package install/sandbox.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/contiv/contiv/install/sandbox/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := cli.Run(ctx, os.Args, os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}
