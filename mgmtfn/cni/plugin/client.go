package plugin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
)

// maxReply bounds what is read of an answer.
const maxReply = 4 << 20

// replyError: the agent's answer is not one.
type replyError struct{ cause error }

func (e *replyError) Error() string { return "reading the answer: " + e.cause.Error() }
func (e *replyError) Unwrap() error { return e.cause }

// post sends one request to the agent at a unix socket.
func post(ctx context.Context, socket string, request Request) (*Reply, error) {
	body, err := json.Marshal(request)
	if err != nil {
		return nil, fmt.Errorf("encoding the request: %w", err)
	}
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	// The host is not used: the socket is dialled.
	call, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://netplugin"+Path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("making the request: %w", err)
	}
	call.Header.Set("Content-Type", "application/json")
	answer, err := client.Do(call)
	if err != nil {
		return nil, fmt.Errorf("calling netplugin at %s: %w", socket, err)
	}
	defer func() { _ = answer.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(answer.Body, maxReply))
	if err != nil {
		return nil, fmt.Errorf("calling netplugin at %s: %w", socket, err)
	}
	reply := new(Reply)
	if err := json.Unmarshal(data, reply); err != nil {
		return nil, &replyError{fmt.Errorf("HTTP status %s: %w", answer.Status, err)}
	}
	if answer.StatusCode != http.StatusOK && reply.Error == nil {
		return nil, &replyError{fmt.Errorf("HTTP status %s without an error object", answer.Status)}
	}
	return reply, nil
}
