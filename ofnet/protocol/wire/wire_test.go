package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sourcegraph/jsonrpc2"

	"github.com/contiv/contiv/ofnet/protocol"
)

// script is a connection that reads a text and swallows what is written.
type script struct {
	net.Conn
	io.Reader
	written bytes.Buffer
	closed  bool
}

func (s *script) Read(p []byte) (int, error)       { return s.Reader.Read(p) }
func (s *script) Write(p []byte) (int, error)      { return s.written.Write(p) }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }
func (s *script) Close() error                     { s.closed = true; return nil }

func reading(text string, notify func(string, json.RawMessage) error) *Stream {
	return NewStream(&script{Reader: strings.NewReader(text)}, Options{Notify: notify})
}

func TestReadObject(t *testing.T) {
	var notified []string
	s := reading("\n"+
		`{"jsonrpc":"2.0","method":"a","params":{"x":1}}`+"\n"+
		`{"method":"b","id":null}`+"\r\n\n"+
		`{"id":4,"method":"c"}`+"\n"+
		`{"method":"d"}`+"\n"+
		`{"id":5,"result":{}}`+"\n",
		func(method string, params json.RawMessage) error {
			notified = append(notified, method+string(params))
			return nil
		})
	var got map[string]any
	for i, want := range []struct {
		id       float64
		notified string
	}{{4, `[a{"x":1} b]`}, {5, `[a{"x":1} b d]`}} {
		if err := s.ReadObject(&got); err != nil {
			t.Fatal(err)
		}
		if got["id"] != want.id || fmt.Sprint(notified) != want.notified {
			t.Errorf("object %d: %v after %v", i, got, notified)
		}
	}
	if err := s.ReadObject(&got); !errors.Is(err, io.EOF) {
		t.Errorf("got %v at the end", err)
	}
}

func TestReadRefuses(t *testing.T) {
	fail := errors.New("fail")
	for name, test := range map[string]struct {
		text string
		want error
	}{
		"cut off":              {`{"id":1`, io.ErrUnexpectedEOF},
		"too large":            {`{"id":1,"x":"` + strings.Repeat("x", protocol.MaxMessageBytes) + "\"}\n", ErrTooLarge},
		"without end":          {strings.Repeat(" ", protocol.MaxMessageBytes+1), ErrTooLarge},
		"refused notification": {`{"method":"a"}` + "\n", fail},
		"no JSON":              {"hello\n", nil},
		"batch":                {"[{}]\n", nil},
		"two on a line":        {"{}{}\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			var got json.RawMessage
			err := reading(test.text, func(string, json.RawMessage) error { return fail }).ReadObject(&got)
			if err == nil || test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
	if err := reading(`{"method":"a"}`+"\n", nil).ReadObject(new(any)); err == nil {
		t.Error("a notification that nobody expects was taken")
	}
}

func TestWrite(t *testing.T) {
	conn := &script{}
	s := NewStream(conn, Options{})
	if err := s.WriteObject(map[string]string{"a": "b\nc"}); err != nil {
		t.Fatal(err)
	}
	line, err := Notification("m", struct{}{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.WriteLine(line); err != nil {
		t.Fatal(err)
	}
	if want := `{"a":"b\nc"}` + "\n" + `{"jsonrpc":"2.0","method":"m","params":{}}` + "\n"; conn.written.String() != want {
		t.Errorf("wrote %q, want %q", conn.written.String(), want)
	}
	if err := s.WriteLine(make([]byte, protocol.MaxMessageBytes+1)); !errors.Is(err, ErrTooLarge) || conn.closed {
		t.Errorf("got %v, closed %v", err, conn.closed)
	}
}

// TestDeadlines: a peer that sends or takes nothing is dropped.
func TestDeadlines(t *testing.T) {
	ours, theirs := net.Pipe()
	t.Cleanup(func() { _ = theirs.Close() })
	s := NewStream(ours, Options{Silence: 20 * time.Millisecond, Write: 20 * time.Millisecond})
	if err := s.ReadObject(new(any)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("reading: %v", err)
	}
	if err := s.WriteObject("x"); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("writing: %v", err)
	}
	if _, err := ours.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("after a write that failed: %v, want a closed connection", err)
	}
}

func TestErrors(t *testing.T) {
	leader := protocol.Errorf(protocol.CodeNotLeader, "no")
	leader.Leader = "a:1"
	for _, test := range []struct {
		err  error
		want protocol.Error
	}{
		{fmt.Errorf("asking: %w", leader), protocol.Error{Code: protocol.CodeNotLeader, Message: "asking: no", Leader: "a:1"}},
		{context.DeadlineExceeded, protocol.Error{Code: protocol.CodeUnavailable, Message: "context deadline exceeded"}},
		{errors.New("odd"), protocol.Error{Code: jsonrpc2.CodeInternalError, Message: "odd"}},
	} {
		var got *protocol.Error
		if !errors.As(DecodeError(fmt.Errorf("call: %w", EncodeError(test.err))), &got) || *got != test.want {
			t.Errorf("%v: got %+v, want %+v", test.err, got, test.want)
		}
	}
	if err := DecodeError(io.EOF); !errors.Is(err, io.EOF) {
		t.Errorf("got %v", err)
	}
}

func TestCheckVersion(t *testing.T) {
	for theirs, ok := range map[string]bool{
		"1.4": true, "1.5": true, "1.6": true, "1.3": false, "1.7": false, "2.5": false, "": false, "1": false, "1.x": false, "1.-5": false, "1.5.1": false,
	} {
		if err := CheckVersion("1.5", theirs); (err == nil) != ok {
			t.Errorf("%q: %v", theirs, err)
		}
	}
}
