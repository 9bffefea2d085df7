package sandbox

import (
	"context"
	"errors"
	"time"

	"github.com/contiv/contiv/mgmtfn/docker/engine"
	"github.com/contiv/contiv/ofnet/protocol"
)

// dockerHolder is the process that keeps an engine's mount namespace; it lives as long as the sandbox.
const dockerHolder Component = "docker-holder"

// Engine is the Docker Engine of a host, to talk to (sandboxes with Config.Docker only).
func (s *Sandbox) Engine(host int) engine.Config {
	return engine.Config{Dir: s.hostDir(host, "docker"), NetNS: s.NetNS(host), LiveRestore: s.config().LiveRestore,
		Args: []string{"--dns", protocol.NameServer.String()}}
}

// startHolder makes the mount namespace of an engine, with the directory in which netplugin puts its sockets.
func (s *Sandbox) startHolder(ctx context.Context, host int) error {
	if rec, err := s.view(); err != nil || rec.Processes[processName(dockerHolder, host)].alive() {
		return err
	}
	if err := s.Engine(host).Prepare(); err != nil {
		return err
	}
	return s.startProcess(ctx, dockerHolder, host)
}

// dockerCommand starts an engine; the end of one that was killed is awaited first.
func (s *Sandbox) dockerCommand(host int) (command, func() bool, error) {
	rec, err := s.view()
	if err != nil {
		return command{}, nil, err
	}
	own := s.Engine(host)
	start := command{who: processName(Docker, host), args: own.Daemon(rec.Processes[processName(dockerHolder, host)].PID)}
	answers := func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		return own.Answers(ctx)
	}
	return start, answers, own.Bury()
}

// stopEngines removes all containers and ends every process of the engines, also those in namespaces of their own.
func (s *Sandbox) stopEngines(ctx context.Context) error {
	if !s.config().Docker {
		return nil
	}
	var errs []error
	for host := 1; host <= s.config().Hosts; host++ {
		if own := s.Engine(host); s.Running(Docker, host) && own.Answers(ctx) {
			// Containers that cannot be removed in order are killed below.
			_ = own.RemoveContainers(ctx)
		}
		errs = append(errs, s.Stop(Docker, host))
		if holder := s.current.Load().Processes[processName(dockerHolder, host)]; holder.alive() {
			errs = append(errs, engine.End(holder.PID))
		}
	}
	return errors.Join(errs...)
}
