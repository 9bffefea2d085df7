package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/contiv/contiv/netmaster/client"
	"github.com/contiv/contiv/state"
)

// canned is a server with one answer; it notes what it was asked.
func canned(t *testing.T, status int, kind, body string) (*client.Client, *[]string) {
	t.Helper()
	asked := new([]string)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent, _ := io.ReadAll(r.Body)
		*asked = append(*asked, strings.TrimSpace(r.Method+" "+r.URL.EscapedPath()+" "+string(sent)))
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Location", "/elsewhere") // of a redirection
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	c, err := client.New(server.URL+"/", client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, asked
}

func TestRequests(t *testing.T) {
	for want, do := range map[string]func(context.Context, *client.Client) error{
		"GET /api/v1/tenants/":               func(ctx context.Context, c *client.Client) error { _, err := c.Tenants().List(ctx); return err },
		"GET /api/v1/networks/t:n/":          func(ctx context.Context, c *client.Client) error { _, err := c.Networks().Get(ctx, "t:n"); return err },
		"DELETE /api/v1/endpointGroups/t:g/": func(ctx context.Context, c *client.Client) error { return c.EndpointGroups().Delete(ctx, "t:g") },
		"GET /api/v1/inspect/globals/global/": func(ctx context.Context, c *client.Client) error {
			_, err := c.Globals().Inspect(ctx, state.GlobalName)
			return err
		},
		"GET /api/v1/inspect/endpoints/h%2Fc%2Feth0/": func(ctx context.Context, c *client.Client) error {
			_, err := c.InspectEndpoint(ctx, "h/c/eth0")
			return err
		},
		"GET /info": func(ctx context.Context, c *client.Client) error { _, err := c.Info(ctx); return err },
		`POST /api/v1/networks/t:n/ {"networkName":"n","subnet":"10.0.0.0/24","tenantName":"t","link-sets":{},"links":{"Tenant":{}}}`: func(ctx context.Context, c *client.Client) error {
			_, err := c.Networks().Post(ctx, &client.Network{Network: state.Network{TenantName: "t", NetworkName: "n", Subnet: "10.0.0.0/24"}})
			return err
		},
	} {
		c, asked := canned(t, http.StatusOK, "application/json", "null")
		if err := do(t.Context(), c); err != nil || len(*asked) != 1 || (*asked)[0] != want {
			t.Errorf("asked %q, %v; want %q", *asked, err, want)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, tc := range []struct {
		kind, body, want string
	}{
		{"text/plain", "network not found\n", "network not found"},
		{client.ProblemType + "; charset=utf-8", `{"title":"Conflict","status":409,"detail":"in use"}`, "in use"},
		{client.ProblemType, `{"title":"Conflict"`, `{"title":"Conflict"`},
		{"", "", "409 Conflict"},
	} {
		c, _ := canned(t, http.StatusConflict, tc.kind, tc.body)
		err := c.Networks().Delete(t.Context(), "t:n")
		refusal := (*client.Error)(nil)
		if !errors.As(err, &refusal) || refusal.Message != tc.want || client.StatusOf(fmt.Errorf("wrapped: %w", err)) != http.StatusConflict ||
			refusal.Method != http.MethodDelete || refusal.Path != "/api/v1/networks/t:n/" {
			t.Errorf("%q %q: %#v", tc.kind, tc.body, err)
		}
	}
	c, asked := canned(t, http.StatusTemporaryRedirect, "text/plain", "elsewhere")
	if err := c.Networks().Delete(t.Context(), "t:n"); client.StatusOf(err) != http.StatusTemporaryRedirect || len(*asked) != 1 {
		t.Errorf("redirection: %v after %q", err, *asked)
	}
	c, _ = canned(t, http.StatusOK, "application/json", "<html>")
	if _, err := c.Tenants().List(t.Context()); err == nil || client.StatusOf(err) != 0 {
		t.Errorf("no JSON: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Tenants().List(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestBaseURLs(t *testing.T) {
	for url, good := range map[string]bool{
		"http://h": true, "https://h:9999/": true, "http://[::1]:9999": true, "h:9999": false, "": false, "ftp://h": false, "http://": false, "http://h:x": false,
	} {
		if _, err := client.New(url, client.Options{}); (err == nil) != good {
			t.Errorf("%q: %v", url, err)
		}
	}
	if _, err := client.New("http://h", client.Options{Token: "x"}); !errors.Is(err, client.ErrTokenNeedsTLS) {
		t.Errorf("token over http: %v", err)
	}
}

// What is not known does not get in the way, what is not set is not shown, and everything stands in the promised order.
func TestWireForm(t *testing.T) {
	const full = `{"key":"t:g","cfgdTag":"tag","extContractsGrps":["x"],"groupName":"g","ipPool":"10.0.0.1-10.0.0.2","netProfile":"p",` +
		`"networkName":"n","policies":["a","b"],"tenantName":"t","link-sets":{"Policies":{"t:a":{"type":"policy","key":"t:a"}}},` +
		`"links":{"AppProfile":{},"NetProfile":{"type":"netprofile","key":"t:p"},"Network":{"type":"network","key":"t:n"},"Tenant":{"type":"tenant","key":"t"}}}`
	var g client.EndpointGroup
	if err := json.Unmarshal([]byte(strings.Replace(full, `{"key"`, `{"unknown":[1],"key"`, 1)), &g); err != nil {
		t.Fatal(err)
	}
	if again, err := json.Marshal(g); err != nil || string(again) != full {
		t.Errorf("%s, %v", again, err)
	}
	for want, v := range map[string]any{
		`{"link-sets":{}}`:                       client.Tenant{},
		`{"link-sets":{},"links":{"Tenant":{}}}`: client.Network{},
		`{}`:                                     client.Global{},
		`{"Config":{},"Oper":{}}`:                client.Inspection[client.Global, client.GlobalOper]{},
		`{"Oper":{}}`:                            client.EndpointInspection{},
	} {
		if got, err := json.Marshal(v); err != nil || string(got) != want {
			t.Errorf("%T: %s, %v; want %s", v, got, err, want)
		}
	}
}

func Example() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `[{"key":"blue:web","networkName":"web","subnet":"10.1.2.0/24","tenantName":"blue"}]`)
	}))
	defer server.Close()
	c, err := client.New(server.URL, client.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	networks, err := c.Networks().List(context.Background())
	if err != nil {
		fmt.Println(client.StatusOf(err), err)
		return
	}
	for _, n := range networks {
		fmt.Println(n.TenantName, n.NetworkName, n.Subnet)
	}
	// Output: blue web 10.1.2.0/24
}
