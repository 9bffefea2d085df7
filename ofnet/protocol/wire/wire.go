// Package wire carries the messages of ofnet/protocol over one connection: JSON-RPC 2.0 objects, one per line, with
// the protocol's limits of size and silence. Both daemons use it under github.com/sourcegraph/jsonrpc2.
//
// Notifications take a short way past that library: outgoing ones are written as bytes that may be shared by many
// connections, incoming ones go to Options.Notify in the order of arrival. Calls and answers go through the library.
package wire

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/contiv/contiv/ofnet/protocol"
)

// ErrTooLarge is the class of failures to read or write a message over protocol.MaxMessageBytes.
var ErrTooLarge = errors.New("message is too large")

// Options of a stream.
type Options struct {
	// Silence is how long the peer may send nothing; Write how long one message may take to be written.
	// Zero: protocol.PingTimeout.
	Silence, Write time.Duration
	// Notify gets incoming notifications, one at a time, while nothing else is read. An error ends the stream. params is
	// nil if there were none, and its own memory. Nil: notifications are refused.
	Notify func(method string, params json.RawMessage) error
}

// Stream is a jsonrpc2.ObjectStream over a connection. Reading is for one goroutine; writes may be made by any.
type Stream struct {
	conn    net.Conn
	options Options
	reader  *bufio.Reader
	line    []byte
	heard   atomic.Int64 // unix nanoseconds

	writing sync.Mutex
}

// largestKept is how much memory for lines a stream keeps between messages: enough for all but registrations and
// snapshots, which are rare, while there may be thousands of streams.
const largestKept = 8 << 10

// NewStream makes a stream that owns the connection.
func NewStream(conn net.Conn, options Options) *Stream {
	limitBuffers(conn)
	if options.Silence == 0 {
		options.Silence = protocol.PingTimeout
	}
	if options.Write == 0 {
		options.Write = protocol.PingTimeout
	}
	s := &Stream{conn: conn, options: options}
	s.heard.Store(time.Now().UnixNano())
	s.reader = bufio.NewReaderSize(reader{s}, 16<<10)
	return s
}

// socketBuffer is what the kernel keeps of a connection in each direction. By default it takes megabytes, behind which
// an answer to a ping waits too long, and which a netmaster has for each of its agents.
const socketBuffer = 256 << 10

// limitBuffers does what can be done: a connection without such buffers, of a test, has none to limit.
func limitBuffers(conn net.Conn) {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	if plain, ok := conn.(interface {
		SetReadBuffer(bytes int) error
		SetWriteBuffer(bytes int) error
	}); ok {
		_ = plain.SetReadBuffer(socketBuffer)
		_ = plain.SetWriteBuffer(socketBuffer)
	}
}

// reader is the connection with the deadline of silence on each read.
type reader struct{ stream *Stream }

func (r reader) Read(p []byte) (int, error) {
	if err := r.stream.conn.SetReadDeadline(time.Now().Add(r.stream.options.Silence)); err != nil {
		return 0, fmt.Errorf("reading: %w", err)
	}
	n, err := r.stream.conn.Read(p)
	if n > 0 {
		r.stream.heard.Store(time.Now().UnixNano())
	}
	return n, err //nolint:wrapcheck // io.EOF must stay itself
}

// LastHeard is when the peer last sent anything.
func (s *Stream) LastHeard() time.Time { return time.Unix(0, s.heard.Load()) }

// ReadObject implements jsonrpc2.ObjectStream: it reads the next call or answer and hands notifications on before.
func (s *Stream) ReadObject(v any) error {
	for {
		line, err := s.readLine()
		if cap(s.line) > largestKept {
			s.line = nil // before the next, which may be long in coming, is waited for
		}
		if err != nil {
			return err
		}
		notification, err := s.notification(line)
		if err != nil {
			return err
		}
		if notification {
			continue
		}
		if message, ok := v.(json.Unmarshaler); ok {
			return message.UnmarshalJSON(line) //nolint:wrapcheck // the library's own type and error
		}
		return json.Unmarshal(line, v) //nolint:wrapcheck // as above
	}
}

// notification hands the message on if it is one.
func (s *Stream) notification(line []byte) (bool, error) {
	var message struct {
		Method *string         `json:"method"`
		ID     json.RawMessage `json:"id"`
		Params json.RawMessage `json:"params"`
	}
	if err := json.Unmarshal(line, &message); err != nil {
		return false, fmt.Errorf("not a JSON-RPC message: %w", err)
	}
	if message.Method == nil || message.ID != nil && string(message.ID) != "null" {
		return false, nil
	}
	if s.options.Notify == nil {
		return false, fmt.Errorf("notification %q is not expected here", *message.Method)
	}
	return true, s.options.Notify(*message.Method, message.Params)
}

// readLine reads one non-empty line without its end.
func (s *Stream) readLine() ([]byte, error) {
	for {
		s.line = s.line[:0]
		for {
			part, err := s.reader.ReadSlice('\n')
			s.line = append(s.line, part...)
			if len(s.line) > protocol.MaxMessageBytes {
				return nil, fmt.Errorf("reading a message of over %d bytes: %w", protocol.MaxMessageBytes, ErrTooLarge)
			}
			if err == nil {
				break
			}
			if !errors.Is(err, bufio.ErrBufferFull) {
				if errors.Is(err, io.EOF) && len(s.line) > 0 {
					err = io.ErrUnexpectedEOF
				}
				return nil, err
			}
		}
		if line := bytes.TrimSpace(s.line); len(line) > 0 {
			return line, nil
		}
	}
}

// WriteObject implements jsonrpc2.ObjectStream.
func (s *Stream) WriteObject(obj any) error {
	line, err := json.Marshal(obj)
	if err != nil {
		return fmt.Errorf("encoding a message: %w", err)
	}
	return s.WriteLine(append(line, '\n'))
}

// WriteLine writes one encoded message that ends with a newline. After an error other than ErrTooLarge the stream is
// closed, for a part of the message may have been sent.
func (s *Stream) WriteLine(line []byte) error {
	if len(line) > protocol.MaxMessageBytes {
		return fmt.Errorf("writing a message of %d bytes, at most %d: %w", len(line), protocol.MaxMessageBytes, ErrTooLarge)
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	err := s.conn.SetWriteDeadline(time.Now().Add(s.options.Write))
	if err == nil {
		_, err = s.conn.Write(line)
	}
	if err != nil {
		_ = s.conn.Close()
		return fmt.Errorf("writing to %s: %w", s.conn.RemoteAddr(), err)
	}
	return nil
}

// Close closes the connection.
func (s *Stream) Close() error { return s.conn.Close() } //nolint:wrapcheck // nothing to add

// Notification encodes a notification as a line for WriteLine.
func Notification(method string, params any) ([]byte, error) {
	data, err := json.Marshal(struct {
		Version string `json:"jsonrpc"`
		Method  string `json:"method"`
		Params  any    `json:"params"`
	}{"2.0", method, params})
	if err != nil {
		return nil, fmt.Errorf("encoding %s: %w", method, err)
	}
	return append(data, '\n'), nil
}
