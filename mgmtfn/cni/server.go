// Package cni serves CNI calls in the agent: the plugin contivk8s hands them over through a unix socket. The package
// reads the network configuration, asks the agent to attach or detach, checks links, and words every failure as a
// CNI error object. docs/cni.md describes the configuration and the error codes.
package cni

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/sirupsen/logrus"

	"github.com/contiv/contiv/mgmtfn"
	"github.com/contiv/contiv/mgmtfn/cni/plugin"
)

// Agent is what the server needs of the agent of this host.
type Agent interface {
	// Attach plugs an interface in; see mgmtfn.AttachRequest.
	Attach(ctx context.Context, want mgmtfn.AttachRequest) (mgmtfn.Attachment, error)
	// Detach unplugs it. What is not there is no error, and neither is an absent netmaster.
	Detach(ctx context.Context, containerID, ifName string) error
	// Check answers the attachment if it is whole; mgmtfn.ErrNotAttached and ErrDamaged.
	Check(ctx context.Context, containerID, ifName string) (mgmtfn.Attachment, error)
	// Attachments answers all of this host, of every front end.
	Attachments(ctx context.Context) ([]mgmtfn.Attachment, error)
	// Ready is nil or a *mgmtfn.NotReady.
	Ready(ctx context.Context) error
}

// SocketName is the name of the server's socket in the run directory.
const SocketName = "contiv-cni.sock"

// maxSocketPath is what the kernel lets a unix socket's path have.
const maxSocketPath = 107

// maxBody bounds a request: a configuration with its prevResult.
const maxBody = 1 << 20

// serveTimeout bounds one call; it is below the plugin's own deadline.
const serveTimeout = 60 * time.Second

// Server answers CNI calls. It keeps nothing between them.
type Server struct {
	agent Agent
	log   *logrus.Entry
}

// New makes a server on top of an agent.
func New(agent Agent, log *logrus.Entry) *Server { return &Server{agent: agent, log: log} }

// Listen opens the server's unix socket, only for root. A socket that a dead agent left is replaced; one that answers
// is an error.
func Listen(path string) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("CNI socket %s: the path is longer than the %d bytes that a socket may have; give a shorter --run-dir", path, maxSocketPath)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("making the directory of the CNI socket: %w", err)
	}
	if conn, err := net.DialTimeout("unix", path, time.Second); err == nil {
		_ = conn.Close()
		return nil, fmt.Errorf("CNI socket %s: another netplugin serves it; stop that, or give --run-dir", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("removing the stale CNI socket: %w", err)
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("opening the CNI socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		_ = listener.Close()
		return nil, fmt.Errorf("restricting the CNI socket to root: %w", err)
	}
	return listener, nil
}

// Serve answers calls on the listener, which it closes, until ctx ends. Calls that run then are cancelled, and what
// they had begun is undone.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	stopped := make(chan struct{})
	unhook := context.AfterFunc(ctx, func() {
		defer close(stopped)
		bound, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
		defer cancel()
		if server.Shutdown(bound) != nil {
			_ = server.Close()
		}
	})
	err := server.Serve(listener)
	if unhook() { // Serve failed by itself.
		return fmt.Errorf("serving CNI calls: %w", err)
	}
	<-stopped
	return nil
}

// Handler answers the plugin's path and the two of the original agent.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+plugin.Path, s.serve)
	mux.HandleFunc("POST /ContivCNI.AddPod", s.servePod(s.addPod))
	mux.HandleFunc("POST /ContivCNI.DelPod", s.servePod(s.delPod))
	return mux
}

// request is a call as decoded.
type request = plugin.Request

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	var call request
	if err := decode(w, r, &call); err != nil {
		reply(w, plugin.Reply{Error: asError(err)})
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), serveTimeout)
	defer cancel()
	result, err := s.dispatch(ctx, &call)
	if err != nil {
		failure := asError(err)
		s.log.WithFields(logrus.Fields{"command": call.Command, "container": call.ContainerID, "interface": call.IfName,
			"code": failure.Code}).Warn(failure.Error())
		reply(w, plugin.Reply{Error: failure})
		return
	}
	reply(w, plugin.Reply{Result: result})
}

