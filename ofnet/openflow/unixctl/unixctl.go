// Package unixctl talks to the control socket of ovs-vswitchd over one connection that stays open, as ovs-appctl does
// over one per call: a call costs a fraction of a millisecond and no process. Trace asks what the switch would do to a
// packet and reads the answer.
package unixctl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Client is a connection to a control socket. Its methods may be called at once; calls go one after another. After an
// error that is not a *CallError it is of no more use.
type Client struct {
	mu   sync.Mutex
	conn net.Conn
	from *limited
	in   *json.Decoder
	id   uint64
	dead error
}

// CallError is a command that the daemon refused.
type CallError struct {
	Command string
	Message string
}

// Error is what the daemon said of which command.
func (e *CallError) Error() string { return e.Command + ": " + e.Message }

// maxReply is the longest answer that is read.
const maxReply = 64 << 20

// Dial connects to the control socket of a daemon, for ovs-vswitchd RUNDIR/ovs-vswitchd.PID.ctl or what --unixctl said.
func Dial(ctx context.Context, socket string) (*Client, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("connecting to the control socket of Open vSwitch: %w", err)
	}
	return newClient(conn), nil
}

func newClient(conn net.Conn) *Client {
	from := &limited{conn: conn}
	return &Client{conn: conn, from: from, in: json.NewDecoder(from)}
}

// limited gives up on an answer that does not end; read counts the bytes of one.
type limited struct {
	conn net.Conn
	read int
}

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.conn.Read(p)
	if l.read += n; l.read > maxReply {
		return 0, errors.New("answer is too long")
	}
	return n, err
}

// Close ends the connection and any call under way.
func (c *Client) Close() error { return c.conn.Close() }

type request struct {
	ID     uint64   `json:"id"`
	Method string   `json:"method"`
	Params []string `json:"params"`
}

type reply struct {
	ID     *uint64         `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  json.RawMessage `json:"error"`
}

// Call runs a command and answers what it prints. A command that the daemon refuses is a *CallError.
func (c *Client) Call(ctx context.Context, command string, args ...string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead != nil {
		return "", c.dead
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	text, err := c.exchange(ctx, command, args)
	if refused := (*CallError)(nil); err != nil && !errors.As(err, &refused) {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		c.dead = fmt.Errorf("%s over the control socket of Open vSwitch: %w", command, err)
		_ = c.conn.Close()
		return "", c.dead
	}
	return text, err
}

func (c *Client) exchange(ctx context.Context, command string, args []string) (string, error) {
	stop := context.AfterFunc(ctx, func() { _ = c.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if args == nil {
		args = []string{}
	}
	c.id++
	data, err := json.Marshal(request{c.id, command, args})
	if err != nil {
		return "", err
	}
	if _, err := c.conn.Write(data); err != nil {
		return "", err
	}
	return c.answer(command)
}

func (c *Client) answer(command string) (string, error) {
	var r reply
	c.from.read = 0
	if err := c.in.Decode(&r); err != nil {
		return "", err
	}
	if r.ID == nil || *r.ID != c.id {
		return "", errors.New("answer to another call")
	}
	var text string
	if len(r.Error) > 0 && string(r.Error) != "null" {
		if err := json.Unmarshal(r.Error, &text); err != nil {
			return "", err
		}
		return "", &CallError{command, text}
	}
	if err := json.Unmarshal(r.Result, &text); err != nil {
		return "", err
	}
	return text, nil
}
