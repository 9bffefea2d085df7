// Netmaster is the controller of a Contiv cluster. See package netmaster/daemon.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/contiv/contiv/netmaster/daemon"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	status := daemon.Main(ctx, os.Args, os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}