func (s *Server) dispatch(ctx context.Context, call *request) (json.RawMessage, error) {
	conf, err := parseConf(call.Config)
	if err != nil {
		return nil, err
	}
	switch call.Command {
	case plugin.CommandAdd:
		return s.add(ctx, call, conf)
	case plugin.CommandDel:
		return nil, s.del(ctx, call)
	case plugin.CommandCheck:
		return nil, s.check(ctx, call, conf)
	case plugin.CommandGC:
		return nil, s.collect(ctx, conf)
	case plugin.CommandStatus:
		return nil, s.status(ctx)
	default:
		return nil, types.NewError(types.ErrInvalidEnvironmentVariables,
			fmt.Sprintf("unknown CNI_COMMAND %q", call.Command), "known are ADD, DEL, CHECK, GC, STATUS and VERSION")
	}
}

func (s *Server) add(ctx context.Context, call *request, conf *netConf) (json.RawMessage, error) {
	if err := conf.checkKeys(call.Config); err != nil {
		return nil, err
	}
	want, err := attachRequest(call, conf)
	if err != nil {
		return nil, err
	}
	if err := checkTarget(call.NetNS, call.IfName); err != nil {
		return nil, err
	}
	previous, err := conf.previous()
	if err != nil {
		return nil, err
	}
	made, err := s.agent.Attach(ctx, want)
	if err != nil {
		return nil, err
	}
	return encode(addTo(previous, made, call.NetNS, conf.dns()), conf.CNIVersion)
}

func (s *Server) del(ctx context.Context, call *request) error {
	return s.agent.Detach(ctx, call.ContainerID, call.IfName)
}

// collect releases what was attached through this configuration and is not listed as valid. Without a list nothing
// is valid, as upstream's libcni has it.
func (s *Server) collect(ctx context.Context, conf *netConf) error {
	valid := make(map[gcAttachment]bool)
	for _, one := range append(conf.Valid, conf.ValidOldName...) {
		valid[one] = true
	}
	attached, err := s.agent.Attachments(ctx)
	if err != nil {
		return err
	}
	var failures []error
	for _, one := range attached {
		if one.Owner != Owner || one.Notes[noteConfig] != conf.Name || valid[gcAttachment{one.ID.ContainerID, one.ID.IfName}] {
			continue
		}
		if err := s.agent.Detach(ctx, one.ID.ContainerID, one.ID.IfName); err != nil {
			failures = append(failures, err)
		}
	}
	return errors.Join(failures...)
}

func (s *Server) status(ctx context.Context) error {
	err := s.agent.Ready(ctx)
	var not *mgmtfn.NotReady
	switch {
	case err == nil:
		return nil
	case errors.As(err, &not) && not.Impaired:
		return types.NewError(plugin.CodeImpaired, "no container can be attached, and those attached may not be reached", not.Reason)
	default:
		return types.NewError(plugin.CodeNotAvailable, "no container can be attached now", err.Error())
	}
}

func decode(w http.ResponseWriter, r *http.Request, into any) error {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return types.NewError(types.ErrIOFailure, "cannot read the request", err.Error())
	}
	if err := json.Unmarshal(data, into); err != nil {
		return types.NewError(types.ErrDecodingFailure, "cannot decode the request", err.Error())
	}
	return nil
}

func reply(w http.ResponseWriter, body plugin.Reply) {
	w.Header().Set("Content-Type", "application/json")
	if body.Error != nil {
		w.WriteHeader(http.StatusInternalServerError)
	}
	_ = json.NewEncoder(w).Encode(body) // The caller went away: nothing to tell it.
}
