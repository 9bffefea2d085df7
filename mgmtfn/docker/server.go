package docker

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

	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"
)

const (
	contentType = "application/vnd.docker.plugins.v1.2+json"
	maxBody     = 1 << 20
	// callTimeout bounds one call; the engine has none of its own once it is connected.
	callTimeout = 30 * time.Second
)

// Wire types that go-plugins-helpers does not have (moby 28).
type (
	empty               struct{}
	networkCapabilities struct {
		Scope             string
		ConnectivityScope string
		GwAllocChecker    bool
	}
	gwAllocCheckRequest  struct{ Options map[string]any }
	gwAllocCheckResponse struct{ SkipIPv4, SkipIPv6 bool }
	ipamCapabilities     struct {
		RequiresMACAddress    bool
		RequiresRequestReplay bool
	}
	manifest struct{ Implements []string }
	// failure has both keys: the engine reads Err of network drivers and Error of IPAM drivers.
	failure struct{ Err, Error string }
)

// newHandler serves both drivers.
func newHandler(net *networkDriver, ipam *ipamDriver, log *logrus.Entry) http.Handler {
	mux := http.NewServeMux()
	activate := func(context.Context, *struct{}) (*manifest, error) {
		return &manifest{Implements: []string{"NetworkDriver", "IpamDriver"}}, nil
	}
	deactivate := func(context.Context, *struct{}) (*empty, error) { return nil, nil }
	mux.Handle("/Plugin.Activate", call(log, activate))
	mux.Handle("/Plugin.Deactivate", call(log, deactivate))

	mux.Handle("/NetworkDriver.GetCapabilities", call(log, net.getCapabilities))
	mux.Handle("/NetworkDriver.GwAllocCheck", call(log, net.gwAllocCheck))
	mux.Handle("/NetworkDriver.AllocateNetwork", call(log, net.allocateNetwork))
	mux.Handle("/NetworkDriver.FreeNetwork", call(log, net.freeNetwork))
	mux.Handle("/NetworkDriver.CreateNetwork", call(log, net.createNetwork))
	mux.Handle("/NetworkDriver.DeleteNetwork", call(log, net.deleteNetwork))
	mux.Handle("/NetworkDriver.CreateEndpoint", call(log, net.createEndpoint))
	mux.Handle("/NetworkDriver.DeleteEndpoint", call(log, net.deleteEndpoint))
	mux.Handle("/NetworkDriver.EndpointOperInfo", call(log, net.endpointOperInfo))
	mux.Handle("/NetworkDriver.Join", call(log, net.join))
	mux.Handle("/NetworkDriver.Leave", call(log, net.leave))
	mux.Handle("/NetworkDriver.DiscoverNew", call(log, net.discover))
	mux.Handle("/NetworkDriver.DiscoverDelete", call(log, net.discover))
	mux.Handle("/NetworkDriver.ProgramExternalConnectivity", call(log, net.externalConnectivity))
	mux.Handle("/NetworkDriver.RevokeExternalConnectivity", call(log, net.externalConnectivity))

	mux.Handle("/IpamDriver.GetCapabilities", call(log, ipam.getCapabilities))
	mux.Handle("/IpamDriver.GetDefaultAddressSpaces", call(log, ipam.getDefaultAddressSpaces))
	mux.Handle("/IpamDriver.RequestPool", call(log, ipam.requestPool))
	mux.Handle("/IpamDriver.ReleasePool", call(log, ipam.releasePool))
	mux.Handle("/IpamDriver.RequestAddress", call(log, ipam.requestAddress))
	mux.Handle("/IpamDriver.ReleaseAddress", call(log, ipam.releaseAddress))

	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		reply(w, http.StatusNotFound, fail(fmt.Errorf("%s is not a method of this plugin", r.URL.Path)))
	})
	return mux
}

func fail(err error) failure { return failure{err.Error(), err.Error()} }

// call makes a handler of a driver's method. A nil answer is `{}`.
func call[Req, Res any](log *logrus.Entry, method func(context.Context, *Req) (*Res, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			reply(w, http.StatusMethodNotAllowed, fail(fmt.Errorf("%s: use POST", r.URL.Path)))
			return
		}
		var req Req
		err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&req)
		if err != nil && !errors.Is(err, io.EOF) { // no body is an empty request
			reply(w, http.StatusBadRequest, fail(fmt.Errorf("reading the request of %s: %w", r.URL.Path, err)))
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
		defer cancel()
		answer, err := method(ctx, &req)
		if err != nil {
			log.WithError(err).WithField("call", r.URL.Path[1:]).Warn("refused a call of the docker engine")
			reply(w, http.StatusInternalServerError, fail(err))
			return
		}
		if answer == nil {
			answer = new(Res)
		}
		reply(w, http.StatusOK, answer)
	})
}

func reply(w http.ResponseWriter, status int, body any) {
	data, err := json.Marshal(body)
	if err != nil {
		status, data = http.StatusInternalServerError, []byte(`{"Err":"encoding the answer failed","Error":"encoding the answer failed"}`)
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_, _ = w.Write(append(data, '\n')) // a peer that is gone misses nothing
}

// socket is a unix socket that this process listens on, and which file that is.
type socket struct {
	net.Listener
	path string
	file os.FileInfo
}

// listen takes over the path of a dead process; a living one is an error.
func listen(path string) (*socket, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("making the plugin directory: %w", err)
	}
	if peer, err := net.DialTimeout("unix", path, time.Second); err == nil {
		_ = peer.Close()
		return nil, fmt.Errorf("plugin socket %s is served by another process: is a netplugin running already?", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("removing the stale plugin socket: %w", err)
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("plugin socket: %w", err)
	}
	listener.SetUnlinkOnClose(false)
	file, err := os.Stat(path)
	if err == nil {
		err = os.Chmod(path, 0o600)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("plugin socket: %w", err), listener.Close())
	}
	return &socket{listener, path, file}, nil
}

// is: the file is the one that was made here. Numbers of files are used again, times of their making are not.
func (s *socket) is(file os.FileInfo) bool {
	return os.SameFile(file, s.file) && file.ModTime().Equal(s.file.ModTime())
}

// remove the socket's file, unless another process has put its own there.
func (s *socket) remove() error {
	file, err := os.Stat(s.path)
	if errors.Is(err, os.ErrNotExist) || err == nil && !s.is(file) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("plugin socket: %w", err)
	}
	if err := os.Remove(s.path); err != nil {
		return fmt.Errorf("removing the plugin socket: %w", err)
	}
	return nil
}

// serve answers on all sockets until ctx ends, then removes them.
func serve(ctx context.Context, sockets []*socket, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	group, ctx := errgroup.WithContext(ctx)
	for _, listener := range sockets {
		group.Go(func() error {
			if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serving %s: %w", listener.path, err)
			}
			return nil
		})
	}
	group.Go(func() error {
		<-ctx.Done()
		// The files go first, so that the engine waits for the next process rather than for an answer of this one.
		var errs []error
		for _, listener := range sockets {
			errs = append(errs, listener.remove())
		}
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopGrace)
		defer cancel()
		if server.Shutdown(grace) != nil {
			errs = append(errs, server.Close())
		}
		return errors.Join(errs...)
	})
	return group.Wait()
}

// stopGrace is what calls in progress have to end when the plugin is stopped.
const stopGrace = 500 * time.Millisecond
