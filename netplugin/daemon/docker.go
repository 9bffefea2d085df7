package daemon

import (
	"context"
	"errors"

	"github.com/sirupsen/logrus"

	"github.com/contiv/contiv/mgmtfn/docker"
	"github.com/contiv/contiv/netplugin/agent"
)

var _ docker.Agent = (*agent.Agent)(nil)

// serveDocker serves the plugins of a docker engine until ctx ends.
func serveDocker(context.Context, *config, *agent.Agent, *logrus.Entry) error {
	return errors.New("docker mode is not available yet")
}
