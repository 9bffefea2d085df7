package consul

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/contiv/contiv/objdb"
)

// errRefused: the agent answered, and nothing was done.
var errRefused = errors.New("refused")

// agents are the ways to the cluster. The one that answered last is asked first.
type agents struct {
	clients   []*api.Client
	transport *http.Transport
	current   atomic.Int64
}

func newAgents(cfg Config) (*agents, error) {
	if len(cfg.Endpoints) == 0 {
		return nil, errors.New("no endpoint given")
	}
	a := &agents{transport: &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 2 * time.Second, KeepAlive: 5 * time.Second}).DialContext,
		TLSClientConfig:     cfg.TLS,
		TLSHandshakeTimeout: 5 * time.Second,
		MaxIdleConnsPerHost: 64,
		IdleConnTimeout:     time.Minute,
	}}
	for _, endpoint := range cfg.Endpoints {
		at, err := url.Parse(endpoint)
		if err != nil || at.Host == "" || at.Scheme != "http" && at.Scheme != "https" {
			return nil, fmt.Errorf("endpoint %q is not a URL such as http://10.0.0.1:8500", endpoint)
		}
		client, err := api.NewClient(&api.Config{
			Address: at.Host, Scheme: at.Scheme, Token: cfg.Token, HttpClient: &http.Client{Transport: a.transport},
		})
		if err != nil {
			return nil, fmt.Errorf("client of %s: %w", endpoint, err)
		}
		a.clients = append(a.clients, client)
	}
	return a, nil
}

func (a *agents) close() { a.transport.CloseIdleConnections() }

// read asks one agent after the other, each once and the first twice, until one answers.
func (a *agents) read(ctx context.Context, ask func(context.Context, *api.Client) error) error {
	return a.ask(ctx, ask, func(error) bool { return true })
}

// write is read for what must not be done twice: it goes on only if the agent cannot have done it.
func (a *agents) write(ctx context.Context, ask func(context.Context, *api.Client) error) error {
	return a.ask(ctx, ask, notDone)
}

func (a *agents) ask(ctx context.Context, ask func(context.Context, *api.Client) error, again func(error) bool) error {
	var err error
	for range len(a.clients) + 1 {
		if ctx.Err() != nil {
			break
		}
		at := a.current.Load()
		err = ask(ctx, a.clients[at%int64(len(a.clients))])
		if err == nil || errors.Is(err, errRefused) || lasting(err) {
			return classify(err)
		}
		if !errors.Is(ctx.Err(), context.Canceled) { // which is not the agent's fault
			a.current.CompareAndSwap(at, at+1)
		}
		if !again(err) {
			return classify(err)
		}
	}
	if err == nil {
		err = ctx.Err()
	}
	return classify(err)
}

// notDone tells whether a write that failed so has not been and will not be done.
func notDone(err error) bool {
	var dial *net.OpError
	return errors.As(err, &dial) && dial.Op == "dial" || says(err, "No cluster leader")
}

// lasting tells whether every other agent would answer the same.
func lasting(err error) bool { return says(err, "Permission denied", "ACL not found", "too large") }

// says looks for what Consul's client tells only in words.
func says(err error, texts ...string) bool {
	for _, text := range texts {
		if strings.Contains(err.Error(), text) {
			return true
		}
	}
	return false
}

// classify adds the class to an error of a call. What is not known better is unavailability, because then the caller
// looks before it tries again.
func classify(err error) error {
	switch {
	case err == nil, errors.Is(err, objdb.ErrConflict), errors.Is(err, objdb.ErrLeaseLost):
		return err
	case says(err, "too large"):
		return fmt.Errorf("%w: %w", objdb.ErrTooLarge, err)
	}
	return fmt.Errorf("%w: %w", objdb.ErrUnavailable, err)
}

// reasons puts the errors of a transaction into words.
func reasons(failed api.TxnErrors) string {
	var texts []string
	for _, one := range failed {
		texts = append(texts, one.What)
	}
	if len(texts) == 0 {
		return "no result (does the token allow it?)"
	}
	return strings.Join(texts, "; ")
}
