package daemon

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestSyslog: what is logged reaches a syslog daemon, and the standard error, as text and as JSON.
func TestSyslog(t *testing.T) {
	for _, network := range []string{"udp", "unixgram", "tcp"} {
		for _, format := range []string{"text", "json"} {
			t.Run(network+" "+format, func(t *testing.T) {
				url, received := syslogDaemon(t, network)
				var stderr bytes.Buffer
				conf, err := parse(t, "--syslog", "--syslog-url", url, "--log-format", format)
				if err != nil {
					t.Fatal(err)
				}
				log, err := newLog(conf, &stderr)
				if err != nil {
					t.Fatal(err)
				}
				log.Debug("too little to tell")
				log.WithField("request", "id-7").Info("something happened")
				got := received()
				_, message, found := strings.Cut(got, "netplugin[")
				_, message, colon := strings.Cut(message, "]: ")
				if !strings.HasPrefix(got, "<30>") || !found || !colon { // daemon.info
					t.Fatalf("received %q", got)
				}
				for _, text := range []string{message, stderr.String()} {
					if strings.Contains(text, "too little") {
						t.Errorf("level debug in %q", text)
					}
					var line struct{ Level, Msg, Request string }
					isJSON := json.Unmarshal([]byte(strings.TrimSpace(text)), &line) == nil
					switch {
					case isJSON != (format == "json"):
						t.Errorf("format %s: %q", format, text)
					case isJSON && (line.Msg != "something happened" || line.Request != "id-7" || line.Level != "info"),
						!isJSON && (!strings.Contains(text, "something happened") || !strings.Contains(text, "request=id-7")):
						t.Errorf("logged %q", text)
					}
				}
			})
		}
	}
}

// TestSyslogAway: a syslog daemon that does not answer is told and does no harm.
func TestSyslogAway(t *testing.T) {
	var stderr bytes.Buffer
	url, format := "unix://"+filepath.Join(t.TempDir(), "log"), "text"
	conf, err := parse(t, "--syslog", "--syslog-url", url, "--log-format", format)
	if err != nil {
		t.Fatal(err)
	}
	log, err := newLog(conf, &stderr)
	if err != nil {
		t.Fatal(err)
	}
	log.Info("all the same")
	if got := stderr.String(); !strings.Contains(got, "does not answer") || !strings.Contains(got, "all the same") {
		t.Errorf("logged %q", got)
	}
}

// syslogDaemon is one that takes a single message, which received waits for.
func syslogDaemon(t *testing.T, network string) (url string, received func() string) {
	t.Helper()
	buffer := make([]byte, 4096)
	deadline := time.Now().Add(patience)
	fail := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	if network == "tcp" {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		fail(err)
		t.Cleanup(func() { _ = listener.Close() })
		return fmt.Sprintf("tcp://%s", listener.Addr()), func() string {
			conn, err := listener.Accept()
			fail(err)
			defer func() { _ = conn.Close() }()
			fail(conn.SetReadDeadline(deadline))
			n, err := conn.Read(buffer)
			fail(err)
			return string(buffer[:n])
		}
	}
	address := "127.0.0.1:0"
	if network == "unixgram" {
		address = filepath.Join(t.TempDir(), "log")
	}
	conn, err := net.ListenPacket(network, address)
	fail(err)
	t.Cleanup(func() { _ = conn.Close() })
	url = map[string]string{"udp": "udp://", "unixgram": "unix://"}[network] + conn.LocalAddr().String()
	return url, func() string {
		fail(conn.SetReadDeadline(deadline))
		n, _, err := conn.ReadFrom(buffer)
		fail(err)
		return string(buffer[:n])
	}
}
