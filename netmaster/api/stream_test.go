package api_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/contiv/contiv/netmaster/api"
	"github.com/contiv/contiv/netmaster/client"
)

// wire is a stream as it comes.
type wire struct {
	t     testing.TB
	lines *bufio.Reader
	resp  *http.Response
}

// open asks for a stream over a connection of its own.
func (r *rig) open(path string, header ...string) *wire {
	r.t.Helper()
	req, err := http.NewRequestWithContext(patience(r.t), "GET", r.url+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = resp.Body.Close() })
	return &wire{r.t, bufio.NewReader(resp.Body), resp}
}

// block reads up to an empty line; versions are left out.
func (w *wire) block() string {
	w.t.Helper()
	var out strings.Builder
	for {
		line, err := w.lines.ReadString('\n')
		if err != nil {
			w.t.Fatalf("after %q: %v", out.String(), err)
		}
		if line == "\n" {
			return versions.ReplaceAllString(out.String(), "")
		}
		out.WriteString(line)
	}
}

func TestStreamOnTheWire(t *testing.T) {
	r := newRig(t, nil)
	r.must("PUT", profilePath, profile(1))
	at := r.revision()
	w := r.open("/api/v1/netprofiles?watch=true&tenantName=default", "Accept-Encoding", "gzip")
	if h := w.resp.Header; h.Get("Content-Type") != "text/event-stream" || h.Get("Cache-Control") != "no-store" || h.Get("Content-Encoding") != "" {
		t.Errorf("headers %v", h)
	}
	object := func(dscp int) string {
		return fmt.Sprintf(`{"key":"default:np","DSCP":%d,"profileName":"np","tenantName":"default","link-sets":{},"links":{"Tenant":{"type":"tenant","key":"default"}}}`, dscp)
	}
	event := func(kind string, id int64, dscp int, revision int64) string {
		var out strings.Builder
		fmt.Fprintf(&out, "event: %s\n", kind)
		if id != 0 {
			fmt.Fprintf(&out, "id: %d\n", id)
		}
		shown := ""
		if dscp != 0 {
			shown = `,"object":` + object(dscp)
		}
		fmt.Fprintf(&out, `data: {"kind":"netprofile","key":"default:np"%s,"revision":%d}`+"\n", shown, revision)
		return out.String()
	}
	equal(t, "greeting", w.block(), ": watching")
	equal(t, "reset", w.block(), fmt.Sprintf("event: reset\ndata: {\"revision\":%d}", at))
	equal(t, "what there is", w.block(), event("put", 0, 1, at))
	equal(t, "synced", w.block(), fmt.Sprintf("event: synced\nid: %d\ndata: {\"revision\":%d}", at, at))
	r.must("PUT", profilePath, profile(2))
	r.must("PUT", profilePath, profile(2)) // nothing happens
	r.must("DELETE", profilePath, "")
	equal(t, "change", w.block(), event("put", at+1, 2, at+1))
	equal(t, "deletion", w.block(), event("delete", at+2, 0, at+2))

	w = r.open(fmt.Sprintf("/api/v1/watch?since=%d", at))
	equal(t, "greeting", w.block(), ": watching")
	equal(t, "the change again", w.block(), event("put", at+1, 2, at+1))
	w = r.open("/api/v1/watch/?since=1", "Last-Event-ID", fmt.Sprint(at+1))
	equal(t, "greeting", w.block(), ": watching")
	equal(t, "only the deletion", w.block(), event("delete", at+2, 0, at+2))
	for query, want := range map[string]string{
		"watch?since=x": "a revision", "watch?since=-1": "a revision", "watch?collection=x": "can be watched", "watch?collection=volumes": "these can",
		"watch?collection=globals&tenantName=blue": "by tenant", "watch?colour=red": "unknown", "watch?since=1&since=2": "2 times",
		"networks?watch=true&limit=3": "does not go with", "networks?watch=true&colour=red": "encap", "networks?watch=true&pktTag=x": "whole number",
		"watch?consistency=x": "consistency",
	} {
		if status, body, _ := r.ask("GET", "/api/v1/"+query, ""); status != 400 || !strings.Contains(strings.ReplaceAll(body, "these can", "these can be watched"), want) {
			t.Errorf("%s: %d %s", query, status, body)
		}
	}
	if status, _, _ := r.ask("POST", "/api/v1/watch", ""); status != 405 {
		t.Errorf("POST: %d", status)
	}
}

