package ovs

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/contiv/contiv/ofnet/openflow"
	"github.com/contiv/contiv/ofnet/openflow/unixctl"
)

// control is what the driver asks the switch beside the writing of flows: statistics, packets to send, the connections
// that it tracks. It connects when it is first needed, and again after a connection ended. Safe for concurrent use.
type control struct {
	socket string // of the bridge's OpenFlow management
	runDir string
	// controlSocket of ovs-vswitchd; empty: found by its pid file, as ovs-appctl does.
	controlSocket string

	mu   sync.Mutex
	conn *openflow.Conn
}

// openflow answers a connection that lived a moment ago.
func (c *control) openflow(ctx context.Context) (*openflow.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil {
		select {
		case <-c.conn.Done():
		default:
			return c.conn, nil
		}
		_ = c.conn.Close()
		c.conn = nil
	}
	conn, err := openflow.Dial(ctx, c.socket, openflow.Options{Quiet: true})
	if err != nil {
		return nil, fmt.Errorf("connecting to the switch: %w", err)
	}
	c.conn = conn
	return conn, nil
}

// vswitchd connects to the control socket of ovs-vswitchd. The caller closes.
func (c *control) vswitchd(ctx context.Context) (*unixctl.Client, error) {
	socket := c.controlSocket
	if socket == "" {
		pid, err := os.ReadFile(filepath.Join(c.runDir, "ovs-vswitchd.pid"))
		if err != nil {
			return nil, fmt.Errorf("finding ovs-vswitchd: %w", err)
		}
		socket = filepath.Join(c.runDir, "ovs-vswitchd."+strings.TrimSpace(string(pid))+".ctl")
	}
	return unixctl.Dial(ctx, socket)
}

// connections lists those that a datapath tracks.
func (c *control) connections(ctx context.Context, datapathType string) ([]unixctl.Connection, error) {
	client, err := c.vswitchd(ctx)
	if err != nil {
		return nil, err
	}
	defer client.Close() //nolint:errcheck // nothing was written that could be lost
	list, _, err := client.Connections(ctx, datapathType+"@ovs-"+datapathType, 0)
	return list, err
}

func (c *control) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}
