package sandbox

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/contiv/contiv/ofnet/protocol"
)

// withResolver makes a command of a workload see a resolv.conf that names Contiv's name server, as a container's does. The
// command's process is the same that is started.
func (s *Sandbox) withResolver(args []string) ([]string, error) {
	path, err := lookPath(args[0], s.config().BinDir)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(s.dir(), "resolv.conf")
	if _, err := os.Stat(file); err != nil {
		if err := os.WriteFile(file, []byte("nameserver "+protocol.NameServer.String()+"\n"), 0o644); err != nil {
			return nil, fmt.Errorf("writing the resolver configuration of workloads: %w", err)
		}
	}
	// A machine without a resolv.conf has nothing to put it over; then names are not resolved.
	const script = `mount --bind "$0" /etc/resolv.conf 2>/dev/null; exec "$@"`
	return append([]string{"unshare", "--mount", "sh", "-c", script, file, path}, args[1:]...), nil
}