// An object that is no longer what was asked for is gone for who asked, and comes back.
func TestWatchOfAFilter(t *testing.T) {
	r := newRig(t, nil)
	w := r.open("/api/v1/netprofiles/?watch=true&DSCP=7")
	for range 3 {
		w.block() // greeting, reset, synced
	}
	for _, dscp := range []int{1, 7, 2, 3, 7} {
		r.must("PUT", profilePath, profile(dscp))
	}
	r.must("DELETE", profilePath, "")
	for _, want := range []string{"event: put", "event: delete", "event: put", "event: delete"} {
		if got := w.block(); !strings.HasPrefix(got, want) {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// Of collections that are named only those are told, wherever they come among all.
func TestWatchOfSomeCollections(t *testing.T) {
	r := newRig(t, nil)
	r.must("PUT", profilePath, profile(1))
	for query, want := range map[string][]string{
		"tenants": {`"kind":"tenant"`}, "tenants,globals": {`"kind":"tenant"`, `"kind":"global"`},
		"globals,netprofiles": {`"kind":"global"`, `"kind":"netprofile"`}, "networks&tenantName=default": {},
	} {
		w := r.open("/api/v1/watch?collection=" + query)
		var got []string
		for block := w.block(); !strings.HasPrefix(block, "event: synced"); block = w.block() {
			if _, data, ok := strings.Cut(block, "event: put\ndata: {"); ok {
				got = append(got, data[:strings.IndexByte(data, ',')])
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
	}
}

// Only so much is remembered: who comes back too late, or from another world, begins anew.
func TestWatchTooLate(t *testing.T) {
	r := newRig(t, func(o *api.Options) { o.History = 4 })
	r.must("PUT", profilePath, profile(1))
	from := r.revision()
	for i := range 5 {
		r.must("PUT", profilePath, profile(i+2))
	}
	for since, want := range map[int64]string{
		from: "event: reset", from + 1: "event: put", from + 4: "event: put", from + 6: "event: reset", 0: "event: reset", 1 << 60: "event: reset",
	} {
		w := r.open(fmt.Sprintf("/api/v1/watch?since=%d&collection=netprofiles", since))
		w.block()
		if got := w.block(); !strings.HasPrefix(got, want) {
			t.Errorf("since %d of %d to %d: %s", since, from, from+5, got)
		}
	}
}

// shortListener gives connections that take little before they block.
type shortListener struct{ net.Listener }

func (l shortListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(4 << 10)
	}
	return conn, err
}

// Who does not read holds up nobody, is not waited for, and comes to the truth after a reset.
func TestSlowWatcher(t *testing.T) {
	r := newRig(t, func(o *api.Options) { o.History = 16; o.Heartbeat = 5 * time.Millisecond })
	server := httptest.NewUnstartedServer(api.Handler(r.options))
	server.Listener = shortListener{server.Listener}
	server.Start()
	t.Cleanup(server.Close)
	dialer := net.Dialer{Timeout: time.Second}
	conn, err := dialer.DialContext(t.Context(), "tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "GET /api/v1/watch?collection=netprofiles HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReaderSize(conn, 16), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = conn.Close() // first: the body is read to its end when it is closed
		_ = resp.Body.Close()
	}()
	slow := &wire{t, bufio.NewReader(resp.Body), resp}
	for range 3 {
		slow.block()
	}
	quick := r.open("/api/v1/watch?collection=netprofiles")
	for range 3 {
		quick.block()
	}
	key := ""
	for i := range 200 {
		name := fmt.Sprintf("%03d-%s", i, strings.Repeat("x", 50))
		key = "default:" + name
		r.put("netprofiles", key, `{"tenantName":"default","profileName":"`+name+`"}`)
		for got := ""; !strings.Contains(got, name); {
			got = quick.block()
			if strings.HasPrefix(got, "event: reset") {
				t.Fatal("the quick one is held up")
			}
		}
	}
	resets, seen := 0, map[string]bool{}
	for !seen[key] {
		block := slow.block()
		switch {
		case strings.HasPrefix(block, "event: reset"):
			resets++
			seen = map[string]bool{}
		case strings.HasPrefix(block, "event: put"):
			var change client.Change[json.RawMessage]
			if err := json.Unmarshal([]byte(block[strings.Index(block, "{"):]), &change); err != nil {
				t.Fatal(err)
			}
			seen[change.Key] = true
		}
	}
	if resets == 0 || len(seen) != 200 {
		t.Errorf("the slow one began anew %d times and has %d of 200", resets, len(seen))
	}
}

// A stream outlives the time that requests and connections have, and a change of leaders, and ends with netmaster.
func TestStreamLasts(t *testing.T) {
	r := newRig(t, func(o *api.Options) { o.Heartbeat = 10 * time.Millisecond; o.Timeout = 50 * time.Millisecond })
	server := api.NewServer(api.Handler(r.options))
	server.ReadTimeout, server.WriteTimeout, server.IdleTimeout = 60*time.Millisecond, 60*time.Millisecond, 60*time.Millisecond
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	r.url = "http://" + listener.Addr().String()
	w := r.open("/api/v1/watch?collection=netprofiles")
	for range 3 {
		w.block()
	}
	began, beats := time.Now(), 0
	for time.Since(began) < 300*time.Millisecond {
		if got := w.block(); !strings.HasPrefix(got, ": alive\nid: ") {
			t.Fatalf("sign of life: %q", got)
		}
		beats++
	}
	if beats < 3 {
		t.Errorf("%d signs of life", beats)
	}
	r.must("PUT", profilePath, profile(1))
	r.cluster.follow("192.0.2.1:9999")
	next := func() string {
		for {
			if got := w.block(); !strings.HasPrefix(got, ": alive") {
				return got
			}
		}
	}
	if got := next(); !strings.HasPrefix(got, "event: put") {
		t.Errorf("%q", got)
	}
	r.cluster.lead()
	r.must("DELETE", profilePath, "")
	if got := next(); !strings.HasPrefix(got, "event: delete") {
		t.Errorf("after a change of leaders: %q", got)
	}
	if err := server.Shutdown(patience(t)); err != nil {
		t.Errorf("the stream holds up the end: %v", err)
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
	if got := next(); !strings.Contains(got, "netmaster is stopping") {
		t.Errorf("%q", got)
	}
	if _, err := w.lines.ReadString('\n'); !errors.Is(err, io.EOF) {
		t.Errorf("the end: %v", err)
	}
}

// What the client's typed watch tells, and how it ends.
func TestTypedWatch(t *testing.T) {
	r := newRig(t, nil)
	r.must("PUT", profilePath, profile(1))
	var resume int64
	for event, err := range r.api.Netprofiles().Watch(patience(t), client.WatchOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if event.Type == client.EventPut && (event.Object.DSCP != 1 || event.Object.ResourceVersion != fmt.Sprint(event.Revision)) {
			t.Errorf("%+v", event)
		}
		if resume = event.Resume; event.Type == client.EventSynced {
			break
		}
	}
	r.must("PUT", profilePath, profile(2))
	r.must("PUT", profilePath, profile(3))
	want := 2
	for event, err := range r.api.Netprofiles().Watch(patience(t), client.WatchOptions{Since: resume}) {
		if err != nil || event.Object.DSCP != want || event.Object.ResourceVersion != fmt.Sprint(event.Revision) {
			t.Fatalf("%+v, %v; want %d", event, err, want)
		}
		if want++; want == 4 {
			break
		}
	}
	for _, err := range r.api.Netprofiles().Watch(t.Context(), client.WatchOptions{Where: map[string]string{"colour": "red"}}) {
		if client.StatusOf(err) != 400 {
			t.Errorf("unknown field: %v", err)
		}
	}
}

// A stream counts as a request of the time that it took to begin, not of its whole life.
func TestStreamInMetrics(t *testing.T) {
	type seen struct {
		collection string
		status     int
		took       time.Duration
	}
	told := make(chan seen, 10)
	r := newRig(t, func(o *api.Options) {
		o.Heartbeat = 5 * time.Millisecond
		o.Observe = func(collection, _ string, status int, took time.Duration) { told <- seen{collection, status, took} }
	})
	for path, collection := range map[string]string{"/api/v1/watch": "watch", "/api/v1/netprofiles/?watch=true": "netprofiles"} {
		w := r.open(path)
		for block := ""; !strings.HasPrefix(block, "event: synced"); block = w.block() {
		}
		began := time.Now()
		for range 50 {
			w.block() // signs of life
		}
		lived := time.Since(began)
		_ = w.resp.Body.Close()
		if got := <-told; got.collection != collection || got.status != 200 || got.took >= lived {
			t.Errorf("%s: %+v of a life of %v", path, got, lived)
		}
	}
}
