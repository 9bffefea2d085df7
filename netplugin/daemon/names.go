package daemon

import (
	"fmt"
	"net/http"

	"github.com/urfave/cli/v2"

	"github.com/contiv/contiv/netplugin/nameserver"
)

// resolvConf names the resolvers of this host.
const resolvConf = "/etc/resolv.conf"

// Words of --dns-servers.
const (
	dnsOfHost = "host"
	dnsNone   = "none"
)

// readNames reads the flags of the name server.
func (conf *config) readNames(c *cli.Context) error {
	conf.dnsDomain = c.String(flagDNSDomain)
	switch given := c.String(flagDNSServers); given {
	case dnsOfHost:
		conf.dnsServers = nameserver.HostServers(resolvConf)
	case dnsNone:
		conf.dnsServers = nameserver.FixedServers()
	default:
		var list []string
		for _, one := range splitList(given) {
			server, err := nameserver.ParseServer(one)
			if err != nil {
				return fmt.Errorf("--%s: %w; give %s, %s or ADDRESS[:PORT][,...]", flagDNSServers, err, dnsOfHost, dnsNone)
			}
			list = append(list, server)
		}
		if len(list) == 0 {
			return fmt.Errorf("--%s: give %s, %s or ADDRESS[:PORT][,...]", flagDNSServers, dnsOfHost, dnsNone)
		}
		conf.dnsServers = nameserver.FixedServers(list...)
	}
	return nil
}

// withNames answers what is asked about names, and leaves the rest to a handler.
func withNames(rest http.Handler, names *nameserver.Server) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", rest)
	mux.HandleFunc("GET /inspect/nameserver", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, names.Inspect())
	})
	mux.HandleFunc("GET /names/lookup", func(w http.ResponseWriter, r *http.Request) {
		tenant, name := r.URL.Query().Get("tenant"), r.URL.Query().Get("name")
		if tenant == "" {
			tenant = "default"
		}
		if name == "" {
			http.Error(w, "give the name to look up: /names/lookup?tenant=TENANT&name=NAME", http.StatusBadRequest)
			return
		}
		found, ok := names.Lookup(tenant, name)
		if !ok {
			http.Error(w, fmt.Sprintf("tenant %q has no service, group or container %q that this host knows; GET /inspect/nameserver lists those that it does", tenant, name),
				http.StatusNotFound)
			return
		}
		writeJSON(w, http.StatusOK, found)
	})
	return mux
}
