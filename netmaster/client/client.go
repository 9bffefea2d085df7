// Package client is the typed Go client of netmaster's REST API, for netctl and for other programs.
//
//	c, err := client.New("http://127.0.0.1:9999", client.Options{})
//	networks, err := c.Networks().List(ctx)
//
// Its object types are the wire form: netmaster's handlers encode the same ones. All methods may be called at once
// from any number of goroutines and end with their context; the package sets no time limit of its own and never
// retries. Errors of the server are *Error.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// TokenHeader carries the token that a login gave.
const TokenHeader = "X-Auth-Token"

// maxErrorBody bounds how much of an error answer is kept.
const maxErrorBody = 64 << 10

// Options of a Client. The zero value is plain HTTP, or HTTPS with the system's certificates, without a token.
type Options struct {
	// Token is sent with every request but Version. It is refused with an http URL: it would travel in the clear.
	Token string
	// TLS configures https URLs; nil is the standard configuration.
	TLS *tls.Config
	// Transport replaces the HTTP transport, and TLS with it.
	Transport http.RoundTripper
	// OnWarning, if not nil, is told what the server warns of in an answer that is a success. It may be called at once
	// from several goroutines.
	OnWarning func(text string)
}

// Client talks to one netmaster, or to a proxy in front of it.
type Client struct {
	base  string // without a trailing slash
	token string
	http  *http.Client
	warn  func(string)
}

// ErrTokenNeedsTLS is returned by New for a token with an http URL.
var ErrTokenNeedsTLS = errors.New("a login token is sent over https only")

