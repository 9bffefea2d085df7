package objdb

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"
)

// ServicePrefix holds one key per registered service: service/<name>/<host:port>.
const ServicePrefix = "service/"

// Service is an entry of the registry. It lives as long as its process renews it.
type Service struct {
	ServiceName string `json:"ServiceName"`
	Role        string `json:"Role"` // "leader" or "follower", empty for services that have no roles
	Version     string `json:"Version"`
	TTL         int    `json:"TTL"` // seconds after which a dead process vanishes; 0: 10
	HostAddr    string `json:"HostAddr"`
	Port        int    `json:"Port"`
	Hostname    string `json:"Hostname"`
}

// Key is where the service is registered.
func (s Service) Key() string {
	return ServicePrefix + s.ServiceName + "/" + net.JoinHostPort(s.HostAddr, strconv.Itoa(s.Port))
}

// Registration keeps a service in the registry.
type Registration struct {
	store Store

	mu      sync.Mutex
	service Service
	changed chan struct{} // holds a token after a change of service
}

// NewRegistration makes a registration; it does nothing before Run.
func NewRegistration(store Store, service Service) *Registration {
	if service.TTL == 0 {
		service.TTL = 10
	}
	return &Registration{store: store, service: service, changed: make(chan struct{}, 1)}
}

// SetRole changes the role that others see, soon.
func (r *Registration) SetRole(role string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.service.Role == role {
		return
	}
	r.service.Role = role
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// Run keeps the service registered until the context ends, also when the store loses its lease, and removes it then,
// which takes half a second at most. It returns the context's error.
func (r *Registration) Run(ctx context.Context) error {
	wait := newBackoff(2 * time.Second)
	for ctx.Err() == nil {
		if r.hold(ctx) == nil {
			wait.Reset()
			continue
		}
		pause(ctx, wait.NextBackOff())
	}
	return ctx.Err()
}

func (r *Registration) current() Service {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.service
}

// hold registers once and returns nil when the lease was lost or the context ended.
func (r *Registration) hold(ctx context.Context) error {
	service := r.current()
	lease, err := r.store.Grant(ctx, time.Duration(service.TTL)*time.Second)
	if err != nil {
		return fmt.Errorf("registering %s: %w", service.Key(), err)
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 500*time.Millisecond)
		defer cancel()
		_ = lease.Close(closing) // if it fails, the entry goes with the lease
	}()
	for {
		service = r.current()
		value, err := json.Marshal(service)
		if err != nil {
			return fmt.Errorf("encoding %s: %w", service.Key(), err)
		}
		if _, err := r.store.Commit(ctx, Txn{Then: []Op{PutLeased(service.Key(), value, lease)}}); err != nil {
			return fmt.Errorf("registering %s: %w", service.Key(), err)
		}
		select {
		case <-r.changed:
		case <-lease.Done():
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// Services lists those registered under a name, by address; entries that do not decode are left out.
func Services(ctx context.Context, store Store, name string) ([]Service, error) {
	kvs, _, err := store.List(ctx, ServicePrefix+name+"/")
	if err != nil {
		return nil, fmt.Errorf("listing services %q: %w", name, err)
	}
	var services []Service
	for _, kv := range kvs {
		var service Service
		if json.Unmarshal(kv.Value, &service) == nil {
			services = append(services, service)
		}
	}
	return services, nil
}
