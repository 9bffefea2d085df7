package daemon

import (
	"context"
	"fmt"

	"github.com/sirupsen/logrus"

	"github.com/contiv/contiv/mgmtfn/docker"
)

// newDocker makes the front end of a docker engine.
func newDocker(conf *config, host docker.Agent, log *logrus.Entry) (*docker.Plugin, error) {
	plugin, err := docker.New(docker.Config{
		Agent: host, Host: conf.host, PluginDir: conf.dockerPluginDir, DockerHost: conf.dockerHost, Log: log,
	})
	if err != nil {
		return nil, fmt.Errorf("--%s %s: %w", flagDockerHost, conf.dockerHost, err)
	}
	return plugin, nil
}

// serveDocker serves the engine's plugin sockets until ctx ends.
func serveDocker(ctx context.Context, plugin *docker.Plugin) error {
	if err := plugin.Run(ctx); err != nil {
		return fmt.Errorf("serving docker: %w", err)
	}
	return nil
}