// New makes a client for a base URL, which begins with http:// or https://. It does not connect.
func New(baseURL string, opts Options) (*Client, error) {
	u, err := url.Parse(baseURL)
	if err != nil {
		return nil, fmt.Errorf("URL of netmaster: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("URL of netmaster %q must be of the form http://host:port or https://host:port", baseURL)
	}
	if opts.Token != "" && u.Scheme != "https" {
		return nil, fmt.Errorf("URL %q: %w", baseURL, ErrTokenNeedsTLS)
	}
	transport := opts.Transport
	if transport == nil {
		own := http.DefaultTransport.(*http.Transport).Clone()
		own.TLSClientConfig = opts.TLS
		transport = own
	}
	return &Client{
		base:  strings.TrimRight(baseURL, "/"),
		token: opts.Token,
		http:  &http.Client{Transport: transport, CheckRedirect: noRedirect},
		warn:  opts.OnWarning,
	}, nil
}

// noRedirect makes a redirection an answer like any other refusal: netmaster gives none, and the token and the method of
// a request are not to be taken elsewhere.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Secure tells whether the client uses https.
func (c *Client) Secure() bool { return strings.HasPrefix(c.base, "https://") }

// Close drops idle connections. The client may still be used.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Tenants are the tenants.
func (c *Client) Tenants() Collection[Tenant, TenantOper] {
	return Collection[Tenant, TenantOper]{c, "tenants", (*Tenant).Key}
}

// Networks are the networks of all tenants.
func (c *Client) Networks() Collection[Network, NetworkOper] {
	return Collection[Network, NetworkOper]{c, "networks", (*Network).Key}
}

// EndpointGroups are the groups of all tenants.
func (c *Client) EndpointGroups() Collection[EndpointGroup, EndpointGroupOper] {
	return Collection[EndpointGroup, EndpointGroupOper]{c, "endpointGroups", (*EndpointGroup).Key}
}

// Globals holds the one global object, under the key "global".
func (c *Client) Globals() Collection[Global, GlobalOper] {
	return Collection[Global, GlobalOper]{c, "globals", (*Global).Key}
}

// InspectEndpoint finds an endpoint by its endpoint, container or runtime id, an unambiguous beginning of the
// container id of at least 4 characters, or its name. Several matches are an *Error with status 409 that names them.
func (c *Client) InspectEndpoint(ctx context.Context, id string) (*EndpointInspection, error) {
	out := new(EndpointInspection)
	return out, c.do(ctx, http.MethodGet, "/api/v1/inspect/endpoints/"+url.PathEscape(id)+"/", nil, out)
}

// Version asks which build the server is. It needs no login.
func (c *Client) Version(ctx context.Context) (*Version, error) {
	anonymous := *c
	anonymous.token = ""
	out := new(Version)
	return out, anonymous.do(ctx, http.MethodGet, "/version", nil, out)
}

// Info asks who leads and which hosts and netmasters there are.
func (c *Client) Info(ctx context.Context) (*Info, error) {
	out := new(Info)
	return out, c.do(ctx, http.MethodGet, "/info", nil, out)
}

// Collection gives the operations on one type of object. Keys are model keys: the name of a tenant, "global", else
// state.ModelKey(tenant, name).
type Collection[T, O any] struct {
	client *Client
	name   string
	key    func(*T) string
}

// List returns all objects, sorted by key.
func (l Collection[T, O]) List(ctx context.Context) ([]T, error) {
	var out []T
	return out, l.client.do(ctx, http.MethodGet, "/api/v1/"+l.name+"/", nil, &out)
}

// Get returns one object.
func (l Collection[T, O]) Get(ctx context.Context, key string) (*T, error) {
	out := new(T)
	return out, l.client.do(ctx, http.MethodGet, l.path(key), nil, out)
}

// Post creates the object under the key that its names give, or updates it, and returns what netmaster stored.
// Posting the same again is no error.
func (l Collection[T, O]) Post(ctx context.Context, object *T) (*T, error) {
	out := new(T)
	return out, l.client.do(ctx, http.MethodPost, l.path(l.key(object)), object, out)
}

// Delete removes an object; one that does not exist is an *Error with status 404.
func (l Collection[T, O]) Delete(ctx context.Context, key string) error {
	return l.client.do(ctx, http.MethodDelete, l.path(key), nil, nil)
}

// Inspect returns an object with its operational figures.
func (l Collection[T, O]) Inspect(ctx context.Context, key string) (*Inspection[T, O], error) {
	out := new(Inspection[T, O])
	return out, l.client.do(ctx, http.MethodGet, "/api/v1/inspect/"+l.name+"/"+url.PathEscape(key)+"/", nil, out)
}

func (l Collection[T, O]) path(key string) string {
	return "/api/v1/" + l.name + "/" + url.PathEscape(key) + "/"
}

// do sends a request with an optional JSON body and decodes the answer into out, unless that is nil.
func (c *Client) do(ctx context.Context, method, path string, in, out any) error {
	_, err := c.ask(ctx, request{method: method, path: path, body: in}, out)
	return err
}

// request is what is sent.
type request struct {
	method, path string
	header       map[string]string // beside those that every request has
	body         any               // to be sent as JSON, nil for none
}

// ask sends a request and decodes the answer into out, unless that is nil. It gives the answer's headers.
func (c *Client) ask(ctx context.Context, r request, out any) (http.Header, error) {
	resp, err := c.send(ctx, r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	c.tellWarnings(resp.Header)
	if out == nil {
		return resp.Header, nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return nil, fmt.Errorf("%s %s: reading the answer: %w", r.method, r.path, err)
	}
	return resp.Header, nil
}

// send sends a request; what is no success is an error. The caller closes the answer's body.
func (c *Client) send(ctx context.Context, r request) (*http.Response, error) {
	var body io.Reader
	if r.body != nil {
		data, err := json.Marshal(r.body)
		if err != nil {
			return nil, fmt.Errorf("%s %s: encoding the request: %w", r.method, r.path, err)
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, c.base+r.path, body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", r.method, r.path, err)
	}
	req.Header.Set("Accept", "application/json")
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set(TokenHeader, c.token)
	}
	for name, value := range r.header {
		req.Header.Set(name, value)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking netmaster: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		defer func() { _ = resp.Body.Close() }()
		return nil, readError(r.method, r.path, resp)
	}
	return resp, nil
}

// tellWarnings reads Warning headers of the form: 299 - "text".
func (c *Client) tellWarnings(header http.Header) {
	if c.warn == nil {
		return
	}
	for _, value := range header.Values("Warning") {
		_, quoted, _ := strings.Cut(value, " - ")
		if text, err := strconv.Unquote(quoted); err == nil {
			c.warn(text)
		}
	}
}

// Error is an answer of the server other than success.
type Error struct {
	Status  int    // HTTP status code
	Message string // what the server said, for people; never empty
	Method  string
	Path    string
}

// Error is the server's message.
func (e *Error) Error() string { return e.Message }

// StatusOf is the HTTP status of an *Error in err's chain, 0 if there is none.
func StatusOf(err error) int {
	if e := (*Error)(nil); errors.As(err, &e) {
		return e.Status
	}
	return 0
}

// readError understands plain text and application/problem+json.
func readError(method, path string, resp *http.Response) error {
	e := &Error{Status: resp.StatusCode, Method: method, Path: path}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	if err != nil {
		return fmt.Errorf("%s %s: status %s, reading the message: %w", method, path, resp.Status, err)
	}
	e.Message = strings.TrimSpace(string(data))
	if kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err == nil && kind == ProblemType {
		var p Problem
		if json.Unmarshal(data, &p) == nil && p.Detail != "" {
			e.Message = p.Detail
		}
	}
	if e.Message == "" {
		e.Message = resp.Status
	}
	return e
}
