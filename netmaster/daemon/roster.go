package daemon

import (
	"encoding/json"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/contiv/contiv/objdb"
)

// rosterPrefix is below which netmasters register; names are "netmaster" and "netmaster.rpc".
const rosterPrefix = objdb.ServicePrefix + "netmaster"

// roster knows the registered netmasters. It implements objdb.Receiver.
type roster struct {
	mu      sync.Mutex
	entries map[string]objdb.Service // by store key
}

func newRoster() *roster { return &roster{entries: make(map[string]objdb.Service)} }

// Reset implements objdb.Receiver.
func (r *roster) Reset(kvs []objdb.KV, _ int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.entries)
	for _, kv := range kvs {
		r.set(kv)
	}
}

// Apply implements objdb.Receiver.
func (r *roster) Apply(batch objdb.Batch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, event := range batch.Events {
		if event.Deleted {
			delete(r.entries, event.Key)
			continue
		}
		r.set(event.KV)
	}
}

func (r *roster) set(kv objdb.KV) {
	var service objdb.Service
	if json.Unmarshal(kv.Value, &service) == nil {
		r.entries[kv.Key] = service
	}
}

func (r *roster) restAddresses() []string { return r.addresses("netmaster") }

func (r *roster) rpcAddresses() []string { return r.addresses("netmaster.rpc") }

func (r *roster) addresses(name string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := []string{}
	for key, service := range r.entries {
		if strings.HasPrefix(key, objdb.ServicePrefix+name+"/") {
			out = append(out, net.JoinHostPort(service.HostAddr, strconv.Itoa(service.Port)))
		}
	}
	slices.Sort(out)
	return out
}
