package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// ErrLoginNeedsTLS is returned by Login for an http URL.
var ErrLoginNeedsTLS = errors.New("a login is sent over https only")

// Login gives a name and a password to an authenticating proxy in front of netmaster and returns the token that stands
// for them in the Options of another client. Wrong ones are an *Error with status 401. This client stays who it was.
func (c *Client) Login(ctx context.Context, username, password string) (token string, err error) {
	if !c.Secure() {
		return "", fmt.Errorf("URL %q: %w", c.base, ErrLoginNeedsTLS)
	}
	anonymous := *c
	anonymous.token = ""
	sent := struct {
		Username string `json:"username"`
		Password string `json:"password"` //nolint:gosec // the wire form of the proxy
	}{username, password}
	var got struct {
		Token string `json:"token"`
	}
	if err := anonymous.do(ctx, http.MethodPost, "/api/v1/auth_proxy/login/", sent, &got); err != nil {
		return "", err
	}
	if got.Token == "" {
		return "", errors.New("the answer to the login has no token; is there an authenticating proxy at " + c.base + "?")
	}
	return got.Token, nil
}
