package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
)

// builtConsul is where "make consul" puts the agent, below the home directory.
const builtConsul = ".cache/contiv/consul-1.20.6/consul"

// consulBinary is $CONTIV_CONSUL, else what "make consul" built.
func consulBinary() (string, error) {
	path := os.Getenv("CONTIV_CONSUL")
	if path == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("finding Consul: %w", err)
		}
		path = filepath.Join(home, builtConsul)
	}
	if !isExecutable(path) {
		return "", fmt.Errorf("store consul needs the Consul agent %s: \"make consul\" builds it, or name one with CONTIV_CONSUL", path)
	}
	return path, nil
}

// storeArgs is the command line of the external store, and the port that it answers on.
func (s *Sandbox) storeArgs(host int) (args []string, port int, err error) {
	addr := s.managementAddr(host).Addr()
	if s.config().Store == StoreConsul {
		consul, err := consulBinary()
		return []string{consul, "agent", "-server", "-bootstrap", "-node", s.hostName(host), "-data-dir", s.hostDir(host, "consul"),
			"-bind", addr.String(), "-client", addr.String(), "-log-level", "warn", "-disable-host-node-id",
			"-hcl", `connect { enabled = false } performance { raft_multiplier = 1 } disable_update_check = true ` +
				`ports { dns = -1 grpc = -1 grpc_tls = -1 serf_wan = -1 }`}, 8500, err
	}
	url := fmt.Sprintf("http://%s:2379", addr)
	return []string{"etcd", "--data-dir", s.hostDir(host, "etcd"), "--listen-client-urls", url, "--advertise-client-urls", url,
		"--listen-peer-urls", "http://127.0.0.1:2380", "--initial-advertise-peer-urls", "http://127.0.0.1:2380",
		"--initial-cluster", "default=http://127.0.0.1:2380"}, 2379, nil
}

// storeFlag tells netmaster where the external store is; nothing with the embedded one.
func (s *Sandbox) storeFlag() []string {
	addr := s.managementAddr(1).Addr()
	switch s.config().Store {
	case StoreEtcd:
		return []string{"--etcd", fmt.Sprintf("http://%s:2379", addr)}
	case StoreConsul:
		return []string{"--consul", fmt.Sprintf("http://%s:8500", addr)}
	default:
		return nil
	}
}
