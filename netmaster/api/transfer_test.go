package api_test

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"testing"
)

// got is what is to be known of an answer when its body has been read.
type got struct {
	StatusCode    int
	Header        http.Header
	ContentLength int64
	Close         bool
}

// fetch sends a request without the help of a transport that unpacks by itself, and tells whether the connection was
// one that had been used before.
func (r *rig) fetch(transport *http.Transport, method, path string, header ...string) (out got, body string, reused bool) {
	r.t.Helper()
	ctx := httptrace.WithClientTrace(r.t.Context(), &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { reused = info.Reused }})
	req, err := http.NewRequestWithContext(ctx, method, r.url+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return got{resp.StatusCode, resp.Header, resp.ContentLength, resp.Close}, string(data), reused
}

func TestCompression(t *testing.T) {
	r := newRig(t, nil)
	for i := range 20 {
		r.network("default", fmt.Sprintf("n%d", i), fmt.Sprintf(`"subnet":"10.1.%d.0/24"`, i))
	}
	transport := &http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	const list = "/api/v1/networks/"
	resp, plain, _ := r.fetch(transport, "GET", list)
	if resp.Header.Get("Content-Encoding") != "" || resp.ContentLength != int64(len(plain)) || !strings.Contains(resp.Header.Get("Vary"), "Accept-Encoding") {
		t.Errorf("plain: %v", resp.Header)
	}
	resp, packed, _ := r.fetch(transport, "GET", list, "Accept-Encoding", "gzip")
	if resp.Header.Get("Content-Encoding") != "gzip" || len(packed) >= len(plain)/2 {
		t.Fatalf("packed: %d of %d bytes, %v", len(packed), len(plain), resp.Header)
	}
	unpacker, err := gzip.NewReader(strings.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	if unpacked, err := io.ReadAll(unpacker); err != nil || string(unpacked) != plain {
		t.Errorf("unpacked to %s, %v", unpacked, err)
	}
	if resp, _, _ = r.fetch(transport, "GET", "/version", "Accept-Encoding", "gzip"); resp.Header.Get("Content-Encoding") != "" {
		t.Errorf("a short answer is packed: %v", resp.Header)
	}
	if resp, _, _ = r.fetch(transport, "GET", list, "Accept-Encoding", "gzip;q=0, br"); resp.Header.Get("Content-Encoding") != "" {
		t.Errorf("packed for who refuses it: %v", resp.Header)
	}
	// A form of a tag of its own, good for the same conditions.
	const tenant = "/api/v1/tenants/default/"
	resp, _, _ = r.fetch(transport, "GET", tenant)
	packedResp, _, _ := r.fetch(transport, "GET", tenant, "Accept-Encoding", "gzip")
	tag, packedTag := resp.Header.Get("ETag"), packedResp.Header.Get("ETag")
	if packedResp.Header.Get("Content-Encoding") != "gzip" || tag == packedTag {
		t.Errorf("tags %s and %s, %v", tag, packedTag, packedResp.Header)
	}
	for _, known := range []string{tag, packedTag} {
		if resp, body, _ := r.fetch(transport, "GET", tenant, "Accept-Encoding", "gzip", "If-None-Match", known); resp.StatusCode != 304 || body != "" {
			t.Errorf("If-None-Match: %s: %d %s", known, resp.StatusCode, body)
		}
	}
	if status, body, _ := r.ask("PUT", tenant, `{"tenantName":"default"}`, "If-Match", packedTag); status != 200 {
		t.Errorf("If-Match: %d %s", status, body)
	}
}

func TestHead(t *testing.T) {
	r := newRig(t, nil)
	transport := &http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	for path, want := range map[string]int{
		"/api/v1/tenants/": 200, "/api/v1/tenants/?limit=1": 200, "/api/v1/tenants/default/": 200, "/api/v1/inspect/tenants/default/": 200,
		"/version": 200, "/api/v1/tenants/none/": 404, "/api/v1/tenants/?limit=x": 400, "/api/v1/watch": 200, "/api/v1/tenants/?watch=true": 200,
	} {
		head, body, _ := r.fetch(transport, "HEAD", path)
		if head.StatusCode != want || body != "" {
			t.Errorf("HEAD %s: %d %q, want %d", path, head.StatusCode, body, want)
		}
		if strings.Contains(path, "watch") {
			if got := head.Header.Get("Content-Type"); got != "text/event-stream" {
				t.Errorf("HEAD %s: %s", path, got)
			}
			continue
		}
		get, text, _ := r.fetch(transport, "GET", path)
		for _, name := range []string{"Content-Type", "ETag", "X-Contiv-Revision", "Content-Length"} {
			if head.Header.Get(name) != get.Header.Get(name) {
				t.Errorf("%s: %s is %q to HEAD and %q to GET", path, name, head.Header.Get(name), get.Header.Get(name))
			}
		}
		if want == 200 && head.Header.Get("Content-Length") != strconv.Itoa(len(text)) {
			t.Errorf("%s: Content-Length %s of %d", path, head.Header.Get("Content-Length"), len(text))
		}
	}
}

func TestConnectionsAreKept(t *testing.T) {
	r := newRig(t, nil)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	r.fetch(transport, "GET", "/api/v1/tenants/")
	if resp, _, reused := r.fetch(transport, "GET", "/api/v1/tenants"); !reused || resp.Close {
		t.Errorf("the second request has a connection of its own: %v", resp.Header)
	}
	if resp, _, reused := r.fetch(transport, "GET", "/api/v1/tenants", "Connection", "close"); !reused || !resp.Close {
		t.Errorf("Connection: close is not heard: %v", resp.Header)
	}
	if _, _, reused := r.fetch(transport, "GET", "/api/v1/tenants"); reused {
		t.Error("the closed connection is used again")
	}
}
