// Command netctl is the command line of Contiv.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/contiv/contiv/netctl"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := netctl.Run(ctx, os.Args, os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}
