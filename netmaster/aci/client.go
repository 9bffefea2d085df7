package aci

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

const (
	// DefaultURL is where the gateway is if nothing else is said.
	DefaultURL = "http://localhost:5000"
	// patience is how long one call may take: the gateway waits for the fabric's controller.
	patience = 30 * time.Second
	// maxAnswer bounds what is read of an answer.
	maxAnswer = 1 << 20
)

// Refusal is an answer of the gateway other than success.
type Refusal struct {
	Call         string // "createAppProf"
	Result, Info string // its words
}

func (r *Refusal) Error() string { return fmt.Sprintf("%s: %s - %s", r.Call, r.Result, r.Info) }

// Client calls the gateway. Both calls can be repeated; each ends within half a minute. The zero value calls DefaultURL.
type Client struct {
	// URL of the gateway.
	URL string
}

// Create makes a profile, or replaces it.
func (c Client) Create(ctx context.Context, spec *Spec) error {
	return c.call(ctx, "createAppProf", spec)
}

// Delete removes a profile; one that the gateway does not know is no error.
func (c Client) Delete(ctx context.Context, tenant, profile string) error {
	return c.call(ctx, "deleteAppProf", struct {
		APIVersion string `json:"aci-gw-api-version"`
		Tenant     string `json:"tenant"`
		AppProfile string `json:"app-prof"`
	}{APIVersion, tenant, profile})
}

// call posts a request. The gateway answers status 200 always and says in the body what came of it.
func (c Client) call(ctx context.Context, name string, request any) error {
	base := c.URL
	if base == "" {
		base = DefaultURL
	}
	target, err := url.JoinPath(base, name)
	if err != nil {
		return fmt.Errorf("URL of the ACI gateway: %w", err)
	}
	body, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("%s: encoding the request: %w", name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	post, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	post.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(post)
	if err != nil {
		return fmt.Errorf("asking the ACI gateway: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("%s: reading the answer of the ACI gateway: %w", name, err)
	}
	if response.StatusCode != http.StatusOK {
		return &Refusal{name, response.Status, string(bytes.TrimSpace(data))}
	}
	var answer struct{ Result, Info string }
	if err := json.Unmarshal(data, &answer); err != nil {
		return fmt.Errorf("%s: reading the answer of the ACI gateway: %w", name, err)
	}
	if answer.Result != "success" && answer.Result != "unchanged" {
		return &Refusal{name, answer.Result, answer.Info}
	}
	return nil
}
