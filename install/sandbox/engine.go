package sandbox

import (
	"context"
)

func (s *Sandbox) dockerHost(host int) string {
	return "unix://" + s.hostDir(host, "docker", "docker.sock")
}

func (s *Sandbox) dockerPluginDir(host int) string { return s.hostDir(host, "docker", "plugins") }

func (s *Sandbox) dockerCommand(host int) (command, func() bool, error) {
	return command{}, nil, &NotYetError{"Docker Engines"}
}

func (s *Sandbox) stopEngines(context.Context) error { return nil }
